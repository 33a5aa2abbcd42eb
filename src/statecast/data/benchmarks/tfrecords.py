"""TFRecord files without TensorFlow: framing, both checksums, and the fields of an Example."""

from __future__ import annotations

import struct
from collections.abc import Callable, Iterator
from functools import cache
from pathlib import Path

from statecast.errors import CorruptionError, FileError

POLYNOMIAL = 0x82F63B78  # CRC-32C (Castagnoli), bits reversed; RFC 3720
MASK_DELTA = 0xA282EAD8  # checksums are stored rotated and shifted by it
HEADER, CHECKSUM = struct.Struct("<QI"), struct.Struct("<I")
VARINT, FIXED64, DELIMITED, FIXED32 = 0, 1, 2, 5  # wire types of protocol buffers
BYTES, FLOATS = 1, 2  # fields of a feature
VARINT_BYTES = 10  # at most


def read_records(path: Path) -> Iterator[bytes]:
    """Records of a file in order, each with its checksums verified.

    Format: https://www.tensorflow.org/tutorials/load_data/tfrecord.

    Errors:
        FileError: it cannot be opened.
        CorruptionError: it is cut off, or a checksum differs.
    """
    crc = checksum()
    try:
        size, stream = path.stat().st_size, path.open("rb")
    except OSError as error:
        raise FileError(f"{path} cannot be read: {error.strerror}.") from error
    with stream:
        number = 0
        while head := stream.read(HEADER.size):
            where = f"{path}: record {number}"
            if len(head) < HEADER.size:
                raise CorruptionError(f"{where} is cut off. Get the file again.")
            length, expected = HEADER.unpack(head)
            if masked(crc(head[:8])) != expected:
                raise CorruptionError(f"{where} has another length than its checksum says.")
            if length + CHECKSUM.size > size - stream.tell():
                raise CorruptionError(f"{where} is cut off. Get the file again.")
            content = stream.read(length)
            if masked(crc(content)) != CHECKSUM.unpack(stream.read(CHECKSUM.size))[0]:
                raise CorruptionError(f"{where} differs from its checksum. Get the file again.")
            yield content
            number += 1


def masked(crc: int) -> int:
    """A checksum as TFRecord stores it."""
    return (((crc >> 15) | (crc << 17)) + MASK_DELTA) & 0xFFFFFFFF


def checksum() -> Callable[[bytes], int]:
    """CRC-32C, by google-crc32c where it is installed, else by slower Python."""
    try:
        import google_crc32c
    except ImportError:
        return crc32c
    return lambda content: int(google_crc32c.value(content))


def crc32c(content: bytes) -> int:
    """CRC-32C of some bytes, one by one."""
    table = crc_table()
    crc = 0xFFFFFFFF
    for byte in content:
        crc = (crc >> 8) ^ table[(crc ^ byte) & 0xFF]
    return crc ^ 0xFFFFFFFF


@cache
def crc_table() -> tuple[int, ...]:
    """Remainder of each byte."""
    table = []
    for byte in range(256):
        crc = byte
        for _ in range(8):
            crc = (crc >> 1) ^ (POLYNOMIAL if crc & 1 else 0)
        table.append(crc)
    return tuple(table)


def example_features(record: bytes) -> dict[str, memoryview]:
    """Content of each feature of bytes or floats in a `tf.train.Example`; others are left out.

    An Example holds Features (field 1), which hold entries (1) of a key (1) and a Feature (2),
    which holds a list of bytes (1) or of floats (2). Of bytes, the first value (1) is given; of
    floats, all of them (1), four bytes each, which lie together in one field.

    Errors:
        ValueError: it is not an Example.
    """
    found: dict[str, memoryview] = {}
    for features in fields(memoryview(record), 1):
        for entry in fields(features, 1):
            name = next(fields(entry, 1), None)
            for feature in fields(entry, 2):
                for kind in (BYTES, FLOATS):
                    for listed in fields(feature, kind):
                        for value in fields(listed, 1):
                            if name is not None:
                                found.setdefault(bytes(name).decode(), value)
    return found


def fields(message: memoryview, wanted: int) -> Iterator[memoryview]:
    """Contents of the length-delimited fields of this number in a message."""
    place = 0
    while place < len(message):
        key, place = varint(message, place)
        number, wire = key >> 3, key & 7
        if wire == VARINT:
            _, place = varint(message, place)
            continue
        if wire == DELIMITED:
            length, place = varint(message, place)
        elif wire in (FIXED64, FIXED32):
            length = 8 if wire == FIXED64 else 4
        else:
            raise ValueError(f"a field has the unknown wire type {wire}")
        if place + length > len(message):
            raise ValueError("a field is longer than its message")
        if wire == DELIMITED and number == wanted:
            yield message[place : place + length]
        place += length


def varint(message: memoryview, place: int) -> tuple[int, int]:
    """A number of variable length, and the place after it."""
    value = 0
    for index in range(VARINT_BYTES):
        if place + index >= len(message):
            break
        byte = message[place + index]
        value |= (byte & 0x7F) << (7 * index)
        if byte < 0x80:
            return value, place + index + 1
    raise ValueError("a number is cut off")

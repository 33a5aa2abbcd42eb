"""TFRecord files without TensorFlow: framing, both checksums, and the fields of an Example."""

from __future__ import annotations

import struct
from collections.abc import Iterator
from pathlib import Path

from statecast.errors import CorruptionError, FileError
from statecast.io.crc32c import CHECKSUM, checksum, masked
from statecast.io.protocol_buffers import contents

HEADER = struct.Struct("<QI")
BYTES, FLOATS = 1, 2  # fields of a feature


def read_records(path: Path) -> Iterator[bytes]:
    """Records of a file in order; their checksums are verified.

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
                raise CorruptionError(f"{where} has a damaged length. Get the file again.")
            if length + CHECKSUM.size > size - stream.tell():
                raise CorruptionError(f"{where} is cut off. Get the file again.")
            content = stream.read(length)
            if masked(crc(content)) != CHECKSUM.unpack(stream.read(CHECKSUM.size))[0]:
                raise CorruptionError(f"{where} differs from its checksum. Get the file again.")
            yield content
            number += 1


def example_features(record: bytes) -> dict[str, memoryview]:
    """Content of each feature of bytes or floats in a `tf.train.Example`; others are left out.

    An Example holds Features (field 1), which hold entries (1) of a key (1) and a Feature (2),
    which holds a list of bytes (1) or of floats (2). A list of bytes gives its first value (1); a
    list of floats gives them all (1), four bytes each, in one field.

    Errors:
        ValueError: it is not an Example.
    """
    found: dict[str, memoryview] = {}
    for features in contents(memoryview(record), 1):
        for entry in contents(features, 1):
            name = next(contents(entry, 1), None)
            for feature in contents(entry, 2):
                for kind in (BYTES, FLOATS):
                    for listed in contents(feature, kind):
                        for value in contents(listed, 1):
                            if name is not None:
                                found.setdefault(bytes(name).decode(), value)
    return found

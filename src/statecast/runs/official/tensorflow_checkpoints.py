"""Checkpoints of TensorFlow (an index and shards), read without TensorFlow.

The index is a table of LevelDB: blocks of entries whose keys share beginnings, and a footer. Its
entries are protocol buffers with the place of each variable in the shards. Formats:
https://github.com/tensorflow/tensorflow/blob/master/tensorflow/core/protobuf/tensor_bundle.proto,
https://github.com/google/leveldb/blob/main/doc/table_format.md.
"""

from __future__ import annotations

import math
import struct
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from statecast.errors import CorruptionError, FileError
from statecast.io.crc32c import CHECKSUM, checksum, masked
from statecast.io.protocol_buffers import contents, scalars, varint

FOOTER, MAGIC = 48, struct.pack("<Q", 0xDB4775248B80FB57)  # bytes at the end of an index
TRAILER = 5  # bytes after a block: how it is compressed, and its checksum
TYPES = {1: "<f4", 2: "<f8", 3: "<i4", 4: "u1", 6: "i1", 9: "<i8", 10: "?"}  # of TensorFlow
TEXT = 7  # the type of text, which describes a model and is not a variable
SLOTS = ("Adam", "Adam_1", "beta1_power", "beta2_power", "global_step")  # not of the model
Array = np.ndarray[Any, np.dtype[Any]]


def read_checkpoint(prefix: Path | str) -> dict[str, Array]:
    """Every variable of a checkpoint, by name.

    All checksums are verified; without google-crc32c, from the extra `data`, that takes a while.

    Args:
        prefix: the names before `.index` and `.data-00000-of-00001`, such as `model-300000`.

    Errors:
        FileError: a file is missing, or of a kind that cannot be read.
        CorruptionError: it is cut off, or a checksum differs.
    """
    path = Path(f"{prefix}.index")
    try:
        entries = dict(read_table(content_of(path), str(path)))
        shards = scalars(memoryview(entries.pop(b"", b""))).get(1, 1)
        content = [content_of(Path(f"{prefix}.data-{i:05}-of-{shards:05}")) for i in range(shards)]
        found = {
            name.decode(): variable(memoryview(entry), content, f"{prefix}: {name.decode()}")
            for name, entry in entries.items()
            if scalars(memoryview(entry)).get(1) != TEXT
        }
    except (ValueError, IndexError) as error:  # from numbers that lead out of their file
        raise CorruptionError(f"{path} is damaged: {error}. Get the file again.") from error
    return found


def model_variables(arrays: dict[str, Array]) -> dict[str, Array]:
    """The variables of a model, without optimisers and counters.

    The cell of SAVP, which early checkpoints call `dna_cell`, gets its later name.
    """
    return {
        name.replace("/dna_cell/", "/savp_cell/"): array
        for name, array in arrays.items()
        if name.rpartition("/")[2] not in SLOTS
    }


def content_of(path: Path) -> memoryview:
    """The bytes of a file."""
    try:
        return memoryview(path.read_bytes())
    except OSError as error:
        raise FileError(f"{path} cannot be read: {error.strerror}.") from error


def read_table(content: memoryview, where: str) -> Iterator[tuple[bytes, bytes]]:
    """Keys and values of a table of LevelDB."""
    if len(content) < FOOTER or content[-len(MAGIC) :] != MAGIC:
        raise CorruptionError(f"{where} is not the index of a checkpoint, or is cut off.")
    place = len(content) - FOOTER
    for _ in range(2):  # skip the handle of an empty block
        _, place = varint(content, place)
    for _, handle in block_entries(block(content, place, where)):
        yield from block_entries(block(content, 0, where, handle=memoryview(handle)))


def block(
    content: memoryview, place: int, where: str, *, handle: memoryview | None = None
) -> memoryview:
    """A block, whose offset and size are written in `handle`, or in the content itself.

    Errors:
        FileError: it is compressed.
        CorruptionError: its checksum differs.
    """
    written = content if handle is None else handle
    offset, place = varint(written, place)
    size, _ = varint(written, place)
    end = offset + size
    if end + TRAILER > len(content):
        raise ValueError("a block leads out of the file")
    if content[end] != 0:
        raise FileError(f"{where} is compressed, which cannot be read. Save it uncompressed.")
    check(content[offset : end + 1], content[end + 1 : end + TRAILER], where)
    return content[offset:end]


def block_entries(content: memoryview) -> Iterator[tuple[bytes, bytes]]:
    """Keys and values of a block; it stores only how a key differs from the one before."""
    restarts = CHECKSUM.unpack(content[-4:])[0]
    end, place, key = len(content) - 4 * (restarts + 1), 0, b""
    while place < end:
        shared, place = varint(content, place)
        differing, place = varint(content, place)
        size, place = varint(content, place)
        if place + differing + size > end or shared > len(key):
            raise ValueError("an entry leads out of its block")
        key = key[:shared] + bytes(content[place : place + differing])
        place += differing
        yield key, bytes(content[place : place + size])
        place += size


def variable(entry: memoryview, shards: list[memoryview], where: str) -> Array:
    """The variable that an entry describes."""
    found = scalars(entry)
    if any(True for _ in contents(entry, 7)):
        raise FileError(f"{where} is stored in parts, which cannot be read. Save it as a whole.")
    if found.get(1) not in TYPES:
        raise FileError(f"{where} has TensorFlow's type {found.get(1)}, which cannot be read.")
    kind = np.dtype(TYPES[found[1]])
    shape = [
        scalars(size).get(1, 0)
        for dimensions in contents(entry, 2)
        for size in contents(dimensions, 2)
    ]
    offset, size = found.get(4, 0), found.get(5, 0)
    content = shards[found.get(3, 0)][offset : offset + size]
    if not len(content) == size == math.prod(shape) * kind.itemsize:
        raise ValueError(f"{where} leads out of its shard")
    check(content, CHECKSUM.pack(found.get(6, 0)), where)
    return np.frombuffer(content, kind).reshape(shape).copy()


def check(content: memoryview, expected: bytes | memoryview, where: str) -> None:
    """Raise `CorruptionError` if bytes differ from their checksum."""
    if masked(checksum()(bytes(content))) != CHECKSUM.unpack(expected)[0]:
        raise CorruptionError(f"{where} differs from its checksum. Get the file again.")

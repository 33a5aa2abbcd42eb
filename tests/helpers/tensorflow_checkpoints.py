"""Checkpoints of TensorFlow, written byte by byte from the description of their format."""

import struct
from itertools import takewhile
from pathlib import Path

from statecast.io.crc32c import crc32c, masked

KINDS = {"float32": 1, "float64": 2, "int32": 3, "int64": 9}


def number(value):
    """A number of variable length."""
    found = bytearray()
    while value > 0x7F:
        found.append(value & 0x7F | 0x80)
        value >>= 7
    return bytes([*found, value])


def field(place, value):
    return number(place << 3) + number(value)


def part(place, content):
    return number(place << 3 | 2) + number(len(content)) + content


def block(entries, *, restart_every=3):
    """A block whose keys share beginnings, with restarts, as LevelDB writes it."""
    content, restarts, before = bytearray(), [], b""
    for index, (key, value) in enumerate(entries):
        shared = 0
        if index % restart_every == 0:
            restarts.append(len(content))
        else:
            pairs = zip(before, key, strict=False)
            shared = sum(1 for _ in takewhile(lambda pair: pair[0] == pair[1], pairs))
        content += number(shared) + number(len(key) - shared) + number(len(value))
        content += key[shared:] + value
        before = key
    for restart in [*restarts, len(restarts)]:
        content += struct.pack("<I", restart)
    return bytes(content)


def write_checkpoint(prefix, arrays, *, shards=2, blocks=2):
    """A checkpoint of some arrays."""
    data, entries = [bytearray() for _ in range(shards)], []
    for index, (name, array) in enumerate(sorted(arrays.items())):
        shard, content = index % shards, array.tobytes()
        shape = b"".join(part(2, field(1, size) if size else b"") for size in array.shape)
        entry = field(1, KINDS[str(array.dtype)]) + part(2, shape) + field(3, shard)
        entry += field(4, len(data[shard])) + field(5, len(content))
        entry += number(6 << 3 | 5) + struct.pack("<I", masked(crc32c(content)))
        entries.append((name.encode(), entry))
        data[shard] += content
    entries = [(b"", field(1, shards) + part(3, field(1, 1))), *entries]
    table, index = bytearray(), []

    def place(content):
        handle = number(len(table)) + number(len(content))
        checked = content + b"\0"
        table.extend(checked + struct.pack("<I", masked(crc32c(checked))))
        return handle

    size = -(-len(entries) // blocks)
    for start in range(0, len(entries), size):
        some = entries[start : start + size]
        index.append((some[-1][0] + b"~", place(block(some))))
    handles = place(block([])) + place(block(index))
    table += handles.ljust(40, b"\0") + struct.pack("<Q", 0xDB4775248B80FB57)
    Path(f"{prefix}.index").write_bytes(table)
    for number_, content in enumerate(data):
        Path(f"{prefix}.data-{number_:05}-of-{shards:05}").write_bytes(content)

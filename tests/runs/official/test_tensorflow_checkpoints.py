"""Checkpoints of TensorFlow, written here byte by byte from the description of their format."""

import json
import struct
from itertools import takewhile
from pathlib import Path

import numpy as np
import pytest
import torch

from statecast.data.benchmarks.tfrecords import crc32c, masked
from statecast.errors import CorruptionError, FileError
from statecast.runs.official.arrays import from_arrays
from statecast.runs.official.tensorflow_checkpoints import model_variables, read_checkpoint

GOLDEN = Path(__file__).parents[2] / "golden" / "sv2p"
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


def write(prefix, arrays, *, shards=2, blocks=2):
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


@pytest.fixture
def arrays():
    generator = np.random.default_rng(0)
    return {
        "generator/rnn/kernel": generator.normal(size=(3, 2, 4)).astype("f4"),
        "generator/rnn/kernel/Adam": generator.normal(size=(3, 2, 4)).astype("f4"),
        "generator/rnn/dna_cell/bias": generator.normal(size=5),
        "generator/beta1_power": np.array(0.25, "f4"),
        "global_step": np.array(300_000, "i8"),
        "empty": np.zeros((0, 3), "i4"),
    }


@pytest.mark.parametrize(("shards", "blocks"), [(1, 1), (2, 3)])
def test_variables_come_back_as_they_were_written(arrays, tmp_path, shards, blocks):
    write(tmp_path / "model-1", arrays, shards=shards, blocks=blocks)
    found = read_checkpoint(tmp_path / "model-1")
    assert found.keys() == arrays.keys()
    for name, array in arrays.items():
        assert found[name].dtype == array.dtype
        np.testing.assert_array_equal(found[name], array)


def test_the_model_s_own_variables(arrays):
    found = model_variables(arrays)
    assert set(found) == {"generator/rnn/kernel", "generator/rnn/savp_cell/bias", "empty"}


def test_a_published_model_from_a_checkpoint_is_that_from_arrays(tmp_path):
    arrays = dict(np.load(GOLDEN / "weights.npz"))
    config = json.loads((GOLDEN / "config.json").read_text())
    write(tmp_path / "model-2", arrays | {"global_step": np.array(2, "i8")})
    model = from_arrays("sv2p", model_variables(read_checkpoint(tmp_path / "model-2")), config)
    expected = from_arrays("sv2p", arrays, config)
    for name, weight in expected.state_dict().items():
        assert torch.equal(weight, model.state_dict()[name]), name


def test_damage_is_named(arrays, tmp_path):
    prefix = tmp_path / "model-3"
    with pytest.raises(FileError, match=r"model-3\.index cannot be read"):
        read_checkpoint(prefix)
    write(prefix, arrays)
    index, shard = Path(f"{prefix}.index"), Path(f"{prefix}.data-00000-of-00002")
    whole = {path: path.read_bytes() for path in (index, shard)}
    for path, content in whole.items():
        # At the end of an index lie an empty block and padding, which nobody reads.
        for place in range(0, len(content) // 2, 7):
            changed = bytearray(content)
            changed[place] ^= 0x40
            path.write_bytes(changed)
            with pytest.raises((CorruptionError, FileError)):
                read_checkpoint(prefix)
        path.write_bytes(content[: len(content) // 2])
        with pytest.raises(CorruptionError):
            read_checkpoint(prefix)
        path.write_bytes(content)
    shard.unlink()
    with pytest.raises(FileError, match="data-00000-of-00002 cannot be read"):
        read_checkpoint(prefix)

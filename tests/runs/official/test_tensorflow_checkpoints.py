"""Checkpoints of TensorFlow, written by the tests from the description of their format."""

from pathlib import Path

import numpy as np
import pytest
import torch
from helpers.golden import arrays_of, settings_of
from helpers.tensorflow_checkpoints import write_checkpoint

from statecast.errors import CorruptionError, FileError
from statecast.runs.official.arrays import from_arrays
from statecast.runs.official.tensorflow_checkpoints import model_variables, read_checkpoint


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
    write_checkpoint(tmp_path / "model-1", arrays, shards=shards, blocks=blocks)
    found = read_checkpoint(tmp_path / "model-1")
    assert found.keys() == arrays.keys()
    for name, array in arrays.items():
        assert found[name].dtype == array.dtype
        np.testing.assert_array_equal(found[name], array)


def test_the_model_s_own_variables(arrays):
    found = model_variables(arrays)
    assert set(found) == {"generator/rnn/kernel", "generator/rnn/savp_cell/bias", "empty"}


def test_a_published_model_from_a_checkpoint_is_that_from_arrays(tmp_path):
    arrays, config = arrays_of("sv2p"), settings_of("sv2p")
    write_checkpoint(tmp_path / "model-2", arrays | {"global_step": np.array(2, "i8")})
    model = from_arrays("sv2p", model_variables(read_checkpoint(tmp_path / "model-2")), config)
    expected = from_arrays("sv2p", arrays, config)
    for name, weight in expected.state_dict().items():
        assert torch.equal(weight, model.state_dict()[name]), name


def test_damage_is_named(arrays, tmp_path):
    prefix = tmp_path / "model-3"
    with pytest.raises(FileError, match=r"model-3\.index cannot be read"):
        read_checkpoint(prefix)
    write_checkpoint(prefix, arrays)
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

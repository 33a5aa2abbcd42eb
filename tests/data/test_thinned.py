"""Thinned windows: whole ones of which some frames are missing, and nothing else changes."""

import numpy as np
import pytest
import torch

from statecast.data.synthetic.moving_digits import MovingDigits
from statecast.data.thinned import ThinnedSource
from statecast.data.user.arrays import Arrays
from statecast.distributed import Part
from statecast.errors import InputError
from statecast.frames import Batch
from statecast.models.kvae.model import KVAE
from statecast.models.td_vae.model import TDVAE
from statecast.runs.recipes.resolve import read_recipe, resolve
from statecast.runs.run import build_data

DIGITS = {"frame_size": 16, "digit_size": 8, "context": 8, "horizon": 8, "test_horizon": 8}


@pytest.fixture
def stored(tmp_path):
    values = np.random.default_rng(0).random((12, 10, 1, 4, 4), dtype=np.float32)
    np.save(tmp_path / "array.npy", values)
    return Arrays(path=str(tmp_path / "array.npy"), context=4, horizon=4, value_range=(0.0, 1.0))


@pytest.fixture
def digits():
    return MovingDigits(**DIGITS, test_videos=150, validation_videos=4)


def frames_known(batch: Batch):
    return batch.context.known.flatten(2).all(2), batch.target.known.flatten(2).all(2)


def test_frames_go_missing_as_often_as_asked_for(digits):
    data = ThinnedSource(digits, thin=0.3)
    for batch in (
        data.windows("train").training_batch(0, 150, seed=1),
        data.windows("test").batch(torch.arange(150)),
    ):
        context, target = frames_known(batch)
        assert bool(context[:, [0, -1]].all())
        inside = context[:, 1:-1].float()
        assert abs(inside.mean() - 0.7) < 4 * (0.21 / inside.numel()) ** 0.5
    assert bool(target.all())  # of tests
    _, target = frames_known(data.windows("train").training_batch(0, 150, seed=1))
    assert abs(target.float().mean() - 0.7) < 4 * (0.21 / target.numel()) ** 0.5


def test_what_is_there_is_what_was_there(digits):
    whole, thinned = (d.windows("test") for d in (digits, ThinnedSource(digits, thin=0.5)))
    chosen = torch.tensor([3, 1, 4])
    batch, expected = thinned.batch(chosen), whole.batch(chosen)
    known = batch.mask
    assert torch.equal(batch.values[known], expected.values[known])
    assert bool(batch.values[~known].isnan().all())
    assert torch.equal(batch.latents["label"], expected.latents["label"])
    torch.testing.assert_close(
        thinned.batch(chosen[1:2]).values, batch.values[1:2], rtol=0, atol=0, equal_nan=True
    )


def test_parts_of_a_batch_are_the_batch_and_windows_keep_their_gaps(stored, digits):
    for source in (stored, digits):
        windows = ThinnedSource(source, thin=0.5).windows("train")
        whole = windows.training_batch(2, 4, seed=1).values
        parts = [
            windows.training_batch_part(2, 4, Part(start, start + 2, 4), seed=1).values
            for start in (0, 2)
        ]
        torch.testing.assert_close(torch.cat(parts), whole, rtol=0, atol=0, equal_nan=True)
    windows = ThinnedSource(stored, thin=0.5).windows("train")
    numbers = windows.training_indices(2, 4, seed=1)
    again = windows.batch(numbers).values
    whole = windows.training_batch(2, 4, seed=1).values
    torch.testing.assert_close(again, whole, rtol=0, atol=0, equal_nan=True)


def test_the_digest_and_the_card_tell_how_it_is_thinned(stored):
    digests = {ThinnedSource(stored, thin=t).windows("test").digest for t in (0.2, 0.5)}
    assert len(digests | {stored.windows("test").digest}) == 3
    assert ThinnedSource(stored, thin=0.5).card["thin"] == 0.5
    with pytest.raises(InputError, match=r"in \[0, 1\), got 1"):
        ThinnedSource(stored, thin=1.0)


def test_a_recipe_of_any_data_set_takes_it():
    tables = resolve(read_recipe("kvae-digits-small"), ["--data.thin", "0.5"])
    data = build_data(tables)
    assert data.card["thin"] == 0.5
    plain = build_data(resolve(read_recipe("kvae-digits-small")))
    assert isinstance(plain, MovingDigits)


@pytest.mark.parametrize("kind", [KVAE, TDVAE])
def test_models_train_on_frames_that_are_missing(kind, digits):
    windows = ThinnedSource(digits, thin=0.5).windows("train")
    model = kind(digits.spec, generator=torch.Generator().manual_seed(0))
    loss = model.loss(windows.training_batch(0, 4, seed=1), generator=torch.Generator())["total"]
    loss.backward()
    assert all(torch.isfinite(weight.grad).all() for weight in model.parameters())

"""The normaliser: fitted statistics, round trips, and what `auto` chooses."""

import pytest
import torch

from statecast.errors import InputError
from statecast.frames import FrameSpec
from statecast.nn.normaliser import Normaliser


def spec(value_range=None):
    return FrameSpec(channels=("u", "v"), space=(5,), context=2, horizon=2, value_range=value_range)


def batches():
    generator = torch.Generator().manual_seed(0)
    scale, shift = torch.tensor([3.0, 0.1])[:, None], torch.tensor([280.0, -5.0])[:, None]
    return [torch.randn(8, 4, 2, 5, generator=generator) * scale + shift for _ in range(3)]


def masked(frames):
    return [(values, None) for values in frames]


def test_standard_values_have_mean_zero_and_deviation_one_in_each_channel():
    normaliser = Normaliser(spec(), "standard")
    normaliser.fit(masked(batches()))
    values = normaliser.normalise(torch.cat(batches())).movedim(2, 0).flatten(1)
    torch.testing.assert_close(values.mean(dim=1), torch.zeros(2), atol=1e-4, rtol=0)
    torch.testing.assert_close(values.std(dim=1), torch.ones(2), atol=2e-3, rtol=0)


def test_range_is_mapped_to_the_unit_interval():
    normaliser = Normaliser(spec(), "range")
    normaliser.fit(masked(batches()))
    values = normaliser.normalise(torch.cat(batches())).movedim(2, 0).flatten(1)
    torch.testing.assert_close(values.amin(dim=1), torch.zeros(2), atol=1e-5, rtol=0)
    torch.testing.assert_close(values.amax(dim=1), torch.ones(2), atol=1e-5, rtol=0)


@pytest.mark.parametrize("method", ["none", "range", "standard"])
def test_restoring_undoes_normalising(method):
    normaliser = Normaliser(spec(), method)
    normaliser.fit(masked(batches()))
    values = batches()[0]
    restored = normaliser.restore(normaliser.normalise(values))
    torch.testing.assert_close(restored, values, atol=1e-4, rtol=1e-5)


@pytest.mark.parametrize(
    ("value_range", "method"), [((0.0, 1.0), "none"), ((-2.0, 5.0), "range"), (None, "standard")]
)
def test_auto_looks_at_the_range(value_range, method):
    assert Normaliser(spec(value_range), "auto").method == method


def test_a_constant_channel_is_not_divided_by_zero():
    normaliser = Normaliser(spec(), "standard")
    normaliser.fit(masked([torch.full((2, 3, 2, 5), 7.0)]))
    assert torch.equal(normaliser.scale, torch.ones(2))


def test_frames_that_are_not_finite_are_refused():
    values = batches()[0]
    values[0, 0, 0, 0] = torch.nan
    with pytest.raises(InputError, match="finite"):
        Normaliser(spec(), "standard").fit(masked([values]))

"""DMD: exact on linear systems, whatever the space they are seen in; refusals."""

import pytest
import torch

from statecast.data.base import DataSource
from statecast.errors import InputError
from statecast.evaluation.baselines import fit_statistics
from statecast.evaluation.scoring import score_windows
from statecast.frames import Batch, FrameSpec
from statecast.models.baselines import Linear, Persistence
from statecast.models.dmd import DMD

SPEC = FrameSpec(channels=("u",), space=(4, 5), context=3, horizon=6)


def rotations(batch, length, *, seen=20, seed=0):
    """Two decaying oscillators seen through a fixed map, around a mean: linear, with memory."""
    generator = torch.Generator().manual_seed(seed)
    start = torch.randn(batch, 2, generator=generator, dtype=torch.float64)
    phase = 6 * torch.rand(batch, 2, generator=generator, dtype=torch.float64)
    time = torch.arange(length, dtype=torch.float64)[:, None]
    rate = torch.tensor([0.7, 0.31], dtype=torch.float64)
    # One coordinate of each oscillator: the next one needs two delays.
    hidden = start[:, None] * 0.97**time * torch.cos(rate * time + phase[:, None])
    through = torch.randn(2, seen, generator=torch.Generator().manual_seed(9)).double()
    return (5 + hidden @ through).view(batch, length, 1, *SPEC.space).float()


def fitted(values=None, **options):
    model = DMD(SPEC, **({"ridge": 0.0} | options))
    values = rotations(40, SPEC.length) if values is None else values
    model.fit_statistics([Batch.of(part, SPEC.context) for part in values.split(8)])
    return model


@pytest.mark.parametrize("options", [{}, {"rank": 2}, {"delays": 2}, {"energy": 1 - 1e-9}])
def test_it_is_exact_on_a_linear_system_it_has_not_seen(options):
    future = rotations(7, 23, seed=1)
    forecast = fitted(**options).forecast(future[:, :3], 20)
    torch.testing.assert_close(forecast.samples[0], future[:, 3:], atol=2e-4, rtol=1e-4)


def test_one_delay_cannot_tell_which_way_an_oscillator_goes():
    future = rotations(7, 13, seed=1)
    forecast = fitted(delays=1).forecast(future[:, :3], 10)
    assert (forecast.samples[0] - future[:, 3:]).abs().max() > 0.3


def test_too_few_directions_lose_what_they_do_not_span():
    future = rotations(7, 9, seed=1)
    errors = [
        float((fitted(rank=rank).forecast(future[:, :3], 6).samples[0] - future[:, 3:]).norm())
        for rank in (1, 2)
    ]
    assert errors[0] > 100 * errors[1]


def test_the_map_is_that_of_least_squares_over_all_pairs():
    generator = torch.Generator().manual_seed(4)
    values = torch.rand(30, SPEC.length, 1, 4, 5, generator=generator)
    model = fitted(values, rank=6, delays=2, ridge=0.0)
    reduced = model.reduce(values.flatten(2))
    known, following = [], []
    for video in reduced:
        for t in range(2, SPEC.length):
            known.append(torch.cat([video[t - 1], video[t - 2], torch.ones(1).double()]))
            following.append(video[t])
    expected = torch.linalg.lstsq(torch.stack(known), torch.stack(following)).solution.T
    torch.testing.assert_close(model.map, expected, atol=1e-8, rtol=1e-6)


def test_a_large_ridge_forecasts_the_mean():
    values = rotations(40, SPEC.length)
    forecast = fitted(values, ridge=1e12).forecast(values[:2, :3], 4)
    following = values[:, 3:].mean(dim=(0, 1))
    expected = following.expand(2, 4, 1, 4, 5)
    torch.testing.assert_close(forecast.samples[0], expected, atol=1e-4, rtol=0)


def test_how_windows_are_batched_does_not_matter():
    values = rotations(40, SPEC.length)
    one, other = DMD(SPEC), DMD(SPEC)
    one.fit_statistics([Batch.of(values, 3)])
    other.fit_statistics([Batch.of(part, 3) for part in values.split(3)])
    forecasts = [m.forecast(values[:, :3], 9).samples for m in (one, other)]
    torch.testing.assert_close(*forecasts, atol=1e-5, rtol=1e-5)


def test_it_stays_in_the_range_of_the_data():
    spec = FrameSpec(channels=("u",), space=(4, 5), context=3, horizon=6, value_range=(4.0, 6.0))
    model = DMD(spec, ridge=0.0)
    model.fit_statistics([Batch.of(rotations(40, 9), 3)])
    samples = model.forecast(rotations(7, 3, seed=1), 9).samples
    assert float(samples.min()) == 4
    assert float(samples.max()) == 6


class Waves(DataSource):
    """A linear wave on a string, whose windows `WaveWindows` would cut; here from memory."""

    spec = FrameSpec(channels=("u",), space=(12,), context=4, horizon=6)
    card = {"name": "string"}  # noqa: RUF012

    def windows(self, split):
        from statecast.data.windows import SequenceWindows, all_starts

        generator = torch.Generator().manual_seed(len(split))
        amplitude = torch.randn(20, 1, 3, 1, generator=generator)
        phase = 6 * torch.rand(20, 1, 3, 1, generator=generator)
        mode, time = torch.arange(1.0, 4.0)[:, None], torch.arange(40.0)[:, None, None]
        shape = torch.sin(mode * torch.linspace(0.1, 3.0, 12))
        values = (amplitude * torch.cos(0.25 * mode * time + phase) * shape).sum(dim=2)
        starts = all_starts(range(20), 40, 10)
        return SequenceWindows(
            values[:, :, None].numpy(), starts, context=4, length=10, channels=("u",)
        )


def test_it_beats_the_trivial_forecasts_on_waves():
    data = Waves()
    model = DMD(data.spec)
    fit_statistics(model, data.windows("train"), batch_size=16, seed=1)
    scores = [
        score_windows(m, data.windows("test"), metrics=["mse"], count=64).of("mse", "mean").value
        for m in (model, Persistence(data.spec), Linear(data.spec))
    ]
    assert scores[0] < 1e-3 * min(scores[1:])


def test_what_cannot_be_fitted_is_refused():
    windows = [Batch.of(rotations(4, 9), 3)]
    with pytest.raises(InputError, match="iterator that can be read once"):
        DMD(SPEC).fit_statistics(iter(windows))
    with pytest.raises(InputError, match="training windows, got none"):
        DMD(SPEC).fit_statistics([])
    with pytest.raises(InputError, match="at least 4 frames"):
        DMD(SPEC).fit_statistics([Batch.of(rotations(4, 3), 2)])
    with pytest.raises(InputError, match="NaN"):
        DMD(SPEC).fit_statistics([Batch.of(rotations(4, 9) * float("nan"), 3)])
    with pytest.raises(InputError, match="not fitted"):
        DMD(SPEC).forecast(rotations(4, 3), 2)


@pytest.mark.parametrize("times", [[0.5], [0.0, 1.0], [1.0, 1.5]])
def test_times_that_no_frame_has_are_refused(times):
    with pytest.raises(InputError, match="whole frames"):
        fitted().forecast(rotations(2, 3), times=times)


def test_uneven_times_are_those_of_the_roll_out():
    model, context = fitted(), rotations(2, 3)
    every, some = model.forecast(context, 9), model.forecast(context, times=[2.0, 3.0, 9.0])
    assert torch.equal(some.samples, every.samples[:, :, [1, 2, 8]])


def test_contexts_that_are_too_short_are_refused():
    with pytest.raises(InputError, match="at least 3 frame"):
        fitted().forecast(rotations(2, 2), 2)
    with pytest.raises(InputError, match="horizon of at least 1"):
        fitted().forecast(rotations(2, 3), 0)

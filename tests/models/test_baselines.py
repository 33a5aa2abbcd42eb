"""The trivial forecasts, on sequences whose future they know."""

import pytest
import torch

from statecast.errors import InputError
from statecast.frames import Batch, FrameSpec
from statecast.models import MODELS
from statecast.models.analogue import Analogue
from statecast.models.baselines import Climatology, Linear, Persistence
from statecast.models.damped_persistence import DampedPersistence

SPEC = FrameSpec(channels=("u",), space=(2, 3), context=3, horizon=2)


def ramp(length=5):
    return torch.arange(float(length)).view(1, -1, 1, 1, 1).expand(2, -1, 1, 2, 3)


def test_persistence_repeats_the_last_frame():
    forecast = Persistence(SPEC).forecast(ramp(3), 2)
    assert torch.equal(forecast.samples, torch.full((1, 2, 2, 1, 2, 3), 2.0))


def test_linear_extrapolation_of_a_ramp_is_exact_at_any_time():
    forecast = Linear(SPEC).forecast(ramp(3), times=[0.5, 1.0, 7.0])
    assert forecast.samples[0, 0, :, 0, 0, 0].tolist() == [2.5, 3.0, 9.0]


def test_linear_extrapolation_stays_in_the_range_of_the_data():
    spec = FrameSpec(channels=("u",), space=(2, 3), context=3, horizon=2, value_range=(0.0, 4.0))
    assert Linear(spec).forecast(ramp(3), 9).samples.max() == 4


def test_climatology_is_the_mean_of_training_frames():
    model = Climatology(SPEC)
    with pytest.raises(InputError, match="not fitted"):
        model.forecast(ramp(3), 2)
    model.fit_statistics([Batch.of(ramp(), 3), Batch.of(ramp() + 10, 3)])
    assert torch.equal(model.forecast(ramp(3), 2).samples, torch.full((1, 2, 2, 1, 2, 3), 7.0))
    again = Climatology(SPEC)
    again.load_state_dict(model.state_dict())
    assert torch.equal(again.mean, model.mean)


def test_baselines_have_no_weights_and_no_options():
    for name in ("persistence", "climatology", "linear"):
        assert not list(MODELS[name](SPEC).parameters())
    with pytest.raises(InputError, match="no Euler steps"):
        Persistence(SPEC).forecast(ramp(3), 2, substeps=2)


def red_noise(memory, count=3000, length=7, seed=1):
    """Windows of a first-order autoregression of each point, whose memory differs by column."""
    generator = torch.Generator().manual_seed(seed)
    frames = [torch.randn(count, 1, 2, 3, generator=generator)]
    for _ in range(length - 1):
        fresh = torch.randn(count, 1, 2, 3, generator=generator)
        frames.append(memory * frames[-1] + (1 - memory**2).sqrt() * fresh)
    return torch.stack(frames, dim=1)


def test_damped_persistence_finds_the_memory_of_each_point_and_lead():
    memory = torch.tensor([0.9, 0.6, 0.0])
    spec = FrameSpec(channels=("u",), space=(2, 3), context=3, horizon=4)
    model = DampedPersistence(spec)
    with pytest.raises(InputError, match="not fitted"):
        model.forecast(ramp(3), 2)
    model.fit_statistics([Batch.of(20 + red_noise(memory), 3)])
    expected = memory ** torch.arange(1.0, 5.0)[:, None]
    torch.testing.assert_close(model.damping[:, 0, 0], expected, atol=0.06, rtol=0)
    context = torch.full((1, 3, 1, 2, 3), 22.0)
    found = model.forecast(context, times=[1e-4, 1.0, 1.5, 8.0]).samples[0, 0, :, 0, 0] - 20
    torch.testing.assert_close(found[0], torch.full((3,), 2.0), atol=0.05, rtol=0)
    torch.testing.assert_close(found[1], 2 * memory, atol=0.1, rtol=0)
    between = (2 * memory + 2 * memory**2) / 2
    torch.testing.assert_close(found[2], between, atol=0.1, rtol=0)
    torch.testing.assert_close(found[3], 2 * memory**8, atol=0.1, rtol=0)


def test_damped_persistence_beats_persistence_and_climatology_on_red_noise():
    memory = torch.full((3,), 0.7)
    spec = FrameSpec(channels=("u",), space=(2, 3), context=3, horizon=4)
    training, test = red_noise(memory), red_noise(memory, seed=2)
    errors = {}
    for name in ("damped_persistence", "persistence", "climatology"):
        model = MODELS[name](spec)
        model.fit_statistics([Batch.of(training, 3)])
        forecast = model.forecast(test[:, :3], 4).mean
        errors[name] = (forecast - test[:, 3:]).square().mean(dim=(0, 2, 3, 4))
    truth = 1 - 0.7 ** (2 * torch.arange(1.0, 5.0))  # the least there can be
    torch.testing.assert_close(errors["damped_persistence"], truth, rtol=0.05, atol=0)
    assert (errors["damped_persistence"] < errors["persistence"]).all()
    assert (errors["damped_persistence"] < errors["climatology"]).all()


def test_the_mean_of_the_context_moves_with_the_climate():
    training = red_noise(torch.full((3,), 0.5))
    later = 50 + red_noise(torch.full((3,), 0.5), seed=2)
    spec = FrameSpec(channels=("u",), space=(2, 3), context=3, horizon=4)
    errors = {}
    for normal in ("climatology", "context"):
        model = DampedPersistence(spec, normal=normal)
        model.fit_statistics([Batch.of(training, 3)])
        error = model.forecast(later[:, :3], 4).mean - later[:, 3:]
        errors[normal] = float(error.square().mean())
    assert errors["context"] < 2 < errors["climatology"]


def test_unknown_values_do_not_count_in_the_damping():
    values = red_noise(torch.tensor([0.9, 0.6, 0.0]))
    spec = FrameSpec(channels=("u",), space=(2, 3), context=3, horizon=4)
    mask = torch.ones_like(values, dtype=torch.bool)
    mask[:1500, 5:] = False
    mask[..., 2] = False
    gappy = values.masked_fill(~mask, torch.nan)
    model = DampedPersistence(spec)
    model.fit_statistics([Batch.of(gappy, 3, mask=mask)])
    expected = torch.tensor([0.9, 0.6]) ** torch.arange(1.0, 5.0)[:, None]
    torch.testing.assert_close(model.damping[:, 0, 0, :2], expected, atol=0.06, rtol=0)
    assert torch.isfinite(model.damping).all()


def test_analogues_follow_a_cycle_as_far_as_is_asked():
    cycle = torch.randn(11, 1, 2, 3, generator=torch.Generator().manual_seed(1))
    windows = torch.stack([cycle[(start + torch.arange(5)) % 11] for start in range(11)])
    model = Analogue(SPEC, neighbours=1)
    with pytest.raises(InputError, match="no windows yet"):
        model.forecast(ramp(3), 2)
    model.fit_statistics([Batch.of(windows[:6], 3), Batch.of(windows[6:], 3)])
    context = cycle[[4, 5, 6]].unsqueeze(0) + 0.01
    found = model.forecast(context, 9).samples[0, 0]
    assert torch.equal(found, cycle[(7 + torch.arange(9)) % 11])
    between = model.forecast(context, times=[1.5]).samples[0, 0, 0]
    torch.testing.assert_close(between, (cycle[7] + cycle[8]) / 2)
    few = Analogue(SPEC, neighbours=2, library=4)
    few.fit_statistics([Batch.of(windows, 3)])
    assert int(few.count) == 4
    several = few.forecast(windows[1:2, :3], 1).samples
    assert not torch.equal(several[0, 0, 0], windows[1, 3])  # a mean of two

"""SRVP on frames that come with gaps, against its answer on frames that come without."""

from dataclasses import replace

import pytest
import torch
from helpers.seeds import seeded
from helpers.small_srvp import SPEC, frames, small

from statecast.errors import InputError
from statecast.frames import Batch, Frames
from statecast.nn.gaussian import DiagonalGaussian

KINDS = [
    {}, {"renewal": "grid", "renewal_interval": 0.5}, {"renewal": "poisson"},
    {"renewal": "adaptive", "renewal_threshold": 0.0}, {"noise": "white"},
    {"noise": "coloured"}, {"stochastic": False},
]  # fmt: skip


def without(values, *missing):
    """Windows of which some frames (window, time) are missing."""
    mask = torch.ones_like(values, dtype=torch.bool)
    for window, time in missing:
        mask[window, time] = False
    return values.masked_fill(~mask, torch.nan), mask


def gappy(**options):
    return small(gap_input=True, **options)


@pytest.mark.parametrize("options", KINDS)
def test_without_gaps_all_is_as_without_the_option(options):
    plain, model = small(**options), gappy(**options)
    assert not model.load_state_dict(plain.state_dict(), strict=False).unexpected_keys
    values = frames()
    for given in (
        Batch.of(values, SPEC.context),
        Batch.of(values, SPEC.context, mask=torch.ones_like(values, dtype=torch.bool)),
    ):
        expected = plain.train().loss(given, generator=seeded(7))
        found = model.train().loss(given, generator=seeded(7))
        torch.testing.assert_close(found, expected, rtol=0, atol=0)
        one, other = (
            m.forecast(given.context, times=[0.5, 1.0, 3.0], samples=2, generator=seeded(7)).samples
            for m in (plain, model)
        )
        torch.testing.assert_close(one, other, rtol=0, atol=0)


@pytest.mark.parametrize("options", KINDS)
def test_a_window_is_the_same_whatever_the_gaps_of_others(options):
    model = gappy(**options).eval()
    values, mask = without(frames(), (0, 1), (1, 2), (1, 3), (2, 6))
    whole = model.loss(Batch.of(values, SPEC.context, mask=mask), generator=seeded(7))
    batch = Batch.of(values[:1], SPEC.context, mask=mask[:1])
    encoded = model.infer(model.encode(model.inputs(batch)).code, generator=seeded(7))
    both = Batch.of(values, SPEC.context, mask=mask)
    all_encoded = model.infer(model.encode(model.inputs(both)).code, generator=seeded(7))
    assert torch.isfinite(whole["total"])
    torch.testing.assert_close(encoded.latents[:, 0], all_encoded.latents[:, 0])
    if encoded.divergence is not None:
        torch.testing.assert_close(
            encoded.divergence[:, 0], all_encoded.divergence[:, 0], rtol=1e-4, atol=1e-5
        )


@pytest.mark.parametrize("options", KINDS)
def test_gradients_are_finite_and_missing_frames_have_none(options):
    model = gappy(**options).train()
    values, mask = without(frames(), (0, 0), (1, 2), (1, 3), (2, 5), (2, 6))
    batch = Batch.of(values, SPEC.context, mask=mask)
    model.loss(batch, generator=seeded(7))["total"].backward()
    for name, weight in model.named_parameters():
        assert weight.grad is not None, name
        assert torch.isfinite(weight.grad).all(), name
    if model.lstm is not None:
        assert model.gaps.place.weight.grad.abs().sum() > 0
    assert model.gaps.missing.grad.abs().sum() > 0


def test_uneven_times_are_windows_with_missing_frames():
    model = gappy().eval()
    values = frames(length=6)
    masked, mask = without(values, *[(window, time) for window in range(3) for time in (1, 3)])
    there = [0, 2, 4, 5]
    times = torch.arange(-5.0, 1.0)
    uneven = Frames(values=values[:, there], times=times[there], channels=("intensity",))
    gaps = Frames(values=masked, times=times, channels=("intensity",), mask=mask)
    one, other = (
        model.forecast(given, times=[-3.0, -2.5, 1.0, 2.5], samples=3, generator=seeded(7))
        for given in (uneven, gaps)
    )
    assert torch.equal(one.samples, other.samples)
    target = Frames(
        values=values[:, :1], times=torch.tensor([3.0]), channels=("intensity",)
    )  # after two that are missing
    later, there_not = without(
        torch.cat([masked, values[:, :3]], dim=1),
        *[(window, time) for window in range(3) for time in (1, 3, 6, 7)],
    )
    later[:, 8] = values[:, 0]
    expected = model.loss(Batch.of(later, 6, mask=there_not), generator=seeded(7))
    found = model.loss(Batch(context=uneven, target=target), generator=seeded(7))
    torch.testing.assert_close(found, expected, rtol=0, atol=0)


def test_noise_of_a_gap_knows_the_frame_that_ends_it_and_no_later_one():
    model = gappy().eval()
    values, mask = without(frames(batch=1), (0, 2), (0, 3))
    changes = {}
    for time in (4, 5):
        other = values.clone()
        other[:, time] = 1 - other[:, time]
        found = []
        for given in (values, other):
            batch = Batch.of(given, SPEC.context, mask=mask)
            found.append(model.infer(model.encode(model.inputs(batch)).code, generator=seeded(7)))
        changes[time] = (found[0].posterior.mean != found[1].posterior.mean).any(dim=-1)[0]
    assert changes[4].tolist() == [False, True, True, True, True, True]
    assert changes[5].tolist() == [False, False, False, False, True, True]


@pytest.mark.parametrize("options", KINDS[:-1])
def test_noise_after_the_last_frame_is_drawn_from_its_prior(options):
    model = gappy(**options).eval()
    values, mask = without(frames(), *[(window, time) for window in range(3) for time in (5, 6)])
    batch = Batch.of(values, SPEC.context, mask=mask)
    found = model.infer(model.encode(model.inputs(batch)).code, generator=seeded(7))
    assert bool((found.divergence[:, :, 4:] == 0).all())
    assert bool((found.divergence[:, :, :4] != 0).any())
    if not options:  # held on frames
        prior = model.noise_prior(found.latents[:, :, 4:6])
        standard = (found.noise[:, :, 4:] - prior.mean) / prior.std
        many = model.infer(
            model.encode(model.inputs(batch)).code, samples=2000, generator=seeded(7)
        )
        prior = model.noise_prior(many.latents[:, :, 4:6])
        standard = ((many.noise[:, :, 4:] - prior.mean) / prior.std).flatten()
        assert abs(standard.mean()) < 4 / len(standard) ** 0.5
        assert abs(standard.var() - 1) < 4 * (2 / len(standard)) ** 0.5


def test_times_inside_the_context_are_those_of_the_inferred_path():
    model = gappy().eval()
    values, mask = without(frames(length=5), (0, 2), (1, 1))
    context = Frames(
        values=values, times=torch.arange(-4.0, 1.0), channels=("intensity",), mask=mask
    )
    forecast = model.forecast(context, times=[-4.0, -2.0, 0.0, 1.0], generator=seeded(7))
    expected = model.reconstruct(context, generator=seeded(7))
    torch.testing.assert_close(forecast.samples[:, :, :3], expected[:, :, [0, 2, 4]])
    after = model.forecast(context, times=[1.0], generator=seeded(7))
    torch.testing.assert_close(forecast.samples[:, :, 3:], after.samples)


def test_a_model_that_is_not_told_of_gaps_refuses_uneven_times():
    uneven = Frames(
        values=frames(length=4), times=torch.tensor([-5.0, -3.0, -1.0, 0.0]),
        channels=("intensity",),
    )  # fmt: skip
    with pytest.raises(InputError, match="gap_input"):
        small().forecast(uneven)
    with pytest.raises(InputError, match="whole frames only"):
        gappy().forecast(replace(uneven, times=uneven.times / 2))


def test_content_of_too_few_frames_repeats_them():
    model = gappy().eval()
    values, mask = without(frames(batch=1, length=4), (0, 1), (0, 2))
    context = Frames(
        values=values, times=torch.arange(-3.0, 1.0), channels=("intensity",), mask=mask
    )
    codes = model.encode(model.inputs(context))
    found = model.content_of_last_frames(codes).code
    of_frames = model.content_of_frame(codes.code[:, [3, 0, 3]])  # of 3 frames, by the latest
    torch.testing.assert_close(found, model.content_of_sum(of_frames.sum(dim=1)))
    assert isinstance(model.initial_state(codes.code), DiagonalGaussian)

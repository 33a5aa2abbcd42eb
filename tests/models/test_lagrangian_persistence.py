"""Lagrangian persistence, on maps whose motion is known."""

import math
from dataclasses import replace

import pytest
import torch

from statecast.errors import InputError
from statecast.frames import Batch, Frames, FrameSpec
from statecast.models.baselines import Persistence
from statecast.models.damped_persistence import DampedPersistence
from statecast.models.lagrangian_persistence import (
    LagrangianPersistence,
    equations,
    smoothed,
)

SIDE = 32
SPEC = FrameSpec(channels=("u",), space=(SIDE, SIDE), context=4, horizon=3)
INSIDE = (..., slice(8, -8), slice(8, -8))  # what does not come from beyond an edge


def waves(velocity, *, times=7, count=8, seed=0, decay=1.0):
    """Sums of plane waves that move by `velocity` (y, x) a frame, (window, time, 1, y, x)."""
    generator = torch.Generator().manual_seed(seed)
    velocity = torch.as_tensor(velocity).expand(count, 2)
    waves = 0.5 * torch.randn(count, 2, 8, generator=generator)
    phases = 2 * math.pi * torch.rand(count, 1, 8, generator=generator)
    axis = torch.arange(float(SIDE))
    time = torch.arange(float(times)) if isinstance(times, int) else torch.as_tensor(times)
    y = axis.view(1, 1, -1, 1) - (velocity[:, :1] * time)[..., None, None]
    x = axis.view(1, 1, 1, -1) - (velocity[:, 1:] * time)[..., None, None]
    ky, kx, phase = (part[..., None, None, :] for part in (waves[:, :1], waves[:, 1:], phases))
    frames = torch.cos(ky * y[..., None] + kx * x[..., None] + phase).sum(dim=-1)
    return (decay ** time.view(1, -1, 1, 1) * frames).unsqueeze(2)


def fitted(frames, spec=SPEC, **options):
    model = LagrangianPersistence(spec, **options)
    model.fit_statistics([Batch.of(frames, spec.context)])
    return model


def error(forecast, truth):
    return (forecast - truth)[INSIDE].square().mean().sqrt()


@pytest.mark.parametrize("velocity", [(0.7, -1.3), (0.0, 0.4), (-3.1, 2.2)])
def test_the_motion_of_a_moving_pattern_is_found_and_goes_on_at_any_time(velocity):
    model = fitted(waves(velocity))
    seen = waves(velocity, times=4, seed=1)
    motion = model.motion(seen)[INSIDE].mean(dim=(-2, -1))
    torch.testing.assert_close(motion, torch.tensor([velocity]).expand(8, 2), atol=0.1, rtol=0)
    forecast = model.forecast(seen, times=[0.5, 1.0, 2.5]).samples[0]
    whole = model.forecast(seen, 2).samples[0]
    torch.testing.assert_close(forecast[:, 1], whole[:, 0])
    truth = waves(velocity, times=[3.5, 4.0, 5.5], seed=1)
    still = seen[:, -1:].expand_as(truth)
    for lead in range(3):
        assert error(forecast[:, lead], truth[:, lead]) < 0.3 * error(
            still[:, lead], truth[:, lead]
        )


def test_the_equations_hold_for_a_ramp_to_rounding():
    velocity = torch.tensor([0.3, -0.2])
    places = torch.stack(torch.meshgrid(*[torch.arange(float(SIDE))] * 2, indexing="ij"))
    ramps = [1.0, 2.0], [-1.0, 0.5]
    maps = torch.stack(
        [
            torch.stack(
                [(torch.tensor(k).view(2, 1, 1) * (places - velocity.view(2, 1, 1) * t)).sum(0)
                 for k in ramps]
            )
            for t in range(3)
        ]
    ).unsqueeze(0)  # fmt: skip
    (yy, yx, xx), right = (
        part[0, ..., 10, 10]
        for part in equations(maps, torch.zeros(1, 2, SIDE, SIDE), neighbourhood=1.0)
    )
    both = torch.tensor([[yy, yx], [yx, xx]])
    torch.testing.assert_close(both, torch.tensor([[4.0, 3.0], [3.0, 8.5]]))  # 2 pairs of frames
    torch.testing.assert_close(torch.linalg.solve(both, right), velocity, atol=1e-5, rtol=0)


def test_neighbourhoods_are_gaussian_with_nothing_beyond_the_edges():
    found = smoothed(torch.ones(1, 1, 9, 9), 1.0)
    assert found[0, 0, 4, 4] == pytest.approx(1, abs=1e-6)
    axis = torch.exp(-torch.arange(-3.0, 4.0).square() / 2)
    side = float(axis[3:].sum() / axis.sum())
    assert found[0, 0, 0, 0] == pytest.approx(side**2, rel=1e-5)


def test_training_windows_tell_a_usual_motion_from_motions_that_differ():
    noise = torch.Generator().manual_seed(2)
    same = waves((0.8, -0.6), count=64)
    same = same + 0.7 * torch.randn(same.shape, generator=noise)
    steady = fitted(same)
    assert steady.usual_weight > 0
    usual = steady.usual_motion[INSIDE].mean(dim=(-2, -1))
    torch.testing.assert_close(usual, torch.tensor([[0.8, -0.6]]), atol=0.1, rtol=0)
    every_way = torch.randn(64, 2, generator=noise)
    assert fitted(waves(every_way, count=64)).usual_weight == 0


def test_maps_that_stand_still_or_have_no_gradient_stay_as_they_are():
    model = fitted(waves((0.5, 0.5)))
    constant = torch.full((2, 4, 1, SIDE, SIDE), 3.0)
    torch.testing.assert_close(model.forecast(constant, 3).samples[0], constant[:, :3])
    still = waves((0.0, 0.0), times=4)
    torch.testing.assert_close(
        fitted(waves((0.0, 0.0))).forecast(still, 3).samples[0], still[:, :3], atol=1e-4, rtol=0
    )


def test_noise_is_blended_rather_than_carried():
    noise = torch.randn(64, 7, 1, SIDE, SIDE, generator=torch.Generator().manual_seed(0))
    # Neither map tells the next one. The mean of two draws errs least; sampling smooths one a bit.
    torch.testing.assert_close(fitted(noise).share, torch.full((3, 1), 0.5), atol=0.12, rtol=0)


def scenes(*, seed=0, count=32):
    """Something that moves on the left of a backdrop, whose patterns on the right come and go."""
    frames = torch.where(
        torch.arange(SIDE) < SIDE // 2,
        waves((1.2, 0.8), count=count, seed=seed),
        waves((0.0, 0.0), count=count, seed=seed + 10),
    )
    flicker = waves((0.0, 0.0), times=1, count=7 * count, seed=seed + 99).unflatten(0, (count, 7))
    flicker[..., : SIDE // 2] = 0
    return frames + 0.3 * flicker[:, :, 0]


def test_what_changes_without_moving_is_copied_beside_what_moves():
    model = fitted(scenes())
    assert model.selective
    steady = waves((1.2, 0.8), count=32)  # which grain hides: one pair of maps tells little
    grain = torch.randn(steady.shape, generator=torch.Generator().manual_seed(0))
    assert not fitted(steady + grain).selective
    new = scenes(seed=1)

    left, right = (..., slice(8, -8), slice(4, SIDE // 2 - 4)), (..., slice(SIDE // 2 + 4, None))

    def error(forecast):
        squares = (forecast - new[:, 4:]).square()
        return squares[left].mean(), squares[right].mean()

    copied = error(new[:, 3:4])
    found = error(model.forecast(new[:, :4], 3).samples[0])
    model.selective.zero_()
    carried = error(model.forecast(new[:, :4], 3).samples[0])
    assert found[0] < 0.1 * copied[0]
    assert copied[1] < found[1] < 0.95 * carried[1]


def test_a_motion_is_trusted_as_far_as_that_of_earlier_maps_told_the_last_one():
    model = fitted(waves((1.2, 0.8)))
    seen = waves((1.2, 0.8), times=4, seed=1)
    told = waves((1.2, 0.8), times=4, seed=1)[:, 3] - seen[:, 2]
    still = seen.clone()
    still[:, 3] = seen[:, 2]  # stands still at once
    half = seen.clone()
    half[:, 3] = seen[:, 2] + 0.5 * told
    grainy = seen.clone()
    grainy[:, 3] += 0.5 * torch.randn(told.shape, generator=torch.Generator().manual_seed(0))
    for maps, expected in ((seen, 1.0), (still, 0.0), (half, 0.5), (grainy, 1.0)):
        trust = model.trust(maps)
        assert trust.shape == (8, 1, 1, SIDE, SIDE)
        assert trust[INSIDE].mean() == pytest.approx(expected, abs=0.05)
    assert not model.trust(seen[:, :1].expand(-1, 4, -1, -1, -1)).any()


def test_two_maps_leave_nothing_to_judge_a_motion_by():
    spec = replace(SPEC, context=2)
    model = fitted(scenes()[:, :5], spec)
    assert not model.selective
    assert model.forecast(scenes(seed=1)[:, :2], 3).samples.isfinite().all()


def test_a_forecast_does_not_depend_on_its_batch_or_on_the_scale_of_a_channel():
    frames = waves((0.7, -1.3))
    model, seen = fitted(frames), waves((0.7, -1.3), times=4, seed=1)
    whole = model.forecast(seen, 3).samples[0]
    alone = torch.cat([model.forecast(one, 3).samples[0] for one in seen.split(1)])
    torch.testing.assert_close(whole, alone, atol=1e-4, rtol=0)
    larger = fitted(1e3 * frames).forecast(1e3 * seen, 3).samples[0]
    torch.testing.assert_close(whole, larger / 1e3, atol=1e-3, rtol=0)


def test_a_damped_anomaly_moves_and_decays_around_the_climatology():
    frames = 10 + waves((0.8, -0.6), count=256, decay=0.8)
    model = DampedPersistence(SPEC, carried=True)
    assert model.minimum_context == 2
    assert not model.takes_gaps  # a map that is filled in would look like one that stands still
    assert DampedPersistence(SPEC).takes_gaps
    with pytest.raises(InputError, match="not fitted"):
        model.forecast(frames[:, :4], 3)
    model.fit_statistics([Batch.of(frames, 4)])
    inside = model.damping[INSIDE].mean(dim=(1, 2, 3))
    torch.testing.assert_close(inside, 0.8 ** torch.arange(1.0, 4.0), atol=0.06, rtol=0)
    new = 10 + waves((0.8, -0.6), seed=1, decay=0.8)
    forecast = model.forecast(new[:, :4], 3).samples[0]
    still = DampedPersistence(SPEC)
    still.fit_statistics([Batch.of(frames, 4)])
    assert error(forecast, new[:, 4:]) < 0.5 * error(
        still.forecast(new[:, :4], 3).samples[0], new[:, 4:]
    )


def test_unknown_values_neither_count_nor_spread():
    frames = waves((0.8, -0.6), count=16)
    mask = torch.ones_like(frames, dtype=torch.bool)
    mask[..., :4] = False
    hidden = frames.masked_fill(~mask, torch.nan)
    model = fitted(frames)
    masked = LagrangianPersistence(SPEC)
    masked.fit_statistics([Batch.of(hidden, 4, mask=mask)])
    assert torch.isfinite(masked.share).all()
    assert masked.scale == pytest.approx(float(frames[:, :4, ..., 4:].std()), rel=1e-3)
    context = Frames.context_of(hidden[:, :4], SPEC.channels, mask=mask[:, :4])
    found = masked.forecast(context, 3).samples[0]
    assert torch.isfinite(found[..., 4:]).all()
    plain = model.forecast(frames[:, :4], 3).samples[0]
    assert error(found[..., 12:], plain[..., 12:]) < 0.1


@pytest.mark.parametrize("space", [(64,), (4, 64)])
def test_frames_that_are_no_maps_are_refused(space):
    with pytest.raises(InputError, match="at least 8×8 points"):
        LagrangianPersistence(replace(SPEC, space=space))


def test_its_training_windows_are_read_several_times_and_must_exist():
    with pytest.raises(InputError, match="read once"):
        LagrangianPersistence(SPEC).fit_statistics(iter([]))
    with pytest.raises(InputError, match="got none"):
        LagrangianPersistence(SPEC).fit_statistics([])
    with pytest.raises(InputError, match="not fitted"):
        LagrangianPersistence(SPEC).forecast(waves((0.0, 0.0), times=4), 1)
    with pytest.raises(InputError, match="at least 2 frame"):
        fitted(waves((0.0, 0.0))).forecast(waves((0.0, 0.0), times=1), 1)


def test_it_beats_persistence_on_maps_that_move_each_their_own_way():
    ways = torch.randn(32, 2, generator=torch.Generator().manual_seed(3))
    model, frames = fitted(waves(ways, count=32)), waves(ways, count=32, seed=5)
    found = error(model.forecast(frames[:, :4], 3).samples[0], frames[:, 4:])
    assert found < 0.5 * error(
        Persistence(SPEC).forecast(frames[:, :4], 3).samples[0], frames[:, 4:]
    )

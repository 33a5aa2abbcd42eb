"""Euler steps: their order, the clock of frames and noise, and the frames in between."""

import math
from itertools import pairwise

import pytest
import torch
from helpers.seeds import seeded
from helpers.small_srvp import frames, small

from statecast.errors import InputError

NOISE = 3


class Decay(torch.nn.Module):
    """dy/dt = z − y, z padded to the size of y; keeps the noise that it was called with."""

    def __init__(self):
        super().__init__()
        self.seen = []

    def forward(self, joined):
        latent, noise = joined[..., :-NOISE], joined[..., -NOISE:]
        self.seen.append(noise.clone())
        return torch.nn.functional.pad(noise, (0, latent.shape[-1] - NOISE)) - latent


def decaying():
    model = small().double().requires_grad_(False)
    model.transition.velocity = Decay()
    state = model.observe(frames(length=4).double(), generator=seeded(7))
    model.transition.velocity.seen.clear()
    return model, state


def exact(state, noise, times):
    """Solution of dy/dt = z − y with z constant in each frame interval."""
    latent, now, found = state.latent, 0, []
    for time in times:
        while now < math.floor(time):
            forced = torch.nn.functional.pad(noise[:, :, now], (0, 2))
            latent, now = forced + (latent - forced) * math.exp(-1), now + 1
        part = time - now
        forced = torch.nn.functional.pad(noise[:, :, min(now, noise.shape[2] - 1)], (0, 2))
        found.append(forced + (latent - forced) * math.exp(-part))
    return torch.stack(found, dim=2)


def test_with_fixed_noise_euler_converges_to_the_exact_solution_at_first_order():
    model, state = decaying()
    noise = torch.randn(1, 3, 4, NOISE, generator=seeded(7), dtype=torch.float64)
    times = torch.tensor([0.5, 1.0, 2.0, 3.5])
    solution = exact(state, noise, times.tolist())
    errors = [
        float((model.advance(state, times, substeps=n, noise=noise) - solution).norm())
        for n in (8, 16, 32, 64, 128)
    ]
    orders = [math.log2(coarse / fine) for coarse, fine in pairwise(errors)]
    assert orders[-1] == pytest.approx(1, abs=0.02)
    assert all(order == pytest.approx(1, abs=0.1) for order in orders)


@pytest.mark.parametrize("substeps", [3, 5, 6, 7, 10, 11, 49, 93])
def test_noise_changes_at_whole_times_and_only_there(substeps):
    model, state = decaying()
    times = torch.arange(1.0, 13.0)
    path = model.advance(state, times, substeps=substeps, generator=seeded(7))
    seen = torch.stack(model.transition.velocity.seen)
    assert len(seen) == 12 * substeps
    by_frame = seen.unflatten(0, (12, substeps))
    assert torch.equal(by_frame, by_frame[:, :1].expand_as(by_frame))
    assert len(torch.unique(by_frame[:, 0].flatten(1), dim=0)) == 12
    # Frames at whole times are those of so many steps, each by itself: (1 − 1/n)ⁿ per frame.
    latent, kept = state.latent, (1 - 1 / substeps) ** substeps
    for frame in range(12):
        forced = torch.nn.functional.pad(by_frame[frame, 0], (0, 2))
        latent = forced + (latent - forced) * kept
        torch.testing.assert_close(path[:, :, frame], latent)


@pytest.mark.parametrize("substeps", [3, 7, 10, 11, 49, 93])
def test_every_step_is_a_frame_where_it_is_asked_for(substeps):
    """Times k/n in float32, which no binary fraction hits, are the steps themselves."""
    model, state = decaying()
    steps = torch.arange(1, 4 * substeps + 1, dtype=torch.float64) / substeps
    path = model.advance(state, steps.float(), substeps=substeps, generator=seeded(7))
    calls = model.transition.velocity.seen
    assert len(calls) == 4 * substeps
    latent = state.latent
    for index, noise in enumerate(calls):
        forced = torch.nn.functional.pad(noise, (0, 2))
        latent = latent + (forced - latent) / substeps
        torch.testing.assert_close(path[:, :, index], latent, atol=1e-9, rtol=0)


def test_half_a_frame_is_the_sub_state_of_two_steps():
    model = small()
    context = frames(length=4)
    state = model.observe(context, generator=seeded(7))
    noise = model.noise_prior(state.latent).draw(seeded(3))
    first = state.latent + 0.5 * model.transition.velocity(torch.cat([state.latent, noise], -1))
    second = first + 0.5 * model.transition.velocity(torch.cat([first, noise], -1))
    path = model.advance(state, torch.tensor([0.5, 1.0]), substeps=2, generator=seeded(3))
    torch.testing.assert_close(path, torch.stack([first, second], dim=2))


def test_given_noise_takes_the_place_of_draws():
    model = small()
    state = model.observe(frames(length=4), generator=seeded(7))
    noise = torch.randn(1, 3, 3, NOISE, generator=seeded(1))
    times = torch.tensor([0.5, 1.0, 3.0])
    one, other = (
        model.advance(state, times, noise=noise, generator=seeded(seed)) for seed in (2, 3)
    )
    assert torch.equal(one, other)
    drawn = model.advance(state, times, generator=seeded(2))
    assert not torch.allclose(one, drawn)
    with pytest.raises(InputError, match=r"3 frame intervals does not reach to time 3\.5"):
        model.advance(state, torch.tensor([3.5]), noise=noise)


def test_the_step_of_a_forecast_leaves_the_conditioning_alone():
    model = small(substeps=2)
    context = frames(length=6)
    coarse, fine = (
        model.advance(
            model.observe(context, generator=(g := seeded(7))), torch.tensor([0.0, 1.0]),
            substeps=n, generator=g,
        )
        for n in (2, 6)
    )  # fmt: skip
    assert torch.equal(coarse[:, :, 0], fine[:, :, 0])
    assert not torch.allclose(coarse[:, :, 1], fine[:, :, 1])

"""SRVP that follows frames as they come, against its answer on all frames at once."""

from dataclasses import replace

import pytest
import torch
from helpers.seeds import seeded
from helpers.small_srvp import frames, small

from statecast.errors import InputError
from statecast.frames import Frames

KEYED = [
    {"renewal": "grid", "renewal_interval": 0.5}, {"renewal": "poisson", "substeps": 2},
    {"renewal": "adaptive", "renewal_threshold": 0.5}, {"noise": "white"},
    {"noise": "coloured"}, {"stochastic": False}, {"noise": "white", "diffusion": "constant",
    "solver": "reversible_heun"},
]  # fmt: skip
TIMES = [0.5, 1.0, 4.0]


def filtered(model, values, **options):
    """The state after frames that come one, two, one, one … at a time."""
    state, start = None, 0
    for end in (1, 3, *range(4, values.shape[1] + 1)):
        given = {} if state is not None else options
        state, start = model.filter(values[:, start:end], state, **given), end
    return state


@pytest.mark.parametrize("options", KEYED)
def test_frames_one_by_one_are_all_at_once(options):
    model, values = small(**options), frames(length=7)
    state = filtered(model, values, samples=3, generator=seeded(7))
    found = model.forecast_from(state, times=TIMES, samples=3).samples
    expected = model.forecast(values, times=TIMES, samples=3, generator=seeded(7)).samples
    torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("gap_input", [False, True])
def test_noise_held_on_frames_follows_the_same_posterior(gap_input):
    model, values = small(gap_input=gap_input), frames(length=7)
    model.posterior.bias.data[3:] = -30  # certain, so that draws do not matter
    state = filtered(model, values, samples=2, generator=seeded(7))
    found = model.forecast_from(state, times=[0.0], samples=2).samples
    expected = model.forecast(values, times=[0.0], samples=2, generator=seeded(7)).samples
    torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-5)


def test_noise_held_on_frames_is_drawn_as_in_a_batch():
    model, values = small(), frames(batch=1, length=6)
    model.posterior.bias.data[3:] = 2.0
    many = 4000
    state = filtered(model, values, samples=many, generator=seeded(7))
    found = state.latent[:, 0]
    expected = model.observe(values, samples=many, generator=seeded(8)).latent[:, 0]
    error = (found.var(0) + expected.var(0)).div(many).sqrt()
    assert bool(((found.mean(0) - expected.mean(0)).abs() < 5 * error).all())
    torch.testing.assert_close(found.std(0), expected.std(0), rtol=0.1, atol=0.01)


@pytest.mark.parametrize("options", [{"noise": "white"}, {"renewal": "grid"}])
def test_a_gap_is_told_by_dt(options):
    model, values = small(gap_input=True, **options), frames(length=8)
    there = [0, 2, 3, 6, 7]
    state = None
    for before, place in zip([-1, *there], there, strict=False):
        state = model.filter(
            values[:, place, None], state, place - before, samples=2, generator=seeded(7)
        )
    context = Frames(
        values=values[:, there], times=torch.tensor(there) - 7.0, channels=("intensity",)
    )
    found = model.forecast_from(state, times=TIMES, samples=2).samples
    expected = model.forecast(context, times=TIMES, samples=2, generator=seeded(7)).samples
    torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("absent", [(0, 1, 4), (3, 6, 7), (0, 3, 7)])
def test_missing_frames_are_marked_or_left_out(absent):
    model, values = small(gap_input=True, noise="white"), frames(length=8)
    mask = torch.ones_like(values, dtype=torch.bool)
    mask[:, list(absent)] = False
    context = Frames(
        values=values.masked_fill(~mask, torch.nan), times=torch.arange(-7.0, 1.0),
        channels=("intensity",), mask=mask,
    )  # fmt: skip
    state = None
    for start, end in ((0, 1), (1, 4), (4, 7), (7, 8)):
        part = replace(
            context, values=context.values[:, start:end], times=context.times[start:end],
            mask=mask[:, start:end],
        )  # fmt: skip
        state = model.filter(part, state, samples=2, generator=seeded())
    found = model.forecast_from(state, times=TIMES, samples=2).samples
    expected = model.forecast(context, times=TIMES, samples=2, generator=seeded()).samples
    torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-5)
    begun = model.filter(replace(context, times=context.times + 3), samples=2, generator=seeded())
    shifted = model.forecast_from(begun, times=TIMES, samples=2).samples
    torch.testing.assert_close(shifted, found, rtol=1e-4, atol=1e-5)


def sizes(state):
    """Sizes of all that a state holds."""
    memory = [part.shape for part in state.memory]
    return [state.encoding.code.shape, state.latent.shape, *memory, state.first]


def test_a_state_stays_as_it_is_and_as_large():
    model, values = small(noise="white"), frames(length=9)
    state = filtered(model, values[:, :5], samples=2, generator=seeded(7))
    ahead = model.forecast_from(state, 2, samples=2).samples
    one, other = (model.filter(values[:, 5:9], state) for _ in range(2))
    assert torch.equal(one.latent, other.latent)
    assert torch.equal(model.forecast_from(state, 2, samples=2).samples, ahead)
    assert sizes(one) == sizes(state)


def test_what_does_not_fit_is_refused():
    model, values = small(), frames(length=5)
    early = model.filter(values[:, :2])
    with pytest.raises(InputError, match="first state from 3 frames"):
        model.forecast_from(early, 2)
    state = model.filter(values, samples=2)
    with pytest.raises(InputError, match="holds 2 samples, got samples=3"):
        model.forecast_from(state, 2, samples=3)
    with pytest.raises(InputError, match="gap_input"):
        model.filter(values[:, :1], state, 2)
    with pytest.raises(InputError, match="has 3 sequence"):
        model.filter(values[:1], state)
    with pytest.raises(InputError, match="at least 1 sample"):
        model.filter(values, samples=0)
    with pytest.raises(
        InputError, match="cannot go back before its last frame, at time 0, got a time of -1"
    ):
        model.forecast_from(state, times=[-1.0], samples=2)
    for nonsense in (None, "state"):
        with pytest.raises(InputError, match=r"must come from `SRVP\.filter`"):
            model.forecast_from(nonsense, 2)
    for gap in (0.0, -1.0, float("inf"), 1e12):
        with pytest.raises(InputError, match="dt must be positive and at most"):
            model.filter(values[:, :1], state, gap)
    with pytest.raises(InputError, match=r"`SRVP\.filter`, got list"):
        model.filter(values[:, :1], [state])
    told = small(gap_input=True)
    mask = torch.ones_like(values, dtype=torch.bool)
    mask[1, 2] = False
    gaps = Frames(
        values=values.masked_fill(~mask, torch.nan), times=torch.arange(-4.0, 1.0),
        channels=("intensity",), mask=mask,
    )  # fmt: skip
    with pytest.raises(InputError, match="exist in every sequence"):
        told.filter(gaps)
    assert told.filter(replace(gaps, values=values, mask=None)).elapsed == 4

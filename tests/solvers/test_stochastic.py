"""Steppers of stochastic equations: given increments, declared orders, moments in closed form."""

import math
from functools import lru_cache

import numpy as np
import pytest
import torch
from helpers.golden import tensors_of

from statecast.errors import InputError
from statecast.solvers.reversible import Pair, reversible_heun
from statecast.solvers.stochastic import STOCHASTIC_STEPPERS, StochasticEquation

PROBLEMS = {  # drift, diffusion, its derivative, structure
    "ou": (lambda y: -1.3 * (y - 0.4), lambda y: 0.7 + 0 * y, lambda y: 0 * y, "additive"),
    "gbm": (lambda y: 0.6 * y, lambda y: 0.5 * y, lambda y: 0.5 + 0 * y, "diagonal"),
    "sine": (
        torch.sin,
        lambda y: 0.6 + 0.4 * torch.cos(y),
        lambda y: -0.4 * torch.sin(y),
        "diagonal",
    ),
}
NAMES = {
    "euler_maruyama": "euler_maruyama",
    "milstein": "milstein_ito",
    "milstein_stratonovich": "milstein_stratonovich",
    "heun": "heun",
    "midpoint": "midpoint",
    "srk": "srk",
    "reversible_heun": "reversible_heun",
}


def equation_of(problem, calculus):
    """The Itô equation of a problem, or its equivalent in Stratonovich's reading."""
    drift, scale, slope, structure = PROBLEMS[problem]
    if calculus == "stratonovich":
        ito = drift

        def drift(y):
            return ito(y) - 0.5 * scale(y) * slope(y)

    return StochasticEquation(
        drift=drift, diffusion=lambda y, dw: scale(y) * dw, structure=structure
    )


@torch.no_grad()
def solve(name, problem, start, increments, integrals=None, horizon=1.0):
    length, state = horizon / len(increments), start
    if name == "reversible_heun":
        equation, pair = equation_of(problem, "stratonovich"), Pair(start, start)
        for dw in increments:
            pair = reversible_heun(lambda y, dw=dw: equation.increment(y, length, dw), pair)
        return pair.state
    stepper = STOCHASTIC_STEPPERS[name]
    equation = equation_of(problem, stepper.calculus[0])
    for index, dw in enumerate(increments):
        u = None if integrals is None else integrals[index]
        state = stepper.step(equation, state, length, dw, u)
    return state


@pytest.mark.parametrize("problem", PROBLEMS)
@pytest.mark.parametrize("name", NAMES)
def test_given_increments_lead_to_the_golden_states(name, problem):
    expected = tensors_of("continuous_time", "schemes")
    fine = expected["increments"]
    start = expected[f"{problem}/start"].expand(4)
    for row, steps in enumerate(expected["steps"].tolist()):
        coarse = fine.unflatten(0, (steps, -1)).sum(dim=1)
        found = solve(name, problem, start, coarse, expected[f"space_time_integral_{steps}"])
        torch.testing.assert_close(
            found, expected[f"{problem}/{NAMES[name]}"][row], atol=1e-12, rtol=1e-12
        )


@lru_cache
def fine_path(problem):
    """Increments and their integrals on 512 steps of 4000 paths, and where they lead."""
    generator, steps = torch.Generator().manual_seed(3), 512
    fine, spare = torch.randn(2, steps, 4000, generator=generator, dtype=torch.float64)
    fine = fine / steps**0.5
    areas = (fine / 2 + spare / math.sqrt(12) / steps**0.5) / steps
    start = tensors_of("continuous_time", "schemes")[f"{problem}/start"].expand(4000)
    if problem == "gbm":
        return start, fine, areas, start * torch.exp((0.6 - 0.125) + 0.5 * fine.sum(dim=0))
    return start, fine, areas, solve("srk", problem, start, fine, areas)


def fitted_order(name, problem):
    """Slope of the strong error over 8 … 128 steps."""
    start, fine, areas, exact = fine_path(problem)
    errors, counts = [], [8, 16, 32, 64, 128]
    for steps in counts:
        parts = fine.unflatten(0, (steps, -1))
        before = parts.cumsum(dim=1) - parts  # of each fine step, since its coarse step began
        integral = areas.unflatten(0, (steps, -1)).sum(dim=1) + before.sum(dim=1) / len(fine)
        found = solve(name, problem, start, parts.sum(dim=1), integral)
        errors.append(float((found - exact).square().mean().sqrt()))
    return -np.polyfit(np.log(counts), np.log(errors), 1)[0]


@pytest.mark.parametrize("problem", ["ou", "gbm"])
@pytest.mark.parametrize("name", STOCHASTIC_STEPPERS)
def test_the_strong_error_shrinks_at_the_declared_order(name, problem):
    order = STOCHASTIC_STEPPERS[name].orders[PROBLEMS[problem][3]]
    if name == "srk" and problem == "ou":
        order = 2  # the drift is linear, so that the term of order 1.5 vanishes
    measured = fitted_order(name, problem)
    assert measured == pytest.approx(order, abs=0.15 if name == "euler_maruyama" else 0.1)
    label = f"{problem}/{NAMES[name]}/strong_slope"
    assert measured == pytest.approx(
        float(tensors_of("continuous_time", "orders")[label]), abs=0.05
    )


@pytest.mark.parametrize("steps", [1, 4, 16])
def test_euler_steps_have_the_moments_of_their_chain(steps):
    expected = tensors_of("continuous_time", "moments")
    theta, mu, sigma = (float(expected[f"ou/{name}"]) for name in ("theta", "mu", "sigma"))
    generator = torch.Generator().manual_seed(5)
    equation = StochasticEquation(
        drift=lambda y: -theta * (y - mu), diffusion=lambda y, dw: sigma * dw, structure="additive"
    )
    state = torch.full((40_000,), float(expected["ou/start"]), dtype=torch.float64)
    stepper = STOCHASTIC_STEPPERS["euler_maruyama"]
    for _ in range(2 * steps):  # to time 2, the fourth of the golden times
        dw = torch.randn(state.shape, generator=generator, dtype=torch.float64) / steps**0.5
        state = stepper.step(equation, state, 1 / steps, dw)
    mean = float(expected[f"ou/euler_{steps}_per_unit_mean"][3])
    variance = float(expected[f"ou/euler_{steps}_per_unit_variance"][3])
    assert float(state.mean()) == pytest.approx(mean, abs=4 * (variance / 40_000) ** 0.5)
    assert float(state.var()) == pytest.approx(variance, rel=4 * (2 / 40_000) ** 0.5)


def test_a_method_refuses_noise_that_it_does_not_take():
    equation = StochasticEquation(drift=torch.sin, diffusion=lambda y, dw: dw.flip(0))
    state = torch.ones(2)
    for name in ("milstein", "srk"):
        with pytest.raises(InputError, match="supports additive or diagonal noise"):
            STOCHASTIC_STEPPERS[name].step(equation, state, 0.1, state)
    with pytest.raises(InputError, match="needs the integral U"):
        solve("srk", "ou", torch.ones(1), torch.ones(2, 1))

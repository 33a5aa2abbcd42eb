"""Kinds of noise by themselves: closed-form moments and divergences, golden values."""

import itertools
import math

import numpy as np
import pytest
import torch
from helpers.golden import tensors_of
from torch.distributions import Normal, kl_divergence

from statecast.nn.diffusive_noise import ColouredNoise, WhiteNoise
from statecast.nn.gaussian import DiagonalGaussian
from statecast.nn.held_noise import PoissonNoise
from statecast.nn.noise_model import Dynamics, Steps, path_divergence, rate_divergence
from statecast.nn.transitions import ResidualTransition
from statecast.solvers.counters import numbers
from statecast.solvers.interval_noise import (
    Constant,
    Interval,
    IntervalNoise,
    follow,
    grid_renewals,
    poisson_times,
)
from statecast.solvers.solvers import Solver

UNIT = math.log(math.e - 1)  # softplus of it is 1


def keys(frame, rows):
    return (numbers(1, rows) * np.uint64(0x9E3779B97F4A7C15) + np.uint64(frame << 40))[None]


def roll_out(model, dynamics, state, frames, solver):
    """States at whole frames, of many rows without evidence."""
    found = [state]
    for frame in range(frames):
        interval = Interval(keys(frame, state.shape[1]), frame, None)
        found.append(follow(model.interval(interval, dynamics), solver, found[-1], [1.0])[0])
    return found


def unit_prior(size):
    """Prior parameters of a standard normal distribution, and of a rate in the middle."""

    def prior(latent):
        parameters = latent.new_zeros(*latent.shape[:-1], size)
        parameters[..., 1] = UNIT
        return parameters

    return prior


@pytest.mark.parametrize("rate", [0.5, 2.0, 8.0])
def test_noise_held_between_poisson_renewals_has_the_variance_of_the_closed_form(rate):
    expected, rows = tensors_of("continuous_time", "jumps"), 6000
    theta = float(expected["theta"])
    model = PoissonNoise(1, 1, rate=rate, largest=2 * rate)
    dynamics = Dynamics(lambda z: [lambda y: z - theta * y], unit_prior(3), lambda s: s)
    start = torch.zeros(1, rows, 2, dtype=torch.float64)
    states = roll_out(model, dynamics, start, 3, Solver(name="rk4", substeps=2))
    row = expected["rates"].tolist().index(rate)
    for column, frame in ((1, 1), (2, 3)):  # times 1 and 3
        variance = float(expected["variance_unit_noise"][row, column])
        found = states[frame][0, :, 0]
        assert float(found.mean()) == pytest.approx(0, abs=4 * (variance / rows) ** 0.5)
        assert float(found.var()) == pytest.approx(variance, rel=4.5 * (2 / rows) ** 0.5)


def test_thinned_renewals_have_the_rate_of_the_state_they_pass():
    rows = 20_000
    model = PoissonNoise(1, 1, rate=1.0, largest=4.0)

    def prior(latent):  # λ(y) = 4 σ(2 y − 1), along y = t
        parameters = unit_prior(3)(latent)
        parameters[..., 2] = 2 * latent[..., 0] - 1 - model.offset
        return parameters

    dynamics = Dynamics(lambda z: [torch.ones_like], prior, lambda s: s)
    state = torch.zeros(1, rows, 2, dtype=torch.float64)
    interval = Interval(keys(0, rows), 0, None)
    # One long step: thinning cuts it wherever a renewal may be.
    times = [1e-4, 0.5, 1.0]
    start, middle, end = follow(model.interval(interval, dynamics), Solver(), state, times)
    for time, found in ((0.5, middle), (1.0, end)):
        compensator = 2 * (math.log1p(math.exp(2 * time - 1)) - math.log1p(math.exp(-1)))
        chance = math.exp(-compensator)
        kept = float((found[..., 1] == start[..., 1]).double().mean())
        assert kept == pytest.approx(chance, abs=4.5 * (chance * (1 - chance) / rows) ** 0.5)


def test_times_of_a_poisson_process_compound_to_the_golden_moments():
    expected, rows = tensors_of("continuous_time", "jumps"), 40_000
    rate, theta = float(expected["jump_rate"]), float(expected["theta"])
    generator = torch.Generator().manual_seed(2)
    times = torch.from_numpy(poisson_times(numbers(1, rows), rate))
    marks = torch.randn(times.shape, generator=generator, dtype=torch.float64)
    marks = float(expected["jump_mean"]) + float(expected["jump_std"]) * marks
    decayed = torch.where(times < 1, marks * torch.exp(-theta * (1 - times)), 0.0).sum(dim=-1)
    found = decayed + float(expected["jump_start"]) * math.exp(-theta)
    mean, variance = (float(expected[f"jump_ou_{name}"][1]) for name in ("mean", "variance"))
    assert float(found.mean()) == pytest.approx(mean, abs=4 * (variance / rows) ** 0.5)
    assert float(found.var()) == pytest.approx(variance, rel=0.05)


def test_divergences_of_poisson_processes_are_golden():
    expected = tensors_of("continuous_time", "jumps")
    posterior, prior = expected["rate_posterior"], expected["rate_prior"]
    found = 6 * rate_divergence(posterior, prior)
    torch.testing.assert_close(found, expected["poisson_kl"], rtol=1e-12, atol=0)
    one, other = (
        DiagonalGaussian(*expected[f"mark_{name}"].unsqueeze(-1)) for name in ("posterior", "prior")
    )
    marked = found + 6 * posterior * one.divergence(other)
    torch.testing.assert_close(marked, expected["marked_poisson_kl"], rtol=1e-9, atol=0)
    # Events of a rate that varies: Σ ln λ(tᵢ) − ∫ λ.
    events = expected["rescaling_event_times"]
    inside = events[events < float(expected["rescaling_horizon"])]
    rate = 0.5 + 0.4 * torch.sin(2 * inside) + 0.3 * inside
    likelihood = rate.log().sum() - expected["rescaling_compensator"]
    torch.testing.assert_close(likelihood, expected["rescaling_log_likelihood"], rtol=1e-9, atol=0)


def girsanov():
    """White noise with the golden posterior as its velocity and the prior's drift beside it."""
    expected = tensors_of("continuous_time", "girsanov")
    (theta_q, mu_q), (theta_p, mu_p) = expected["posterior"], expected["prior"]
    sigma = float(expected["sigma"])
    model = WhiteNoise(1, 1, diffusion="state", smallest=1e-12).double().requires_grad_(False)
    torch.nn.init.ones_(model.mixing.weight)
    raw = math.log(math.expm1(sigma))

    def drift(y):
        return -theta_q * (y - mu_q)

    def prior(y):  # whose drift is that of the prior less that of the posterior
        return torch.cat([-theta_p * (y - mu_p) - drift(y), torch.full_like(y, raw)], dim=-1)

    return expected, model, Dynamics(lambda z: [drift], prior, lambda s: s)


def test_the_divergence_of_white_noise_is_girsanovs_on_given_increments():
    expected, model, dynamics = girsanov()
    increments = expected["estimate_increments"]
    steps, length = len(increments), float(expected["horizon"]) / len(increments)
    evidence = torch.zeros(5, 1, 1, dtype=torch.float64)
    interval = Interval(keys(0, 5), 0, evidence[:, 0])
    state, path = expected["estimate_start"][None, :, None], []
    for index in range(steps):
        path.append(state)
        slope = increments[index][None, :, None] / length
        state = state + length * model.velocity(state, slope, interval, dynamics)
    torch.testing.assert_close(state[0, :, 0], expected["estimate_end"], atol=1e-10, rtol=0)
    every = Steps(torch.stack(path, dim=2), [length] * steps, [0.0] * steps, [0] * steps)
    found = model.divergence(every, evidence, dynamics)
    torch.testing.assert_close(
        found[0, :, 0].double(), expected["estimate_half_square"], atol=1e-9, rtol=0
    )


def test_the_divergence_of_white_noise_is_that_of_its_euler_chain_in_the_mean():
    expected, model, dynamics = girsanov()
    rows, substeps = 20_000, 4
    generator = torch.Generator().manual_seed(4)
    start = torch.randn(1, rows, 1, generator=generator, dtype=torch.float64)
    state = expected["initial_mean"] + expected["initial_variance"].sqrt() * start
    evidence = torch.zeros(rows, 2, 1, dtype=torch.float64)
    ends, total, path = [[0.25, 0.5, 0.75, 1.0]] * 2, 0.0, [state]
    for frame in range(2):
        interval = Interval(keys(frame, rows), frame, evidence[:, frame])
        noise = model.interval(interval, dynamics)
        path += follow(noise, Solver(substeps=substeps), path[-1], ends[frame])
    found = model.divergence(Steps.of(torch.stack(path[:-1], dim=2), ends), evidence, dynamics)
    total = found.double().sum(dim=-1)
    chain = float(expected["euler_chain_kl"][3])  # of 8 steps
    assert float(total.mean()) == pytest.approx(chain, abs=4 * float(total.std()) / rows**0.5)


def test_another_variance_would_make_the_divergence_grow_with_the_steps():
    expected = tensors_of("continuous_time", "girsanov")
    ratio, steps = expected["variance_ratio"], expected["steps"]
    one = DiagonalGaussian(torch.zeros(3, 1), ratio.sqrt().unsqueeze(-1))
    each = one.divergence(DiagonalGaussian(torch.zeros(3, 1), torch.ones(3, 1))).double()
    torch.testing.assert_close(
        each.unsqueeze(-1) * steps, expected["divergence_by_ratio_and_steps"], rtol=1e-6, atol=1e-6
    )


def test_coloured_noise_is_stationary_with_its_correlation_time():
    rows, time = 20_000, 0.8
    model = ColouredNoise(1, 1, time=time, smallest=1e-12)
    dynamics = Dynamics(lambda z: [torch.zeros_like], unit_prior(2), lambda s: s)
    start = torch.zeros(1, rows, 2, dtype=torch.float64)
    solver = Solver(name="heun", substeps=8)
    _, *states = roll_out(model, dynamics, start, 3, solver)
    values = torch.stack([state[0, :, 1] for state in states])
    covariance = np.cov(values)
    for i in range(3):
        for j in range(3):
            expected = math.exp(-abs(i - j) / time)
            assert covariance[i, j] == pytest.approx(expected, abs=4.5 * (2 / rows) ** 0.5)


def test_the_divergence_of_coloured_noise_is_that_of_its_euler_chain():
    generator = torch.Generator().manual_seed(6)

    def parameters(*shape):
        return torch.randn(*shape, generator=generator, dtype=torch.float64)

    model, length = ColouredNoise(2, 3, time=1.7, smallest=0.01), 0.25
    raw = parameters(1, 4, 1, 6)
    dynamics = Dynamics(
        lambda z: [torch.zeros_like], lambda y: raw.expand(1, 4, y.shape[2], 6), lambda s: s
    )
    evidence = parameters(4, 1, 6)
    steps = Steps(parameters(1, 4, 4, 2), [length] * 4, [0, 0.25, 0.5, 0.75], [0] * 4)
    found = model.divergence(steps, evidence, dynamics)[0, :, 0]
    prior, posterior = model.gaussian(raw[0, :, 0]), model.gaussian(evidence[:, 0])
    first = kl_divergence(Normal(*posterior), Normal(*prior)).sum(dim=-1)
    std = prior.std * (2 * length / 1.7) ** 0.5
    chain = kl_divergence(
        Normal(length / 1.7 * posterior.mean, std), Normal(length / 1.7 * prior.mean, std)
    ).sum(dim=-1)
    torch.testing.assert_close(found, first + 4 * chain)


def test_path_divergence_of_equal_means_is_nothing():
    prior = DiagonalGaussian(torch.tensor([1.0, 2.0]), torch.tensor([0.5, 0.1]))
    assert float(path_divergence(prior.mean, prior)) == 0


# Noise that is given, against golden paths: the frame clock and another.


class Given(IntervalNoise):
    """Noise given on an interval, renewed at given times."""

    def __init__(self, parts, times, noise):
        self.parts, self.renewals, self.noise = parts, times, noise

    def piece(self, solver, state, start, end):
        index = max(i for i, time in enumerate(self.renewals) if time <= start + 1e-9)
        return Constant(self.parts(self.noise[index])).piece(solver, state, start, end)


def golden_transition():
    expected = tensors_of("continuous_time", "piecewise_noise")
    transition = ResidualTransition(4, 3, hidden=6, layers=2).double()
    linear = torch.nn.Linear(7, 6).double(), torch.nn.Linear(6, 4).double()
    for layer, number in zip(linear, "12", strict=True):
        layer.weight.data, layer.bias.data = expected[f"W{number}"], expected[f"b{number}"]
    transition.velocity = torch.nn.Sequential(linear[0], torch.nn.Tanh(), linear[1])
    return expected, transition.requires_grad_(False)


@pytest.mark.parametrize("substeps", [1, 2, 3, 5, 7])
def test_noise_on_frames_gives_the_golden_states_and_increments(substeps):
    expected, transition = golden_transition()
    state, norms = expected["start"], 0.0
    ends = [(index + 1) / substeps for index in range(substeps)]
    for frame, noise in enumerate(expected["noise"]):
        solver = Solver(substeps=substeps)
        path = transition.step(state, noise, solver=solver, fractions=ends)
        norms += float(torch.stack([state, *path]).diff(dim=0).norm(dim=-1).sum())
        state = path[-1]
        wanted = expected[f"frame_clock_euler_{substeps}"][frame + 1]
        torch.testing.assert_close(state, wanted, atol=1e-12, rtol=0)
    wanted = expected[f"frame_clock_euler_{substeps}_residual_norms"]
    assert norms == pytest.approx(float(wanted), abs=1e-10)


def asynchronous(expected, parts, noise, start, solver, cuts=()):
    """States at the golden times, frame by frame, with noise renewed at the golden times."""
    changes = expected["asynchronous_change_times"].tolist()
    found, state = [start], start
    for frame in range(5):
        times = [0.0, *(t - frame for t in changes if frame < t < frame + 1)]
        times += [t - frame for t in cuts if frame < t < frame + 1 and t not in changes]
        times.sort()
        values = [noise[max(i for i, t in enumerate(changes) if t <= frame + at + 1e-9)]
                  for at in times]  # fmt: skip
        asked = [t for t in expected["asynchronous_times"].tolist() if frame < t <= frame + 1]
        states = follow(Given(parts, times, values), solver, state, [t - frame for t in [*asked]])
        found += states
        state = states[-1]
    return torch.stack(found)


def test_noise_on_another_clock_gives_the_golden_states():
    expected, transition = golden_transition()
    arguments = expected, transition.parts, expected["asynchronous_noise"], expected["start"]
    exact = asynchronous(*arguments, Solver(name="rk4", substeps=64))
    torch.testing.assert_close(exact, expected["asynchronous_exact"], atol=1e-8, rtol=0)
    cuts = expected["asynchronous_times"].tolist()
    euler = asynchronous(*arguments, Solver(), cuts)
    wanted = expected["asynchronous_euler_one_step_per_piece"]
    torch.testing.assert_close(euler, wanted, atol=1e-12, rtol=0)
    a, b = expected["linear_A"], expected["linear_B"]

    def linear(z):
        return [lambda y: y @ a.T + z @ b.T]

    found = asynchronous(
        expected, linear, expected["linear_noise"], expected["linear_start"],
        Solver(name="rk4", substeps=64),
    )  # fmt: skip
    torch.testing.assert_close(found, expected["linear_exact"], atol=1e-8, rtol=0)


def test_steps_that_straddle_a_renewal_would_be_of_first_order():
    expected, transition = golden_transition()
    arguments = expected, transition.parts, expected["asynchronous_noise"], expected["start"]
    exact = expected["asynchronous_exact"]
    errors = [
        float((asynchronous(*arguments, Solver(name="heun", substeps=n)) - exact).norm())
        for n in (8, 16, 32)
    ]
    for coarse, fine in itertools.pairwise(errors):
        assert math.log2(coarse / fine) == pytest.approx(2, abs=0.2)


def test_a_grid_counts_its_ticks_in_whole_numbers():
    for period in (0.1, 1 / 3, 0.4, 1.0, 2.5, 7.0):
        ticks = [frame + time for frame in range(30) for time in grid_renewals(period, frame)]
        expected = [k * period for k in range(1000) if k * period < 30 - 1e-5]
        assert ticks == pytest.approx(expected)

"""Any solver in both models: declared orders on and off the frame grid, exact solutions."""

import importlib.util
import math
import subprocess
import sys

import pytest
import torch
from helpers.seeds import seeded

from statecast.errors import ConvergenceError, InputError, MissingExtraError
from statecast.frames import Batch, FrameSpec
from statecast.models.baselines import Persistence
from statecast.models.separable import Separable
from statecast.models.srvp import SRVP
from statecast.solvers.solvers import ODE_SOLVERS, SOLVERS, Solver

SPEC = FrameSpec(channels=("amplitude",), space=(9,), context=3, horizon=4, value_range=(0.0, 1.0))
FIXED = [name for name in SOLVERS if name != "dopri5"]


class Smooth(torch.nn.Module):
    """A velocity with all derivatives; what is beyond the latent is noise."""

    def __init__(self, inputs, outputs, seed):
        super().__init__()
        weights = torch.randn(outputs, inputs, generator=seeded(seed))
        self.weights = torch.nn.Parameter(0.35 * weights)

    def forward(self, y):
        return torch.tanh(y @ self.weights.T)


def awake(model, *codecs):
    """The model with codecs whose outputs differ; the published weights begin near 0."""
    with torch.no_grad():
        for parameter in (p for codec in codecs for p in codec.parameters()):
            parameter.mul_(15)
    return model.double()


def separable(**options):
    defaults = {"architecture": "mlp", "encoder_width": 8, "decoder_width": 8, "content_size": 4,
                "latent_size": 4, "dynamics_hidden": 8, "dynamics_blocks": 2}  # fmt: skip
    model = Separable(SPEC, **(defaults | options), generator=seeded(0))
    model.dynamics_blocks = torch.nn.ModuleList(
        Smooth(4, 4, i) for i in range(len(model.dynamics_blocks))
    )
    return awake(model, model.dynamics_encoder, model.content_encoder, model.decoder)


def srvp(**options):
    defaults = {"architecture": "mlp", "width": 8, "code_size": 5, "latent_size": 4,
                "noise_size": 3, "inference_hidden": 6, "content_size": 6,
                "transition_hidden": 8}  # fmt: skip
    model = SRVP(SPEC, **(defaults | options), generator=seeded(0))
    model.transition.velocity = Smooth(7, 4, 1)
    return awake(model, model.encoder, model.decoder)


def frames(length=3, batch=2):
    return torch.rand(batch, length, 1, 9, generator=seeded(1)).double()


def advanced(model, times, **options):
    state = model.observe(frames(), generator=seeded(7))
    found = model.advance(state, torch.tensor(times), generator=seeded(3), **options)
    return found[..., : model.latent_width].detach()  # without the shadow of reversible_heun


@pytest.mark.parametrize("times", [[2.0], [0.37, 1.81]], ids=["frames", "between"])
@pytest.mark.parametrize("make", [separable, srvp])
@pytest.mark.parametrize("name", FIXED)
def test_error_shrinks_at_the_declared_order(make, name, times):
    model = make(relative_tolerance=1e-10, absolute_tolerance=1e-11)
    if name not in model.solvers:
        pytest.skip("residual blocks are of separable")
    exact = advanced(model, times, solver="dopri5")
    errors = [
        float((advanced(model, times, solver=name, substeps=n) - exact).norm()) for n in (4, 16)
    ]
    assert 0.5 * math.log2(errors[0] / errors[1]) == pytest.approx(Solver(name=name).order, abs=0.3)


def test_gradients_pass_the_adaptive_solver_after_a_forecast_loaded_it():
    # The library keeps tensors that are made when it is imported: here, first in a forecast.
    script = """
import torch
from statecast.frames import FrameSpec
from statecast.models.separable import Separable
spec = FrameSpec(channels=("u",), space=(9,), context=3, horizon=3)
model = Separable(spec, architecture="mlp", solver="dopri5").double()
context = torch.rand(2, 3, 1, 9).double()
model.forecast(context, 3)
model.advance(model.observe(context), torch.tensor([1.0, 2.0])).sum().backward()
assert any(weight.grad is not None for weight in model.parameters())
"""
    subprocess.run([sys.executable, "-c", script], check=True)


@pytest.mark.parametrize("make", [separable, srvp])
def test_the_adaptive_solver_meets_its_tolerance(make):
    times = [0.4, 1.0, 1.6]
    exact = advanced(make(), times, solver="rk4", substeps=64)
    errors = []
    for tolerance in (1e-3, 1e-6, 1e-9):
        model = make(relative_tolerance=tolerance, absolute_tolerance=tolerance)
        errors.append(float((advanced(model, times, solver="dopri5") - exact).abs().max()))
    # Tolerances are of one step; errors of several add up.
    assert all(e < 30 * t for e, t in zip(errors, (1e-3, 1e-6, 1e-9), strict=True))
    assert errors[0] > 10 * errors[2]


@pytest.mark.parametrize(("name", "substeps"), [("rk4", 64), ("dopri5", None)])
def test_a_linear_velocity_gives_the_matrix_exponential(name, substeps):
    model = separable(relative_tolerance=1e-9, absolute_tolerance=1e-9)
    parts = [torch.nn.Linear(4, 4, bias=False).double() for _ in range(2)]
    model.dynamics_blocks = torch.nn.ModuleList(parts)
    state = model.observe(frames())
    times = [-1.5, 0.25, 1.0]
    found = model.advance(state, torch.tensor(times), solver=name, substeps=substeps)
    matrix = parts[0].weight + parts[1].weight
    for index, time in enumerate(times):
        expected = state.latent @ torch.linalg.matrix_exp((time + 2) * matrix).T
        torch.testing.assert_close(found[:, :, index], expected, atol=1e-6, rtol=1e-6)


def test_residual_blocks_are_as_published_and_euler_where_there_is_one():
    model = separable(dynamics_blocks=3)
    assert model.solver == "residual"
    latent = model.dynamics_of(frames())
    expected = latent
    for block in model.dynamics_blocks:
        expected = expected + block(expected)
    found = model.path_from(latent, 2)[:, -1]
    assert torch.equal(found, expected)
    model.solver = "euler"
    assert not torch.allclose(model.path_from(latent, 2)[:, -1], expected)
    model.solver = "residual"
    one = separable(dynamics_blocks=1)
    for n in (1, 4):
        pair = [advanced(one, [0.3, 2.0], solver=s, substeps=n) for s in ("residual", "euler")]
        torch.testing.assert_close(*pair, atol=1e-14, rtol=1e-14)


@pytest.mark.parametrize("make", [separable, srvp])
@pytest.mark.parametrize("name", ODE_SOLVERS)
def test_times_asked_for_do_not_change_others(make, name):
    model = make(relative_tolerance=1e-9, absolute_tolerance=1e-9)
    options = {"solver": name} | ({} if name == "dopri5" else {"substeps": 3})
    many = advanced(model, [0.0, 0.2, 1 / 3, 1.0, 1.7, 2.0, 4.1], **options)
    few = advanced(model, [0.0, 1.0, 2.0], **options)
    alone = advanced(model, [4.1], **options)
    torch.testing.assert_close(many[:, :, [0, 3, 5]], few, atol=1e-8, rtol=0)
    torch.testing.assert_close(many[:, :, 6:], alone, atol=1e-8, rtol=0)


class Noise(torch.nn.Module):
    """Velocity that is the noise, padded to the size of the latent: y is linear in a frame."""

    def forward(self, joined):
        return torch.nn.functional.pad(joined[..., 4:], (0, 1))


def test_noise_is_constant_in_a_frame_for_every_solver():
    model = srvp()
    model.transition.velocity = Noise()
    times = [0.0, 0.5, 1.0, 1.25, 2.0]
    found = [advanced(model, times, solver=name) for name in ODE_SOLVERS]
    for other in found[1:]:
        torch.testing.assert_close(other, found[0], atol=1e-9, rtol=0)
    between = found[3]
    torch.testing.assert_close(between[:, :, 1], 0.5 * (between[:, :, 0] + between[:, :, 2]))
    quarter = 0.75 * between[:, :, 2] + 0.25 * between[:, :, 4]
    torch.testing.assert_close(between[:, :, 3], quarter)


@pytest.mark.parametrize(("name", "substeps"), [("midpoint", 1), ("rk4", 2), ("dopri5", 1)])
def test_the_penalty_is_the_norm_of_what_each_step_adds(name, substeps):
    model = srvp(solver=name, substeps=substeps, stochastic=False).eval().float()
    model.transition.velocity = Smooth(4, 4, 1)
    values = frames(length=SPEC.length).float()
    inferred = model.infer(model.encode(values).code, generator=seeded(7))
    grid = [(k + 1) / substeps for k in range(substeps)]
    expected, state = 0.0, inferred.latents[:, :, 0]
    for _ in range(SPEC.length - 1):
        for after in model.step(state, None, solver=model.choose_solver(), fractions=grid):
            expected, state = expected + (after - state).norm(dim=-1), after
    torch.testing.assert_close(state, inferred.latents[:, :, -1])
    loss = model.loss(Batch.of(values, SPEC.context), generator=seeded(7))
    torch.testing.assert_close(loss["residual"], expected.mean())


@pytest.mark.parametrize("make", [separable, srvp])
def test_gradients_go_back_through_every_solver(make):
    gradients = []
    for options in ({"solver": "dopri5"}, {"solver": "rk4", "substeps": 8}):
        model = make(relative_tolerance=1e-6, absolute_tolerance=1e-6, **options)
        model = model.eval().float()
        model.loss(Batch.of(frames(SPEC.length).float(), SPEC.context), generator=seeded(7))[
            "total"
        ].backward()
        gradients.append([p.grad for p in model.parameters()])
    # The penalty of srvp counts steps: a long way in several is longer than the straight one.
    tolerance = 1e-3 if make is separable else 0.05
    for one, other in zip(*gradients, strict=True):
        assert other.norm() > 0
        assert (one - other).norm() <= tolerance * (1e-3 + other.norm())


@pytest.mark.parametrize("make", [separable, srvp])
def test_a_model_trained_with_one_solver_runs_with_another(make):
    model, context = make().float(), frames().float()
    own = model.forecast(context, 5, generator=seeded(7))
    named = model.forecast(context, 5, solver=model.solver, substeps=1, generator=seeded(7))
    assert torch.equal(own.samples, named.samples)
    fine = model.forecast(context, 5, solver="rk4", substeps=4, generator=seeded(7))
    adaptive = model.forecast(context, 5, solver="dopri5", generator=seeded(7))
    torch.testing.assert_close(fine.samples, adaptive.samples, atol=1e-4, rtol=1e-4)
    assert (own.samples - fine.samples).abs().max() > 1e-4


def test_latents_may_have_any_shape():
    state = torch.rand(2, 3, 4, 5, 6, generator=seeded(7)).double()
    for name in SOLVERS:
        solver = Solver(name=name, relative_tolerance=1e-10, absolute_tolerance=1e-10)
        parts = [torch.sin, torch.cos]
        whole = solver.at(parts, state, (0.4, 1.0))
        alone = solver.at(parts, state[1, 2, 3, 4, 5], (0.4, 1.0))
        assert all(found.shape == state.shape for found in whole)
        for found, one in zip(whole, alone, strict=True):
            torch.testing.assert_close(found[1, 2, 3, 4, 5], one, atol=1e-8, rtol=0)


def test_a_solver_that_does_not_get_there_says_so():
    blow_up = Solver(name="dopri5", maximum_steps=10**6)
    with pytest.raises(ConvergenceError, match=r"underflow.*Loosen its tolerances, now 1e-05"):
        blow_up.at([torch.square], torch.full((1,), 10.0), (1.0,))  # is infinite at t = 0.1
    few = Solver(name="dopri5", maximum_steps=2, relative_tolerance=1e-8)
    with pytest.raises(ConvergenceError, match="max_num_steps"):
        few.at([lambda y: torch.sin(50 * y)], torch.ones(1), (1.0,))
    with pytest.raises(ConvergenceError, match="failed within a frame interval"):
        Solver(name="dopri5").at([torch.square], torch.full((1,), torch.nan), (1.0,))


def test_an_error_of_the_velocity_is_not_hidden():
    def wrong(state):
        raise AssertionError("a mistake of its own")

    with pytest.raises(AssertionError, match="mistake of its own"):
        Solver(name="dopri5").at([wrong], torch.ones(1), (1.0,))


def test_without_torchdiffeq_the_extra_is_named(monkeypatch):
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(MissingExtraError, match=r"statecast\[adaptive\]"):
        separable().float().forecast(frames().float(), 2, solver="dopri5")
    separable().float().forecast(frames().float(), 2, solver="rk4")


def test_arguments_that_do_not_fit_are_refused():
    context = frames().float()
    model = separable().float()
    with pytest.raises(InputError, match="got 'leapfrog'"):
        model.forecast(context, 2, solver="leapfrog")
    with pytest.raises(InputError, match="chooses its own steps"):
        model.forecast(context, 2, solver="dopri5", substeps=3)
    with pytest.raises(InputError, match="chooses its own steps"):
        separable(solver="dopri5").forecast(context, 2, substeps=3)
    with pytest.raises(InputError, match="supports the solvers euler"):
        srvp().float().forecast(context, 2, solver="residual")
    with pytest.raises(InputError, match="leave `solver` out"):
        Persistence(SPEC).forecast(context, 2, solver="euler")
    with pytest.raises(InputError, match="Unknown solver 'leapfrog'"):
        Solver(name="leapfrog")
    # Steps of a model's own solver are not asked of an adaptive one.
    srvp(substeps=2).float().forecast(context, 2, solver="dopri5")

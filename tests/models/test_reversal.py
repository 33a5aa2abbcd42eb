"""Time run backwards: to the context and before it, to rounding; gradients without the path."""

from dataclasses import replace

import pytest
import torch
from helpers.seeds import seeded
from helpers.small_srvp import SPEC, frames, small

from statecast.errors import InputError
from statecast.frames import Batch, FrameSpec
from statecast.models.latent_space import infer_and_continue, reverse_latents
from statecast.models.separable import Separable
from statecast.nn.activation_checkpointing import recompute_stages
from statecast.nn.blocks import initialise_normal

HEUN = {"solver": "reversible_heun", "substeps": 2}
KINDS = {
    "held": HEUN,
    "deterministic": HEUN | {"stochastic": False},
    "white": HEUN | {"noise": "white", "diffusion": "constant"},
    "coupling": {"transition": "coupling", "latent_size": 6, "substeps": 3},
    "coupled heun": HEUN | {"transition": "coupling", "latent_size": 6},
}


def separable(**options):
    model = Separable(
        SPEC, architecture="mlp", encoder_width=8, decoder_width=8, content_size=4, latent_size=4,
        dynamics_hidden=8, dynamics_blocks=2, dynamics_gain=0.5, **options, generator=seeded(0),
    )  # fmt: skip
    for codec in (model.dynamics_encoder, model.content_encoder, model.decoder):
        initialise_normal(codec, 0.4, seeded(1))
    return model.eval()


def made(kind):
    if kind == "separable":
        return separable(**HEUN)
    return small(transition_gain=0.5, **KINDS[kind]).eval()


@pytest.mark.parametrize("kind", [*KINDS, "separable"])
class TestEveryKind:
    @pytest.mark.parametrize(("kind_of_number", "limit"), [("double", 1e-10), ("float", 1e-4)])
    def test_forty_steps_and_back_lead_where_they_began(self, kind, kind_of_number, limit):
        model = getattr(made(kind), kind_of_number)()
        # Context and forecast: 3 frames and 17, of 2 steps each.
        latents = infer_and_continue(model, frames(length=4), 17, samples=2, generator=seeded(7))
        back = reverse_latents(model, latents)
        assert float((latents.states[:, :, -1] - latents.states[:, :, 0]).norm()) > 0.1
        width = model.latent_width
        error = (back.states - latents.states)[..., :width].abs().max()
        assert float(error) < limit * max(1.0, float(latents.states.abs().max()))
        assert torch.equal(back.times, latents.times)

    def test_what_lies_before_leads_to_what_was(self, kind):
        model = made(kind).double()
        latents = infer_and_continue(model, frames(length=4), 2, samples=2, generator=seeded(7))
        back = reverse_latents(model, latents, 3, generator=seeded(5))
        assert back.start == latents.start - 3
        assert len(back) == len(latents) + 3
        again = model.reintegrate_latents(back)
        torch.testing.assert_close(again.states, back.states, atol=1e-9, rtol=0)
        width = model.latent_width
        torch.testing.assert_close(
            again.states[:, :, 3:, :width], latents.states[..., :width], atol=1e-9, rtol=0
        )
        assert float((back.states[:, :, 0] - back.states[:, :, 3]).norm()) > 1e-3

    def test_a_forecast_runs_through_the_context_and_before_it(self, kind):
        model = made(kind)
        context = frames(length=4)
        times = [-5.0, -3.0, -1.5, 0.0, 1.0, 2.0]
        found = model.forecast(context, times=times, samples=2, generator=seeded(7))
        assert torch.isfinite(found.samples).all()
        latents = infer_and_continue(model, context, 2, samples=2, generator=seeded(7))
        expected = model.decode_latents(latents, [-3.0, -1.5, 0.0, 1.0, 2.0])
        torch.testing.assert_close(found.samples[:, :, 1:], expected.samples, atol=1e-4, rtol=1e-3)

    def test_gradients_without_the_path_are_those_of_back_propagation(self, kind):
        batch, gradients = Batch.of(frames(), SPEC.context), []
        for without in (False, True):
            model = made(kind)
            recompute_stages(model, without)
            loss = model.loss(batch, generator=seeded(7))["total"]
            gradients.append([loss.detach(), *torch.autograd.grad(loss, list(model.parameters()))])
        assert all(float(g.norm()) > 0 for g in gradients[0])
        for one, other in zip(*gradients, strict=True):
            torch.testing.assert_close(one, other, rtol=1e-4, atol=1e-5 * float(one.abs().max()))


def test_without_the_path_activations_are_not_kept():
    def kept(substeps, without):
        model = small(solver="reversible_heun", substeps=substeps).eval()
        model.recompute = without
        codes = model.encode(frames()).code.detach()
        total = 0

        def count(tensor):
            nonlocal total
            total += tensor.numel()
            return tensor

        with torch.autograd.graph.saved_tensors_hooks(count, lambda tensor: tensor):
            model.infer(codes, generator=seeded(7))
        return total

    assert kept(16, True) == kept(2, True)
    assert kept(16, False) > 3 * kept(2, False)


def test_with_other_noise_the_way_back_leads_elsewhere():
    model = made("held").double()
    latents = infer_and_continue(model, frames(length=4), 5, generator=seeded(7))
    other = infer_and_continue(model, frames(length=4), 5, generator=seeded(8))
    back = reverse_latents(model, replace(latents, noise=other.noise))
    assert float((back.states - latents.states)[:, :, 0].norm()) > 0.01


def test_a_model_trained_with_other_steps_runs_backwards_with_reversible_ones():
    model = separable()
    context = frames(length=4)
    found = model.forecast(context, times=[-6.0, -3.0, 1.0], solver="reversible_heun", substeps=4)
    exact = model.forecast(context, times=[1.0], solver="rk4", substeps=8)
    torch.testing.assert_close(found.samples[:, :, 2:], exact.samples, atol=1e-3, rtol=0)


def test_a_linear_equation_runs_back_along_the_matrix_exponential():
    spec = FrameSpec(channels=("a",), space=(9,), context=3, horizon=4, value_range=(0.0, 1.0))
    model = Separable(spec, architecture="mlp", latent_size=2, content_size=2, generator=seeded(0))
    turn = torch.tensor([[0.0, -0.7], [0.7, 0.0]], dtype=torch.float64)
    layer = torch.nn.Linear(2, 2, bias=False)
    model = model.double()
    layer.weight = torch.nn.Parameter(turn)
    model.dynamics_blocks = torch.nn.ModuleList([layer])
    model.choose_solver()
    with torch.no_grad():
        state = model.observe(frames(length=3).double())
        model.solver, model.substeps = "reversible_heun", 256
        latents = infer_and_continue(model, frames(length=3), 2)
        back = reverse_latents(model, latents, 5)
    expected = state.latent @ torch.linalg.matrix_exp(-5 * turn).T
    torch.testing.assert_close(back.states[:, :, 0, :2], expected, atol=1e-3, rtol=0)


@pytest.mark.parametrize(
    ("options", "solver", "advised"),
    [({}, "euler", True), ({"transition": "gru"}, "euler", False), ({"solver": "rk4"}, "rk4", True),
     ({"renewal": "poisson", "solver": "reversible_heun"}, "reversible_heun", False),
     ({"noise": "white"}, "euler", False)],
)  # fmt: skip
def test_steps_that_cannot_be_undone_are_refused(options, solver, advised):
    model = small(**options)
    latents = infer_and_continue(model, frames(length=4), 2, generator=seeded(7))
    with pytest.raises(InputError, match=f"cannot undo steps of the solver {solver}"):
        reverse_latents(model, latents)
    with pytest.raises(InputError, match="back to time -3 at most") as refused:
        model.forecast(frames(length=4), times=[-5.0, 1.0])
    assert ("Forecast with solver: reversible_heun" in str(refused.value)) == advised


def test_frames_that_do_not_fit_are_refused():
    model = made("held")
    latents = infer_and_continue(model, frames(length=4), 2, generator=seeded(7))
    with pytest.raises(InputError, match="can go back 0 to"):
        reverse_latents(model, latents, -1)
    with pytest.raises(InputError, match="another model"):
        reverse_latents(made("deterministic"), latents)
    for times in ([1.0, -2.0], [-2.0, -2.0]):
        with pytest.raises(InputError, match="Times must increase"):
            model.forecast(frames(length=4), times=times)

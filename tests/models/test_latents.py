"""Latents of the models: inferred, continued, run again and decoded, they are the forecast."""

from dataclasses import replace

import pytest
import torch
from helpers.seeds import seeded
from helpers.small_srvp import frames, small

from statecast.errors import InputError
from statecast.frames import Frames, FrameSpec
from statecast.models.latents import Latents
from statecast.models.separable import Separable
from statecast.nn.codecs.base import Content
from statecast.solvers.solvers import Solver

POINTS = FrameSpec(
    channels=("temperature",), space=(7,), context=4, horizon=3, value_range=(250.0, 310.0)
)


def separable(seed=0, **options):
    defaults = {
        "architecture": "mlp", "encoder_width": 12, "decoder_width": 12, "content_size": 5,
        "latent_size": 4, "dynamics_hidden": 9, "dynamics_blocks": 2,
    }  # fmt: skip
    return Separable(POINTS, **(defaults | options), generator=seeded(seed))


def kelvin(batch=3, length=4, seed=1):
    return 280 + 10 * torch.rand(batch, length, 1, 7, generator=seeded(seed))


CASES = {
    "srvp": (small, frames(length=4)),
    "srvp, a longer context": (small, frames(length=9)),
    "srvp, 3 substeps": (lambda: small(substeps=3), frames(length=4)),
    "srvp, gru": (lambda: small(transition="gru"), frames(length=4)),
    "srvp, without noise": (lambda: small(stochastic=False), frames(length=4)),
    "separable": (separable, kelvin()),
    "separable, from the target": (lambda: separable(rollout_from="target"), kelvin()),
}


@pytest.fixture(params=CASES)
def case(request):
    make, context = CASES[request.param]
    return make(), context


def test_infer_continue_decode_is_the_forecast(case):
    model, context = case
    expected = model.forecast(context, 6, samples=3, generator=seeded(7))
    generator = seeded(7)
    latents = model.infer_latents(context, samples=3, generator=generator)
    latents = model.continue_latents(latents, 6, generator=generator)
    found = model.decode_latents(latents, expected.times)
    torch.testing.assert_close(found.samples, expected.samples)
    assert torch.equal(found.times, expected.times)
    assert found.channels == expected.channels
    generator = seeded(7)
    with torch.no_grad():
        observed = model.normaliser.normalise(context)
        state = model.observe(observed, samples=3, generator=generator)
        states = model.advance(state, expected.times, generator=generator)
    assert torch.equal(latents.states[:, :, -6:], states)
    again = model.reintegrate_latents(latents)
    assert torch.equal(again.states, latents.states)
    assert again.solvers == latents.solvers


def test_a_context_is_reconstructed_from_its_own_states():
    model, context = small(substeps=2), frames(length=6)
    latents = model.infer_latents(context, samples=2, generator=seeded(7))
    codes = model.encode(context)
    inferred = model.infer(codes.code, samples=2, generator=seeded(7))
    expected = model.decode_all(model.content_of_last_frames(codes), inferred.latents).detach()
    found = model.decode_latents(latents)
    torch.testing.assert_close(found.samples, expected)
    assert found.times.tolist() == [-5, -4, -3, -2, -1, 0]
    # Of q and p: the first interval's prior follows from the first state.
    torch.testing.assert_close(latents.initial.mean, inferred.initial.mean)
    torch.testing.assert_close(latents.posterior.std, inferred.posterior.std)
    prior = model.noise_prior(latents.states[:, :, 0])
    torch.testing.assert_close(latents.prior.mean[:, :, 0], prior.mean)
    assert latents.noise.shape == (2, 3, 5, 3)


def test_separable_reconstructs_as_it_forecasts_from_the_context_on():
    model, context = separable(), kelvin(length=6)
    expected = model.forecast(context, times=[-3, -2, -1, 0])
    latents = model.infer_latents(context)
    assert latents.times.tolist() == [-3, -2, -1, 0]
    torch.testing.assert_close(model.decode_latents(latents).samples, expected.samples)
    assert latents.noise is latents.posterior is latents.prior is latents.initial is None


def test_steps_of_conditioning_and_of_forecasting_are_remembered():
    model, context = small(substeps=2), frames(length=4)
    generator = seeded(7)
    latents = model.infer_latents(context, generator=generator)
    latents = model.continue_latents(latents, 2, substeps=5, generator=generator)
    assert [solver.substeps for solver in latents.solvers] == [2, 2, 2, 5, 5]
    expected = model.forecast(context, times=[0.2, 0.5, 1.0, 1.4], substeps=5, generator=seeded(7))
    found = model.decode_latents(latents, [0.2, 0.5, 1.0, 1.4])
    torch.testing.assert_close(found.samples, expected.samples)
    conditioned = model.infer_latents(context, substeps=4, generator=seeded(7))
    codes = model.encode(context).code
    slow = small(substeps=4)
    slow.load_state_dict(model.state_dict())
    torch.testing.assert_close(
        conditioned.states, slow.infer(codes, generator=seeded(7)).latents.detach()
    )
    assert not torch.allclose(conditioned.states[:, :, -1], latents.states[:, :, 3])


def test_separable_conditions_with_the_steps_of_the_forecast():
    model, context = separable(), kelvin()
    expected = model.forecast(context, times=[-3, 0, 2], substeps=5)
    latents = model.infer_latents(context, substeps=5)
    latents = model.continue_latents(latents, 2, substeps=5)
    found = model.decode_latents(latents, [-3, 0, 2])
    torch.testing.assert_close(found.samples, expected.samples)


def test_continued_in_two_parts_it_is_the_same(case):
    model, context = case
    start = model.infer_latents(context, generator=seeded(7))
    whole = model.continue_latents(start, 7, generator=seeded(7))
    generator = seeded(7)
    half = model.continue_latents(start, 3, generator=generator)
    parts = model.continue_latents(half, 7, generator=generator)
    assert torch.equal(parts.states, whole.states)
    assert torch.equal(parts.times, whole.times)
    if whole.noise is not None:
        assert torch.equal(parts.noise, whole.noise)
        assert torch.equal(parts.prior.std, whole.prior.std)


def test_one_past_has_several_futures():
    model = small()
    past = model.infer_latents(frames(length=4), generator=seeded(7))
    latents = model.continue_latents(past, 3, samples=5, generator=seeded(7))
    assert latents.states.shape == (5, 3, 7, 5)
    assert torch.equal(latents.states[:, :, :4], past.states.expand(5, -1, -1, -1))
    assert float(latents.states[:, :, 5:].std(dim=0).min()) > 0


def test_times_of_a_video_are_kept():
    model = small()
    video = Frames(values=frames(length=7), times=torch.arange(-3.0, 4.0), channels=("intensity",))
    latents = model.infer_latents(video, generator=seeded(7))
    assert model.decode_latents(latents).times.tolist() == list(range(-3, 4))
    longer = model.continue_latents(latents, 6, generator=seeded(7))
    assert longer.times.tolist() == list(range(-3, 7))
    assert torch.equal(model.continue_latents(latents, 3).states, latents.states)


def test_noise_of_the_posterior_is_what_moves_the_path():
    model = small(seed=2)
    latents = model.infer_latents(frames(length=5), generator=seeded(7))
    state, steps = latents.states[:, :, 0], []
    for index in range(4):
        joined = torch.cat([state, latents.noise[:, :, index]], dim=-1)
        state = state + model.transition.velocity(joined).detach()
        steps.append(state)
    torch.testing.assert_close(latents.states[:, :, 1:], torch.stack(steps, dim=2))


def test_the_model_stays_as_it_was():
    model = small().train()
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    latents = model.infer_latents(frames(length=4))
    model.decode_latents(model.reintegrate_latents(model.continue_latents(latents, 2)))
    assert model.training
    assert not latents.states.requires_grad
    assert all(torch.equal(before[name], t) for name, t in model.state_dict().items())


def path(model=None, **options):
    return (model or small()).infer_latents(frames(length=4), generator=seeded(7), **options)


REFUSED = {
    "a short context": (lambda m: m.infer_latents(frames(length=2)), "at least 3 frame"),
    "another size": (lambda m: m.infer_latents(torch.rand(3, 4, 1, 8)), r"\(1, 9\)"),
    "no sample": (lambda m: path(m, samples=0), "at least 1 sample, got samples=0"),
    "negative samples": (lambda m: path(m, samples=-2), "at least 1 sample, got samples=-2"),
    "no step": (lambda m: path(m, substeps=0), "at least 1 step"),
    "gaps in time": (
        lambda m: m.infer_latents(
            Frames(
                values=frames(length=3), times=torch.tensor([-3.0, -1, 0]), channels=("intensity",)
            )
        ),
        "must be consecutive",
    ),
    "no future": (lambda m: m.continue_latents(path(m), 2, samples=0), "at least 1 sample"),
    "other samples": (
        lambda m: m.continue_latents(path(m, samples=2), 2, samples=3), "hold 2 samples",
    ),
    "a horizon that was": (
        lambda m: m.continue_latents(m.continue_latents(path(m), 5), 2), "reach to time 5 already",
    ),
    "before the context": (lambda m: m.decode_latents(path(m), [-4.0, 0]), "from time -3 to 0"),
    "after the path": (lambda m: m.decode_latents(path(m), [0, 0.5]), "got a time of 0.5"),
    "times that fall": (lambda m: m.decode_latents(path(m), [0, -1]), "must increase"),
    "times that are NaN": (lambda m: m.decode_latents(path(m), [float("nan")]), "finite"),
    "another model": (lambda m: m.decode_latents(path(small(seed=5))), "come from another model"),
    "another kind": (
        lambda m: m.continue_latents(separable().infer_latents(kelvin())), "come from another",
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", REFUSED)
def test_what_does_not_fit_is_refused(name):
    act, message = REFUSED[name]
    with pytest.raises(InputError, match=message):
        act(small())


def test_a_model_trained_on_refuses_the_latents_of_before():
    model = small()
    latents = path(model)
    with torch.no_grad():
        model.transition.velocity[0].weight.add_(0.1)
    with pytest.raises(InputError, match="other weights"):
        model.reintegrate_latents(latents)


def test_a_transition_of_whole_frames_has_none_in_between():
    model = small(transition="gru")
    latents = path(model)
    with pytest.raises(InputError, match="whole"):
        model.decode_latents(latents, [-0.5])
    with pytest.raises(InputError, match="whole frames"):
        model.reintegrate_latents(latents, substeps=2)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"states": torch.zeros(3, 4, 5)}, "sample, batch, time, latent"),
        ({"times": torch.arange(3.0)}, "4 finite times"),
        ({"times": 0.5 * torch.arange(4.0)}, "1 frame interval apart"),
        ({"content": Content(torch.zeros(2, 12))}, "3 contents, got 2"),
        ({"solvers": (Solver(),) * 2}, "solvers of 3 intervals, got 2"),
        ({"noise": torch.zeros(1, 3, 4, 3)}, r"\(1, 3, 3\)"),
    ],
)
def test_a_record_that_does_not_fit_itself_is_refused(change, message):
    with pytest.raises(InputError, match=message):
        replace(path(), **change)


def test_a_path_of_one_frame_goes_on():
    model = small(inference_frames=1)
    latents = model.infer_latents(frames(length=1), generator=(generator := seeded(7)))
    assert isinstance(latents, Latents)
    assert len(latents) == 1
    found = model.continue_latents(latents, 3, generator=generator)
    expected = model.forecast(frames(length=1), 3, generator=seeded(7))
    torch.testing.assert_close(model.decode_latents(found, [1, 2, 3]).samples, expected.samples)

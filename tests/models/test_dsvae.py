"""DSVAE: it gives what the published code gave, number by number, and what it does by itself."""

import pytest
import torch
from helpers.golden import Golden, tensors_of
from helpers.seeds import seeded

from statecast.frames import Batch, FrameSpec
from statecast.models.dsvae.model import DSVAE
from statecast.models.latent_space import content_swap, infer_and_continue
from statecast.nn.noise import Noise

EXPECTED = tensors_of("dsvae")
FRAMES = EXPECTED["frames"]
CLOSE = {"atol": 1e-5, "rtol": 1e-5}
TERMS = {"atol": 0, "rtol": 1e-5}
SPEC = FrameSpec(channels=("c",), space=(16, 16), context=3, horizon=2, value_range=(0.0, 1.0))
SMALL = {"width": 4, "code_size": 6, "content_size": 5, "motion_size": 3, "hidden": 7}


@pytest.fixture(params=["factorised", "full"])
def variant(request):
    return request.param


@pytest.fixture
def model(variant):
    return Golden("dsvae", variant=variant).model


def gaussian(found, key, name):
    torch.testing.assert_close(found.mean, EXPECTED[f"{key}/{name}_mean"], **CLOSE)
    torch.testing.assert_close(2 * found.std.log(), EXPECTED[f"{key}/{name}_logvar"], **CLOSE)


def replayed(variant, mode):
    drawn = [EXPECTED[f"{variant}/train/noise_{i}"][None] for i in range(6)] if mode else []
    return Noise(1, len(FRAMES), replayed=drawn)


# Held against the published code


@pytest.mark.parametrize("mode", ["eval", "train"])
def test_latents_frames_and_loss(model, variant, mode):
    key = f"{variant}/{mode}"
    model.train(mode == "train")
    with torch.no_grad():
        found = model.infer(FRAMES, 3, noise=replayed(variant, mode == "train"))
        terms = model.loss_of(Batch.of(FRAMES, 3), found)
    gaussian(found.content_posterior, key, "f")
    gaussian(found.posterior, key, "z")
    gaussian(found.prior, key, "z_prior")
    torch.testing.assert_close(found.content, EXPECTED[f"{key}/f"], **CLOSE)
    torch.testing.assert_close(found.motion, EXPECTED[f"{key}/z"], **CLOSE)
    torch.testing.assert_close(found.decoded, EXPECTED[f"{key}/reconstruction"], **CLOSE)
    for ours, theirs in {
        "total": "loss",
        "divergence_content": "kl_f",
        "divergence_motion": "kl_z",
        "reconstruction": "sum_squared_error_per_video",
    }.items():
        torch.testing.assert_close(terms[ours], EXPECTED[f"{key}/{theirs}"], **TERMS)


def test_gradients(model, variant):
    model.train()
    found = model.infer(FRAMES, 3, noise=replayed(variant, True))
    model.loss_of(Batch.of(FRAMES, 3), found)["total"].backward()
    norm = torch.stack([weight.grad.norm() for weight in model.parameters()]).norm()
    key = f"{variant}/train/grad"
    torch.testing.assert_close(norm, EXPECTED[f"{key}_norm"], atol=0, rtol=1e-4)
    for ours, theirs in {
        "prior.cell.weight_ih": "z_prior_lstm.weight_ih",
        "content_posterior.head.mean.weight": "f_mean.model.0.weight",
    }.items():
        expected = EXPECTED[f"{key}/{theirs}"]
        assert (model.get_parameter(ours).grad - expected).norm() < 1e-4 * expected.norm()


def test_the_prior_by_itself(model, variant):
    key = f"{variant}/prior_sample"
    noise = [EXPECTED[f"{key}/noise_{i}"] for i in range(4)]
    with torch.no_grad():
        prior = model.prior.free(2, noise, FRAMES)
        latents = model.infer_latents(FRAMES[:2])
    drawn = prior.at(torch.stack(noise, dim=1))
    torch.testing.assert_close(drawn, EXPECTED[f"{key}/z"], **CLOSE)
    torch.testing.assert_close(prior.mean, EXPECTED[f"{key}/mean"], **CLOSE)
    torch.testing.assert_close(2 * prior.std.log(), EXPECTED[f"{key}/logvar"], **CLOSE)
    # New motion of latents is such a roll-out as well.
    moved = model.draw_motion(latents, generator=seeded(1))
    z = model.dynamics_code(moved.states)[0]
    with torch.no_grad():
        given = model.prior.given(z)
    torch.testing.assert_close(given.mean[:, 1:], moved.prior.mean[0], **CLOSE)


def test_frame_codes_and_swap(model, variant):
    with torch.no_grad():
        torch.testing.assert_close(
            model.encode(FRAMES), EXPECTED[f"{variant}/frame_codes"], **CLOSE
        )
        found = model.infer(FRAMES, 3, noise=replayed(variant, False))
        swapped = model.decode_codes(found.content.roll(1, dims=0), found.motion)
    torch.testing.assert_close(swapped, EXPECTED[f"{variant}/swap"], **CLOSE)


def test_frames_of_the_data_s_own_range_come_back(model):
    """Golden frames lie in [−1, 1]; so do forecasts, and reconstructions of the context."""
    forecast = model.forecast(FRAMES, 3, samples=4, generator=seeded(0))
    assert float(forecast.samples.min()) < -0.2
    assert float(forecast.samples.abs().max()) <= 1


# What it does by itself


def small(spec=SPEC, **options):
    return DSVAE(spec, **SMALL, **options, generator=seeded(0))


def videos(spec=SPEC, batch=3, length=None, seed=1):
    shape = (batch, length or spec.length, *spec.frame_shape)
    return torch.rand(shape, generator=seeded(seed))


@pytest.mark.parametrize("posterior", ["factorised", "full"])
def test_frames_of_any_size_that_can_be_halved(posterior):
    spec = FrameSpec(channels=("u", "v"), space=(8, 24), context=2, horizon=1)
    model = small(spec, normalise="none", posterior=posterior)
    forecast = model.forecast(
        10 * videos(spec, 1, 4) - 5, 2, samples=2, generator=seeded(4)
    ).samples
    assert forecast.shape == (2, 1, 2, 2, 8, 24)
    assert not torch.equal(forecast[0], forecast[1])


def test_content_is_inferred_from_what_a_forecast_sees():
    """The target changes motion alone; with `published` content as well."""
    frames = videos()
    other = torch.cat([frames[:, :3], videos(seed=2)[:, 3:]], dim=1)
    for published in (False, True):
        model = small(published=published).eval()
        with torch.no_grad():
            one, two = (
                model.infer(model.scaled(x), 3, noise=Noise(1, 3)).content for x in (frames, other)
            )
        assert torch.equal(one, two) != published


def test_the_prior_learns_to_continue_the_video_s_own_motion():
    """Its loss depends on z of the video; as published, it sees none of them."""
    for published in (False, True):
        model = small(published=published).eval()
        with torch.no_grad():
            priors = [
                model.infer(model.scaled(videos(seed=seed)), 3, noise=Noise(1, 3)).prior.mean
                for seed in (1, 2)
            ]
        assert torch.equal(*priors) == published
        assert torch.equal(priors[0][:, 0], priors[1][:, 0])  # nothing comes before the first


def test_a_loss_in_evaluation_mode_draws_nothing():
    for published in (False, True):
        model, batch = small(published=published).eval(), Batch.of(videos(), 3)
        with torch.no_grad():
            one, two = (model.loss(batch, generator=seeded(s))["total"] for s in (1, 2))
        assert torch.equal(one, two)


@pytest.mark.parametrize("posterior", ["factorised", "full"])
def test_content_and_motion_are_exchanged_and_drawn(posterior):
    model = small(posterior=posterior)
    latents = infer_and_continue(model, videos(length=3), 2, samples=2, generator=seeded(4))
    content = model.draw_content(latents, generator=seeded(4))
    motion = model.draw_motion(latents, generator=seeded(4))
    assert torch.equal(content.states, latents.states)
    assert torch.equal(motion.content.code, latents.content.code)
    assert motion.states.shape == latents.states.shape
    frames = [model.decode_latents(path).samples for path in (latents, content, motion)]
    assert all(made.shape == frames[0].shape for made in frames)
    assert not torch.equal(frames[0], frames[1])
    assert not torch.equal(frames[0], frames[2])
    # Content is drawn from N(0, 1), and with equal z equal content gives equal frames.
    many = model.infer_latents(videos(batch=1, length=3).expand(400, -1, -1, -1, -1))
    drawn = model.draw_content(many, generator=seeded(4)).content.code
    assert abs(float(drawn.mean())) < 0.1
    assert abs(float(drawn.std()) - 1) < 0.1
    table = content_swap(model, videos(length=3), videos(length=3), 2, generator=seeded(4))
    own = model.decode_latents(
        infer_and_continue(model, videos(length=3), 2, generator=seeded(4))
    ).samples
    for index in range(3):
        torch.testing.assert_close(table.samples[:, index, index], own[:, index])


def test_divergences_are_zero_at_the_prior():
    model = small().eval()
    with torch.no_grad():
        for name, weight in model.named_parameters():
            if "head" in name:
                weight.zero_()
        terms = model.loss(Batch.of(videos(), 3))
    assert terms["divergence_content"] == terms["divergence_motion"] == 0
    assert terms["total"] == terms["reconstruction"] > 0


def test_weights_start_as_published():
    model = DSVAE(SPEC, width=32, code_size=64, published=True, generator=seeded(4))
    kernel = model.encoder[1].convolution.weight.detach()
    assert abs(float(kernel.std()) / (2 / (32 * 25)) ** 0.5 - 1) < 0.05
    assert bool((model.encoder[1].norm.bias == 1).all())
    assert float(model.prior.cell.weight_hh.detach().abs().max()) <= 512**-0.5

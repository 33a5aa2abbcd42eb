"""CDNA and SV2P: they give what the published code gave, and what they do by themselves."""

from itertools import islice

import pytest
import torch
from helpers.golden import Golden, arrays_of, settings_of, tensors_of

from statecast.errors import InputError
from statecast.frames import Batch, FrameSpec
from statecast.models.pixel_motion.cdna import CDNA
from statecast.models.pixel_motion.sv2p import SV2P
from statecast.nn.noise import Noise
from statecast.nn.pixel_motion import (
    move_affinely,
    move_by_kernels,
    move_by_pixel,
    normalised_kernels,
)
from statecast.runs.official.arrays import from_arrays
from statecast.runs.official.sv2p import sv2p_names
from statecast.runs.official.tensorflow import as_weight

RUNS = {"train_step110000": 0, "train_step6122": 2}  # and how many of 3 windows take true frames
CLOSE = {"atol": 5e-6, "rtol": 1e-5}
SMALL = {"width": 3, "lstm_widths": (3, 3, 4, 4, 5, 4, 3)}
SPEC = FrameSpec(channels=("c",), space=(16, 16), context=2, horizon=3, value_range=(0.0, 1.0))


def opened(**changes):
    return Golden("sv2p", **changes).model


@pytest.fixture(scope="module")
def expected():
    return tensors_of("sv2p")


def frames_of(expected):
    return (expected["x_uint8"] / 255).permute(0, 1, 4, 2, 3)


def maps_of(values):
    """Published maps (…, y, x, channel) with channels first."""
    return values.movedim(-1, -3)


def test_forecasts(expected):
    noise = Noise(1, 3, replayed=[maps_of(expected["test/noise"])[None]])
    with torch.no_grad():
        found = list(islice(opened().roll_out(frames_of(expected)[:, :2], noise=noise), 3))
    torch.testing.assert_close(
        torch.stack(found), maps_of(expected["test/gen_images"][1:]), **CLOSE
    )


@pytest.mark.parametrize("latent", ["sequence", "step"])
def test_latents_of_each_step_that_are_equal_are_those_of_a_sequence(expected, latent):
    model = opened(multi_latent=latent == "step")
    drawn = maps_of(expected["test/noise"])[None]
    noise = Noise(1, 3, replayed=[drawn] * (1 if latent == "sequence" else 4))
    with torch.no_grad():
        *_, found = islice(model.roll_out(frames_of(expected)[:, :2], noise=noise), 3)
    torch.testing.assert_close(found, maps_of(expected["test/gen_images"][-1]), **CLOSE)


@pytest.mark.parametrize("run", RUNS)
def test_training(expected, run):
    model, frames = opened().train(), frames_of(expected)
    fed = torch.tensor([[True, False, False]] * 3)
    for time, order in enumerate(expected[f"{run}/perm_posterior_pass"].long()):
        fed[order[: RUNS[run]], 1 + time] = True
    noise = maps_of(expected[f"{run}/noise_posterior_pass"]).unsqueeze(1)
    stage = model.stage_at(int(run.removeprefix("train_step")))
    predicted, posterior = model.infer(frames, fed, noise, stage)
    found = predicted.transpose(0, 1)
    torch.testing.assert_close(found, maps_of(expected[f"{run}/gen_images_enc"]), **CLOSE)
    torch.testing.assert_close(posterior.mean, expected[f"{run}/latent_mean"], **CLOSE)
    torch.testing.assert_close(2 * posterior.std.log(), expected[f"{run}/latent_logvar"], **CLOSE)
    assert stage.kl_weight == pytest.approx(float(expected[f"{run}/kl_weight"]))
    terms = model.loss_given(Batch.of(frames, 2), fed, noise, stage)
    terms["total"].backward()
    for ours, theirs in {
        "reconstruction": "loss/gen_l2_loss", "divergence": "loss/gen_kl_loss", "total": "total",
    }.items():  # fmt: skip
        torch.testing.assert_close(terms[ours], expected[f"{run}/{theirs}"], rtol=1e-6, atol=0)
    weights = dict(model.named_parameters())
    norm = torch.stack([weight.grad.norm() for weight in weights.values()]).norm()
    torch.testing.assert_close(norm, expected[f"{run}/grad_norm/all"], rtol=1e-5, atol=0)
    ours = {theirs: name for name, theirs in sv2p_names(model, "cdna").items()}
    for key in (key for key in expected if key.startswith(f"{run}/grad/")):
        gradient = weights[ours[key.removeprefix(f"{run}/grad/")]].grad
        turned = expected[key]
        if "convt7" not in key:
            turned = as_weight(turned.numpy())
        torch.testing.assert_close(gradient, turned, rtol=1e-3, atol=1e-7)


def test_kernels_of_the_whole_frame(expected):
    raw = expected["cdna/features"] @ expected["cdna/weights"] + expected["cdna/biases"]
    kernels = normalised_kernels(raw.unflatten(1, (5, 5, 3)).permute(0, 3, 1, 2))
    found = move_by_kernels(maps_of(expected["cdna/image"]), kernels).transpose(0, 1)
    torch.testing.assert_close(found, maps_of(expected["cdna/transformed"]), **CLOSE)


def test_kernels_of_each_pixel(expected):
    kernels = normalised_kernels(maps_of(expected["dna/input"]), dims=(1,))
    found = move_by_pixel(maps_of(expected["cdna/image"]), kernels)
    torch.testing.assert_close(found, maps_of(expected["dna/transformed"]), **CLOSE)


def test_one_kernel_for_all_pixels_is_a_kernel_of_the_frame():
    generator = torch.Generator().manual_seed(1)
    frames = torch.rand(2, 3, 6, 7, generator=generator)
    kernels = normalised_kernels(torch.rand(2, 1, 5, 5, generator=generator))
    everywhere = kernels.flatten(2).transpose(1, 2).unsqueeze(3).expand(-1, -1, 6, 7)
    torch.testing.assert_close(
        move_by_pixel(frames, everywhere), move_by_kernels(frames, kernels)[:, 0]
    )


def test_affine_maps_shift_by_whole_pixels():
    frames = torch.rand(1, 2, 5, 9, generator=torch.Generator().manual_seed(2))
    right, down = [0, 0, -2 / 8, 0, 0, 0], [0, 0, 0, 0, 0, -2 / 4]  # by one pixel of 8, of 4
    moved = move_affinely(frames, torch.tensor([[[0.0] * 6, right, down]]))[0]
    torch.testing.assert_close(moved[0], frames[0])
    torch.testing.assert_close(moved[1, :, :, 1:], frames[0, :, :, :-1])
    torch.testing.assert_close(moved[2, :, 1:], frames[0, :, :-1])


# What they do by themselves


def small(cls, spec=SPEC, **options):
    generator = torch.Generator().manual_seed(0)
    widths = {"tower_widths": (3, 4, 4)} if cls is SV2P else {}
    return cls(spec, **SMALL, **widths, **options, generator=generator)


def videos(spec=SPEC, batch=3):
    shape = (batch, spec.length, *spec.frame_shape)
    return torch.rand(shape, generator=torch.Generator().manual_seed(1))


@pytest.mark.parametrize("motion", ["cdna", "dna", "stp"])
def test_every_motion_learns_a_shift_from_frames_of_any_shape_and_unit(motion):
    spec = FrameSpec(channels=("u", "v"), space=(8, 24), context=1, horizon=1)
    model = small(CDNA, spec, motion=motion, normalise="none")
    first = torch.randn(6, 1, 2, 8, 24, generator=torch.Generator().manual_seed(3))
    batch = Batch.of(torch.cat([first.roll(t, dims=-1) for t in range(2)], dim=1), 1)
    optimizer = torch.optim.Adam(model.parameters(), lr=0.01)
    losses = []
    for _ in range(40):
        optimizer.zero_grad()
        terms = model.loss(batch, generator=torch.Generator().manual_seed(4))
        terms["total"].backward()
        optimizer.step()
        losses.append(float(terms["reconstruction"].detach()))
    still = float((batch.values[:, 1:] - batch.values[:, :-1]).square().mean())
    assert losses[-1] < 0.7 * still
    forecast = model.forecast(batch.context, 3, generator=torch.Generator().manual_seed(5))
    assert float(forecast.samples.min()) < 0  # values are not squashed


def test_arrays_without_a_latent_are_those_of_cdna():
    arrays = {k: v for k, v in arrays_of("sv2p").items() if "latent" not in k}
    arrays["generator/conv4/weights"] = arrays["generator/conv4/weights"][:, :, :6]
    model = from_arrays("cdna", arrays, settings_of("sv2p") | {"system": "CDNA"})
    assert isinstance(model, CDNA)
    assert not model.stochastic


def test_stages_of_the_training():
    model = small(SV2P, posterior_start=10, kl_start=20, kl_end=40, kl_weight=0.5)
    assert [tuple(model.stage_at(step)) for step in (9, 10, 20, 30, 40, 99)] == [
        (False, 0.0), (True, 0.0), (True, 0.0), (True, 0.25), (True, 0.5), (True, 0.5),
    ]  # fmt: skip
    at_once = small(SV2P, posterior_start=0, kl_start=0, kl_end=0)
    assert at_once.stage_at(0) == (True, at_once.kl_weight)


def test_noise_in_the_place_of_latents_leaves_the_posterior_as_it_is():
    model = small(SV2P)
    model.loss(Batch.of(videos(), 2), step=0)["total"].backward()
    assert all(not weight.grad.any() for weight in model.tower.parameters())
    model.zero_grad()
    model.loss(Batch.of(videos(), 2), step=model.posterior_start)["total"].backward()
    assert any(bool(weight.grad.any()) for weight in model.tower.parameters())


def test_windows_are_as_long_as_the_posterior_of_sv2p_sees():
    longer = FrameSpec(channels=("c",), space=(16, 16), context=2, horizon=4)
    with pytest.raises(InputError, match="5 frames, got 6"):
        small(SV2P).loss(Batch.of(videos(longer), 2))

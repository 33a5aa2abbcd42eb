"""Struct-VRNN: it gives what the published code gave, and what it does by itself."""

from itertools import islice

import pytest
import torch
from helpers.golden import Golden, tensors_of

from statecast.errors import InputError
from statecast.frames import Batch, Frames, FrameSpec
from statecast.models.struct_vrnn.model import StructVRNN, separation_penalty
from statecast.models.struct_vrnn.vision import blobs_of, keypoints_of, with_coordinates
from statecast.nn.noise import Noise
from statecast.plots.keypoints import plot_keypoints

CLOSE = {"atol": 5e-6, "rtol": 1e-5}
TERMS = {"image": "image", "separation": "separation", "coordinates": "coordinate"}
PARTS = {
    "detector": "images_to_keypoints", "decoder": "keypoints_to_images", "dynamics": "vrnn",
}  # fmt: skip
SPEC = FrameSpec(channels=("c",), space=(16, 16), context=3, horizon=2, value_range=(0.0, 1.0))
SMALL = {
    "keypoints": 3, "heat_width": 8, "width": 4, "layers": 1, "recurrent_size": 8,
    "prior_hidden": 5, "posterior_hidden": 6, "latent_size": 2, "candidates": 3,
}  # fmt: skip


def last_channels(maps):
    return maps.movedim(-3, -1)


class Published(Golden):
    def __init__(self):
        super().__init__("struct_vrnn")
        self.batch = Batch.of((self["x_uint8"] / 255).permute(0, 1, 4, 2, 3), 3)
        self.frames = self.model.inputs(self.batch)
        self.heat, self.keypoints = self.model.detect(self.frames)
        self.first = self.model.look_at(
            self.frames[:, 0], self.keypoints[:, 0], torch.zeros(len(self.frames), 16)
        )

    def drawn(self, keypoints):
        frames = self.model.decode(keypoints.flatten(0, 1), self.first)
        return last_channels(frames.unflatten(0, keypoints.shape[:2]))

    def given(self, run):
        """Noise of candidates and frames fed back; in inference one candidate, and none."""
        noise = self["eps"].permute(1, 2, 0, 3)
        if run == "infer":
            return noise[:1], [False] * 5
        step = int(run.removeprefix("train_step"))
        return noise, self.model.true_inputs(self["coin"].tolist(), step, 3)


@pytest.fixture(scope="module")
def published():
    return Published()


def test_vision(published):
    torch.testing.assert_close(last_channels(published.heat), published["heatmaps"], **CLOSE)
    torch.testing.assert_close(published.keypoints, published["keypoints"], **CLOSE)
    found = published.drawn(published.keypoints)
    torch.testing.assert_close(found, published["reconstruction"], **CLOSE)
    blobs = last_channels(published.first.first_blobs)
    torch.testing.assert_close(blobs, published["blobs_of_first_frame"], **CLOSE)
    coordinates = last_channels(with_coordinates(torch.zeros(1, 0, 3, 4)))[0]
    torch.testing.assert_close(coordinates, published["coord_channels"])


def test_operators():
    expected = tensors_of("struct_vrnn", "operators")
    found = separation_penalty(expected["separation/coords"], 0.1)
    torch.testing.assert_close(found, expected["separation/loss"], **CLOSE)
    keypoints = keypoints_of(expected["keypoints/heatmaps"].permute(0, 3, 1, 2))
    torch.testing.assert_close(keypoints, expected["keypoints/xymu"], **CLOSE)
    blobs = blobs_of(keypoints, (8, 8), 1.5 / 8)
    torch.testing.assert_close(last_channels(blobs), expected["blobs/sigma1.5_width8"], **CLOSE)


@pytest.mark.parametrize(
    ("run", "factor"), [("train_step4000", 1.0), ("train_step0", 0.0), ("infer", 0.0)]
)
def test_dynamics_loss_and_gradients(published, run, factor):
    model = published.model
    noise, fed = published.given(run)
    followed = model.dynamics.follow(published.keypoints.flatten(2).detach(), 3, noise, fed)
    keypoints = followed.coordinates.unflatten(2, (-1, 3))
    torch.testing.assert_close(keypoints, published[f"{run}/predicted_keypoints"], **CLOSE)
    divergence = factor * followed.divergence
    torch.testing.assert_close(divergence, published[f"{run}/kl"], **CLOSE)
    if f"{run}/predicted_images" in published.expected:
        found = published.drawn(keypoints)
        torch.testing.assert_close(found, published[f"{run}/predicted_images"], **CLOSE)
    model.zero_grad()
    terms = model.loss_given(published.batch, noise, fed, kl_factor=factor)
    terms["total"].backward()
    relative = {"rtol": 1e-5, "atol": 0}
    for ours, theirs in TERMS.items():
        torch.testing.assert_close(terms[ours], published[f"{run}/loss/{theirs}"], **relative)
    for ours, weight, theirs in (
        ("divergence", factor, "kl"),
        ("heat", model.heat_weight, "heatmap_penalty_sum_over_time"),
        ("weights", model.weight_decay, "kernel_l2_sum"),
    ):
        expected = published[f"{run}/loss/{theirs}"]
        torch.testing.assert_close(weight * terms[ours], expected, **relative)
    total = published[f"{run}/total_with_regularisers"]
    torch.testing.assert_close(terms["total"], total, **relative)
    for ours, theirs in PARTS.items():
        gradients = [weight.grad.norm() for weight in getattr(model, ours).parameters()]
        expected = published[f"{run}/grad_norm/{theirs}"]
        torch.testing.assert_close(torch.stack(gradients).norm(), expected, **relative)


def test_forecasts_are_what_inference_predicts(published):
    """The published network sees the future in inference, and does not use it."""
    noise = published["eps"][:, 0]  # (time, batch, latent)
    replayed = [noise[:3].transpose(0, 1)[None], *(noise[time][None] for time in range(3, 6))]
    with torch.no_grad():
        frames = published.model.roll_out(
            published.frames[:, :3], noise=Noise(1, 2, replayed=replayed)
        )
        found = torch.stack(list(islice(frames, 3)), dim=1) - 0.5
    expected = published["infer/predicted_images"][:, 3:]
    torch.testing.assert_close(last_channels(found), expected, **CLOSE)


# What it does by itself


def small(spec=SPEC, **options):
    return StructVRNN(spec, **SMALL | options, generator=torch.Generator().manual_seed(0))


def videos(spec=SPEC, batch=3):
    shape = (batch, spec.length, *spec.frame_shape)
    return torch.rand(shape, generator=torch.Generator().manual_seed(1))


def test_keypoints_of_one_bright_point_are_where_it_is():
    heat = torch.zeros(2, 1, 5, 9)
    heat[0, 0, 0, 8] = 1e3  # the top right corner
    heat[1, 0, 2, 0] = 1e3  # the middle of the left side
    found = keypoints_of(heat)[:, 0, :2]
    torch.testing.assert_close(found, torch.tensor([[1.0, 1.0], [-1.0, 0.0]]))


def test_blobs_move_with_their_keypoint_and_scale_with_its_intensity():
    one = torch.tensor([[[0.0, 0.0, 1.0]]])
    moved = torch.tensor([[[0.5, -0.5, 0.5]]])  # by a quarter of 8 intervals, right and down
    here, there = (blobs_of(each, (9, 9), 0.2)[0, 0] for each in (one, moved))
    torch.testing.assert_close(there[2:, 2:], 0.5 * here[:-2, :-2])
    assert here[4, 4] == 1


@pytest.mark.parametrize("space", [(8, 8), (24, 16), (32, 64)])
def test_frames_of_any_size_that_halves_to_the_heat_maps(space):
    spec = FrameSpec(channels=("u", "v"), space=space, context=2, horizon=1)
    model = small(spec, normalise="none")
    values = 10 * videos(spec)[:, :2] - 5
    forecast = model.forecast(values, 2, samples=2, generator=torch.Generator().manual_seed(3))
    assert forecast.samples.shape == (2, 3, 2, 2, *space)
    assert float(forecast.samples.min()) < -1  # drawn over the first frame, in its units


def test_keypoints_of_a_forecast_are_those_it_was_drawn_from():
    model, context = small(), videos()[:, :3]
    first, again = (torch.Generator().manual_seed(4) for _ in range(2))
    found = model.forecast_keypoints(context, 4, samples=2, generator=first)
    assert found.keypoints.shape == (2, 3, 4, 3, 3)
    forecast = model.forecast(context, 4, samples=2, generator=again)
    torch.testing.assert_close(found.forecast.samples, forecast.samples)


def test_the_prior_learns_from_the_divergence_alone():
    for options, learns in (({}, True), ({"published": True}, False)):
        model = small(**options)
        model.loss(Batch.of(videos(), 3), step=2000)["total"].backward()
        gradients = [weight.grad for weight in model.dynamics.prior.parameters()]
        assert any(bool(gradient.any()) for gradient in gradients) is learns


def test_vision_and_dynamics_learn_nothing_from_each_other():
    model = small().train()
    terms = model.loss(Batch.of(videos(), 3), step=2000)
    vision = [*model.detector.parameters(), *model.decoder.parameters()]
    for weights, names in (
        (vision, ("coordinates", "divergence")),
        (list(model.dynamics.parameters()), ("image", "separation", "heat")),
    ):
        for name in names:
            found = torch.autograd.grad(terms[name], weights, allow_unused=True, retain_graph=True)
            assert all(gradient is None for gradient in found), name


def test_observed_keypoints_are_fed_back_less_and_less():
    model = small(sampling_steps=100, sampling_context=0.2, sampling_horizon=0.6)
    coins = [0.3, 0.3, 0.3, 0.5]
    assert model.true_inputs(coins, 0, 2) == [True] * 4
    assert model.true_inputs(coins, 100, 2) == [False, False, True, True]
    assert model.true_inputs(coins, 900, 2) == [False, False, True, True]


def test_of_more_candidates_the_best_is_no_worse():
    model, generator = small(), torch.Generator().manual_seed(6)
    observed = torch.rand(4, 1, 9, generator=generator)
    noise = torch.randn(20, 4, 1, 2, generator=generator)
    errors = [
        (model.dynamics.follow(observed, 1, noise[:count], []).coordinates - observed)
        .square()
        .mean(dim=(1, 2))
        for count in (1, 5, 20)
    ]
    assert (errors[0] >= errors[1]).all()
    assert (errors[1] >= errors[2]).all()
    assert (errors[0] > errors[2]).any()


def test_a_picture_of_keypoints(tmp_path):
    model, context = small(), videos()[:, :3]
    forecast, keypoints = model.forecast_keypoints(context, 4)
    rows = [
        (Frames.context_of(context, ("c",)), model.keypoints_in(context)),
        (Frames.target_of(forecast.samples[0], ("c",)), keypoints[0]),
    ]
    figure = plot_keypoints(rows, tmp_path / "keypoints.png", sequence=1)
    assert (tmp_path / "keypoints.png").stat().st_size > 1000
    shown = [axes for axes in figure.axes if axes.images]
    assert len(shown) == 7
    x, y = shown[3].collections[0].get_offsets().T  # of the first forecast frame
    torch.testing.assert_close(
        torch.tensor(x / 15 * 2 - 1, dtype=torch.float32), keypoints[0, 1, 0, :, 0]
    )
    torch.testing.assert_close(
        torch.tensor(1 - y / 15 * 2, dtype=torch.float32), keypoints[0, 1, 0, :, 1]
    )
    with pytest.raises(InputError, match="sequences 0 to 2"):
        plot_keypoints(rows, sequence=3)
    with pytest.raises(InputError, match="Keypoints are"):
        plot_keypoints([(rows[0][0], keypoints[0])])

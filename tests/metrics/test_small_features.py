"""fvd_small and perceptual_small: they rank degraded videos, whatever batches and units are."""

import numpy as np
import pytest
import torch
from torch.nn import functional

from statecast.frames import Batch, Forecast, FrameSpec
from statecast.metrics.base import add
from statecast.metrics.fvd import frechet_distance
from statecast.metrics.small_features import SmallFVD, SmallPerceptual
from statecast.metrics.small_network import FEATURES, read_small_network

SPEC = FrameSpec(channels=("grey",), space=(32, 40), context=4, horizon=8, value_range=(0.0, 1.0))


def videos(count, seed):
    """Soft discs that move by 1 to 3 points a frame over a gradient, (clip, time, 1, y, x)."""
    generator = torch.Generator().manual_seed(seed)
    start = 8 + 12 * torch.rand(count, 1, 2, generator=generator)
    speed = 1 + 2 * torch.rand(count, 1, 2, generator=generator)
    places = (start + torch.arange(12.0)[None, :, None] * speed) % 32
    size = 3 + 5 * torch.rand(count, 1, 1, 1, generator=generator)
    y = torch.arange(32.0)[:, None] - places[..., 1, None, None]
    x = torch.arange(40.0) - places[..., 0, None, None]
    cover = torch.sigmoid(2 * (size - (x.square() + y.square()).sqrt()))
    return torch.lerp(torch.linspace(0, 0.6, 40).expand_as(cover), torch.ones(()), cover)[
        :, :, None
    ]


def blurred(frames):
    flat = functional.pad(frames.flatten(0, 1), [2] * 4, mode="replicate")
    return functional.avg_pool2d(flat, 5, 1).view_as(frames)


def noisy(frames):
    return frames + 0.15 * torch.randn(frames.shape, generator=torch.Generator().manual_seed(9))


DEGRADED = {
    "blur": blurred,
    "noise": noisy,
    "frozen": lambda frames: frames[:, [*range(5), *[4] * 7]],
    "order": lambda frames: frames[:, [0, 3, 1, 2, 7, 5, 4, 6, 9, 11, 8, 10]],
    "speed": lambda frames: frames[:, torch.arange(12) // 3],
}


def gaussian(frames):
    """Mean and covariance of the features of whole videos."""
    features = SmallFVD.of(SPEC).features(frames)
    return features.mean(dim=0), torch.from_numpy(np.cov(features.T))


@pytest.fixture(scope="module")
def others():
    return gaussian(videos(64, 1))


@pytest.fixture(scope="module")
def between(others):
    """The distance of two sets of the same kind."""
    return float(frechet_distance(*gaussian(videos(64, 0)), *others))


@pytest.mark.parametrize("name", DEGRADED)
def test_degraded_videos_are_farther_from_others_than_those_are_from_each_other(
    name, others, between
):
    degraded = gaussian(DEGRADED[name](videos(64, 0)))
    assert float(frechet_distance(*degraded, *others)) > 1.5 * between


def test_the_metric_is_the_distance_of_context_and_forecast_together():
    one, other = videos(24, 0), videos(24, 1)
    metric = SmallFVD.of(SPEC)
    batch = Batch.of(other, SPEC.context, channels=SPEC.channels)
    forecast = Forecast(
        samples=one[None, :, SPEC.context :], times=batch.target.times, channels=SPEC.channels
    )
    joined = torch.cat([batch.context.values, forecast.samples[0]], dim=1)
    halves = [
        metric.sums(
            Forecast(samples=forecast.samples[:, part], times=forecast.times,
                     channels=SPEC.channels),
            batch.select(part).target, context=batch.select(part).context,
        )
        for part in (slice(0, 9), slice(9, 24))
    ]  # fmt: skip
    score = metric.scores(add(halves[0], halves[1]))["mean"].value
    expected = float(frechet_distance(*gaussian(joined), *gaussian(other)))
    assert score == pytest.approx(expected, rel=1e-4)


def leaky(values):
    return torch.where(values > 0, values, 0.1 * values)


def twin_maps(frames, weights):
    """Maps after each convolution of the frames, of grey frames (frame, 1, y, x) in [0, 1]."""
    images = functional.interpolate(
        2 * frames.expand(-1, 3, -1, -1) - 1, (64, 64), mode="bilinear", antialias=True
    )
    found = []
    for number, stride, padding in ((0, 2, 2), (2, 2, 1), (4, 1, 1)):
        kernel, bias = weights[f"frames.{number}.weight"], weights[f"frames.{number}.bias"]
        images = leaky(functional.conv2d(images, kernel, bias, stride, padding))
        found.append(images)
    return found


def test_features_of_clips_are_those_of_a_twin():
    clips, weights = videos(3, 6), read_small_network("cpu")[0].state_dict()
    eight_bits = (255 * clips).round() / 255
    maps = twin_maps(eight_bits.flatten(0, 1), weights)[-1].unflatten(0, (3, 12)).transpose(1, 2)
    for number, stride, padding in ((0, (1, 2, 2), 1), (2, 1, (1, 0, 0)), (4, 1, 1)):
        kernel, bias = weights[f"clips.{number}.weight"], weights[f"clips.{number}.bias"]
        maps = leaky(functional.conv3d(maps, kernel, bias, stride, padding))
    points = maps.flatten(2).double().numpy()
    change = np.square(np.diff(maps.double().numpy(), axis=2)).mean(axis=(2, 3, 4))
    found = np.concatenate(
        [points.mean(axis=2), np.sqrt(points.var(axis=2) + 1e-6), np.sqrt(change + 1e-6)], axis=1
    )
    mean, variance = (weights[f"standardise.running_{name}"].numpy() for name in ("mean", "var"))
    expected = (found - mean) / np.sqrt(variance + 1e-5)
    features = SmallFVD.of(SPEC).features(clips).numpy()
    np.testing.assert_allclose(features, expected, rtol=1e-3, atol=1e-3)


def test_perceptual_distance_is_that_of_a_twin():
    target, weights = videos(2, 7), read_small_network("cpu")[0].state_dict()
    frames = noisy(target)
    one, other = (twin_maps(values.flatten(0, 1), weights) for values in (frames, target))
    layers = []
    for mine, theirs in zip(one, other, strict=True):
        units = [maps / (maps.norm(dim=1, keepdim=True) + 1e-10) for maps in (mine, theirs)]
        layers.append((units[0] - units[1]).square().sum(dim=1).flatten(1).mean(dim=1))
    expected = (sum(layers) / 3).view(2, 12)
    torch.testing.assert_close(scores(SPEC, frames, target), expected, rtol=1e-3, atol=1e-5)


def test_perceptual_distance_is_zero_of_equal_frames_and_grows_with_blur_and_noise():
    metric, frames = SmallPerceptual.of(SPEC), videos(4, 2)
    none = metric.frame_scores(frames, frames, metric.prepare(frames))
    assert none.shape == (4, 12)
    assert not none.any()
    for degrade in (blurred, noisy):
        little = metric.frame_scores(
            torch.lerp(frames, degrade(frames), 0.3), frames, metric.prepare(frames)
        )
        much = metric.frame_scores(degrade(frames), frames, metric.prepare(frames))
        assert (little > 0).all()
        assert float(much.mean()) > float(little.mean())


def scores(spec, frames, target):
    metric = SmallPerceptual.of(spec)
    return metric.frame_scores(frames, target, metric.prepare(target))


def test_units_and_grey_or_equal_colours_change_nothing():
    frames = videos(3, 3)
    kelvin = FrameSpec(
        channels=("k",), space=(32, 40), context=4, horizon=8, value_range=(270, 310)
    )
    colour = FrameSpec(
        channels=("r", "g", "b"), space=(32, 40), context=4, horizon=8, value_range=(0.0, 1.0)
    )
    expected = scores(SPEC, blurred(frames), frames)
    for spec, change in (
        (kelvin, lambda values: 270 + 40 * values),
        (colour, lambda values: values.expand(-1, -1, 3, -1, -1)),
    ):
        found = scores(spec, change(blurred(frames)), change(frames))
        torch.testing.assert_close(found, expected, atol=1e-5, rtol=1e-3)


def test_the_network_is_small_and_its_weights_are_whole():
    network, digest = read_small_network("cpu")
    assert sum(weight.numel() for weight in network.parameters()) < 150_000
    assert len(digest) == 64
    found = network(2 * videos(2, 5).expand(-1, -1, 3, -1, -1) - 1)
    assert found.shape == (2, FEATURES)
    assert bool((found.std(dim=0) > 0).any())

"""FVD and the Fréchet distance, against closed forms, SciPy and NumPy."""

from dataclasses import replace

import numpy as np
import pytest
import scipy.linalg
import torch

from statecast.data.base import Windows
from statecast.errors import CorruptionError, InputError
from statecast.evaluation.evaluate import evaluate
from statecast.frames import Batch, Forecast, Frames, FrameSpec
from statecast.metrics.base import MetricSettings, add
from statecast.metrics.fvd import FVD, frechet_distance, gaussian_of
from statecast.models.baselines import Persistence

SPEC = FrameSpec(channels=("grey",), space=(8, 10), context=2, horizon=3, value_range=(0.0, 1.0))
TIMES = torch.arange(1.0, 4.0)


def gaussian(size, seed, rank=None):
    """Mean and covariance of some rank."""
    generator = np.random.default_rng(seed)
    factor = generator.normal(size=(size, size if rank is None else rank))
    return generator.normal(size=size), factor @ factor.T


def distance(one, other):
    return float(frechet_distance(*(torch.from_numpy(a) for a in (*one, *other))))


def test_distance_agrees_with_scipy():
    one, other = gaussian(12, 0), gaussian(12, 1)
    root = scipy.linalg.sqrtm(one[1] @ other[1]).real
    expected = np.square(one[0] - other[0]).sum() + np.trace(one[1] + other[1] - 2 * root)
    assert distance(one, other) == pytest.approx(expected, rel=1e-10)


def test_distance_of_commuting_covariances_has_its_closed_form():
    generator = np.random.default_rng(2)
    basis = scipy.linalg.qr(generator.normal(size=(9, 9)))[0]
    spreads = np.array([3.0, 2.0, 1.0, 0.5, 1e-3, 1e-6, 0.0, 0.0, 4.0])
    others = np.array([1.0, 5.0, 0.1, 0.5, 1e-2, 0.0, 2.0, 0.0, 4.0])
    for directions in (np.eye(9), basis):
        one, other = ((np.zeros(9), (directions * s**2) @ directions.T) for s in (spreads, others))
        expected = np.square(spreads - others).sum()
        assert distance(one, other) == pytest.approx(expected, rel=1e-7)


def test_distance_is_symmetric_and_invariant_under_rotation():
    one, other = gaussian(10, 3), gaussian(10, 4, rank=4)
    basis = scipy.linalg.qr(np.random.default_rng(5).normal(size=(10, 10)))[0]
    turned = [(basis @ mean, basis @ covariance @ basis.T) for mean, covariance in (one, other)]
    assert distance(one, other) == pytest.approx(distance(other, one), rel=1e-9)
    assert distance(*turned) == pytest.approx(distance(one, other), rel=1e-7)


@pytest.mark.parametrize("rank", [None, 3])
def test_distance_to_oneself_is_zero(rank):
    one = gaussian(400, 6, rank=rank)
    assert distance(one, one) <= 1e-9 * np.trace(one[1])


def test_singular_covariances_score_as_in_the_space_they_span():
    one, other = gaussian(5, 7), gaussian(5, 8)
    embedding = scipy.linalg.qr(np.random.default_rng(9).normal(size=(60, 5)), mode="economic")[0]
    lifted = [(embedding @ m, embedding @ c @ embedding.T) for m, c in (one, other)]
    assert distance(*lifted) == pytest.approx(distance(one, other), rel=1e-6)


@pytest.mark.parametrize("scale", [1e-8, 1e8])
def test_distance_grows_with_the_square_of_the_features(scale):
    one, other = gaussian(8, 11, rank=3), gaussian(8, 12)
    scaled = [(scale * mean, scale**2 * covariance) for mean, covariance in (one, other)]
    assert distance(*scaled) == pytest.approx(scale**2 * distance(one, other), rel=1e-6)


@pytest.mark.parametrize("place", range(4))
def test_distance_is_nan_where_one_value_is(place):
    values = [*gaussian(4, 13), *gaussian(4, 14)]
    values[place] = values[place].copy()
    values[place].flat[1] = np.nan
    assert np.isnan(distance(values[:2], values[2:]))


def test_a_gaussian_from_sums_is_that_of_numpy():
    features = np.random.default_rng(10).normal(5.0, 1.0, size=(30, 6))
    tensor = torch.from_numpy(features)
    count = torch.tensor(30.0, dtype=torch.float64)
    mean, covariance = gaussian_of(count, tensor.sum(dim=0), tensor.T @ tensor)
    np.testing.assert_allclose(mean, features.mean(axis=0))
    np.testing.assert_allclose(covariance, np.cov(features.T), rtol=1e-9, atol=1e-12)


def drawn(samples=6, batch=12, seed=0, spec=SPEC):
    generator = torch.Generator().manual_seed(seed)
    values = torch.rand(batch, 5, *spec.frame_shape, generator=generator)
    future = torch.rand(samples, batch, 3, *spec.frame_shape, generator=generator) ** 1.3
    whole = Batch.of(values, 2, channels=spec.channels)
    return whole, Forecast(samples=future, times=TIMES, channels=spec.channels)


def features_by_numpy(clips):
    """Features of the tiny network for grey clips (clip, time, y, x) in [0, 1]."""
    x = np.round(np.clip(255 * clips.astype(np.float32), 0, 255)) / 127.5 - 1
    return np.stack(
        [
            x.mean(axis=(1, 2, 3)),
            x.std(axis=(1, 2, 3), ddof=1),
            np.abs(np.diff(x, axis=1)).mean(axis=(1, 2, 3)),
            x[:, -1].mean(axis=(1, 2)),
            x[:, 0, 0].mean(axis=1),
        ],
        axis=1,
    ).astype(float)


def test_fvd_is_the_distance_of_whole_clips_averaged_over_runs(settings):
    batch, forecast = drawn()
    metric = FVD.of(SPEC, settings)
    sums = metric.sums(forecast, batch.target, context=batch.context)
    truth = features_by_numpy(batch.values[:, :, 0].numpy())
    runs = []
    for sample in forecast.samples[:5]:
        clips = np.concatenate([batch.context.values[:, :, 0], sample[:, :, 0]], axis=1)
        found = features_by_numpy(clips)
        root = scipy.linalg.sqrtm(np.cov(truth.T) @ np.cov(found.T)).real
        runs.append(
            np.square(truth.mean(axis=0) - found.mean(axis=0)).sum()
            + np.trace(np.cov(truth.T) + np.cov(found.T) - 2 * root)
        )
    score = metric.scores(sums)["mean"]
    assert metric.details(sums)["runs"] == pytest.approx(runs, rel=1e-3)
    assert score.value == pytest.approx(np.mean(runs), rel=1e-3)
    assert score.half_width == pytest.approx(1.96 * np.std(runs, ddof=1) / 5**0.5, rel=1e-2)
    assert bool(score.per_lead_time.isnan().all())
    protocol = metric.protocol(sums)
    assert (protocol["resolution"], protocol["frames"], protocol["runs"]) == ([8, 10], 5, 5)
    assert len(protocol["sha256"]) == 64


def test_fewer_samples_make_fewer_runs_and_one_has_no_interval(settings):
    batch, forecast = drawn(samples=1)
    metric = FVD.of(SPEC, settings)
    sums = metric.sums(forecast, batch.target, context=batch.context)
    assert metric.protocol(sums)["runs"] == 1
    assert np.isnan(metric.scores(sums)["mean"].half_width)


class ThriftyFVD(FVD):
    clip_bytes = 1


def test_any_number_of_clips_at_once_gives_the_same(settings):
    batch, forecast = drawn(samples=2)
    metric = FVD.of(SPEC, settings)
    whole = metric.scores(metric.sums(forecast, batch.target, context=batch.context))["mean"].value
    metric = ThriftyFVD.of(SPEC, settings)
    sums = None
    for rows in (slice(0, 5), slice(5, 12)):
        part = batch.select(rows)
        piece = replace(forecast, samples=forecast.samples[:, rows])
        sums = add(sums, metric.sums(piece, part.target, context=part.context))
    assert metric.details(sums)["clips"] == 12
    assert metric.scores(sums)["mean"].value == pytest.approx(whole, rel=1e-6)


def test_what_fvd_cannot_score_is_refused(settings, tmp_path):
    batch, forecast = drawn()
    metric = FVD.of(SPEC, settings)
    with pytest.raises(InputError, match="context"):
        metric.sums(forecast, batch.target)
    mask = torch.ones_like(batch.target.values, dtype=torch.bool)
    mask[0, 0, 0, 0, 0] = False
    hidden = torch.where(mask, batch.target.values, torch.nan)
    target = Frames(values=hidden, times=TIMES, channels=SPEC.channels, mask=mask)
    with pytest.raises(InputError, match="masked"):
        metric.sums(forecast, target, context=batch.context)
    path = tmp_path / "i3d_torchscript.pt"
    path.write_bytes(b"no script")
    with pytest.raises(CorruptionError, match="not a TorchScript"):
        FVD.of(SPEC, MetricSettings(fvd_weights=str(path)))


def test_a_network_that_fails_is_named(settings):
    class Failing(torch.nn.Module):
        def forward(self, clips, *, rescale, resize, return_features):
            raise RuntimeError("Traceback of the script\nkernel size cannot exceed input size")

    batch, forecast = drawn()
    metric = FVD.of(SPEC, settings)
    metric.network = Failing()
    with pytest.raises(InputError, match=r"cannot take clips.*kernel size"):
        metric.sums(forecast, batch.target, context=batch.context)
    metric.network = lambda clips, **options: clips.sum()
    with pytest.raises(InputError, match="should return features"):
        metric.sums(forecast, batch.target, context=batch.context)


class Images(Windows):
    """A data source of small videos, which is its own windows."""

    spec = replace(SPEC, space=(32, 32))
    has_training_windows = True
    card = {"name": "images"}  # noqa: RUF012

    def windows(self, split):
        return self

    digest = "images"

    def __len__(self):
        return 6

    def batch(self, indices):
        values = torch.rand(6, 5, 1, 32, 32, generator=torch.Generator().manual_seed(1))
        return Batch.of(values[indices], 2, channels=("grey",))


def test_evaluation_records_files_and_thresholds(settings):
    scores = evaluate(
        Persistence(Images.spec), Images(), name="persistence", batch_size=4,
        metrics=("lpips", "fvd", "brier", "mse"), thresholds=(0.25, 0.75),
        lpips_weights=settings.lpips_weights, fvd_weights=settings.fvd_weights,
    )  # fmt: skip
    assert scores.not_computed == {}
    assert set(scores.forecasters["persistence"]) == {"lpips", "fvd", "brier", "mse"}
    recorded = scores.protocol["metric_settings"]
    assert set(recorded) == {"lpips", "fvd", "brier"}
    assert recorded["brier"] == {"thresholds": [0.25, 0.75]}
    assert len(recorded["lpips"]["sha256"]) == 64
    assert recorded["fvd"]["frames"] == 5
    assert scores.details["persistence"]["fvd"]["clips"] == 6
    assert scores.forecasters["persistence"]["mse"]["mean"].half_widths is not None
    assert scores.forecasters["persistence"]["fvd"]["mean"].half_widths is None


def test_evaluation_goes_on_without_files(settings):
    scores = evaluate(
        Persistence(Images.spec), Images(), name="persistence", metrics=("lpips", "fvd", "mse")
    )
    assert set(scores.forecasters["persistence"]) == {"mse"}
    assert set(scores.not_computed) == {"lpips", "fvd"}

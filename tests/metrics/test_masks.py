"""Masked scores: what is unknown counts nowhere, against slow twins with loops."""

import math

import numpy as np
import pytest
import torch

from statecast.data.base import DataSource, Windows
from statecast.errors import InputError
from statecast.evaluation.evaluate import evaluate
from statecast.frames import Batch, Forecast, Frames, FrameSpec
from statecast.metrics import METRICS
from statecast.metrics.base import ROWS, add
from statecast.metrics.masking import average
from statecast.models.baselines import Persistence

SPEC = FrameSpec(channels=("u", "v"), space=(13, 12), context=2, horizon=3, value_range=(0.0, 1.0))
TIMES = torch.arange(1.0, 4.0)
WHOLE = ("lpips", "lpips_vgg", "fvd", "perceptual_small", "fvd_small", "spectrum")
MASKABLE = [name for name in METRICS if name not in (*WHOLE, "acc")]  # acc: test_anomalies


def forecast_of(samples):
    return Forecast(samples=samples, times=TIMES, channels=SPEC.channels)


def frames_of(values, mask=None):
    return Frames(values=values, times=TIMES, channels=SPEC.channels, mask=mask)


def drawn(seed=0):
    """Samples, values and a mask under which whole SSIM windows, channels and frames are gone."""
    generator = torch.Generator().manual_seed(seed)
    values = torch.rand(3, 3, 2, 13, 12, generator=generator)
    samples = (values + 0.2 * torch.randn(4, *values.shape, generator=generator)).clamp(0, 1)
    mask = torch.ones_like(values, dtype=torch.bool)
    mask[..., :2, :] = torch.rand(3, 3, 2, 2, 12, generator=generator) > 0.4
    mask[0, 0, 1] = False
    mask[0, 1] = False
    mask[1, :2] = False
    return samples, values, mask


def scored(name, samples, target):
    metric = METRICS[name].of(SPEC)
    sums = metric.sums(forecast_of(samples), target)
    return metric.scores(sums), metric.details(sums)


def masked(values, mask):
    return frames_of(torch.where(mask, values, torch.nan), mask)


@pytest.mark.parametrize("name", MASKABLE)
def test_forecasts_under_the_mask_do_not_matter(name):
    samples, values, mask = drawn()
    target = masked(values, mask)
    expected, details = scored(name, samples, target)
    for other in (torch.nan, 1e6, math.inf):
        found, others = scored(name, torch.where(mask, samples, other), target)
        for selection, score in expected.items():
            assert found[selection].value == score.value
            assert math.isfinite(score.value)
            torch.testing.assert_close(
                found[selection].per_lead_time, score.per_lead_time, rtol=0, atol=0
            )
        assert repr(others) == repr(details)


@pytest.mark.parametrize("name", MASKABLE)
def test_a_mask_that_hides_nothing_changes_nothing(name):
    samples, values, mask = drawn()
    found, _ = scored(name, samples, frames_of(values, torch.ones_like(mask)))
    expected, _ = scored(name, samples, frames_of(values))
    for selection, score in expected.items():
        assert torch.equal(found[selection].per_lead_time, score.per_lead_time)
        assert found[selection].value == score.value


@pytest.mark.parametrize("name", MASKABLE)
def test_unknown_everywhere_is_no_score_and_no_error(name):
    samples, values, mask = drawn()
    nothing = torch.zeros_like(mask)
    found, _ = scored(name, samples, masked(values, nothing))
    assert all(math.isnan(score.value) for score in found.values())
    metric = METRICS[name].of(SPEC)
    both = metric.sums(forecast_of(samples), masked(values, mask))
    empty = metric.sums(forecast_of(samples), masked(values, nothing))
    for key, value in both.items():
        if not key.endswith(ROWS):
            torch.testing.assert_close(value + empty[key], value, equal_nan=True)
    assert found.keys() == metric.scores(add(both, empty)).keys()
    for selection, score in metric.scores(both).items():
        assert metric.scores(add(both, empty))[selection].value == pytest.approx(score.value)


def point_scores(name, x, y):
    """Score of one frame from its known points: x (sample, point), y (point,)."""
    members = len(x)
    if name == "mae":
        return np.abs(x - y).mean(axis=1)
    if name in ("mse", "rmse"):
        return np.square(x - y).mean(axis=1)
    if name == "mse_sum":
        return np.square(x - y).sum(axis=1)
    if name == "brier":
        return float(np.square((x > 0.5).mean(axis=0) - (y > 0.5)).mean())
    if name == "crps":
        spread = sum(np.abs(a - b) for a in x for b in x) / (2 * members * (members - 1))
        return float((np.abs(x - y).mean(axis=0) - spread).mean())
    assert name == "energy"
    spread = sum(np.linalg.norm(a - b) for a in x for b in x) / (2 * members * (members - 1))
    error = np.mean([np.linalg.norm(a - y) for a in x])
    return float((error - spread) / len(y) ** 0.5)


def slow_scores(frame_score):
    """Frame scores (…, batch, time) by loops; NaN where no frame score is defined."""
    samples, values, mask = (t.numpy() for t in drawn())
    found = np.full((len(samples), 3, 3), np.nan)
    for window, time in np.ndindex(3, 3):
        if mask[window, time].any():
            found[:, window, time] = frame_score(
                samples[:, window, time].astype(float),
                values[window, time].astype(float),
                mask[window, time],
            )
    return found


def check_against(found, slow):
    """Means over known frames, then sequences, per lead time and altogether."""
    np.testing.assert_allclose(found.per_lead_time, np.nanmean(slow, axis=0), rtol=1e-4)
    windows = np.nanmean(slow, axis=1)
    assert found.value == pytest.approx(windows.mean(), rel=1e-4)
    width = 1.96 * windows.std(ddof=1) / len(windows) ** 0.5
    assert found.half_width == pytest.approx(width, rel=1e-3)


@pytest.mark.parametrize("name", ["mse", "mae", "mse_sum"])
def test_errors_over_known_points_against_loops(name):
    samples, values, mask = drawn()
    slow = slow_scores(lambda x, y, known: point_scores(name, x[:, known], y[known]))
    found, details = scored(name, samples, masked(values, mask))
    check_against(found["mean"], slow.mean(axis=0))
    averages = np.nanmean(slow, axis=2)
    best = slow[averages.argmin(axis=0), np.arange(3)]
    worst = slow[averages.argmax(axis=0), np.arange(3)]
    check_against(found["best"], best)
    check_against(found["worst"], worst)
    assert details["best_of_n"][-1] == pytest.approx(averages.min(axis=0).mean(), rel=1e-4)


@pytest.mark.parametrize("name", ["crps", "energy", "brier"])
def test_ensemble_scores_over_known_points_against_loops(name):
    samples, values, mask = drawn()
    slow = slow_scores(lambda x, y, known: point_scores(name, x[:, known], y[known]))
    check_against(scored(name, samples, masked(values, mask))[0]["ensemble"], slow[0])


def test_psnr_leaves_out_channels_without_a_known_point():
    def psnr(x, y, known):
        channels = [
            -10 * np.log10(np.square(x[:, c][:, known[c]] - y[c][known[c]]).mean(axis=1))
            for c in range(2)
            if known[c].any()
        ]
        return np.mean(channels, axis=0)

    samples, values, mask = drawn()
    check_against(
        scored("psnr", samples, masked(values, mask))[0]["mean"], slow_scores(psnr).mean(axis=0)
    )


@pytest.mark.parametrize(("name", "side"), [("ssim", 11), ("ssim_skimage", 7)])
def test_ssim_leaves_out_windows_that_touch_the_unknown(name, side):
    from skimage.metrics import structural_similarity

    options = {"data_range": 2.0} if side == 7 else {
        "data_range": 1.0, "gaussian_weights": True, "sigma": 1.5, "win_size": 11,
        "use_sample_covariance": False,
    }  # fmt: skip
    rim = side // 2

    def ssim(x, y, known):
        scores = []
        for sample in x:
            channels = []
            for a, b, k in zip(sample, y, known, strict=True):
                _, image = structural_similarity(a, b, full=True, **options)
                inside = [
                    image[i, j]
                    for i in range(rim, 13 - rim)
                    for j in range(rim, 12 - rim)
                    if k[i - rim : i + rim + 1, j - rim : j + rim + 1].all()
                ]
                if inside:
                    channels.append(np.mean(inside))
            scores.append(np.mean(channels) if channels else np.nan)
        return scores

    samples, values, mask = drawn()
    found, _ = scored(name, samples, masked(values, mask))
    check_against(found["mean"], slow_scores(ssim).mean(axis=0))


def test_calibration_counts_every_known_point_once():
    samples, values, mask = drawn()
    target = masked(values, mask)
    # The same points laid out as whole frames of one point each, per lead time.
    for time in range(3):
        known = mask[:, time]
        x = samples[:, :, time][:, known].unflatten(1, (-1, 1, 1, 1))
        y = values[:, time][known].view(-1, 1, 1, 1)
        for name in ("rank_histogram", "coverage"):
            metric = METRICS[name].of(SPEC)
            alone = metric.sums(
                Forecast(samples=x, times=TIMES[:1], channels=("u",)),
                Frames(values=y, times=TIMES[:1], channels=("u",)),
            )
            expected = metric.scores(alone)["ensemble"].per_lead_time[0]
            found = scored(name, samples, target)[0]["ensemble"].per_lead_time[time]
            torch.testing.assert_close(found, expected)


def test_spread_and_skill_are_averages_over_known_points():
    samples, values, mask = drawn()
    x, y, known = (t.numpy() for t in (samples.double(), values.double(), mask))
    spread, error = np.zeros(3), np.zeros(3)
    for window, time in np.ndindex(3, 3):
        k = known[window, time]
        if k.any():
            members = x[:, window, time][:, k]
            spread[time] += members.var(axis=0, ddof=1).mean() * 5 / 4
            error[time] += np.square(members.mean(axis=0) - y[window, time][k]).mean()
    found = scored("spread_skill", samples, masked(values, mask))[0]["ensemble"]
    np.testing.assert_allclose(found.per_lead_time, np.sqrt(spread / error), rtol=1e-5)
    assert found.value == pytest.approx(np.sqrt(spread.sum() / error.sum()), rel=1e-5)


class MaskedWindows(Windows):
    """Images, with a corner that is unknown in every fourth window."""

    def __len__(self):
        return 6

    def batch(self, indices):
        generator = torch.Generator().manual_seed(4)
        values = torch.rand(6, 4, 1, 12, 12, generator=generator)
        mask = torch.ones_like(values, dtype=torch.bool)
        mask[3::4, ..., :3, :3] = False
        values = torch.where(mask, values, torch.nan)
        return Batch.of(values[indices], 2, mask=mask[indices])

    @property
    def digest(self):
        return "masked"


class Masked(DataSource):
    @property
    def spec(self):
        return FrameSpec(
            channels=("channel_0",), space=(12, 12), context=2, horizon=2, value_range=(0.0, 1.0)
        )

    def windows(self, split):
        return MaskedWindows()

    @property
    def card(self):
        return {"name": "masked"}


@pytest.mark.parametrize("batch_size", [1, 2, 6])
def test_a_metric_that_needs_whole_frames_is_named_and_others_are_computed(batch_size):
    names = ("mse", "ssim", "spectrum")
    scores = evaluate(
        Persistence(Masked().spec), Masked(), name="persistence", metrics=names,
        batch_size=batch_size,
    )  # fmt: skip
    found = scores.forecasters["persistence"]
    assert set(found) == {"mse", "ssim"}
    assert "masked" in scores.not_computed["spectrum"]
    batch = MaskedWindows().batch(torch.arange(6))
    error = (batch.context.values[:, -1:] - batch.target.values).square()
    expected = error.flatten(2).nanmean(dim=2).mean()
    assert found["mse"]["mean"].value == pytest.approx(float(expected), rel=1e-5)


def test_a_metric_that_needs_whole_frames_refuses_others():
    samples, values, mask = drawn()
    with pytest.raises(InputError, match="masked"):
        METRICS["spectrum"].of(SPEC).sums(forecast_of(samples), masked(values, mask))


@pytest.mark.parametrize("masked", [False, True])
def test_a_weighted_average_is_of_known_points_that_weigh_anything(masked):
    generator = torch.Generator().manual_seed(3)
    points = torch.rand(2, 3, 2, 5, generator=generator)
    weights = torch.tensor([0.5, 0.0, 2.0, 1.0, 0.0])
    points[..., 1] = torch.nan  # weighs nothing
    known = torch.rand(points.shape, generator=generator) > 0.3 if masked else None
    found = average(points, known, 2, weights)
    for b, t in torch.cartesian_prod(torch.arange(2), torch.arange(3)).tolist():
        pairs = [
            (float(weights[p]), float(points[b, t, c, p]))
            for c in range(2)
            for p in range(5)
            if weights[p] > 0 and (known is None or known[b, t, c, p])
        ]
        expected = sum(w * x for w, x in pairs) / sum(w for w, _ in pairs)
        assert float(found[b, t]) == pytest.approx(expected, rel=1e-5)

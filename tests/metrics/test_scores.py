"""Scores of frames, against published values and independent implementations."""

import math
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from statecast.errors import InputError
from statecast.frames import Forecast, Frames, FrameSpec
from statecast.metrics import METRICS
from statecast.metrics.base import add
from statecast.metrics.per_sample import best_of
from statecast.metrics.pointwise import PSNR
from statecast.metrics.ssim import SSIM

GOLDEN = Path(__file__).parents[1] / "golden" / "frame_metrics.npz"
SPEC = FrameSpec(channels=("u", "v"), space=(16, 12), context=2, horizon=3, value_range=(0.0, 1.0))
IMAGES = replace(SPEC, channels=("red", "green", "blue"), space=(32, 35))
NETWORKS = ("lpips", "lpips_vgg", "fvd", "perceptual_small", "fvd_small")
CALIBRATION = ("spread_skill", "rank_histogram", "coverage")


def spec_of(name):
    if name == "lpips_vgg":  # smaller, because it takes long
        return replace(IMAGES, space=(16, 18))
    return IMAGES if name in NETWORKS else SPEC


def pair_for(name):
    return forecast_and_target(samples=3 if name in NETWORKS else 6, spec=spec_of(name))


def context_of(spec=SPEC, batch=5):
    values = torch.rand(batch, 2, *spec.frame_shape, generator=torch.Generator().manual_seed(9))
    return Frames.context_of(values, spec.channels)


def forecast_and_target(samples=6, batch=5, seed=0, spec=SPEC):
    generator = torch.Generator().manual_seed(seed)
    target = torch.rand(batch, 3, *spec.frame_shape, generator=generator)
    noise = 0.3 * torch.randn(samples, *target.shape, generator=generator)
    times = torch.arange(1.0, 4.0)
    return (
        Forecast(samples=(target + noise).clamp(0, 1), times=times, channels=spec.channels),
        Frames(values=target, times=times, channels=spec.channels),
    )


def with_mask(target, seed=3):
    """Some values of the first rows unknown, one frame altogether, and one sequence."""
    mask = torch.rand(target.values.shape, generator=torch.Generator().manual_seed(seed)) > 0.3
    mask[..., 3:, :] = True
    mask[0, 1], mask[4] = False, False
    values = torch.where(mask, target.values, torch.nan)
    return Frames(values=values, times=target.times, channels=target.channels, mask=mask)


def scored(name, forecast, target):
    metric = METRICS[name].of(SPEC)
    return metric.scores(metric.sums(forecast, target))


def test_published_ssim_and_psnr():
    golden = np.load(GOLDEN)
    frames, targets = (
        torch.from_numpy(golden[name]).float() / 255 for name in ("frames", "targets")
    )
    ssim, psnr = golden["ssim_per_channel"], golden["psnr_per_channel"]
    for index in np.ndindex(tuple(ssim.shape)):
        one, other = frames[index][None, None, None], targets[index][None, None, None]
        metric = SSIM()
        found = metric.frame_scores(one, other, metric.prepare(other))
        assert float(found) == pytest.approx(float(ssim[index]), abs=1e-4)
        assert float(PSNR().frame_scores(one, other, None)) == pytest.approx(
            float(psnr[index]), abs=1e-3
        )


def test_ssim_and_psnr_agree_with_scikit_image():
    from skimage.metrics import peak_signal_noise_ratio, structural_similarity

    forecast, target = forecast_and_target(samples=1)
    settings = {
        "data_range": 1.0, "gaussian_weights": True, "sigma": 1.5, "use_sample_covariance": False,
        "win_size": 11,
    }  # fmt: skip
    ssim, psnr = [], []
    for one, other in zip(
        forecast.samples[0].flatten(0, 2), target.values.flatten(0, 2), strict=True
    ):
        a, b = one.double().numpy(), other.double().numpy()
        _, image = structural_similarity(a, b, full=True, **settings)
        ssim.append(image[5:-5, 5:-5].mean())
        psnr.append(peak_signal_noise_ratio(b, a, data_range=1.0))
    assert scored("ssim", forecast, target)["mean"].value == pytest.approx(np.mean(ssim), abs=1e-5)
    assert scored("psnr", forecast, target)["mean"].value == pytest.approx(np.mean(psnr), abs=1e-4)


def test_the_other_ssim_agrees_with_scikit_image():
    from skimage.metrics import structural_similarity

    forecast, target = forecast_and_target(samples=1)
    expected = np.mean([
        # Without data_range, old versions took 2 from the type; new ones must be told.
        structural_similarity(
            one.double().numpy(), other.double().numpy(), channel_axis=0, data_range=2.0
        )
        for one, other in zip(
            forecast.samples[0].flatten(0, 1), target.values.flatten(0, 1), strict=True
        )
    ])  # fmt: skip
    found = scored("ssim_skimage", forecast, target)["mean"].value
    assert found == pytest.approx(expected, abs=1e-5)


@pytest.mark.parametrize("name", ["ssim", "ssim_skimage", "psnr"])
def test_image_scores_do_not_depend_on_the_unit(name):
    forecast, target = forecast_and_target()
    expected = scored(name, forecast, target)
    kelvin = METRICS[name].of(replace(SPEC, value_range=(270.0, 310.0)))
    sums = kelvin.sums(
        replace(forecast, samples=270 + 40 * forecast.samples),
        replace(target, values=270 + 40 * target.values),
    )
    for selection, score in kelvin.scores(sums).items():
        assert score.value == pytest.approx(expected[selection].value, rel=1e-4)


def test_the_root_of_no_error_has_no_width():
    forecast, target = forecast_and_target()
    right = replace(forecast, samples=target.values.expand_as(forecast.samples).clone())
    found = scored("rmse", right, target)["mean"]
    assert (found.value, found.half_width) == (0, 0)
    assert found.half_widths.tolist() == [0] * len(target)


def test_errors_agree_with_numpy():
    forecast, target = forecast_and_target()
    x, y = forecast.samples.double().numpy(), target.values.double().numpy()
    mse = ((x - y) ** 2).mean(axis=(3, 4, 5))
    found = scored("mse", forecast, target)
    np.testing.assert_allclose(found["mean"].per_lead_time, mse.mean(axis=(0, 1)), rtol=1e-5)
    assert found["best"].value == pytest.approx(mse.mean(axis=2).min(axis=0).mean(), rel=1e-5)
    assert found["worst"].value == pytest.approx(mse.mean(axis=2).max(axis=0).mean(), rel=1e-5)
    middle = ((x.mean(axis=0) - y) ** 2).mean()
    assert found["ensemble_mean"].value == pytest.approx(middle, rel=1e-5)
    video = mse.mean(axis=(0, 2))
    width = 1.96 * video.std(ddof=1) / 5**0.5
    assert found["mean"].half_width == pytest.approx(width, rel=1e-4)
    widths = 1.96 * mse.mean(axis=0).std(axis=0, ddof=1) / 5**0.5
    np.testing.assert_allclose(found["mean"].half_widths, widths, rtol=1e-4)
    root = scored("rmse", forecast, target)["mean"]  # d√m = dm / 2√m
    assert root.half_width == pytest.approx(width / (2 * mse.mean() ** 0.5), rel=1e-4)
    roots = mse.mean(axis=(0, 1)) ** 0.5
    np.testing.assert_allclose(root.half_widths, widths / (2 * roots), rtol=1e-4)
    pixels = 2 * 16 * 12
    assert scored("mse_sum", forecast, target)["mean"].value == pytest.approx(
        pixels * mse.mean(), rel=1e-5
    )
    assert scored("mae", forecast, target)["mean"].value == pytest.approx(
        np.abs(x - y).mean(), rel=1e-5
    )
    assert scored("rmse", forecast, target)["mean"].value == pytest.approx(
        mse.mean() ** 0.5, rel=1e-5
    )


def test_best_psnr_is_the_highest_and_best_mse_the_lowest():
    forecast, target = forecast_and_target()
    for name in ("psnr", "mse"):
        found = scored(name, forecast, target)
        better = max if name == "psnr" else min
        assert better(found["best"].value, found["mean"].value) == found["best"].value


def test_best_of_n_curve_equals_all_subsets():
    from itertools import combinations

    scores = torch.rand(6, 4, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    curve = best_of(scores.sort(dim=0).values)
    for n in range(1, 7):
        subsets = torch.stack([scores[list(c)].amin(dim=0) for c in combinations(range(6), n)])
        torch.testing.assert_close(curve[n - 1], subsets.mean(dim=0))


def test_the_curve_runs_from_the_mean_to_the_best_with_their_intervals():
    forecast, target = forecast_and_target()
    metric = METRICS["mse"].of(SPEC)
    sums = metric.sums(forecast, target)
    scores, details = metric.scores(sums), metric.details(sums)
    for place, selection in ((0, "mean"), (-1, "best")):
        score = scores[selection]
        assert details["best_of_n"][place] == pytest.approx(score.value)
        assert details["best_of_n_half_widths"][place] == pytest.approx(score.half_width)


@pytest.mark.parametrize("name", METRICS)
@pytest.mark.parametrize("masked", [False, True])
def test_value_does_not_depend_on_how_the_data_is_batched(name, masked, settings):
    spec = spec_of(name)
    forecast, target = pair_for(name)
    context = context_of(spec)
    metric = METRICS[name].of(spec, settings)
    if masked:
        target = with_mask(target)
        if metric.why_not_scorable(target):
            pytest.skip("it needs whole frames")
    whole = metric.sums(forecast, target, context=context)
    parts = None
    for rows in (slice(3, 5), slice(0, 1), slice(1, 3)):
        piece = Forecast(
            samples=forecast.samples[:, rows], times=forecast.times, channels=spec.channels
        )
        found = metric.sums(piece, target.select(rows), context=context.select(rows))
        parts = add(parts, found)
    expected, found = metric.scores(whole), metric.scores(parts)
    assert set(expected) == set(metric.reductions)
    for selection, score in expected.items():
        close = {"rtol": 1e-5, "atol": 1e-6, "equal_nan": True}
        torch.testing.assert_close(found[selection].per_lead_time, score.per_lead_time, **close)
        torch.testing.assert_close(found[selection].half_widths, score.half_widths, **close)
        for one, other in zip(found[selection][1:3], score[1:3], strict=True):
            assert one == pytest.approx(other, rel=1e-5, abs=1e-7, nan_ok=True)
    assert metric.details(parts).keys() == metric.details(whole).keys()
    assert metric.protocol(parts) == metric.protocol(whole)


@pytest.mark.parametrize("name", METRICS)
@pytest.mark.parametrize("where", ["forecast", "target"])
@pytest.mark.parametrize("masked", [False, True])
def test_a_nan_stays_visible(name, where, masked, settings):
    spec = spec_of(name)
    forecast, target = pair_for(name)
    metric = METRICS[name].of(spec, settings)
    if masked:
        target = with_mask(target)
        if metric.why_not_scorable(target):
            pytest.skip("it needs whole frames")
        assert bool(target.mask[1, 2, 0, 3, 4])
    values = forecast.samples[2] if where == "forecast" else target.values
    values[1, 2, 0, 3, 4] = torch.nan
    sums = metric.sums(forecast, target, context=context_of(spec))
    for selection, score in metric.scores(sums).items():
        assert math.isnan(score.value), selection
        assert math.isnan(score.per_lead_time[2]), selection


@pytest.mark.parametrize("name", [n for n in METRICS if n not in CALIBRATION])
def test_a_perfect_forecast_scores_best_and_better_than_a_noisy_one(name, settings):
    spec = spec_of(name)
    noisy, target = pair_for(name)
    samples = target.values.expand(2, *target.values.shape)
    perfect = Forecast(samples=samples, times=target.times, channels=spec.channels)
    best = {"acc": 1.0, "ssim": 1.0, "ssim_skimage": 1.0, "psnr": 100.0}.get(name, 0.0)
    metric = METRICS[name].of(spec, settings)
    without_skill = name in ("psnr", "bias") or not metric.selections
    assert metric.perfect == (None if without_skill else best)
    found, other = (
        metric.scores(metric.sums(forecast, target, context=context_of(spec)))
        for forecast in (perfect, noisy)
    )
    for selection, score in found.items():
        assert score.value == pytest.approx(best, abs=1e-6)
        assert metric.penalty(score.value) < metric.penalty(other[selection].value)


def test_scores_of_one_sequence_have_no_interval():
    forecast, target = forecast_and_target(batch=1)
    assert math.isnan(scored("mse", forecast, target)["mean"].half_width)


def test_a_metric_says_why_it_does_not_apply():
    points = FrameSpec(channels=("u",), space=(100,), context=2, horizon=3)
    assert "11×11" in METRICS["ssim"].why_not_applicable(points, 1)
    assert "range" in METRICS["psnr"].why_not_applicable(points, 1)
    assert "2 samples" in METRICS["crps"].why_not_applicable(points, 1)
    assert METRICS["mse"].why_not_applicable(points, 1) is None


def test_frames_that_do_not_match_are_refused():
    forecast, target = forecast_and_target()
    with pytest.raises(InputError, match="must match"):
        METRICS["mse"]().sums(forecast, target.select(slice(0, 2)))
    later = Frames(values=target.values, times=target.times + 1, channels=SPEC.channels)
    with pytest.raises(InputError, match="lead times"):
        METRICS["mse"]().sums(forecast, later)
    one = Forecast(samples=forecast.samples[:1], times=forecast.times, channels=SPEC.channels)
    with pytest.raises(InputError, match="at least 2 samples"):
        METRICS["crps"]().sums(one, target)

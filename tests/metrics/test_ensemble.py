"""Scores of ensembles, against independent implementations and closed forms."""

import math

import numpy as np
import pytest
import scoringrules
import torch

from statecast.errors import InputError
from statecast.frames import Forecast, Frames, FrameSpec
from statecast.metrics import METRICS
from statecast.metrics.base import MetricSettings
from statecast.metrics.calibration import LEVELS, Coverage, RankHistogram, SpreadSkill
from statecast.metrics.ensemble import Brier, Energy, crps

TIMES = torch.tensor([1.0])


def drawn(members, truths, *, spread=1.0, seed=0):
    """Samples and truths from one distribution, but for the spread of the samples."""
    generator = torch.Generator().manual_seed(seed)
    centre = torch.randn(truths, 1, 1, 4, generator=generator)
    noise = torch.randn(members + 1, truths, 1, 1, 4, generator=generator)
    samples, target = centre + spread * noise[1:], centre + noise[0]
    return (
        Forecast(samples=samples, times=TIMES, channels=("u",)),
        Frames(values=target, times=TIMES, channels=("u",)),
    )


def scored(metric, forecast, target):
    sums = metric.sums(forecast, target)
    return metric.scores(sums)["ensemble"], metric.details(sums)


def test_crps_agrees_with_scoringrules():
    forecast, target = drawn(7, 50)
    found = crps(forecast.samples, target.values)
    members = forecast.samples.movedim(0, -1).double().numpy()
    expected = scoringrules.crps_ensemble(target.values.double().numpy(), members, estimator="fair")
    np.testing.assert_allclose(found, expected, atol=1e-6)


def test_crps_does_not_depend_on_the_number_of_samples_and_has_its_closed_form():
    generator = torch.Generator().manual_seed(0)
    truth = torch.tensor(0.7, dtype=torch.float64)
    cdf = 0.5 * (1 + math.erf(0.7 / 2**0.5))
    density = math.exp(-0.5 * 0.49) / math.sqrt(2 * math.pi)
    expected = 0.7 * (2 * cdf - 1) + 2 * density - 1 / math.sqrt(math.pi)
    for members in (2, 5, 50):
        samples = torch.randn(members, 400_000 // members, generator=generator).double()
        found = crps(samples, truth.expand(samples.shape[1])).mean()
        assert float(found) == pytest.approx(expected, abs=0.01)


def test_energy_agrees_with_scoringrules():
    forecast, target = drawn(6, 20)
    score, _ = scored(Energy(), forecast, target)
    expected = np.mean([
        scoringrules.es_ensemble(
            target.values[i, 0, 0].double().numpy(),
            forecast.samples[:, i, 0, 0].double().numpy(),
            estimator="fair",
        )
        for i in range(20)
    ])  # fmt: skip
    assert score.value == pytest.approx(float(expected) / 2, abs=1e-5)  # √4 values


def test_energy_of_single_values_is_the_crps():
    forecast, target = drawn(6, 30)
    one = Forecast(samples=forecast.samples[..., :1], times=TIMES, channels=("u",))
    truth = Frames(values=target.values[..., :1], times=TIMES, channels=("u",))
    score, _ = scored(Energy(), one, truth)
    assert score.value == pytest.approx(float(crps(one.samples, truth.values).mean()), abs=1e-6)


@pytest.mark.parametrize("members", [2, 5, 20])
def test_a_calibrated_ensemble_of_any_size_is_recognised(members):
    forecast, target = drawn(members, 20_000)
    assert scored(SpreadSkill(), forecast, target)[0].value == pytest.approx(1, abs=0.02)
    assert scored(RankHistogram(), forecast, target)[0].value < 0.01
    assert scored(Coverage(), forecast, target)[0].value < 0.01
    _, details = scored(Coverage(), forecast, target)
    for level in LEVELS:
        assert details[f"inside_{level}"][0] == pytest.approx(level, abs=0.01)


def test_an_ensemble_too_sure_of_itself_is_recognised():
    forecast, target = drawn(10, 5_000, spread=0.3)
    assert scored(SpreadSkill(), forecast, target)[0].value < 0.5
    score, details = scored(RankHistogram(), forecast, target)
    assert score.value > 0.3
    histogram = details["histogram"][0]
    assert histogram[0] > 0.2
    assert histogram[-1] > 0.2
    assert sum(histogram) == pytest.approx(1)
    assert scored(Coverage(), forecast, target)[1]["inside_0.9"][0] < 0.7


def test_ties_are_shared_by_all_ranks():
    samples = torch.zeros(3, 2, 1, 1, 4)
    forecast = Forecast(samples=samples, times=TIMES, channels=("u",))
    target = Frames(values=torch.zeros(2, 1, 1, 4), times=TIMES, channels=("u",))
    score, details = scored(RankHistogram(), forecast, target)
    assert details["histogram"][0] == pytest.approx([0.25] * 4)
    assert score.value == pytest.approx(0)
    assert scored(Coverage(), forecast, target)[1]["inside_0.5"][0] == pytest.approx(0.5)


def test_brier_score_of_known_probabilities():
    samples = torch.tensor([0.9, 0.8, 0.2, 0.1]).view(4, 1, 1, 1, 1)
    forecast = Forecast(samples=samples, times=TIMES, channels=("u",))
    target = Frames(values=torch.full((1, 1, 1, 1), 0.95), times=TIMES, channels=("u",))
    score, _ = scored(Brier(0.5), forecast, target)
    assert score.value == pytest.approx(0.25)
    assert scored(Brier(0.15), forecast, target)[0].value == pytest.approx(1 / 16)


@pytest.mark.parametrize(
    ("value", "truth", "expected"), [(0.5, 0.5, 0), (0.5, 0.6, 1), (0.6, 0.5, 1), (0.5, 0.4, 0)]
)
def test_a_value_on_the_threshold_does_not_lie_above_it(value, truth, expected):
    forecast = Forecast(samples=torch.full((2, 1, 1, 1, 3), value), times=TIMES, channels=("u",))
    target = Frames(values=torch.full((1, 1, 1, 3), truth), times=TIMES, channels=("u",))
    assert scored(Brier(0.5), forecast, target)[0].value == expected


def test_the_usual_threshold_is_the_middle_of_the_range():
    spec = FrameSpec(channels=("t",), space=(4,), context=1, horizon=1, value_range=(270.0, 310.0))
    assert Brier.of(spec).thresholds == (290.0,)


def test_ranks_and_coverage_agree_with_counting():
    forecast, target = drawn(9, 40, spread=0.6)
    x, y = forecast.samples.flatten(1).numpy(), target.values.flatten().numpy()
    ranks = (x < y).sum(axis=0)
    _, details = scored(RankHistogram(), forecast, target)
    expected = np.bincount(ranks, minlength=10) / len(ranks)
    np.testing.assert_allclose(details["histogram"][0], expected)
    # Of 10 ranks the central 50 % leave out 2.5 on either side, so ranks 2 and 7 count half.
    weights = np.array([0, 0, 0.5, 1, 1, 1, 1, 0.5, 0, 0])
    score, details = scored(Coverage(), forecast, target)
    assert details["inside_0.5"][0] == pytest.approx(weights[ranks].mean())
    inside = np.array([0.5, 1, 1, 1, 1, 1, 1, 1, 1, 0.5])[ranks].mean()
    assert details["inside_0.9"][0] == pytest.approx(inside)
    assert score.value == pytest.approx((abs(weights[ranks].mean() - 0.5) + abs(inside - 0.9)) / 2)


def test_brier_score_of_several_thresholds_is_their_mean():
    forecast, target = drawn(5, 30)
    x, y = forecast.samples.numpy(), target.values.numpy()
    expected = [np.square((x > t).mean(axis=0) - (y > t)).mean() for t in (-0.5, 0.0, 1.0)]
    score, details = scored(Brier(-0.5, 0.0, 1.0), forecast, target)
    assert details["values"] == pytest.approx(expected, rel=1e-5)
    assert details["thresholds"] == [-0.5, 0.0, 1.0]
    assert score.value == pytest.approx(np.mean(expected), rel=1e-5)


def test_brier_score_over_all_thresholds_is_the_crps():
    forecast, target = drawn(4, 5)
    width = 0.01
    grid = [width * i for i in range(-500, 500)]
    score, _ = scored(Brier(*grid), forecast, target)
    # Of the empirical distribution, whose CRPS is not the fair one.
    x, y = forecast.samples.double(), target.values.double()
    spread = (x[:, None] - x[None]).abs().mean(dim=(0, 1))
    expected = ((x - y).abs().mean(dim=0) - spread / 2).mean()
    assert width * len(grid) * score.value == pytest.approx(float(expected), rel=0.02)


def test_thresholds_make_the_brier_score_apply_where_the_range_is_not_known():
    spec = FrameSpec(channels=("u",), space=(4,), context=1, horizon=1)
    assert "thresholds" in Brier.why_not_applicable(spec, 1)
    settings = MetricSettings(thresholds=(1.5,))
    assert Brier.why_not_applicable(spec, 1, settings) is None
    assert Brier.of(spec, settings).thresholds == (1.5,)
    with pytest.raises(InputError, match="finite thresholds"):
        Brier(float("nan"))
    with pytest.raises(InputError, match="finite thresholds"):
        Brier()


@pytest.mark.parametrize("masked", [False, True])
@pytest.mark.parametrize(
    "name", ["fair_mse", "crps", "energy", "brier", "spread_skill", "rank_histogram", "coverage"]
)
def test_any_budget_gives_the_same_sums(name, masked):
    generator = torch.Generator().manual_seed(0)
    values = torch.rand(6, 2, 5, 1, 3, 4, generator=generator)
    known = torch.rand(2, 5, 1, 3, 4, generator=generator) > 0.3
    known[0, 2] = False
    times = torch.arange(1.0, 6.0)
    forecast = Forecast(samples=values[1:], times=times, channels=("u",))
    truth = torch.where(known, values[0], torch.nan) if masked else values[0]
    target = Frames(values=truth, times=times, channels=("u",), mask=known if masked else None)
    spec = FrameSpec(channels=("u",), space=(3, 4), context=1, horizon=5, value_range=(0.0, 1.0))
    settings = MetricSettings(thresholds=(0.3, 0.6))
    whole = METRICS[name].of(spec, settings).sums(forecast, target)
    each = values[1:, :, :1].numel() * 4  # bytes of all samples of a frame
    for budget in (1, each, 2 * each, 3 * each + 1):
        thrifty = type("Thrifty", (METRICS[name],), {"copied_bytes": budget})
        parts = thrifty.of(spec, settings).sums(forecast, target)
        assert parts.keys() == whole.keys()
        for key, expected in whole.items():
            torch.testing.assert_close(parts[key], expected, equal_nan=True)


def test_reliability_of_probabilities():
    # 3 of 4 samples above .5 at every point; the event happens at 2 of 3 points.
    samples = torch.tensor([0.9, 0.8, 0.7, 0.1]).view(4, 1, 1, 1, 1).expand(4, 1, 1, 1, 3)
    truth = torch.tensor([0.6, 0.9, 0.2]).view(1, 1, 1, 3)
    forecast = Forecast(samples=samples, times=torch.ones(1), channels=("u",))
    target = Frames(values=truth, times=torch.ones(1), channels=("u",))
    metric = Brier(0.5)
    details = metric.details(metric.sums(forecast, target))
    assert details["issued"] == [0.0, 0.0, 0.0, 1.0, 0.0]
    assert details["observed"][3] == pytest.approx(2 / 3)
    mask = torch.tensor([True, True, False]).view(1, 1, 1, 3)
    known = Frames(
        values=truth.masked_fill(~mask, torch.nan), times=torch.ones(1), channels=("u",), mask=mask
    )
    assert metric.details(metric.sums(forecast, known))["observed"][3] == 1.0


def test_fair_mse_is_the_error_of_the_mean_of_the_distribution_for_any_number_of_samples():
    """Samples about 0.5 beside a truth of 0: 0.25, whereas their mean's error has s²/M more."""
    generator = torch.Generator().manual_seed(0)
    times, metrics = torch.ones(1), {name: METRICS[name]() for name in ("fair_mse", "mse")}
    target = Frames(values=torch.zeros(40, 1, 1, 50, 50), times=times, channels=("u",))
    for members in (2, 5, 20):
        drawn = 0.5 + torch.randn(members, *target.values.shape, generator=generator)
        forecast = Forecast(samples=drawn, times=times, channels=("u",))
        scores = {name: m.scores(m.sums(forecast, target)) for name, m in metrics.items()}
        assert scores["fair_mse"]["ensemble"].value == pytest.approx(0.25, abs=0.012)
        mean = scores["mse"]["ensemble_mean"].value
        assert mean == pytest.approx(0.25 + 1 / members, abs=0.012)


def test_fair_mse_of_equal_samples_is_the_mse():
    values = torch.rand(2, 3, 1, 4, generator=torch.Generator().manual_seed(1))
    target = Frames(values=torch.zeros_like(values), times=torch.arange(1.0, 4.0), channels=("u",))
    forecast = Forecast(
        samples=values.expand(3, *values.shape), times=target.times, channels=("u",)
    )
    found = {name: METRICS[name]().sums(forecast, target) for name in ("fair_mse", "mse")}
    torch.testing.assert_close(found["fair_mse"]["ensemble.rows"], found["mse"]["mean.rows"])

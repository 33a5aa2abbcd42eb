"""Bias and correlation of anomalies against their definitions."""

import numpy as np
import pytest
import torch

from statecast.frames import Forecast, Frames, FrameSpec
from statecast.metrics.anomalies import AnomalyCorrelation, Bias
from statecast.metrics.base import MetricSettings


def pair(samples=3):
    generator = torch.Generator().manual_seed(1)
    truth = torch.randn(4, 2, 2, 5, 6, generator=generator)
    drawn = truth + torch.randn(samples, *truth.shape, generator=generator)
    times = torch.tensor([1.0, 2.0])
    return (
        Forecast(samples=drawn, times=times, channels=("u", "v")),
        Frames(values=truth, times=times, channels=("u", "v")),
    )


def value(metric, forecast, target):
    return metric.scores(metric.sums(forecast, target))["ensemble"].value


def test_bias_is_the_mean_error_of_the_mean_and_none_from_both_sides_is_best():
    forecast, target = pair()
    error = float((forecast.mean - target.values).mean())
    assert value(Bias(), forecast, target) == pytest.approx(error, abs=1e-6)
    assert Bias.penalty(-2.0) == Bias.penalty(2.0) > Bias.penalty(0.1)


def test_anomalies_are_correlated_over_space_without_their_climatology():
    forecast, target = pair()
    climatology = torch.randn(2, 5, 6, generator=torch.Generator().manual_seed(2))
    one = (forecast.mean - climatology).flatten(3).numpy()
    other = (target.values - climatology).flatten(3).numpy()
    norms = np.linalg.norm(one, axis=3) * np.linalg.norm(other, axis=3)
    expected = ((one * other).sum(axis=3) / norms).mean()
    metric = AnomalyCorrelation(climatology)
    assert value(metric, forecast, target) == pytest.approx(expected, rel=1e-5)
    # A forecast of anomalies that are half as large, and have the same pattern, is perfect here.
    half = climatology + 0.5 * (target.values - climatology)
    damped = Forecast(samples=half[None], times=target.times, channels=("u", "v"))
    assert value(metric, damped, target) == pytest.approx(1.0, abs=1e-6)


def test_anomalies_are_correlated_over_known_points_of_channels_that_have_any():
    forecast, target = pair()
    climatology = torch.randn(2, 5, 6, generator=torch.Generator().manual_seed(2))
    known = torch.rand(target.values.shape, generator=torch.Generator().manual_seed(3)) > 0.3
    known[1, 0, 1] = False
    masked = Frames(
        values=target.values.masked_fill(~known, torch.nan),
        times=target.times,
        channels=("u", "v"),
        mask=known,
    )
    frames = []
    for b, t in np.ndindex(4, 2):
        found = []
        for c in range(2):
            k = known[b, t, c]
            one, other = (
                (values[b, t, c] - climatology[c])[k].double().numpy()
                for values in (forecast.mean, target.values)
            )
            if len(one):
                found.append(one @ other / np.linalg.norm(one) / np.linalg.norm(other))
        frames.append(np.mean(found))
    assert value(AnomalyCorrelation(climatology), forecast, masked) == pytest.approx(
        np.mean(frames), rel=1e-5
    )


def test_a_correlation_of_anomalies_needs_a_climatology_alone():
    spec = FrameSpec(channels=("u",), space=(4,), context=1, horizon=1)
    given = MetricSettings(climatology=torch.zeros(1, 4))
    assert AnomalyCorrelation.why_not_applicable(spec, 1, given) is None
    assert "climatology" in AnomalyCorrelation.why_not_applicable(spec, 1)

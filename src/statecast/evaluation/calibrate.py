"""fit_calibration: the bias and the inflation of the spread that minimise the CRPS."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from statecast.data.base import Windows, seeded_generator, window_generators
from statecast.data.loading import evenly
from statecast.errors import InputError
from statecast.evaluation.slices import MEMORY_GIB, slices_within
from statecast.frames import Batch, Forecast
from statecast.metrics.ensemble import ordered
from statecast.models.base import Forecaster
from statecast.models.calibration import Calibration

POINTS = 5_000  # fitted on for each lead time and channel, over all windows
PLACES = 6  # stream of the random numbers that choose the points
LARGEST = 20.0  # inflation; a forecast that needs more has almost no spread
GOLDEN = (math.sqrt(5) - 1) / 2
STEPS = 24  # of golden-section search, which narrow the bracket to 1e-5 of its width


def fit_calibration(
    model: Forecaster,
    windows: Windows,
    *,
    samples: int = 20,
    batch_size: int = 16,
    max_windows: int | None = None,
    seed: int = 1,
) -> Calibration:
    """Fit a calibration of a model's forecasts, for each lead time and channel.

    Args:
        model: the model to calibrate; a calibration that it already has is ignored.
        windows: windows of the validation split.
        samples: futures per window. A deterministic model gives one, and only a bias is fitted.
        batch_size: largest number of windows to forecast at once.
        max_windows: number of windows to fit on, evenly spaced; all by default.
        seed: seed of the samples and of the points that are fitted on.

    Errors:
        InputError: a stochastic model is given fewer than 2 samples.
    """
    if model.stochastic and samples < 2:
        raise InputError(
            f"Calibrating the spread needs at least 2 samples, got {samples}. Raise samples."
        )
    earlier, model.calibration = model.calibration, None
    try:
        drawn, truth, times = pairs_of(
            model, windows, samples, batch_size=batch_size, count=max_windows, seed=seed
        )
    finally:
        model.calibration = earlier
    inflation, bias = least_crps(drawn, truth)
    return Calibration(
        lead_times=tuple(times),
        channels=model.spec.channels,
        inflation=inflation.double(),
        bias=bias.double(),
    )


def pairs_of(
    model: Forecaster,
    windows: Windows,
    samples: int,
    *,
    batch_size: int,
    count: int | None,
    seed: int,
) -> tuple[Tensor, Tensor, list[float]]:
    """Samples (sample, point, time, channel) and truth (point, time, channel) at some points.

    Each window gives the same number of points, drawn at random. Unknown truth is NaN. The third
    result lists the lead times.
    """
    chosen = evenly(len(windows), count)
    drawn = samples if model.stochastic else 1
    each = max(1, POINTS // len(chosen))
    found: list[tuple[Tensor, Tensor]] = []
    times: list[float] = []
    for numbers, batch in slices_within(
        MEMORY_GIB, windows, chosen, samples=drawn, batch_size=batch_size
    ):
        forecast = model.forecast(
            batch.context,
            len(batch.target),
            samples=drawn,
            generator=window_generators(numbers, seed),
        ).to("cpu")
        times = forecast.times.tolist()
        for row, number in enumerate(numbers.tolist()):
            found.append(
                at_points(forecast, batch, row, each, seeded_generator(seed, PLACES, number))
            )
    members, truths = zip(*found, strict=True)
    return torch.cat(members, dim=1), torch.cat(truths), times


def at_points(
    forecast: Forecast, batch: Batch, row: int, count: int, generator: torch.Generator
) -> tuple[Tensor, Tensor]:
    """Samples and truth of one window at up to `count` of its points."""
    truth = batch.target.values[row].flatten(2)
    places = torch.randperm(truth.shape[2], generator=generator)[:count]
    members = forecast.samples[:, row].flatten(3)[..., places]
    return members.permute(0, 3, 1, 2), truth[..., places].permute(2, 0, 1)


def least_crps(
    samples: Float[Tensor, "sample point *many"], truth: Float[Tensor, "point *many"]
) -> tuple[Float[Tensor, "*many"], Float[Tensor, "*many"]]:
    r"""Inflation a and bias b with the least fair CRPS of $\bar x + b + a (x_i - \bar x)$.

    The score estimates that of infinitely many samples. The mean of M samples differs from the
    true mean, with their variance divided by M, and the samples lie closer to their own mean. So
    in the errors, but not in the spread, a is replaced by $\sqrt{(a^2 - 1/M)/(1 - 1/M)}$. This
    gives $y - x_i'$ the variance that it has about the true mean.

    For a given a, the best b is the median of $y - x_i'$ over points and samples. The remaining
    function of a has one minimum; golden-section search finds it between 0 and 20. If all samples
    are equal, a is 1. Points with NaN as truth are ignored.

    Args:
        samples: samples of the forecast.
        truth: the observations.
    """
    mean = samples.mean(dim=0)
    deviations, rest = samples - mean, truth - mean
    known = ~rest.isnan()
    members = len(samples)
    weights = 2 * torch.arange(members, dtype=samples.dtype) - members + 1
    apart = torch.einsum("m,m...->...", weights, ordered(samples))
    spread = average(apart / max(1, members * (members - 1)), known)

    def errors(inflation: Tensor) -> Tensor:
        if members == 1:
            return rest - deviations
        about_mean = (inflation.square() - 1 / members).clamp_min(0) / (1 - 1 / members)
        return rest - about_mean.sqrt() * deviations

    def score(inflation: Tensor) -> Tensor:
        found = errors(inflation)
        found = (found - median(found.flatten(0, 1))).abs().mean(dim=0)
        return average(found, known) - inflation * spread

    size = average(deviations.square().mean(dim=0), known).sqrt()
    ratio = average(rest.square(), known).sqrt() / size
    top = torch.where(size > 0, (4 * ratio + 4).clamp_max(LARGEST), 1.0)
    inflation = torch.where(size > 0, golden_section(score, top), 1.0)
    return inflation, median(errors(inflation).flatten(0, 1))


def median(values: Float[Tensor, "value *many"]) -> Float[Tensor, "*many"]:
    """Lower median of the values that are not NaN."""
    # NumPy is six times as fast as PyTorch, on contiguous rows.
    rows = values.reshape(len(values), -1).T.contiguous()
    places = ((~rows.isnan()).sum(dim=1) - 1).clamp_min(0) // 2
    found = np.partition(rows.numpy(), places.unique().tolist(), axis=1)  # sorts NaN last
    chosen = torch.from_numpy(found).gather(1, places[:, None])
    return chosen.view(values.shape[1:])


def average(points: Tensor, known: Tensor) -> Tensor:
    """Mean over known points (point, …)."""
    return torch.where(known, points, 0.0).sum(dim=0) / known.sum(dim=0)


def golden_section(function: Callable[[Tensor], Tensor], top: Tensor) -> Tensor:
    """Minimum of each function between 0 and `top`; each function has one minimum."""
    low, high = torch.zeros_like(top), top.clone()
    left, right = high - GOLDEN * (high - low), low + GOLDEN * (high - low)
    at_left, at_right = function(left), function(right)
    for _ in range(STEPS):
        lower = at_left < at_right  # the minimum lies left of `right`
        low, high = torch.where(lower, low, left), torch.where(lower, right, high)
        new = torch.where(lower, high - GOLDEN * (high - low), low + GOLDEN * (high - low))
        value = function(new)
        left, right = torch.where(lower, new, right), torch.where(lower, left, new)
        at_left, at_right = (
            torch.where(lower, value, at_right),
            torch.where(lower, at_left, value),
        )
    return (low + high) / 2

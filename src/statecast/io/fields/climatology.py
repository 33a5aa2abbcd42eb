"""Climatology: the mean at each point, for the time of the year and of the day."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np

from statecast.errors import InputError
from statecast.io.fields.time_steps import DAY, Step, day_phase, phase

Array = np.ndarray[Any, np.dtype[Any]]
Anomaly = Literal["none", "mean", "seasonal"]

HARMONICS: dict[str, int] = {"mean": 0, "seasonal": 2}  # the year's own wave and its half
RIDGE = 1e-6  # share of the number of known frames; keeps points with few of them solvable
FEWEST = 10  # known values per coefficient; a point with fewer takes its mean alone
POINTS = 1 << 16  # solved at once


@dataclass(frozen=True)
class Climatology:
    r"""Mean of each point and, where seasonal, waves of the year; and waves of the day.

    $$\bar x(\varphi) = a_0 + \sum_{k=1}^{K} a_k \cos 2\pi k\varphi + b_k \sin 2\pi k\varphi$$

    where φ is the share of the year that has passed: smooth in time, for any calendar and step.
    Waves of the day are added in the same way.

    Attributes:
        coefficients: (wave, channel, *space), float32, the mean, then the year, then the day; 0
            where no value was ever known.
        daily: number of waves of the day, each a cosine and a sine.
    """

    coefficients: Array
    daily: int = 0

    def at(self, times: Array) -> Array:
        """Climatology at these times, (time, channel, *space) as float32."""
        yearly = (len(self.coefficients) - 1) // 2 - self.daily
        waves = basis(times, yearly, self.daily).astype(np.float32)
        return np.tensordot(waves, self.coefficients, axes=1)


def basis(times: Array, yearly: int, daily: int = 0) -> Array:
    """A constant, and waves of the year and of the day, (time, 1 + 2 · (yearly + daily))."""
    columns = [np.ones(len(times))]
    for harmonics, share in ((yearly, phase), (daily, day_phase)):
        angle = 2 * np.pi * share(times) if harmonics else np.zeros(0)
        for number in range(1, harmonics + 1):
            columns += [np.cos(number * angle), np.sin(number * angle)]
    return np.stack(columns, axis=1)


def waves_of_the_day(step: Step) -> int:
    """Waves of the day that frames resolve: one for every 3 frames a day, at most 2."""
    if step.unit != "seconds":
        return 0
    return min(2, int(DAY / (3 * step.size) + 1e-9))


def fit_climatology(
    blocks: Iterable[tuple[Array, Array]], anomaly: Anomaly, *, daily: int = 0
) -> Climatology:
    """Fit a climatology by least squares at each point, over the values known there.

    Args:
        blocks: times and values (time, channel, *space) of consecutive training frames; NaN is
            unknown.
        anomaly: `mean` or `seasonal`.
        daily: number of waves of the day to fit.

    Errors:
        InputError: there are no frames, or the time axis of a seasonal climatology has no dates.
    """
    harmonics = HARMONICS[anomaly]
    size = 1 + 2 * (harmonics + daily)
    products: Array | None = None
    moments: Array = np.zeros(0)
    shape: tuple[int, ...] = ()
    for times, values in blocks:
        if (harmonics or daily) and times.dtype.kind not in "MO":
            raise InputError("Seasons need a time axis with dates. Set anomaly: mean or none.")
        waves = basis(times, harmonics, daily)
        flat = values.reshape(len(values), -1)
        known = ~np.isnan(flat)
        if products is None:
            shape = values.shape[1:]
            products = np.zeros((size, size, flat.shape[1]))
            moments = np.zeros((size, flat.shape[1]))
        for i in range(size):
            moments[i] += waves[:, i] @ np.where(known, flat, 0).astype(np.float64)
            for j in range(i, size):
                products[i, j] += (waves[:, i] * waves[:, j]) @ known
                products[j, i] = products[i, j]
    if products is None:
        raise InputError("A climatology cannot be fitted without frames.")
    coefficients = solved(products, moments).reshape(size, *shape).astype(np.float32)
    return Climatology(coefficients, daily)


def solved(products: Array, moments: Array) -> Array:
    """Coefficients (wave, point) of all points from their normal equations."""
    size, points = moments.shape
    counts = products[0, 0]
    mean = moments[0] / np.maximum(counts, 1)
    result = np.zeros((size, points))
    result[0] = mean
    enough = np.flatnonzero(counts >= FEWEST * size) if size > 1 else np.zeros(0, dtype=np.int64)
    for start in range(0, len(enough), POINTS):
        chosen = enough[start : start + POINTS]
        left = products[:, :, chosen].transpose(2, 0, 1)
        left = left + RIDGE * counts[chosen, None, None] * np.eye(size)
        # Solved for deviations from the mean, so that the ridge pulls to the mean and not to zero.
        right = (moments[:, chosen] - products[:, 0, chosen] * mean[chosen]).T
        result[:, chosen] += np.linalg.solve(left, right[..., None])[..., 0].T
    return result

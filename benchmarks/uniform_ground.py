"""Which points a calibration covers: those of a ground of exactly 0, or those that move.

    python benchmarks/uniform_ground.py [MODEL]

calibrates a model on 48 validation windows of digits, and prints the shares of true values of 48
test windows that lie inside the central intervals of 20 samples, before and after.
"""

from __future__ import annotations

import sys

import torch

import statecast
from statecast.data.base import window_generators
from statecast.data.loading import evenly
from statecast.data.synthetic.moving_digits import MovingDigits
from statecast.evaluation.calibrate import fit_calibration
from statecast.frames import Forecast, Frames
from statecast.metrics.calibration import LEVELS, Coverage

WINDOWS, SAMPLES = 48, 20


def inside(forecast: Forecast, truth: torch.Tensor, points: torch.Tensor) -> str:
    """Shares of some true values inside the central intervals."""
    target = Frames(
        values=truth.masked_fill(~points, torch.nan),
        times=forecast.times,
        channels=forecast.channels,
        mask=points,
    )
    sums = Coverage().sums(forecast, target)
    shares = (float(sums[f"inside.{level}"].sum() / sums["points"].sum()) for level in LEVELS)
    return ", ".join(
        f"{share:.1%} of {level:.0%}" for share, level in zip(shares, LEVELS, strict=True)
    )


def main() -> None:
    model = statecast.load(sys.argv[1] if len(sys.argv) > 1 else "digits").model
    data = MovingDigits(
        digits=1, frame_size=32, digit_size=20, max_speed=2, standing=False, context=5,
        horizon=5, validation_horizon=10, test_horizon=15, test_videos=256,
        validation_videos=128,
    )  # fmt: skip
    calibration = fit_calibration(
        model, data.windows("validation"), samples=SAMPLES, max_windows=WINDOWS
    )
    windows = data.windows("test")
    numbers = evenly(len(windows), WINDOWS)
    batch = windows.batch(numbers)
    truth = batch.target.values
    forecast = model.forecast(
        batch.context, len(batch.target), samples=SAMPLES, generator=window_generators(numbers, 1)
    )
    corrected = calibration.apply(forecast, model.spec.value_range)
    print(f"bias from {calibration.bias.min():.1g} to {calibration.bias.max():.1g}")
    for name, points in (("exactly 0", truth == 0), ("above 0", truth > 0)):
        above = (forecast.samples.amin(dim=0) > truth)[points].float().mean()
        print(
            f"truth {name}: {points.float().mean():.1%} of points, {above:.1%} below all samples; "
            f"inside: {inside(forecast, truth, points)}; calibrated: "
            f"{inside(corrected, truth, points)}"
        )


if __name__ == "__main__":
    main()

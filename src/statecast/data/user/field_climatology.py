"""The climatology that training frames allow, and its fit to them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from statecast.data.user.field_files import FieldFiles
from statecast.io.fields.climatology import Anomaly, Climatology, fit_climatology, waves_of_the_day
from statecast.io.fields.time_steps import Step, phase

Part = tuple[int, int, int]  # sequence, first frame, frame after the last

LONGEST_SEASON = 2  # months between frames, at most, to resolve the wave of half a year
SEASONS = 1  # years of training needed for seasons


def is_coarse(step: Step) -> bool:
    """Whether a year has too few frames to resolve its waves."""
    return step.unit == "months" and step.size > LONGEST_SEASON


def tells_seasons(files: FieldFiles, training: Sequence[Part]) -> bool:
    """Whether training frames cover a year, densely enough to resolve its waves."""
    frames = max(stop - start for _, start, stop in training)
    # The year from the first frame to the one before the next year's.
    covered = years_of(files, training) * frames / max(frames - 1, 1)
    return not is_coarse(files.step) and covered >= SEASONS


def years_of(files: FieldFiles, training: Sequence[Part]) -> float:
    """Years between the first and the last training frame; 0 if times are not dates."""
    years = 0.0
    if files.times[0].dtype.kind not in "MO":
        return years
    for sequence, start, stop in training:
        ends = files.times[sequence][[start, stop - 1]]
        first, last = (_year(date) for date in ends)
        shares = phase(ends)
        years = max(years, float(last - first + shares[1] - shares[0]))
    return years


def daily_waves(files: FieldFiles, anomaly: Anomaly) -> int:
    """Number of waves of the day in a climatology."""
    dated = files.times[0].dtype.kind in "MO"
    return waves_of_the_day(files.step) if dated and anomaly != "none" else 0


def climatology_of(
    files: FieldFiles, training: Sequence[Part], anomaly: Anomaly
) -> Climatology | None:
    """Climatology of each point, from training frames alone; None for the anomaly `none`."""
    if anomaly == "none":
        return None
    blocks = (
        block for sequence, start, stop in training for block in files.blocks(sequence, start, stop)
    )
    return fit_climatology(blocks, anomaly, daily=daily_waves(files, anomaly))


def _year(date: Any) -> int:
    if isinstance(date, np.datetime64):
        return int(date.astype("datetime64[Y]").astype(int)) + 1970
    return int(date.year)

"""ROWS: the rows of the table by name; each builds its two sides from settings."""

from __future__ import annotations

from functools import partial
from typing import NamedTuple

from speed_rows import training
from speed_rows.base import Build


class Row(NamedTuple):
    """One line of the table."""

    title: str
    build: Build


CONFIGURATIONS = {
    "srvp-digits": ("SRVP, stochastic digits", "srvp-digits-stochastic"),
    "srvp-kth": ("SRVP, KTH", "srvp-kth"),
    "separable-wave-100": ("Separable, WaveEq-100", "separable-wave-100"),
    "separable-wave": ("Separable, WaveEq", "separable-wave"),
    "separable-digits": ("Separable, digits", "separable-digits"),
}

ROWS: dict[str, Row] = {
    f"train-{name}": Row(f"training step: {title}", partial(training.build, recipe))
    for name, (title, recipe) in CONFIGURATIONS.items()
}

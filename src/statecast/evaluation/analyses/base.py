"""Analysis: what `evaluate` can find out about a model beyond scores; results are JSON values."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import Any, NamedTuple

from torch import Tensor

from statecast.data.base import DataSource, Split, Windows
from statecast.data.loading import evenly
from statecast.frames import FrameSpec
from statecast.metrics import METRICS
from statecast.metrics.base import Metric
from statecast.models.base import Forecaster


class AnalysisPlan(NamedTuple):
    """The windows that an analysis uses, and how."""

    data: DataSource
    split: Split  # the windows to score; anything to fit is fitted on another split
    max_windows: int | None  # number of windows, evenly spaced; None for all
    batch_size: int  # windows at once
    seed: int  # seed of all random draws

    @property
    def windows(self) -> Windows:
        """All windows of the split."""
        return self.data.windows(self.split)

    def chosen(self, windows: Windows) -> Tensor:
        """The numbers of the windows that are scored."""
        return evenly(len(windows), self.max_windows)


def applicable_metrics(names: Sequence[str], spec: FrameSpec) -> dict[str, Metric]:
    """The metrics that can score single forecasts of such frames, by name."""
    return {
        name: METRICS[name].of(spec)
        for name in names
        if METRICS[name].why_not_applicable(spec, 1) is None
    }


class Analysis(ABC):
    """An analysis of a trained model, such as what its latents encode."""

    @classmethod
    @abstractmethod
    def why_not_applicable(cls, model: Forecaster, data: DataSource) -> str | None:
        """Why the analysis does not apply to this model and data; None if it applies."""

    @abstractmethod
    def run(self, model: Forecaster, plan: AnalysisPlan) -> dict[str, Any]:
        """Analyse a trained model; return JSON values."""

    @abstractmethod
    def lines(self, result: dict[str, Any]) -> list[str]:
        """The result as lines of text."""

"""Analyses look into a model on windows of a data set, and report results as JSON values."""

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
    """The windows that an analysis scores, and how."""

    data: DataSource
    split: Split  # whose windows are scored; what must be fitted is fitted on others
    max_windows: int | None  # evenly spaced; None for all
    batch_size: int  # windows at once
    seed: int  # of all random draws

    @property
    def windows(self) -> Windows:
        """All windows of the split."""
        return self.data.windows(self.split)

    def chosen(self, windows: Windows) -> Tensor:
        """The numbers of the windows that are scored."""
        return evenly(len(windows), self.max_windows)


def applicable_metrics(names: Sequence[str], spec: FrameSpec) -> dict[str, Metric]:
    """Those of some metrics that can be computed of single forecasts of such frames."""
    return {
        name: METRICS[name].of(spec)
        for name in names
        if METRICS[name].why_not_applicable(spec, 1) is None
    }


class Analysis(ABC):
    """Something to find out about a trained model, such as what its latents know."""

    @classmethod
    @abstractmethod
    def why_not_applicable(cls, model: Forecaster, data: DataSource) -> str | None:
        """Why the analysis cannot be made of this model and data; None where it can."""

    @abstractmethod
    def run(self, model: Forecaster, plan: AnalysisPlan) -> dict[str, Any]:
        """Analyse a trained model; the result is made of JSON values."""

    @abstractmethod
    def lines(self, result: dict[str, Any]) -> list[str]:
        """The result as lines of text."""

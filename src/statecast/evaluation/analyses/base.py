"""Analyses look into a model on windows of a data set, and report results as JSON values."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import Any

from statecast.data.base import DataSource, Split
from statecast.models.base import Forecaster


class Analysis(ABC):
    """Something to find out about a trained model, such as what its latents know."""

    @classmethod
    @abstractmethod
    def why_not_applicable(cls, model: Forecaster, data: DataSource) -> str | None:
        """Why the analysis cannot be made of this model and data; None where it can."""

    @abstractmethod
    def run(
        self,
        model: Forecaster,
        data: DataSource,
        *,
        split: Split,
        windows: int | None,
        batch_size: int,
        seed: int,
    ) -> dict[str, Any]:
        """Find out; the result is made of JSON values.

        Args:
            model: the trained model.
            data: where windows come from.
            split: whose windows are scored; what must be fitted is fitted on others.
            windows: number of windows, evenly spaced; None for all.
            batch_size: windows at once.
            seed: of all random draws.
        """

    @abstractmethod
    def lines(self, result: dict[str, Any]) -> list[str]:
        """The result as lines of text."""

"""Bias and anomaly correlation: scores of the ensemble mean of fields."""

from __future__ import annotations

from typing import Self

from jaxtyping import Float
from torch import Tensor

from statecast.errors import InputError
from statecast.frames import FrameSpec
from statecast.metrics.base import DEFAULTS, MetricSettings
from statecast.metrics.ensemble import Ensemble, FrameEnsembleMetric
from statecast.metrics.masking import average, filled


class Bias(FrameEnsembleMetric):
    """Mean over samples minus truth, averaged over channels and space; 0 is best."""

    version, higher_is_better, unit = "1", False, "data"
    needs_samples, ideal, fair = 1, 0.0, ("ensemble",)

    def frame_scores(self, ensemble: Ensemble) -> Tensor:
        error = ensemble.samples.mean(dim=0) - ensemble.truth
        return average(error, ensemble.known, 2, self.weights)


class AnomalyCorrelation(FrameEnsembleMetric):
    r"""Correlation over space between anomalies of the mean over samples and of the truth.

    $$\frac{\sum_p (\bar x - c)(y - c)}{\sqrt{\sum_p (\bar x - c)^2 \sum_p (y - c)^2}}$$

    for each frame and channel, with the climatology c of training frames at each point; then
    averaged over channels. It is not centred, so an error in the mean over space counts. NaN if
    the forecast or the truth equals the climatology everywhere.

    Reference: Wilks (2011), Statistical Methods in the Atmospheric Sciences, section 8.6.4.

    Args:
        climatology: mean training frame, (channel, *space).
    """

    version, higher_is_better, unit = "1", True, "1"
    needs_samples, perfect = 1, 1.0

    def __init__(self, climatology: Float[Tensor, "channel *space"]) -> None:
        self.climatology = climatology

    @classmethod
    def of(cls, spec: FrameSpec, settings: MetricSettings = DEFAULTS) -> Self:
        if settings.climatology is None:
            raise InputError("The anomaly correlation needs a climatology in MetricSettings.")
        return cls(settings.climatology)

    @classmethod
    def why_not_applicable(
        cls, spec: FrameSpec, samples: int, settings: MetricSettings = DEFAULTS
    ) -> str | None:
        reason = super().why_not_applicable(spec, samples, settings)
        if reason is None and settings.climatology is None:
            return "it needs the climatology of training frames, in the units of the scores"
        return reason

    def frame_scores(self, ensemble: Ensemble) -> Tensor:
        forecast, truth = (
            filled(values - self.climatology, ensemble.known).flatten(3)
            for values in (ensemble.samples.mean(dim=0), ensemble.truth)
        )
        if self.weights is not None:
            root = self.weights.to(truth).flatten().sqrt()
            forecast, truth = forecast * root, truth * root
        sizes = forecast.square().sum(dim=3) * truth.square().sum(dim=3)
        found = (forecast * truth).sum(dim=3) / sizes.sqrt()
        if ensemble.known is None:
            return found.mean(dim=2)
        return average(found, ensemble.known.flatten(3).any(dim=3), 2)

"""MetricSums: sums of several metrics over windows, batch after batch and process after process."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple

from torch import Tensor

from statecast.frames import Forecast, Frames
from statecast.metrics.base import SEQUENCES, Metric, Sums, add


class MetricSums(NamedTuple):
    """Sums of the metrics over some windows."""

    sums: dict[str, Sums]  # of each metric
    reasons: dict[str, str]  # why others cannot score all of the windows
    lead_times: list[float]

    def with_batch(
        self,
        metrics: Mapping[str, Metric],
        forecast: Forecast,
        target: Frames,
        *,
        context: Frames | None = None,
    ) -> MetricSums:
        """Add the scores of a batch, for metrics that have scored every window so far."""
        refused = {name: metric.why_not_scorable(target) for name, metric in metrics.items()}
        reasons = {name: reason for name, reason in refused.items() if reason} | self.reasons
        sums = {}
        for name, metric in metrics.items():
            if name in reasons:
                continue
            few = metric.needs_samples > len(forecast.samples) == 1
            scored_as = doubled(forecast) if few else forecast
            found = metric.sums(scored_as, target, context=context)
            sums[name] = add(self.sums.get(name), found)
        return MetricSums(sums, reasons, forecast.times.tolist())


def merge_sums(parts: Sequence[MetricSums], sequences: Tensor) -> MetricSums:
    """Sums of several processes as one, in their order; one without windows adds nothing.

    Args:
        parts: of the processes.
        sequences: number of the sequence of each window of all of them.
    """
    reasons = {name: reason for part in parts for name, reason in part.reasons.items()}
    sums: dict[str, Sums] = {}
    for part in parts:
        for name in part.sums.keys() - reasons.keys():
            sums[name] = add(sums.get(name), part.sums[name])
    if len(sequences.unique()) < len(sequences):
        sums = {name: found | {SEQUENCES: sequences} for name, found in sums.items()}
    return MetricSums(sums, reasons, next((t.lead_times for t in parts if t.lead_times), []))


def doubled(forecast: Forecast) -> Forecast:
    """A deterministic forecast as an ensemble of two equal members."""
    samples = forecast.samples.expand(2, *forecast.samples.shape[1:])
    return Forecast(samples=samples, times=forecast.times, channels=forecast.channels)

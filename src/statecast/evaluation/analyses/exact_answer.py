"""exact_answer: forecasts against the exact distribution of the future, if the data know it."""

from __future__ import annotations

from typing import Any, NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor

from statecast.data.base import DataSource, window_generators
from statecast.data.known_future import KnownFuture, KnownModes
from statecast.data.loading import numbered_batches
from statecast.errors import InputError
from statecast.evaluation.analyses.base import Analysis, AnalysisPlan
from statecast.evaluation.text_tables import aligned, with_interval
from statecast.frames import Forecast
from statecast.metrics import METRICS
from statecast.metrics.base import Sums, add
from statecast.models.base import Forecaster

SAMPLES = 50  # of the model, and of the exact law
SCORED = ("crps", "energy")
BINS = 5  # of forecast probabilities
MODEL, EXACT = 1, 2  # streams of random numbers


class Modes(NamedTuple):
    """Forecast and exact probabilities of the modes of each window."""

    forecast: Float[Tensor, "window mode"]
    exact: Float[Tensor, "window mode"]


class ExactAnswer(Analysis):
    """Scores of a model beside those of the exact law, with the same number of samples.

    The CRPS of the exact law is estimated from samples, as the model's is, and also given in
    closed form. If the future takes one of a few known modes, their probabilities are compared:
    the log score and calibration use the true probabilities, not single outcomes.
    """

    @classmethod
    def why_not_applicable(cls, model: Forecaster, data: DataSource) -> str | None:
        if not isinstance(data.windows("test"), KnownFuture):
            return "the data set does not know the law of its future"
        if not model.stochastic:
            return "the model forecasts one future, not a distribution"
        return None

    def run(self, model: Forecaster, plan: AnalysisPlan) -> dict[str, Any]:
        source, seed = plan.windows, plan.seed
        if not isinstance(source, KnownFuture):
            raise InputError(f"The {plan.split} windows do not know the law of their future.")
        metrics = {name: METRICS[name].of(model.spec) for name in SCORED}
        sums: dict[tuple[str, str], Sums] = {}
        expected: list[Tensor] = []
        modes: list[Modes] = []
        chosen = plan.chosen(source)
        for numbers, batch in numbered_batches(source, chosen, plan.batch_size):
            forecasts = {
                "model": model.forecast(
                    batch.context,
                    len(batch.target),
                    samples=SAMPLES,
                    generator=window_generators(numbers, seed, MODEL),
                ).to("cpu"),
                "exact": source.exact_forecast(
                    numbers, samples=SAMPLES, generator=window_generators(numbers, seed, EXACT)
                ),
            }
            for who, forecast in forecasts.items():
                for name, metric in metrics.items():
                    found = metric.sums(forecast, batch.target)
                    sums[who, name] = add(sums.get((who, name)), found)
            expected.append(source.expected_crps(numbers).double())
            if isinstance(source, KnownModes):
                modes.append(modes_of(source, forecasts["model"], numbers))
        result: dict[str, Any] = {
            "windows": len(chosen),
            "samples": SAMPLES,
            "scores": {
                name: {
                    who: metric.scores(sums[who, name])["ensemble"].to_json()
                    for who in ("model", "exact")
                }
                for name, metric in metrics.items()
            },
            "expected_crps": torch.cat(expected).mean(dim=0).tolist(),
        }
        if isinstance(source, KnownModes):
            whole = Modes(*(torch.cat(part) for part in zip(*modes, strict=True)))
            result["modes"] = {"names": list(source.modes), **compare_modes(whole)}
        return result

    def lines(self, result: dict[str, Any]) -> list[str]:
        rows = [["", "model", "exact law"]]
        for name, found in result["scores"].items():
            cells = [
                with_interval(found[who]["value"], found[who]["half_width"])
                for who in ("model", "exact")
            ]
            rows.append([f"{name} {METRICS[name].arrow()}", *cells])
        mean = sum(result["expected_crps"]) / len(result["expected_crps"])
        rows.append(["crps in closed form", "", f"{mean:.4g}"])
        if "modes" in result:
            modes = result["modes"]
            rows.append(
                [
                    "log score of modes ↓",
                    f"{modes['log_score']:.4g}",
                    f"{modes['exact_log_score']:.4g}",
                ]
            )
            rows.append(["error of probabilities ↓", f"{modes['probability_error']:.4g}", "0"])
        return aligned(rows)


def modes_of(source: KnownModes, forecast: Forecast, numbers: Tensor) -> Modes:
    """Shares of samples in each mode, and exact probabilities."""
    taken = source.modes_of(forecast.samples)  # (sample, window)
    shares = torch.nn.functional.one_hot(taken, len(source.modes)).double().mean(dim=0)
    return Modes(shares, source.mode_probabilities(numbers).double())


def compare_modes(modes: Modes) -> dict[str, Any]:
    r"""Log score and calibration of forecast probabilities.

    - `log_score`: $-\sum_m p_m \ln q_m$, the mean over possible outcomes. If k of S samples take
      one of M modes, $q = (k + \frac12) / (S + \frac M2)$, so that no mode is impossible.
      `exact_log_score` is the lowest possible value, $-\sum_m p_m \ln p_m$.
    - `probability_error`: root of the mean of $(q - p)^2$ with $q = k / S$, after subtracting the
      variance due to S samples.
    - `calibration`: forecast and true probability of the last mode, in bins of the forecast one.
    """
    number = modes.exact.shape[1]
    smoothed = (SAMPLES * modes.forecast + 0.5) / (SAMPLES + 0.5 * number)
    counting = modes.forecast * (1 - modes.forecast) / (SAMPLES - 1)
    error = ((modes.forecast - modes.exact).square() - counting).mean()
    return {
        "log_score": float(-(modes.exact * smoothed.log()).sum(dim=1).mean()),
        "exact_log_score": float(-torch.special.xlogy(modes.exact, modes.exact).sum(dim=1).mean()),
        "probability_error": float(error.clamp_min(0).sqrt()),
        "calibration": calibration(modes.forecast[:, -1], modes.exact[:, -1]),
    }


def calibration(
    forecast: Float[Tensor, " window"], exact: Float[Tensor, " window"]
) -> list[dict[str, float]]:
    """Mean forecast and true probability in each bin that holds windows."""
    place = (forecast * BINS).long().clamp(max=BINS - 1)
    return [
        {
            "forecast": float(forecast[place == index].mean()),
            "exact": float(exact[place == index].mean()),
            "windows": int((place == index).sum()),
        }
        for index in place.unique().tolist()
    ]

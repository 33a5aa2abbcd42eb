"""probes: what a linear map can read of the truth from the dynamic state and from the content."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, NamedTuple

import torch
from torch import Tensor

from statecast.data.base import DataSource, Split, Windows, seeded_generator
from statecast.data.loading import ordered_batches
from statecast.evaluation.analyses.base import Analysis
from statecast.evaluation.analyses.ground_truth import counts_of, labels, quantities, share_found
from statecast.evaluation.analyses.ridge_regression import explained, fit_probe
from statecast.models.base import Forecaster, evaluation_mode
from statecast.models.state_space import StateSpaceForecaster

FIT_WINDOWS = 1024  # that probes are fitted on, evenly spaced, or as many as there are
FITTING, SCORING = 1, 2  # streams of random numbers
CODES = ("latent", "content")


class Read(NamedTuple):
    """Codes and truths of windows, in order."""

    codes: dict[str, Tensor]  # (window, feature)
    quantities: dict[str, Tensor]  # (window, component)
    labels: dict[str, Tensor]  # (window, object)


class Probes(Analysis):
    """Linear probes of positions, speeds and identities, read from latent and content.

    A disentangled model has what moves in its latent (y of SRVP, T of Separable) and what stays
    in its content (w, S), and neither in the other. Probes are ridge regressions, fitted to
    windows of another split than the scored one: to training windows, or to validation windows
    where training windows are scored.

    The latent is that of the last observed frame, or of the first frame that the model has one of;
    it is one draw where the model draws. Truths are those of the same frame.
    """

    @classmethod
    def why_not_applicable(cls, model: Forecaster, data: DataSource) -> str | None:
        if not isinstance(model, StateSpaceForecaster):
            return "the model has no latent and no content"
        if not data.windows("test").batch(torch.arange(1)).latents:
            return "the data set does not know its true latents"
        return None

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
        assert isinstance(model, StateSpaceForecaster)
        fitting: Split = "validation" if split == "train" else "train"
        fitted = read(model, data.windows(fitting), FIT_WINDOWS, batch_size, (seed, FITTING))
        scored = read(model, data.windows(split), windows, batch_size, (seed, SCORING))
        return {
            "split": split,
            "windows": len(scored.codes["latent"]),
            "fitted_on": fitting,
            "fitted_windows": len(fitted.codes["latent"]),
            "quantities": {
                name: {code: measured(fitted, scored, code, name) for code in CODES}
                for name in fitted.quantities
            },
            "labels": {name: recognised(fitted, scored, name) for name in fitted.labels},
        }

    def lines(self, result: dict[str, Any]) -> list[str]:
        rows = [["R² of linear probes", *CODES]]
        for name, found in result["quantities"].items():
            rows.append([name, *(f"{found[code]['r2']:.3f}" for code in CODES)])
        for name, found in result["labels"].items():
            row = [f"{name}, accuracy (chance {found['chance']:.3f})"]
            rows.append([*row, *(f"{found[code]['accuracy']:.3f}" for code in CODES)])
        width = max(len(row[0]) for row in rows)
        lines = ["  ".join([row[0].ljust(width), *(c.rjust(7) for c in row[1:])]) for row in rows]
        return [
            *lines,
            f"fitted on {result['fitted_windows']} {result['fitted_on']} windows, "
            f"scored on {result['windows']} {result['split']} windows",
        ]


def measured(fitted: Read, scored: Read, code: str, name: str) -> dict[str, Any]:
    """R² of a quantity from a code: of each component, and their mean."""
    probe = fit_probe(fitted.codes[code], fitted.quantities[name])
    shares = explained(probe(scored.codes[code]), scored.quantities[name])
    return {"r2": float(shares.mean()), "components": shares.tolist(), "penalty": probe.penalty}


def recognised(fitted: Read, scored: Read, name: str) -> dict[str, Any]:
    """Share of objects recognised from each code, and with no code at all."""
    number = 1 + max(int(part.labels[name].max()) for part in (fitted, scored))
    known = counts_of(fitted.labels[name], number)
    truth = counts_of(scored.labels[name], number)
    result: dict[str, Any] = {
        "chance": share_found(known.mean(dim=0).expand(len(truth), -1), truth),
        "classes": int((known.sum(dim=0) > 0).sum()),
    }
    for code in CODES:
        probe = fit_probe(fitted.codes[code], known)
        estimates = probe(scored.codes[code])
        result[code] = {"accuracy": share_found(estimates, truth), "penalty": probe.penalty}
    return result


def read(
    model: StateSpaceForecaster,
    windows: Windows,
    count: int | None,
    batch_size: int,
    seed: tuple[int, ...],
) -> Read:
    """Codes and truths of all windows, or of `count` evenly spaced ones."""
    parts: dict[str, list[dict[str, Tensor]]] = {"codes": [], "quantities": [], "labels": []}
    with evaluation_mode(model) as reader, torch.no_grad():
        for part in read_batches(reader, windows, count, batch_size, seed):
            for kind, found in part._asdict().items():
                parts[kind].append(found)
    joined = {
        kind: {name: torch.cat([part[name] for part in found]) for name in found[0]}
        for kind, found in parts.items()
    }
    return Read(**joined)


def read_batches(
    model: StateSpaceForecaster,
    windows: Windows,
    count: int | None,
    batch_size: int,
    seed: tuple[int, ...],
) -> Iterator[Read]:
    """Codes and truths, batch by batch."""
    device = next((tensor.device for tensor in model.buffers()), torch.device("cpu"))
    for first, batch in ordered_batches(windows, batch_size, count=count):
        observed = model.inputs(batch.context.to(device))
        generator = seeded_generator(*seed, first)
        state = model.observe(observed, generator=generator)
        # Some states begin before the last observed frame, and some after it.
        time = max(state.time, 0.0)
        latent = model.advance(state, torch.tensor([time]), generator=generator)[0, :, 0]
        codes = {"latent": latent, "content": state.content.code}
        yield Read(
            {name: code.flatten(1).cpu() for name, code in codes.items()},
            quantities(batch, len(batch.context) - 1 + round(time)),
            labels(batch),
        )

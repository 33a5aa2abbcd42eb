"""probes: what a linear map can read of the truth from the latent and from the content."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any, NamedTuple

import torch
from torch import Tensor

from statecast.data.base import DataSource, Split, Windows, seeded_generator
from statecast.data.loading import ordered_batches
from statecast.evaluation.analyses.base import Analysis, AnalysisPlan
from statecast.evaluation.analyses.code_shares import Shares, completeness, disentanglement
from statecast.evaluation.analyses.ground_truth import (
    counts_of,
    labels,
    moving,
    quantities,
    share_found,
)
from statecast.evaluation.analyses.ridge_regression import explained, fit_probe
from statecast.evaluation.scoring import model_device
from statecast.models.base import Forecaster, evaluation_mode

FIT_WINDOWS = 1024  # evenly spaced windows to fit probes on, at most
FITTING, SCORING = 1, 2  # streams of random numbers
CODES = ("latent", "content")


class Read(NamedTuple):
    """Codes and truths of windows, in order."""

    codes: dict[str, Tensor]  # (window, feature)
    quantities: dict[str, Tensor]  # (window, component)
    labels: dict[str, Tensor]  # (window, object)
    moves: set[str]  # quantities that change within a window


class Probes(Analysis):
    """Linear probes of positions, speeds and identities, read from latent and content.

    A disentangled model encodes what moves only in its latent (y of SRVP, T of Separable, the
    pose of DrNet, z of DSVAE) and what stays constant only in its content. Probes read both as the
    decoder sees them, see `Forecaster.codes_of`. Probes are ridge regressions. They are fitted to
    training windows, or to validation windows if training windows are scored.

    The explained shares of truths give completeness and disentanglement, see `code_shares`.

    The latent is that of the last observed frame, or of the first frame for which the model has
    one; a stochastic model gives one draw. Truths are those of the same frame.
    """

    @classmethod
    def why_not_applicable(cls, model: Forecaster, data: DataSource) -> str | None:
        if not model.supports_content_swap:
            return "the model has no latent and no content"
        if not data.windows("test").batch(torch.arange(1)).latents:
            return "the data set does not know its true latents"
        return None

    def run(self, model: Forecaster, plan: AnalysisPlan) -> dict[str, Any]:
        fitting: Split = "validation" if plan.split == "train" else "train"
        fitted = read(
            model,
            plan.data.windows(fitting),
            FIT_WINDOWS,
            plan.batch_size,
            (plan.seed, FITTING),
        )
        scored = read(model, plan.windows, plan.max_windows, plan.batch_size, (plan.seed, SCORING))
        measures = {
            name: {code: measured(fitted, scored, code, name) for code in CODES}
            for name in fitted.quantities
        }
        recognitions = {
            name: recognised(fitted, scored, name)
            for name, known in fitted.labels.items()
            if torch.isin(scored.labels[name], known).any()  # otherwise no class can be learned
        }
        truths = shares_of(measures, recognitions, scored.moves)
        return {
            "split": plan.split,
            "windows": len(scored.codes["latent"]),
            "fitted_on": fitting,
            "fitted_windows": len(fitted.codes["latent"]),
            "quantities": measures,
            "labels": recognitions,
            "completeness": completeness(truths),
            "disentanglement": disentanglement(truths, CODES),
        }

    def lines(self, result: dict[str, Any]) -> list[str]:
        rows, complete = [["R² of linear probes", *CODES, "complete"]], result["completeness"]
        for name, found in result["quantities"].items():
            scores = [*(found[code]["r2"] for code in CODES), complete.get(name, math.nan)]
            rows.append([name, *(f"{score:.3f}" for score in scores)])
        for name, found in result["labels"].items():
            scores = [*(found[code]["accuracy"] for code in CODES), complete[name]]
            row = f"{name}, accuracy (chance {found['chance']:.3f})"
            rows.append([row, *(f"{score:.3f}" for score in scores)])
        apart = [f"{result['disentanglement'][code]:.3f}" for code in CODES]
        rows.append(["disentanglement", *apart, ""])
        width = max(len(row[0]) for row in rows)
        lines = ["  ".join([row[0].ljust(width), *(c.rjust(7) for c in row[1:])]) for row in rows]
        return [
            *lines,
            f"fitted on {result['fitted_windows']} {result['fitted_on']} windows, "
            f"scored on {result['windows']} {result['split']} windows",
        ]


def shares_of(
    measures: dict[str, Any], recognitions: dict[str, Any], moves: set[str]
) -> dict[str, Shares]:
    """Explained shares of truths: R², and accuracy above chance, clipped at 0."""
    shares = {
        name: Shares(name in moves, {code: max(found[code]["r2"], 0.0) for code in CODES})
        for name, found in measures.items()
        if all(math.isfinite(found[code]["r2"]) for code in CODES)
    }
    for name, found in recognitions.items():
        chance = found["chance"]
        above = {code: (found[code]["accuracy"] - chance) / (1 - chance) for code in CODES}
        shares[name] = Shares(False, {code: max(share, 0.0) for code, share in above.items()})
    return shares


def measured(fitted: Read, scored: Read, code: str, name: str) -> dict[str, Any]:
    """R² of a quantity read from a code: of each component, and their mean."""
    probe = fit_probe(fitted.codes[code], fitted.quantities[name])
    shares = explained(probe(scored.codes[code]), scored.quantities[name])
    return {"r2": float(shares.mean()), "components": shares.tolist(), "penalty": probe.penalty}


def recognised(fitted: Read, scored: Read, name: str) -> dict[str, Any]:
    """Share of objects recognised from each code, and without any code (chance)."""
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
    model: Forecaster,
    windows: Windows,
    count: int | None,
    batch_size: int,
    seed: tuple[int, ...],
) -> Read:
    """Codes and truths of all windows, or of `count` evenly spaced ones."""
    with evaluation_mode(model) as reader, torch.no_grad():
        parts = list(read_batches(reader, windows, count, batch_size, seed))
    codes, known, classes = (
        {name: torch.cat([part[name] for part in kind]) for name in kind[0]}
        for kind in list(zip(*parts, strict=True))[:3]
    )
    return Read(codes, known, classes, parts[0].moves)


def read_batches(
    model: Forecaster,
    windows: Windows,
    count: int | None,
    batch_size: int,
    seed: tuple[int, ...],
) -> Iterator[Read]:
    """Codes and truths, batch by batch."""
    device = model_device(model)
    for first, batch in ordered_batches(windows, batch_size, count=count):
        codes = model.codes_of(batch.context.to(device), generator=seeded_generator(*seed, first))
        known = quantities(batch, len(batch.context) - 1 + codes.time)
        yield Read(
            {"latent": codes.dynamics.cpu(), "content": codes.content.cpu()},
            known,
            labels(batch),
            moving(batch, known),
        )

"""Analysis `steps`: how the scores of a trained model depend on its solver and step."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from torch import nn

from statecast.data.base import DataSource, window_generators
from statecast.data.loading import numbered_batches
from statecast.errors import ConvergenceError, InputError, MissingExtraError
from statecast.evaluation.analyses.base import Analysis, AnalysisPlan, applicable_metrics
from statecast.metrics.base import Sums, add
from statecast.models.base import Forecaster
from statecast.models.state_space import StateSpaceForecaster
from statecast.solvers.solvers import ADAPTIVE, SolverName

SUBSTEPS = (1, 2, 4, 8)
SCORED = ("mse", "psnr")


class Steps(Analysis):
    """Scores of the same windows, with the same draws, for every solver and number of substeps.

    A model that learned a differential equation scores the same with any accurate solver. A model
    that only learned the step of its own solver scores worse with others.
    """

    @classmethod
    def why_not_applicable(cls, model: Forecaster, data: DataSource) -> str | None:
        if not isinstance(model, StateSpaceForecaster) or not model.continuous:
            return "the model's transition is not a differential equation"
        return None

    def run(self, model: Forecaster, plan: AnalysisPlan) -> dict[str, Any]:
        """Score the model with each of its solvers; one sample per window.

        Returns:
            `own`: the model's solver and substeps; `windows`; and `rows`: `solver`, `substeps`
            (None for an adaptive solver), the mean number of `evaluations` of the velocity per
            batch, conditioning included, `seconds` for all windows, and the scores; or `failed`,
            the reason.
        """
        assert isinstance(model, StateSpaceForecaster)
        rows = []
        for solver in model.solvers:
            for substeps in (None,) if solver in ADAPTIVE else SUBSTEPS:
                row: dict[str, Any] = {"solver": solver, "substeps": substeps}
                try:
                    row |= scored(model, plan, solver, substeps)
                except (ConvergenceError, InputError, MissingExtraError) as error:
                    row["failed"] = str(error)
                rows.append(row)
        own = {
            "solver": model.solver,
            "substeps": None if model.solver in ADAPTIVE else model.substeps,
        }
        return {"own": own, "windows": len(plan.chosen(plan.windows)), "rows": rows}

    def lines(self, result: dict[str, Any]) -> list[str]:
        names = [name for name in SCORED if any(name in row for row in result["rows"])]
        found = [f"{'solver':16}{'substeps':>9}{'evaluations':>13}{'seconds':>9}"]
        found[0] += "".join(f"{name:>10}" for name in names)
        for row in result["rows"]:
            substeps = "–" if row["substeps"] is None else row["substeps"]
            line = f"{row['solver']:16}{substeps:>9}"
            if "failed" in row:
                found.append(f"{line}  {row['failed']}")
                continue
            line += f"{row['evaluations']:13.1f}{row['seconds']:9.2f}"
            line += "".join(f"{row[name]:10.4g}" for name in names)
            own = all(row[key] == value for key, value in result["own"].items())
            found.append(f"{line}  the model's own" if own else line)
        return found


def scored(
    model: StateSpaceForecaster, plan: AnalysisPlan, solver: SolverName, substeps: int | None
) -> dict[str, Any]:
    """One row: evaluations, seconds and scores."""
    metrics = applicable_metrics(SCORED, model.spec)
    sums: dict[str, Sums] = {}
    seconds, batches = 0.0, 0
    windows = plan.windows
    with counted(model.dynamics()) as count:
        for numbers, batch in numbered_batches(windows, plan.chosen(windows), plan.batch_size):
            started = time.perf_counter()
            forecast = model.forecast(
                batch.context,
                len(batch.target),
                solver=solver,
                substeps=substeps,
                # One seed per window, so that rows differ only in the solver.
                generator=window_generators(numbers, plan.seed),
            ).to("cpu")
            seconds, batches = seconds + time.perf_counter() - started, batches + 1
            for name, metric in metrics.items():
                sums[name] = add(sums.get(name), metric.sums(forecast, batch.target))
    scores = {name: metric.scores(sums[name])["mean"].value for name, metric in metrics.items()}
    return {"evaluations": count[0] / batches, "seconds": seconds, **scores}


@contextmanager
def counted(network: nn.Module | None) -> Iterator[list[int]]:
    """Count the calls of a network in the single entry of the list."""
    count = [0]
    if network is None:
        yield count
        return

    def increment(*_: object) -> None:
        count[0] += 1

    hook = network.register_forward_pre_hook(increment)
    try:
        yield count
    finally:
        hook.remove()

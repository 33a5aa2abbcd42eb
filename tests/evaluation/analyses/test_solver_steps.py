"""The analysis of steps: every solver on the same windows, counted and compared."""

import json

import pytest
import torch
from helpers.small_models import build_points

from statecast.evaluation.analyses.base import AnalysisPlan
from statecast.evaluation.analyses.solver_steps import Steps
from statecast.evaluation.evaluate import evaluate
from statecast.models.baselines import Persistence


def separable(data, **options):
    model = build_points("separable", data.spec, dynamics_blocks=2, **options)
    with torch.no_grad():  # codecs begin near 0, where all solvers stay
        for codec in (model.dynamics_encoder, model.content_encoder, model.decoder):
            for parameter in codec.parameters():
                parameter.mul_(15)
    return model


def srvp(data, **options):
    return build_points("srvp", data.spec, **options)


def rows_of(scores):
    return {(r["solver"], r["substeps"]): r for r in scores.analyses["steps"]["rows"]}


def test_every_solver_is_counted_and_scored_on_the_same_windows(data):
    model = separable(data)
    scores = evaluate(model, data, metrics=("mse", "psnr"), max_windows=12, analyses=("steps",))
    rows = rows_of(scores)
    assert len(rows) == 6 * 4 + 1
    # From the first of 4 context frames to the fifth target frame.
    intervals, stages = 8, {"residual": 1, "euler": 1, "midpoint": 2, "heun": 2, "rk4": 4,
                         "reversible_heun": 2}  # fmt: skip
    for (solver, substeps), row in rows.items():
        if solver != "dopri5":
            assert row["evaluations"] == intervals * stages[solver] * substeps
        assert row["seconds"] > 0
    own = rows["residual", 1]
    for metric in ("mse", "psnr"):
        assert own[metric] == pytest.approx(
            scores.forecasters["model"][metric]["mean"].value, rel=1e-6
        )
    far = abs(rows["euler", 1]["mse"] - rows["dopri5", None]["mse"])
    assert abs(rows["rk4", 8]["mse"] - rows["dopri5", None]["mse"]) < 1e-3 * far
    assert json.loads(json.dumps(scores.analyses)) == scores.analyses
    lines = Steps().lines(scores.analyses["steps"])
    assert len(lines) == 26
    assert [line for line in lines if line.endswith("the model's own")] == [lines[1]]


def test_rows_of_a_stochastic_model_share_their_draws(data):
    model = srvp(data, solver="rk4", substeps=2)
    result = Steps().run(model, AnalysisPlan(data, "test", 6, batch_size=4, seed=3))
    assert result["own"] == {"solver": "rk4", "substeps": 2}
    values = {(r["solver"], r["substeps"]): r["mse"] for r in result["rows"]}
    # With draws of their own, rows would differ by more than their solvers do.
    other = Steps().run(model, AnalysisPlan(data, "test", 6, batch_size=4, seed=4))
    between = abs(other["rows"][0]["mse"] - result["rows"][0]["mse"])
    assert abs(values["rk4", 8] - values["dopri5", None]) < 1e-3 * between


def test_a_solver_that_fails_has_a_row_that_says_why(data):
    model = separable(data, relative_tolerance=1e-30, absolute_tolerance=1e-30)
    result = Steps().run(model, AnalysisPlan(data, "test", 4, batch_size=4, seed=1))
    assert "Loosen its tolerances" in result["rows"][-1]["failed"]
    assert "Loosen" in Steps().lines(result)[-1]


def test_it_is_of_differential_equations_alone(data):
    assert "not a differential equation" in Steps.why_not_applicable(Persistence(data.spec), data)
    assert "not a differential equation" in Steps.why_not_applicable(
        srvp(data, transition="gru"), data
    )
    scores = evaluate(Persistence(data.spec), data, metrics=("mse",), analyses=("steps",))
    assert "steps" in scores.not_computed

"""Benchmarks compare what is the same: plain loops give our frames and our scores."""

import sys
from pathlib import Path

import pytest
import torch

BENCHMARKS = Path(__file__).parents[1] / "benchmarks"
SIZES = {
    "width": 4, "code_size": 6, "latent_size": 5, "noise_size": 3, "inference_hidden": 8,
    "transition_hidden": 9,
}  # fmt: skip


@pytest.fixture
def best_of_n(monkeypatch):
    monkeypatch.syspath_prepend(str(BENCHMARKS))
    import best_of_n

    yield best_of_n
    for name in [name for name in sys.modules if name == "best_of_n" or name.startswith("plain")]:
        del sys.modules[name]


@pytest.mark.parametrize("recipe", ["srvp-kth", "srvp-digits-stochastic"])
def test_plain_loops_forecast_and_score_the_same(best_of_n, recipe):
    case = best_of_n.case_of(recipe, samples=3, frames=4, windows=2, **SIZES)
    assert case.model.skips == (recipe == "srvp-kth")
    forecast, noise = best_of_n.ours(case), best_of_n.noise_of(case)
    frames = best_of_n.theirs(case, noise)
    torch.testing.assert_close(forecast.samples, frames, atol=1e-4, rtol=0)
    # Of random weights frames differ little; what moves in them must agree as well.
    moved = forecast.samples.diff(dim=2)
    assert float(moved.std()) > 1e-5
    torch.testing.assert_close(moved, frames.diff(dim=2), atol=0.05 * float(moved.std()), rtol=0)
    target = case.batch.target
    scores = best_of_n.our_scores(forecast, target, case.model.spec)
    assert scores == pytest.approx(
        best_of_n.plain_scores.best_of_n(frames, target.values), rel=1e-4
    )
    rows = best_of_n.compare(recipe, case, 1)
    assert [row.split(" | ")[1] for row in rows] == ["forecast", "scores", "both"]

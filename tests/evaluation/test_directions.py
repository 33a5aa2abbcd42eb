"""One place says which value of a metric is better; checkpoints, tables, comparisons follow it."""

import logging
import math
import re

import pytest
from helpers.toy_data import Pendulum

from statecast.evaluation.comparison import Cell, Column, Row, best_rows
from statecast.evaluation.evaluate import evaluate
from statecast.metrics import METRICS
from statecast.models.baselines import Persistence
from statecast.models.srvp import SRVP
from statecast.runs.create import create_run
from statecast.runs.run import train_run
from statecast.training.checkpoints import load_checkpoint

FACTS = {  # as docs/metrics.md has them: arrow, unit, score of a perfect forecast, fewest samples
    "mse": ("↓", "data²", 0.0, 1), "rmse": ("↓", "data", 0.0, 1), "mae": ("↓", "data", 0.0, 1),
    "fair_mse": ("↓", "data²", 0.0, 2),
    "mse_sum": ("↓", "data²", 0.0, 1), "psnr": ("↑", "dB", None, 1), "ssim": ("↑", "1", 1.0, 1),
    "ssim_skimage": ("↑", "1", 1.0, 1), "lpips": ("↓", "1", 0.0, 1),
    "lpips_vgg": ("↓", "1", 0.0, 1), "fvd": ("↓", "1", None, 1), "spectrum": ("↓", "dB", 0.0, 1),
    "crps": ("↓", "data", 0.0, 2), "energy": ("↓", "data", 0.0, 2),
    "spread_skill": ("→1", "1", None, 2), "rank_histogram": ("↓", "1", None, 2),
    "coverage": ("↓", "1", None, 2), "brier": ("↓", "1", 0.0, 1), "bias": ("→0", "data", None, 1),
    "acc": ("↑", "1", 1.0, 1), "perceptual_small": ("↓", "1", 0.0, 1),
    "fvd_small": ("↓", "1", None, 1),
}  # fmt: skip


def test_each_metric_has_its_direction_unit_and_best():
    found = {n: (m.arrow(), m.unit, m.perfect, m.needs_samples) for n, m in METRICS.items()}
    assert found == FACTS


@pytest.mark.parametrize(
    ("metric", "better", "worse", "arrow"),
    [
        ("psnr", 20.0, 10.0, "↑"),
        ("mse", 0.1, 0.2, "↓"),
        ("spread_skill", 1.1, 1.3, "→1"),
        ("spread_skill", 0.9, 1.3, "→1"),
        ("spread_skill", 0.9, 0.2, "→1"),
    ],
)
def test_higher_lower_or_nearest(metric, better, worse, arrow):
    assert METRICS[metric].penalty(better) < METRICS[metric].penalty(worse)
    assert METRICS[metric].arrow() == arrow
    column = Column(metric, "mean")
    rows = [Row(str(v), "run", {column: Cell(v)}, "") for v in (worse, better, math.nan)]
    assert best_rows(rows, column) == [1]
    assert arrow in column.title


@pytest.mark.parametrize("metric", ["psnr", "mse", "spread_skill"])
def test_the_best_checkpoint_follows_the_metric(recipe, tmp_path, caplog, metric):
    words = ["--train.validation_metric", metric, "--train.steps", "8", "--train.validate_every=2"]
    run = create_run(recipe, tmp_path / "run", words)
    with caplog.at_level(logging.INFO, logger="statecast"):
        train_run(run)
    found = re.findall(rf"step (\d+)  {metric} (\S+)", caplog.text)
    scores = {int(step): float(value) for step, value in found}
    assert list(scores) == [2, 4, 6, 8]
    best = min(scores, key=lambda step: METRICS[metric].penalty(scores[step]))
    assert load_checkpoint(run.folder, "best").step == best


def test_a_deterministic_forecast_has_no_calibration():
    data = Pendulum()
    names = ("mse", "crps", "spread_skill", "rank_histogram", "coverage")
    own = evaluate(Persistence(data.spec), data, metrics=names, samples=5, name="persistence")
    assert own.forecasters["persistence"].keys() == {"mse", "crps"}
    assert own.not_computed.keys() >= {"spread_skill", "rank_histogram", "coverage"}
    model = SRVP(data.spec, architecture="mlp", width=4, code_size=4, latent_size=2, noise_size=2)
    beside = evaluate(model, data, metrics=names, samples=5, name="srvp")
    assert beside.forecasters["srvp"].keys() == set(names)
    assert beside.forecasters["persistence"].keys() == {"mse", "crps"}
    assert "deterministic" in beside.not_computed["coverage of persistence"]
    assert "–" in beside.table()

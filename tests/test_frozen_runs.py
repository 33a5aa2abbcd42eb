"""Small fixed runs give the losses, scores and forecasts that they gave when they were frozen.

After a change of numbers that is meant, `python tests/test_frozen_runs.py` writes them anew.
"""

import csv
import json
import tempfile
from pathlib import Path

import numpy as np
import pytest
import torch
from helpers.labelled_fields import sea_surface, write_field

from statecast.runs.create import create_run
from statecast.runs.load import load
from statecast.runs.run import evaluate_run, train_run

GOLDEN = Path(__file__).parent / "golden" / "frozen_runs.json"
SHORT = ["--train.steps=12",
    "--train.warmup=0", "--train.log_every=1", "--train.validate_every=6",
         "--train.validation_windows=4", "--train.batch_size=4", "--train.precision=float32",
         "--evaluate.max_windows=6", "--evaluate.batch_size=4"]  # fmt: skip
RUNS = {
    "srvp-digits-small": ["--model.width=8", "--evaluate.samples=3"],
    "separable-wave-small": ["--data.sequences=12"],
    "fields-srvp": [
        "--model.reference=none",
        "--evaluate.baselines=[persistence]",
        "--evaluate.metrics=[mse,rmse,mae,crps,spread_skill]",
        "--model.width=8",
        "--evaluate.samples=3",
        "--data.context=4",
        "--data.horizon=4",
    ],
}


def numbers_of(name: str, folder: Path) -> dict:
    """Losses of every step, scores and some values of a forecast, of a fixed short run."""
    options = [*RUNS[name], *SHORT]
    if name == "fields-srvp":
        path = write_field(folder / "sea.nc", sea_surface(frames=160, height=16, width=16))
        options.append(f"--data.path={path}")
    run = create_run(name, folder / "run", options)
    train_run(run)
    with (run.folder / "metrics.csv").open() as file:
        losses = [float(row["total"]) for row in csv.DictReader(file)]
    scores = evaluate_run(run).forecasters
    windows = run.data().windows("test")
    context = windows.batch(torch.arange(2)).context
    model = load(run.folder, "last")
    forecast = model.forecast(context, samples=2, generator=torch.Generator().manual_seed(5))
    return {
        "losses": losses,
        "scores": {
            f"{forecaster}/{metric}/{reduction}": [score.value, score.half_width]
            for forecaster, by_metric in scores.items()
            for metric, by_reduction in by_metric.items()
            for reduction, score in by_reduction.items()
        },
        "forecast": forecast.samples.flatten()[::997][:50].tolist(),
    }  # fmt: skip


def flat(value: object, path: str = "") -> dict[str, float]:
    """Numbers of nested records by their path."""
    if isinstance(value, dict):
        parts = value.items()
    elif isinstance(value, list):
        parts = enumerate(value)
    else:
        return {path: np.nan if value is None else float(value)}
    return {
        key: number for name, part in parts for key, number in flat(part, f"{path}/{name}").items()
    }


@pytest.mark.parametrize("name", RUNS)
def test_a_fixed_short_run_gives_the_frozen_numbers(name, tmp_path):
    found, frozen = flat(numbers_of(name, tmp_path)), flat(json.loads(GOLDEN.read_text())[name])
    assert found.keys() == frozen.keys()
    for key, value in frozen.items():
        assert found[key] == pytest.approx(value, rel=2e-3, abs=2e-5, nan_ok=True), key


if __name__ == "__main__":
    torch.set_num_threads(1)
    made = {}
    for name in RUNS:
        with tempfile.TemporaryDirectory() as folder:
            made[name] = numbers_of(name, Path(folder))
    GOLDEN.write_text(json.dumps(made, indent=1) + "\n")

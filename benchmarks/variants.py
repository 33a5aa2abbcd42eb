"""SRVP against its variants on stochastic digits at equal compute: the table of the slides, small.

    python benchmarks/variants.py --steps 4000 --output results/variants

Trains the residual transition, a GRU, plain layers, and the residual one without noise, each for
the same number of steps of the same batches; scores 100 samples per test window; draws curves and
samples. Started again it goes on where it stopped. Prints a table last.
"""

from __future__ import annotations

import argparse
import json
import math
from pathlib import Path
from typing import Any

import torch
from resumable import trained

from statecast.data.base import seeded_generator
from statecast.io.atomic_files import write_text
from statecast.plots.curves import plot_scores
from statecast.plots.forecasts import plot_forecast
from statecast.runs.run import evaluate_run

VARIANTS = {
    "residual": [],
    "gru": ["--model.transition", "gru"],
    "mlp": ["--model.transition", "mlp"],
    "without z": ["--model.stochastic", "false"],
}
COLUMNS = (
    ("psnr", "best"), ("psnr", "mean"), ("ssim", "best"), ("ssim", "mean"), ("crps", "ensemble"),
    ("spread_skill", "ensemble"),
)  # fmt: skip


def cell(scores: dict[str, Any], metric: str, selection: str) -> str:
    """A score with its interval; a dash for one that a forecast does not have."""
    if metric not in scores:
        return "–"
    score = scores[metric][selection]
    interval = "" if math.isnan(score["half_width"]) else f" ± {score['half_width']:.1g}"
    return f"{score['value']:.4g}{interval}"


def main() -> None:
    """Read the command line; train, score, draw and print."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--recipe", default="srvp-digits-small")
    parser.add_argument("--steps", type=int, default=4000)
    parser.add_argument("--samples", type=int, default=100)
    parser.add_argument("--windows", type=int, default=256)
    parser.add_argument("--output", type=Path, required=True)
    known, rest = parser.parse_known_args()
    known.output.mkdir(parents=True, exist_ok=True)
    together: dict[str, Any] = {}
    minutes: dict[str, float] = {}
    for variant, difference in VARIANTS.items():
        folder = known.output / variant.replace(" ", "-")
        options = [*difference, *rest, "--train.steps", str(known.steps)]
        run, result = trained(known.recipe, folder, options)
        minutes[variant] = result.seconds / 60
        made = evaluate_run(
            run,
            [
                "--evaluate.samples", str(known.samples),
                "--evaluate.max_windows", str(known.windows),
                "--evaluate.metrics", '["psnr","ssim","crps","spread_skill","rank_histogram"]',
            ],
        )  # fmt: skip
        scores = made.to_json()
        together.setdefault("protocol", scores["protocol"])
        together.setdefault("lead_times", scores["lead_times"])
        forecasters = together.setdefault("forecasters", {})
        forecasters[variant] = scores["forecasters"][run.name]
        forecasters.setdefault("persistence", scores["forecasters"]["persistence"])
        batch = run.data().windows("test").batch(torch.tensor([3]))
        forecast = run.load().forecast(
            batch.context, len(batch.target), samples=20, generator=seeded_generator(3)
        )
        picture = known.output / f"samples-{folder.name}.png"
        plot_forecast(
            batch.context, forecast, picture, target=batch.target, samples=3, title=variant
        )
    write_text(known.output / "variants.json", json.dumps(together, indent=1) + "\n")
    plot_scores(together, known.output / "variants.png")
    print("\n| variant | minutes | " + " | ".join(f"{m} {s}" for m, s in COLUMNS) + " |")
    print("|---" * (len(COLUMNS) + 2) + "|")
    for variant, scores in together["forecasters"].items():
        spent = f"{minutes[variant]:.1f}" if variant in minutes else "–"
        cells = [cell(scores, metric, selection) for metric, selection in COLUMNS]
        print(" | ".join([f"| {variant}", spent, *cells]) + " |")


if __name__ == "__main__":
    main()

"""Train a recipe on waves with several seeds, and score it under both window protocols.

    python benchmarks/waves.py separable-wave-100-fast --seeds 1 2 3 --output results/waves
    python benchmarks/waves.py separable-wave-100 --minutes 60 --output results/waves

Started again it goes on where it stopped. Prints a table last: mean squared error over the 40
forecast frames, its mean over seeds and the half width of the 95 % interval of that mean.
"""

from __future__ import annotations

import argparse
import json
import math
from pathlib import Path
from typing import Any

import torch
from resumable import trained

from statecast.data.waves import WaveEquation
from statecast.evaluation import evaluate
from statecast.files import write_text
from statecast.runs import evaluate_run

PROTOCOLS = ("paper", "corrected")
STUDENT_95 = {2: 12.706, 3: 4.303, 4: 3.182, 5: 2.776}  # quantiles at 97.5 %, by number of seeds


def baselines(data_options: dict[str, Any], names: list[str]) -> dict[str, dict[str, float]]:
    """Mean squared error of forecasts that need no training by gradients, by protocol."""
    from statecast.models import MODELS

    rows: dict[str, dict[str, float]] = {name: {} for name in names}
    for protocol in PROTOCOLS:
        data = WaveEquation(**data_options | {"protocol": protocol})
        windows = data.windows("train")
        every = range(0, len(windows) - 64, 64)
        for name in names:
            model = MODELS[name](data.spec)
            if model.needs_statistics:
                model.fit_statistics(windows.batch(torch.arange(i, i + 64)) for i in every)
            scores = evaluate(model, data, name=name, metrics=("mse",), samples=1, batch_size=64)
            rows[name][protocol] = scores["forecasters"][name]["mse"]["mean"]["value"]
    return rows


def summary(values: list[float]) -> str:
    """Mean over seeds, with its interval where there are several."""
    mean = sum(values) / len(values)
    if len(values) not in STUDENT_95:
        return f"{mean:.2e}"
    deviation = math.sqrt(sum((v - mean) ** 2 for v in values) / (len(values) - 1))
    return f"{mean:.2e} ± {STUDENT_95[len(values)] * deviation / math.sqrt(len(values)):.0e}"


def main() -> None:
    """Read the command line; train, score and print."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("recipe")
    parser.add_argument("--seeds", type=int, nargs="+", default=[1])
    parser.add_argument("--minutes", type=float, help="stop each training after so many")
    parser.add_argument("--output", type=Path, required=True)
    parser.add_argument("--baselines", nargs="*", default=[])
    known, rest = parser.parse_known_args()
    known.output.mkdir(parents=True, exist_ok=True)
    name = known.recipe + "".join(rest).replace("--", "-").replace("/", "_")
    found: dict[str, list[float]] = {protocol: [] for protocol in PROTOCOLS}
    runs = []
    for seed in known.seeds:
        options = [*rest, "--train.seed", str(seed)]
        if known.minutes is not None:
            options += ["--train.max_minutes", str(known.minutes)]
        run, result = trained(known.recipe, known.output / f"{name}-{seed}", options)
        print(f"{run.folder}: {result.step} steps in {result.seconds / 60:.1f} min", flush=True)
        runs.append(run)
        for protocol in PROTOCOLS:
            scores = evaluate_run(run, ["--data.protocol", protocol])
            found[protocol].append(scores["forecasters"][run.name]["mse"]["mean"]["value"])
            write_text(run.folder / f"scores-{protocol}.json", json.dumps(scores, indent=1) + "\n")
    data_options = {k: v for k, v in runs[0].tables["data"].items() if k != "name"}
    table = {name: found, **baselines(data_options, known.baselines)}
    write_text(known.output / f"{name}.json", json.dumps(table, indent=1) + "\n")
    print(f"\n{'':40s}" + "".join(f"{protocol:>22s}" for protocol in PROTOCOLS))
    for row, values in table.items():
        cells = [values[p] if isinstance(values[p], list) else [values[p]] for p in PROTOCOLS]
        print(f"{row:40s}" + "".join(f"{summary(cell):>22s}" for cell in cells))


if __name__ == "__main__":
    main()

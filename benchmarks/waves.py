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

from resumable import trained

from statecast.io.atomic_files import write_text
from statecast.runs.run import evaluate_run

PROTOCOLS = ("paper", "corrected")
STUDENT_95 = {2: 12.706, 3: 4.303, 4: 3.182, 5: 2.776}  # quantiles at 97.5 %, by number of seeds


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
    parser.add_argument("--baselines", nargs="*", default=[], help="such as linear dmd")
    known, rest = parser.parse_known_args()
    known.output.mkdir(parents=True, exist_ok=True)
    name = known.recipe + "".join(rest).replace("--", "-").replace("/", "_")
    beside = ["--evaluate.baselines", json.dumps(["persistence", *known.baselines])]
    table: dict[str, dict[str, list[float]]] = {}
    for seed in known.seeds:
        options = [*rest, "--train.seed", str(seed)]
        if known.minutes is not None:
            options += ["--train.max_minutes", str(known.minutes)]
        run, result = trained(known.recipe, known.output / f"{name}-{seed}", options)
        print(f"{run.folder}: {result.step} steps in {result.seconds / 60:.1f} min", flush=True)
        scale = run.data().card["scale"]  # of its training, whichever windows are scored
        for protocol in PROTOCOLS:
            rule = ["--data.protocol", protocol, "--data.scale", scale]
            scores = evaluate_run(run, [*rule, *beside])
            write_text(
                run.folder / f"scores-{protocol}.json",
                json.dumps(scores.to_json(), indent=1) + "\n",
            )
            for forecaster, found in scores.forecasters.items():
                if forecaster == run.name or seed == known.seeds[0]:  # baselines are the same
                    row = name if forecaster == run.name else forecaster
                    values = table.setdefault(row, {}).setdefault(protocol, [])
                    values.append(found["mse"]["mean"].value)
        beside = []
    write_text(known.output / f"{name}.json", json.dumps(table, indent=1) + "\n")
    print(f"\n{'':40s}" + "".join(f"{protocol:>22s}" for protocol in PROTOCOLS))
    for row, values in table.items():
        print(f"{row:40s}" + "".join(f"{summary(values[p]):>22s}" for p in PROTOCOLS))


if __name__ == "__main__":
    main()

"""Skill of the default recipe on a field: trained with several seeds, scored beside references.

    OMP_NUM_THREADS=1 python benchmarks/field_skill.py --output results/sea --data.path sea.nc

Options of the recipe follow. Started again it goes on where it stopped. Prints a Markdown table of
scores by lead time, means over seeds, and for each seed the difference from every reference with
its 95 % interval, and the lead times at which the interval excludes zero.
"""

from __future__ import annotations

import argparse
import math
from collections.abc import Iterator, Sequence
from itertools import groupby
from pathlib import Path
from statistics import mean

import torch
from resumable import trained

from statecast.evaluation.evaluation import SCORES_NAME, Evaluation
from statecast.io.json_yaml import read_json
from statecast.runs.run import evaluate_run

COLUMNS = 8  # lead times of the table, at most
SCORES = {"fair_mse": "RMSE", "crps": "CRPS"}  # and what their rows are called
ENSEMBLE = "ensemble"


def scored(folder: Path, seed: int, options: list[str]) -> Evaluation:
    """Scores of a training with this seed, made unless they are there."""
    run, _ = trained("fields", folder, ["--train.seed", str(seed), *options])
    kept = folder / SCORES_NAME
    return Evaluation.from_json(read_json(kept)) if kept.exists() else evaluate_run(run)


def lead_times_shown(count: int) -> list[int]:
    """Indices of lead times, the first ones closer together than the last ones."""
    return sorted({round((count - 1) * (k / (COLUMNS - 1)) ** 1.5) for k in range(COLUMNS)})


def score_rows(found: Sequence[Evaluation]) -> Iterator[list[str]]:
    """A row per score and forecaster, means over seeds; RMSE is that of the expectation."""
    shown = lead_times_shown(len(found[0].lead_times))
    yield ["", *(f"{found[0].lead_times[index]:g}" for index in shown), "all"]
    yield ["---"] * (len(shown) + 2)
    for metric, title in SCORES.items():
        for name in found[0].forecasters:
            scores = [each.forecasters[name][metric][ENSEMBLE] for each in found]
            means = torch.stack([score.per_lead_time for score in scores]).mean(dim=0)[shown]
            values = torch.cat([means, means.new_tensor([mean(s.value for s in scores)])])
            values = values.sqrt() if metric == "fair_mse" else values
            yield [f"{name}, {title}", *(f"{value:.3f}" for value in values.tolist())]


def differences(seed: int, found: Evaluation) -> Iterator[list[str]]:
    """A row per reference and score: how one training compares."""
    for name, skill in found.skill.items():
        for metric, title in SCORES.items():
            gain = skill[metric][ENSEMBLE].difference
            base = found.forecasters[name][metric][ENSEMBLE].value
            yield [
                str(seed), name, "squared error" if title == "RMSE" else title,
                f"{100 * gain.value / base:+.1f} %",
                interval(100 * gain.low / base, 100 * gain.high / base),
                ranges([high < 0 for high in gain.highs], found.lead_times),
                ranges([low > 0 for low in gain.lows], found.lead_times),
            ]  # fmt: skip


def interval(low: float, high: float) -> str:
    """Bounds in percent; a dash where too few windows leave none."""
    return "–" if math.isnan(low) else f"[{low:+.1f}, {high:+.1f}]"


def ranges(chosen: Sequence[bool], times: Sequence[float]) -> str:
    """Lead times that are chosen, such as `1–4, 7`."""
    runs = [list(group) for key, group in groupby(range(len(times)), chosen.__getitem__) if key]
    ends = [f"{times[run[0]]:g}" + f"–{times[run[-1]]:g}" * (len(run) > 1) for run in runs]
    return ", ".join(ends) or "–"


def main() -> None:
    """Read the command line; train and score what is missing; print."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--output", type=Path, required=True, help="folders are OUTPUT-SEED")
    parser.add_argument("--seeds", type=int, nargs="+", default=[1, 2, 3])
    known, options = parser.parse_known_args()
    found = {seed: scored(Path(f"{known.output}-{seed}"), seed, options) for seed in known.seeds}
    heads = ["seed", "against", "score", "difference", "95 %", "better at", "worse at"]
    rows = [*score_rows(list(found.values())), [], heads, ["---"] * len(heads)]
    rows += [row for seed, evaluation in found.items() for row in differences(seed, evaluation)]
    print("\n".join("| " + " | ".join(row) + " |" if row else "" for row in rows))
    for seed, evaluation in found.items():
        ratio = evaluation.forecasters[evaluation.model]["spread_skill"][ENSEMBLE].value
        windows = evaluation.protocol["windows"]
        print(f"seed {seed}: {windows} windows, spread–skill {ratio:.2f}")


if __name__ == "__main__":
    main()

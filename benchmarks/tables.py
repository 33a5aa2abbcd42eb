"""A table of models at equal compute: trained on one thread, scored on the same windows, by seed.

    OMP_NUM_THREADS=1 python benchmarks/tables.py digit --output results/digit

`tables/NAME.yaml` says what stands in the table: rows, with numbers of steps that take about the
same processor time each; options that all of them share; seeds; and columns: `METRIC.SELECTION`,
with `@LEADS` over the first leads alone, or findings of an analysis. With the analysis
`exact_answer`, the exact law is a row as well. Further options of a recipe, such as
`--data.protocol paper`, hold for all rows. Started again it goes on where it stopped; several
processes may make seeds of their own in one folder (`--seeds 2`). Prints the table, and writes it
with the scores of every seed to `table.json`; `tables/measured/` keeps those of docs/results.md.
"""

from __future__ import annotations

import argparse
import json
import math
import os
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import torch
import yaml
from resumable import trained
from scipy.stats import t as student_t
from torch import Tensor

from statecast.evaluation.analyses_comparison import ERROR, LOG_SCORE, OVER, findings
from statecast.evaluation.evaluation import Evaluation
from statecast.io.atomic_files import write_text
from statecast.runs.run import evaluate_run

TABLES = Path(__file__).parent / "tables"


def overrides(tables: Mapping[str, Mapping[str, Any]]) -> Iterator[str]:
    """Options of a recipe as arguments of a command: `--table.option`, value, …"""
    for table, options in tables.items():
        for name, value in options.items():
            yield f"--{table}.{name}"
            yield json.dumps(value) if isinstance(value, list) else str(value)


def score(
    table: Mapping[str, Any], row: Mapping[str, Any], seed: int, output: Path, further: list[str]
) -> None:
    """Train and score one row with one seed, and write what came of it."""
    folder = output / f"{row['name'].replace(' ', '-')}-{seed}"
    record = folder.with_suffix(".json")
    if record.exists():
        return
    own = {name: row.get(name, {}) for name in ("model", "data", "train")}
    own["train"] = {**own["train"], "steps": row["steps"], "seed": seed}
    shared = table.get("options", {})
    options = [*overrides(shared), *overrides(own), *further]
    begun = time.process_time()
    run, result = trained(row["recipe"], folder, options)
    seconds = time.process_time() - begun
    evaluation = evaluate_run(run, list(overrides({"evaluate": table["evaluate"]})))
    content = evaluation.to_json()
    parameters = sum(weight.numel() for weight in run.new_model().parameters())
    content |= {"processor_minutes": seconds / 60, "step": result.step, "parameters": parameters}
    write_text(record, json.dumps(content) + "\n")


def running_means(values: Tensor) -> list[float]:
    """Means of the first 1, 2, … values."""
    means: list[float] = (values.cumsum(0) / torch.arange(1, len(values) + 1)).tolist()
    return means


def values_of(content: Mapping[str, Any], columns: list[str], *, model: str) -> list[float]:
    """Scores of a forecaster in a record, by column; NaN where there is none."""
    evaluation = Evaluation.from_json(content)
    found = {}
    for metric, selections in evaluation.forecasters[model].items():
        for selection, score in selections.items():
            found[f"{metric}.{selection}"] = score.value
            for leads, mean in enumerate(running_means(score.per_lead_time), 1):
                found[f"{metric}.{selection}@{leads}"] = mean
    if model == evaluation.model:
        for finding, value in findings(evaluation.analyses):
            found[" ".join(filter(None, finding))] = value
    return [shortened(found.get(column, math.nan)) for column in columns]


def exact_values(analyses: Mapping[str, Any], columns: list[str]) -> list[float]:
    """Scores of the exact law by column; NaN where there is none."""
    law = analyses["exact_answer"]
    found: dict[str, float] = {}
    for metric, scores in law["scores"].items():
        found[f"{metric}.ensemble"] = scores["exact"]["value"]
        found[f"{metric} {OVER}"] = 1.0
    if "modes" in law:
        found |= {LOG_SCORE: law["modes"]["exact_log_score"], ERROR: 0.0}
    return [shortened(found.get(column, math.nan)) for column in columns]


def shortened(value: float) -> float:
    """Six digits of a number, as they are kept in a record."""
    return float(f"{value:.6g}")


def cell(values: list[float]) -> str:
    """Mean over seeds ± half the width of a 95 % interval by Student's t; a dash for no value."""
    mean = sum(values) / len(values) if values else math.nan
    if math.isnan(mean):
        return "–"
    if len(values) == 1 or len(set(values)) == 1:
        return f"{mean:.4g}"
    deviation = math.sqrt(sum((value - mean) ** 2 for value in values) / (len(values) - 1))
    half = float(student_t.ppf(0.975, len(values) - 1)) * deviation / math.sqrt(len(values))
    return f"{mean:.4g} ± {half:.2g}"


def rows_of(table: Mapping[str, Any], output: Path) -> Iterator[dict[str, Any]]:
    """The scores of each row, then of each baseline and of the exact law."""
    columns = table["columns"]
    last: dict[str, Any] = {}
    for row in table["rows"]:
        name = row["name"].replace(" ", "-")
        paths = [output / f"{name}-{seed}.json" for seed in table["seeds"]]
        records = {
            seed: json.loads(path.read_text())
            for seed, path in zip(table["seeds"], paths, strict=True)
            if path.exists()
        }
        if not records:
            continue
        last = list(records.values())[-1]
        model = Evaluation.from_json(last).model
        yield {
            "row": row["name"],
            "steps": last["step"],
            "parameters": last["parameters"],
            "seeds": list(records),
            "minutes": [round(record["processor_minutes"], 2) for record in records.values()],
            "scores": [values_of(record, columns, model=model) for record in records.values()],
        }
    for baseline in list(last.get("forecasters", {}))[1:]:
        yield {"row": baseline, "scores": [values_of(last, columns, model=baseline)]}
    if "exact_answer" in last.get("analyses", {}):
        yield {"row": "exact law", "scores": [exact_values(last["analyses"], columns)]}


def main() -> None:
    """Read the command line; train, score and print."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("name", choices=sorted(path.stem for path in TABLES.glob("*.yaml")))
    parser.add_argument("--seeds", type=int, nargs="+", help="only these")
    parser.add_argument("--rows", nargs="+", help="only these")
    parser.add_argument("--output", type=Path, required=True)
    known, further = parser.parse_known_args()
    if os.environ.get("OMP_NUM_THREADS") != "1":
        parser.error("compute is equal on one thread only: set OMP_NUM_THREADS=1")
    table = yaml.safe_load((TABLES / f"{known.name}.yaml").read_text())
    known.output.mkdir(parents=True, exist_ok=True)
    for seed in known.seeds or table["seeds"]:
        for row in table["rows"]:
            if known.rows is None or row["name"] in known.rows:
                score(table, row, seed, known.output, further)
    found = list(rows_of(table, known.output))
    lines = ",\n".join(map(json.dumps, found))
    content = f'{{"columns": {json.dumps(table["columns"])}, "rows": [\n{lines}\n]}}\n'
    write_text(known.output / "table.json", content)
    print("\n| | parameters | steps | minutes | " + " | ".join(table["columns"]) + " |")
    print("|---" * (len(table["columns"]) + 4) + "|")
    for row in found:
        minutes = row.get("minutes", [])
        spent = f"{sum(minutes) / len(minutes):.1f}" if minutes else "–"
        sizes = [f"{row[key]:,}" if key in row else "–" for key in ("parameters", "steps")]
        cells = [
            cell([float(value) for value in column]) for column in zip(*row["scores"], strict=True)
        ]
        print(" | ".join([f"| {row['row']}", *sizes, spent, *cells]) + " |")


if __name__ == "__main__":
    main()

"""statecast list: names of models, recipes, data sets, metrics and so on."""

from __future__ import annotations

import argparse

SUMMARY = "Name the recipes, models, data sets, metrics and protocols."


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add no arguments."""


def run(options: argparse.Namespace) -> int:
    """Print the names."""
    from statecast.data import DATASETS
    from statecast.evaluation.analyses import ANALYSES
    from statecast.evaluation.protocols import protocol_names
    from statecast.metrics import METRICS
    from statecast.models import MODELS
    from statecast.runs.recipes import recipe_names
    from statecast.runs.trained import trained_names

    section("Trained models (statecast forecast NAME)", trained_names())
    section("Recipes (statecast train NAME)", recipe_names())
    section("Models", MODELS.titles())
    section("Data sets", DATASETS.titles())
    section("Metrics", METRICS.titles())
    section("Analyses (evaluate.analyses)", ANALYSES.titles())
    section("Protocols (evaluate.protocol)", protocol_names())
    return 0


def section(title: str, rows: dict[str, str]) -> None:
    """Print names and what they mean in two columns."""
    width = max(map(len, rows), default=0)
    print(f"{title}\n" + "".join(f"  {n.ljust(width)}  {t}\n" for n, t in rows.items()))

"""statecast list: what there is."""

from __future__ import annotations

import argparse
from collections.abc import Mapping

SUMMARY = "Name the recipes, models, data sets, metrics and protocols."


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """It takes none."""


def run(options: argparse.Namespace) -> int:
    """Print what there is."""
    from statecast.data import DATASETS
    from statecast.evaluation.analyses import ANALYSES
    from statecast.evaluation.protocols.protocol import protocol_names
    from statecast.metrics import METRICS
    from statecast.models import MODELS
    from statecast.runs.recipes import recipe_names

    section("Recipes (statecast train NAME)", recipe_names())
    registries: dict[str, Mapping[str, type]] = {
        "Models": MODELS,
        "Data sets": DATASETS,
        "Metrics": METRICS,
        "Analyses (evaluate.analyses)": ANALYSES,
    }
    for title, registry in registries.items():
        section(title, {n: (c.__doc__ or "").split("\n")[0] for n, c in registry.items()})
    section("Protocols (evaluate.protocol)", protocol_names())
    return 0


def section(title: str, rows: dict[str, str]) -> None:
    """Print names and what they mean in two columns."""
    width = max(map(len, rows), default=0)
    print(f"{title}\n" + "".join(f"  {n.ljust(width)}  {t}\n" for n, t in rows.items()))

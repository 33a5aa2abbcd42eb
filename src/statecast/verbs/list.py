"""statecast list: what there is."""

from __future__ import annotations

import argparse

SUMMARY = "Name the recipes, models, data sets and metrics."


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """It takes none."""


def run(options: argparse.Namespace) -> int:
    """Print what there is."""
    from statecast.data import DATASETS
    from statecast.metrics import METRICS
    from statecast.models import MODELS
    from statecast.options import recipe_names

    section("Recipes (statecast train NAME)", recipe_names())
    for title, registry in (("Models", MODELS), ("Data sets", DATASETS), ("Metrics", METRICS)):
        section(title, {n: (c.__doc__ or "").split("\n")[0] for n, c in registry.items()})
    return 0


def section(title: str, rows: dict[str, str]) -> None:
    """Print names and what they mean in two columns."""
    width = max(map(len, rows))
    print(f"{title}\n" + "".join(f"  {n.ljust(width)}  {t}\n" for n, t in rows.items()))

"""statecast list: names of models, recipes, data sets, metrics and so on."""

from __future__ import annotations

import argparse

SUMMARY = "Name the recipes, models, data sets, metrics and protocols."
SECTIONS = ("trained", "recipes", "models", "data", "metrics", "analyses", "protocols")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of the verb."""
    parser.add_argument(
        "section",
        nargs="?",
        choices=SECTIONS,
        help=f"what to name: {', '.join(SECTIONS)}; default: all",
        metavar="SECTION",
    )


def run(options: argparse.Namespace) -> int:
    """Print the names."""
    from statecast.data import DATASETS
    from statecast.evaluation.analyses import ANALYSES
    from statecast.evaluation.protocols import protocol_names
    from statecast.metrics import METRICS
    from statecast.models import MODELS
    from statecast.runs.recipes import recipe_names
    from statecast.runs.trained import trained_names

    known = {
        "trained": ("Trained models (statecast forecast NAME)", trained_names),
        "recipes": ("Recipes (statecast train NAME)", recipe_names),
        "models": ("Models", MODELS.titles),
        "data": ("Data sets", DATASETS.titles),
        "metrics": ("Metrics", METRICS.titles),
        "analyses": ("Analyses (evaluate.analyses)", ANALYSES.titles),
        "protocols": ("Protocols (evaluate.protocol)", protocol_names),
    }
    for name in SECTIONS if options.section is None else [options.section]:
        title, names = known[name]
        section(title, names())
    return 0


def section(title: str, rows: dict[str, str]) -> None:
    """Print names and what they mean in two columns."""
    width = max(map(len, rows), default=0)
    print(f"{title}\n" + "".join(f"  {n.ljust(width)}  {t}\n" for n, t in rows.items()))

"""statecast compare: compare runs with each other and with published scores."""

from __future__ import annotations

import argparse
import json
from collections.abc import Sequence
from itertools import groupby
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from statecast.evaluation.comparability import Scored

SUMMARY = "Compare scored runs with each other and with published scores of their protocol."
FORMAT_NAMES = ("text", "markdown", "csv", "json")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of the verb."""
    parser.add_argument("folders", metavar="RUN", nargs="*", help="run folder with scores")
    parser.add_argument(
        "--metrics", default="", metavar="A,B", help="columns, such as psnr.best,crps; default all"
    )
    parser.add_argument("--format", choices=FORMAT_NAMES, default="text", help="default text")
    parser.add_argument(
        "--published",
        action=argparse.BooleanOptionalAction,
        default=True,
        help="show published scores of the same protocol; default: show",
    )
    parser.add_argument(
        "--analyses",
        action="store_true",
        help="compare results of analyses; runs that differ only in their seed share a row",
    )
    parser.add_argument(
        "--tables",
        action="store_true",
        help="print all published tables with the runs below; runs that do not compare are marked",
    )
    parser.add_argument("--sort", metavar="METRIC", help="order rows by a column, best first")


def run(options: argparse.Namespace) -> int:
    """Print the table."""
    from statecast.errors import InputError
    from statecast.evaluation.analyses_comparison import compare_analyses
    from statecast.evaluation.comparability import read_runs
    from statecast.evaluation.comparison import compare
    from statecast.evaluation.comparison_formats import FORMATS

    runs = read_runs(options.folders)
    if options.tables:
        print(tables_as(options.format, groups_by_recipe(runs)))
        return 0
    if not runs:
        raise InputError("Give the runs to compare: statecast compare RUN …")
    if options.analyses:
        print(FORMATS[options.format](compare_analyses(groups_by_recipe(runs))))
        return 0
    table = compare(
        runs,
        metrics=[name.strip() for name in options.metrics.split(",") if name.strip()],
        published=options.published,
        sort=options.sort,
    )
    print(FORMATS[options.format](table))
    return 0


def tables_as(form: str, groups: Sequence[Sequence[Scored]]) -> str:
    """All published tables with runs below, in one text.

    Errors:
        InputError: the format holds only one table.
    """
    from statecast.errors import InputError
    from statecast.evaluation.comparison_formats import as_json, as_markdown, as_text
    from statecast.evaluation.published_tables import published_tables

    tables = published_tables(groups)
    if form == "json":
        content = [
            {"group": t.group, "title": t.title, **json.loads(as_json(t.comparison))}
            for t in tables
        ]
        return json.dumps(content, indent=1, ensure_ascii=False)
    if form == "csv":
        raise InputError(
            "A CSV file holds one table, but --tables prints several: use text, markdown or json."
        )
    marks, shown = ("## ", "### ", as_markdown), ("", "", as_text)
    first, second, as_lines = marks if form == "markdown" else shown
    blocks: list[str] = []
    for group, members in groupby(tables, key=lambda table: table.group):
        blocks.append(f"{first}{group}")
        blocks += [f"{second}{t.title}\n\n{as_lines(t.comparison)}" for t in members]
    return "\n\n".join(blocks)


def groups_by_recipe(runs: Sequence[Scored]) -> list[list[Scored]]:
    """Runs in groups whose recipes differ only in the seed of the training."""
    from statecast.runs.run import open_run

    groups: dict[str, list[Scored]] = {}
    for run in runs:
        tables = open_run(run.folder).tables
        train = {name: value for name, value in tables["train"].items() if name != "seed"}
        key = json.dumps([tables["model"], tables["data"], train], sort_keys=True, default=vars)
        groups.setdefault(key, []).append(run)
    return list(groups.values())

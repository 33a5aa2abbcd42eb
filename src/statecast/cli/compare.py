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
FORMAT_NAMES = ("text", "markdown", "latex", "csv", "json")


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
    parser.add_argument(
        "--table", metavar="PROTOCOL", help="print the published table of one protocol only"
    )
    parser.add_argument("--sort", metavar="METRIC", help="order rows by a column, best first")


def run(options: argparse.Namespace) -> int:
    """Print the table."""
    from statecast.errors import InputError
    from statecast.evaluation.analyses_comparison import compare_analyses
    from statecast.evaluation.comparability import groups_by_recipe, read_runs
    from statecast.evaluation.comparison import compare
    from statecast.evaluation.comparison_formats import FORMATS

    runs = read_runs(options.folders)
    if options.tables or options.table is not None:
        print(tables_as(options.format, groups_by_recipe(runs), options.table))
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


def tables_as(form: str, groups: Sequence[Sequence[Scored]], only: str | None) -> str:
    """All published tables with runs below, or those of one protocol, in one text.

    Errors:
        InputError: no table has the protocol, or the format holds only one table.
    """
    from statecast.errors import InputError
    from statecast.evaluation.comparison_formats import FORMATS, as_json
    from statecast.evaluation.published_tables import published_tables

    tables = published_tables(groups)
    if only is not None:
        names = list(dict.fromkeys(table.protocol for table in tables))
        tables = [table for table in tables if table.protocol == only]
        if not tables:
            raise InputError(f"There is no table {only!r}; choose from {', '.join(names)}.")
    if form == "json":
        content = [
            {"group": t.group, "title": t.title, **json.loads(as_json(t.comparison))}
            for t in tables
        ]
        return json.dumps(content, indent=1, ensure_ascii=False)
    if form == "csv" and len(tables) > 1:
        raise InputError(
            "A CSV file holds one table, and these are several: name one by --table PROTOCOL, or "
            "use another format."
        )
    as_lines = FORMATS[form]
    if form == "csv":
        return as_lines(tables[0].comparison)
    first, second = {"markdown": ("## ", "### "), "latex": ("% ", "% ")}.get(form, ("", ""))
    blocks: list[str] = []
    for group, members in groupby(tables, key=lambda table: table.group):
        blocks.append(f"{first}{group}")
        blocks += [f"{second}{t.title}\n\n{as_lines(t.comparison)}" for t in members]
    return "\n\n".join(blocks)

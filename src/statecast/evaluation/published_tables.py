"""The field's published tables with runs beneath, and why a run's scores may not be set beside."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from importlib import resources
from typing import Any, NamedTuple

import yaml

from statecast.evaluation.comparability import Scored
from statecast.evaluation.comparison import (
    Cell,
    Column,
    Comparison,
    Row,
    best_rows,
    published_notes,
    published_rows,
)
from statecast.evaluation.protocols.protocol import Protocol, read_protocol, shown
from statecast.evaluation.protocols.published_scores import published_for
from statecast.io.json_yaml import shipped_titles

FOLDER = "statecast.evaluation.protocols.tables"
APART = "≠"  # before runs that must not be set beside published scores
SEEDS = "mean ± half the range over runs that differ in nothing but their training's seed"


class PublishedTable(NamedTuple):
    """Published scores of one protocol with runs beneath."""

    group: str  # what it is printed with
    title: str
    comparison: Comparison


def published_tables(groups: Sequence[Sequence[Scored]]) -> list[PublishedTable]:
    """Every published table, with each group of runs beneath those of its kind of data.

    A run that was not scored under the table's protocol is shown all the same, marked with `≠`
    and with what differs; it is never called the best of a column.

    Args:
        groups: runs of one model, data set and training, with several seeds.
    """
    found = []
    for name, group in shipped_titles(FOLDER).items():
        text = (resources.files(FOLDER) / f"{name}.yaml").read_text(encoding="utf-8")
        for block in yaml.safe_load(text)["blocks"]:
            protocol = read_protocol(block["protocol"])
            what = " (content swap)" if "analysis" in block else ""
            title = f"{protocol.title.rstrip('.')}{what} [{protocol.name}]"
            found.append(PublishedTable(group, title, table_of(block, protocol, groups)))
    return found


def table_of(
    block: Mapping[str, Any], protocol: Protocol, groups: Sequence[Sequence[Scored]]
) -> Comparison:
    """Published scores of a protocol, and the runs of its kind of data."""
    analysis = block.get("analysis")
    scores = published_for(protocol.name, analysis=analysis)
    columns = list(dict.fromkeys(Column(score.metric, score.selection) for score in scores))
    rows = published_rows(protocol.name, columns, analysis=analysis)
    known = list(range(len(rows)))
    reasons: dict[str, list[str]] = {}
    for group in groups:
        if not is_of_kind(group[0], block, protocol):
            continue
        row = row_of(group, columns, protocol, analysis)
        why = list(dict.fromkeys(p for run in group for p in differences_from(run, protocol)))
        if why:
            reasons.setdefault("; ".join(why), []).append(row.label)
            row = row._replace(label=f"{APART} {row.label}")
        else:
            known.append(len(rows))
        rows.append(row)
    best = {c: [known[i] for i in best_rows([rows[k] for k in known], c)] for c in columns}
    remarks = published_notes(protocol.name, columns, analysis=analysis)
    remarks += [f"{APART} {', '.join(labels)}: {why}" for why, labels in reasons.items()]
    if any(len(group) > 1 and is_of_kind(group[0], block, protocol) for group in groups):
        remarks.append(SEEDS)
    return Comparison(columns, rows, best, remarks, [])


def is_of_kind(run: Scored, block: Mapping[str, Any], protocol: Protocol) -> bool:
    """Whether a run's data are those of the protocol, or stand in for them."""
    card = run.protocol.get("data", {})
    kinds = [protocol.data, *block.get("stand_ins", [])]
    only = block.get("only", {})
    return card.get("name") in kinds and all(card.get(key) == v for key, v in only.items())


def differences_from(run: Scored, protocol: Protocol) -> list[str]:
    """Why a run's scores are not those of a protocol, a phrase per field; empty where they are."""
    own = run.protocol
    fields: list[tuple[str, Any, Any]] = []
    if own.get("name") != protocol.name:
        card = own.get("data", {})
        fields.append(("data.name", card.get("name"), protocol.data))
        if card.get("name") == protocol.data:
            fields += [(f"data.{k}", card.get(k), due) for k, due in protocol.must_be.items()]
        fields += [(k, own.get(k), getattr(protocol, k)) for k in ("split", "context", "horizon")]
        if not own.get("deterministic", False):
            fields.append(("samples", own.get("samples"), protocol.samples))
    windows = own.get("available_windows") if protocol.windows is None else protocol.windows
    fields.append(("windows", own.get("windows"), windows))
    versions = own.get("metrics", {})
    fields += [
        (f"the version of {metric}", versions[metric], rule.version)
        for metric, rule in protocol.metrics.items()
        if metric in versions and rule.version is not None
    ]
    found = [
        f"{name} is {shown(here)}, not {shown(due)}" for name, here, due in fields if here != due
    ]
    unnamed = not found and own.get("name") != protocol.name
    return [f"scored without --evaluate.protocol {protocol.name}"] if unnamed else found


def row_of(
    group: Sequence[Scored], columns: Sequence[Column], protocol: Protocol, analysis: str | None
) -> Row:
    """Scores of a run, or the means of runs of several seeds with half their range."""
    each = [dict(cells_of(run, columns, protocol.horizon, analysis)) for run in group]
    cells = each[0]
    if len(group) > 1:
        cells = {}
        for column in each[0]:
            values = [found[column].value if column in found else math.nan for found in each]
            cells[column] = Cell(sum(values) / len(values), (max(values) - min(values)) / 2)
    label = group[0].label if len(group) == 1 else f"{group[0].label} … ({len(group)} runs)"
    return Row(label, "run", cells, ", ".join(str(run.folder) for run in group))


def cells_of(
    run: Scored, columns: Sequence[Column], horizon: int, analysis: str | None
) -> Iterator[tuple[Column, Cell]]:
    """A run's scores in columns of published ones, over at most so many forecast frames."""
    if analysis is not None:
        horizons = run.scores.analyses.get(analysis, {}).get("horizons", {})
        fitting = [key for key in horizons if int(key) <= horizon]
        swapped = horizons[max(fitting, key=int)]["swapped"] if fitting else {}
        for column in columns:
            if column.metric in swapped:
                score = swapped[column.metric]
                yield column, Cell(score["value"], score["half_width"])
        return
    for column in columns:
        selections = run.scores.forecasters[run.model].get(column.metric, {})
        if column.selection is None or run.protocol.get("samples") == 1:
            name = next(iter(selections), None)
        else:
            name = column.selection
        if name is None or name not in selections:
            continue
        score = selections[name]
        # The mean over lead times is that of the first ones too; the best sample is another.
        if len(score.per_lead_time) > horizon and (name == "mean" or run.protocol["samples"] == 1):
            yield column, Cell(float(score.per_lead_time[:horizon].mean()))
        else:
            yield column, Cell(score.value, score.half_width)

"""Published tables with runs beneath, and reasons why a run may not be compared with them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from importlib import resources
from typing import Any, NamedTuple

import yaml

from statecast.evaluation.comparability import Scored
from statecast.evaluation.comparison import (
    SEEDS,
    Cell,
    Column,
    Comparison,
    Row,
    best_rows,
    group_row,
    published_notes,
    published_rows,
)
from statecast.evaluation.protocols.protocol import Protocol, read_protocol, shown
from statecast.evaluation.protocols.published_scores import published_for
from statecast.io.json_yaml import shipped_titles

FOLDER = "statecast.evaluation.protocols.tables"
APART = "≠"  # marks runs that must not be compared with published scores


class PublishedTable(NamedTuple):
    """Published scores of one protocol with runs beneath."""

    group: str  # heading that it is printed under
    title: str
    protocol: str  # its name
    comparison: Comparison


def published_tables(groups: Sequence[Sequence[Scored]]) -> list[PublishedTable]:
    """Every published table, with each group of runs beneath those of its kind of data.

    A run that was scored under another protocol is shown too, with the mark `≠` and the
    differences; it is never marked as the best of a column.

    Args:
        groups: in each group, runs that differ only in the seed of their training.
    """
    found = []
    for name, group in shipped_titles(FOLDER).items():
        text = (resources.files(FOLDER) / f"{name}.yaml").read_text(encoding="utf-8")
        for block in yaml.safe_load(text)["blocks"]:
            protocol = read_protocol(block["protocol"])
            what = " (content swap)" if "analysis" in block else ""
            title = f"{protocol.title.rstrip('.')}{what} [{protocol.name}]"
            table = table_of(block, protocol, groups)
            found.append(PublishedTable(group, title, protocol.name, table))
    return found


def table_of(
    block: Mapping[str, Any], protocol: Protocol, groups: Sequence[Sequence[Scored]]
) -> Comparison:
    """Published scores of a protocol, and the runs of its kind of data with their baselines."""
    analysis = block.get("analysis")
    scores = published_for(protocol.name, analysis=analysis)
    columns = list(dict.fromkeys(Column(score.metric, score.selection) for score in scores))
    rows = published_rows(protocol.name, columns, analysis=analysis)
    shown_groups = [group for group in groups if is_of_kind(group[0], block, protocol)]
    own = list(own_rows(shown_groups, columns, protocol, analysis))
    comparable = [*range(len(rows)), *(len(rows) + i for i, (_, why) in enumerate(own) if not why)]
    reasons: dict[str, list[str]] = {}
    for row, why in own:
        rows.append(row._replace(label=f"{APART} {row.label}") if why else row)
        if why:
            reasons.setdefault(why, []).append(row.label)
    chosen = [rows[index] for index in comparable]
    best = {c: [comparable[i] for i in best_rows(chosen, c)] for c in columns}
    notes = published_notes(protocol.name, columns, analysis=analysis)
    remarks = [f"{APART} {', '.join(labels)}: {why}" for why, labels in reasons.items()]
    if any(len(group) > 1 for group in shown_groups):
        remarks.append(SEEDS)
    return Comparison(columns, rows, best, remarks, [], notes)


def own_rows(
    groups: Sequence[Sequence[Scored]],
    columns: Sequence[Column],
    protocol: Protocol,
    analysis: str | None,
) -> Iterator[tuple[Row, str]]:
    """A row for each group, then for its baselines, each with why it does not compare."""
    baselines: dict[tuple[str, str], tuple[Row, str]] = {}
    for group in groups:
        phrases = dict.fromkeys(p for run in group for p in differences_from(run, protocol))
        why = "; ".join(phrases)
        cells = [cells_of(run, run.model, columns, protocol.horizon, analysis) for run in group]
        yield group_row(group, cells), why
        for name in list(group[0].scores.forecasters)[1:] if analysis is None else ():
            found = cells_of(group[0], name, columns, protocol.horizon, None)
            row = Row(f"{name} ({group[0].label})", "baseline", found, str(group[0].folder))
            key = name, str([f"{cell.value:.9g}" for cell in found.values()])
            baselines.setdefault(key, (row, why))
    names = [name for name, _ in baselines]
    for (name, _), (row, why) in baselines.items():
        yield (row._replace(label=name) if names.count(name) == 1 else row), why


def is_of_kind(run: Scored, block: Mapping[str, Any], protocol: Protocol) -> bool:
    """Whether a run's data are those of the protocol, or a stand-in for them."""
    card = run.protocol.get("data", {})
    kinds = [protocol.data, *block.get("stand_ins", [])]
    only = block.get("only", {})
    return card.get("name") in kinds and all(card.get(key) == v for key, v in only.items())


def differences_from(run: Scored, protocol: Protocol) -> list[str]:
    """Differences between a run's scores and a protocol, a phrase per field; empty if none."""
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


def cells_of(
    run: Scored, forecaster: str, columns: Sequence[Column], horizon: int, analysis: str | None
) -> dict[Column, Cell]:
    """Scores of a run in the columns of published ones, over at most `horizon` frames."""
    cells: dict[Column, Cell] = {}
    if analysis is not None:
        horizons = run.scores.analyses.get(analysis, {}).get("horizons", {})
        fitting = [key for key in horizons if int(key) <= horizon]
        swapped = horizons[max(fitting, key=int)]["swapped"] if fitting else {}
        for column in columns:
            if column.metric in swapped:
                score = swapped[column.metric]
                cells[column] = Cell(score["value"], score["half_width"])
        return cells
    single = run.protocol.get("samples") == 1  # then all selections are the same
    for column in columns:
        selections = run.scores.forecasters[forecaster].get(column.metric, {})
        first = next(iter(selections), None)
        name = first if single or column.selection is None else column.selection
        if name is None or name not in selections:
            continue
        score = selections[name]
        # The mean of samples may be cut to the first lead times; the best sample may change.
        if len(score.per_lead_time) > horizon and (single or name == "mean"):
            cells[column] = Cell(float(score.per_lead_time[:horizon].mean()))
        else:
            cells[column] = Cell(score.value, score.half_width)
    return cells

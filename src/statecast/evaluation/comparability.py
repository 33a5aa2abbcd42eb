"""Reads the scores of runs, and decides which runs may be compared."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from shlex import quote
from typing import Any, NamedTuple

from statecast.errors import CorruptionError, FileError, InputError
from statecast.evaluation.evaluation import SCORES_NAME, Evaluation
from statecast.evaluation.protocols import protocol_names
from statecast.evaluation.protocols.protocol import read_protocol
from statecast.evaluation.window_scores import read_window_scores
from statecast.io.sealed_json import read_sealed

# Fields of the protocol that must agree, and fields that may differ with a remark.
SAME = ("split", "context", "horizon", "area_weights")
TOLD = (
    "name", "windows", "calibrated", "substeps", "solver", "checkpoint", "seed", "version",
    "commit",
)  # fmt: skip
NEEDED = ("protocol", "lead_times", "forecasters")
LISTED_RUNS = 3  # runs of a group that its label lists, at most
SHOWN_ENTRIES = 6  # differing entries of a data card, at most


class Scored(NamedTuple):
    """A run and its scores."""

    label: str
    folder: Path
    scores: Evaluation

    @property
    def protocol(self) -> dict[str, Any]:
        """The protocol that the scores were made under."""
        return self.scores.protocol

    @property
    def training(self) -> dict[str, Any]:
        """Digest of the recipe, seed, and steps of the training; empty where they are unknown."""
        found: dict[str, Any] = self.protocol.get("training", {})
        return found

    @property
    def model(self) -> str:
        """Name of the run's own forecaster."""
        return self.scores.model


def groups_by_recipe(runs: Sequence[Scored]) -> list[list[Scored]]:
    """Runs in groups whose recipes differ only in the seed of the training.

    Runs whose scores do not tell their recipe stand alone.
    """
    groups: dict[tuple[Any, int], list[Scored]] = {}
    seen: Counter[tuple[Any, Any]] = Counter()
    for run in runs:
        recipe, seed = run.training.get("recipe", run.folder), run.training.get("seed")
        repeated = seen[recipe, seed]  # the same training again says nothing of other seeds
        seen[recipe, seed] += 1
        groups.setdefault((recipe, repeated), []).append(run)
    return list(groups.values())


def group_label(group: Sequence[Scored]) -> str:
    """The label of a run, or the model of runs that differ only in their seed, and their number."""
    labels = [run.label for run in group]
    if len(group) == 1:
        return labels[0]
    if len(group) > LISTED_RUNS:
        labels = [f"{labels[0]} … {labels[-1]}: {len(group)} runs"]
    return f"{group[0].model} ({', '.join(labels)})"


def read_scores(folder: str | Path) -> Evaluation:
    """The scores of a run folder.

    Errors:
        FileError: no scores exist yet.
        CorruptionError: a file is damaged.
    """
    path = Path(folder) / SCORES_NAME
    command = f"statecast evaluate {quote(str(folder))}"
    again = f"Make it again: {command}"
    if not path.parent.is_dir():
        raise FileError(f"There is no folder {folder}. Give the folder of a run that was scored.")
    if not path.is_file():
        raise FileError(f"{folder} has no scores yet. Make them: {command}")
    try:
        content = read_sealed(path)
    except (OSError, ValueError, TypeError) as error:
        raise CorruptionError(f"{path} cannot be read: {error}.") from error
    if not all(key in content for key in NEEDED) or not content["forecasters"]:
        raise CorruptionError(f"{path} should hold {', '.join(NEEDED)}. {again}")
    try:
        found = Evaluation.from_json(content)
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise CorruptionError(f"{path} should hold scores as numbers. {again}") from error
    if not printable(content):
        raise CorruptionError(f"{path} holds control characters. {again}")
    return replace(found, windows=read_window_scores(folder, content.get("window_scores")))


def printable(content: Any) -> bool:
    """Whether all names and texts in a JSON value are printable."""
    if isinstance(content, str):
        return content.isprintable()
    if isinstance(content, Mapping):
        return all(printable(key) and printable(value) for key, value in content.items())
    return not isinstance(content, list) or all(map(printable, content))


def read_runs(folders: Sequence[str | Path]) -> list[Scored]:
    """Runs with their scores; labels are the shortest ends of paths that tell them apart."""
    labels = short_labels(folders)
    return [Scored(labels[i], Path(f), read_scores(f)) for i, f in enumerate(folders)]


def short_labels(folders: Sequence[str | Path]) -> list[str]:
    """The shortest ends of paths that tell them apart.

    Errors:
        InputError: a folder is given twice.
    """
    parts = [Path(folder).absolute().parts for folder in folders]
    if len(set(parts)) < len(parts):
        raise InputError("A run is given twice; name each run once.")
    for length in range(1, max(map(len, parts), default=1) + 1):
        labels = ["/".join(part[-length:]) for part in parts]
        if len(set(labels)) == len(labels):
            return labels
    return [str(Path(*part)) for part in parts]


def differences(runs: Sequence[Scored]) -> list[str]:
    """Reasons why the scores of runs must not be compared, one per field; empty if they may.

    The split, context, horizon, lead times, content of the windows, and the versions and settings
    of shared metrics must agree.
    """
    found = []
    for name in SAME:
        found += _phrase(name, {run.label: run.protocol.get(name) for run in runs})
    if not found:
        leads = {run.label: [round(t, 6) for t in run.scores.lead_times] for run in runs}
        found += _phrase("lead times", leads)
    found += _other_windows(runs)
    for metric in dict.fromkeys(m for run in runs for m in run.protocol.get("metrics", {})):
        versions = {
            run.label: run.protocol["metrics"][metric]
            for run in runs
            if metric in run.protocol.get("metrics", {})
        }
        found += _phrase(f"version of {metric}", versions)
        settings = {run.label: run.protocol.get("metric_settings", {}).get(metric) for run in runs}
        found += _phrase(f"settings of {metric}", {label: settings[label] for label in versions})
    return found


class Group(NamedTuple):
    """Runs that may be compared."""

    runs: list[Scored]
    reasons: list[str]  # why they are not in the first group


def grouped(runs: Sequence[Scored]) -> list[Group]:
    """Runs in groups; each run joins the first group that it may be compared with."""
    groups: list[Group] = []
    for run in runs:
        for group in groups:
            if not differences([*group.runs, run]):
                group.runs.append(run)
                break
        else:
            reasons = differences([groups[0].runs[0], run]) if groups else []
            groups.append(Group([run], reasons))
    return groups


def _other_windows(runs: Sequence[Scored]) -> list[str]:
    """Phrases that say how the windows of runs differ in content."""
    digests = {run.label: str(run.protocol.get("digest"))[:12] + "…" for run in runs}
    if len(set(digests.values())) < 2:
        return []
    cards = [flat(run.protocol.get("data", {})) for run in runs]
    entries = []
    for key in dict.fromkeys(key for card in cards for key in card):
        values = {run.label: card.get(key) for run, card in zip(runs, cards, strict=True)}
        entries += _phrase(f"data.{key}", values)
    if not entries and _made_alike(runs):
        return []
    return [*_phrase("digest of the windows", digests), *entries[:SHOWN_ENTRIES]]


def _made_alike(runs: Sequence[Scored]) -> bool:
    """Whether runs share a protocol whose data differ in the last bits between processors."""
    names = {run.protocol.get("name") for run in runs}
    name = next(iter(names))
    if len(names) > 1 or name not in protocol_names():
        return False
    digest = read_protocol(name).digest
    return digest.value is not None and not digest.exact


def _phrase(field: str, values: Mapping[str, Any]) -> list[str]:
    """`field: 1 in this, 2 in that` if values differ."""
    by_value: dict[str, list[str]] = {}
    for label, value in values.items():
        by_value.setdefault(json.dumps(value, ensure_ascii=False), []).append(label)
    if len(by_value) < 2:
        return []
    told = [f"{v.strip(chr(34))} in {' and '.join(labels)}" for v, labels in by_value.items()]
    return [f"{field}: {', '.join(told)}"]


def flat(table: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """A nested table flattened, with keys joined by dots."""
    found: dict[str, Any] = {}
    for key, value in table.items():
        if isinstance(value, Mapping):
            found |= flat(value, f"{prefix}{key}.")
        else:
            found[f"{prefix}{key}"] = value
    return found


def other_samples(runs: Sequence[Scored]) -> list[str]:
    """A phrase if stochastic models were scored with different numbers of samples."""
    drawing = [run for run in runs if not run.protocol.get("deterministic", False)]
    return _phrase("samples", {run.label: run.protocol.get("samples") for run in drawing})


def remarks_on(runs: Sequence[Scored]) -> list[str]:
    """Allowed differences between runs, and the notes of their protocols."""
    told = [
        f"{run.label} had trained {done} of {planned} steps when it was scored."
        for run in runs
        if 0 < (done := run.training.get("steps", 0)) < (planned := run.training["planned_steps"])
    ]
    for name in TOLD:
        values = {run.label: run.protocol.get(name) for run in runs}
        told += _phrase("protocol" if name == "name" else name, values)
    told += [
        f"{phrase}; only scores that do not depend on the number of samples are shown."
        for phrase in other_samples(runs)
    ]
    if len({run.protocol.get("digest") for run in runs}) > 1:
        told.append("The windows were simulated on different machines and differ in the last bits.")
    notes = dict.fromkeys(n for run in runs for n in run.protocol.get("notes", []))
    return [*told, *notes]

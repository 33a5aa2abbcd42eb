"""The terms of an evaluation: those of a protocol, or the caller's own."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

import torch

from statecast.data.base import DataSource, Split, Windows
from statecast.data.windows import FirstFrames
from statecast.errors import InputError
from statecast.evaluation.protocols.protocol import Protocol, read_protocol
from statecast.metrics import METRICS

FIXED = ("split", "samples")  # options of evaluate that a protocol sets


class EvaluationPlan(NamedTuple):
    """The windows that are scored, and how."""

    windows: Windows
    split: Split
    samples: int
    metrics: tuple[str, ...]
    not_computed: dict[str, str]  # metrics of the protocol that statecast does not have
    notes: list[str]  # what a reader of the scores must know


def resolve_protocol(
    protocol: str | None,
    data: DataSource,
    *,
    split: Split,
    samples: int,
    metrics: tuple[str, ...],
) -> EvaluationPlan:
    """EvaluationPlan of an evaluation.

    A protocol sets split, horizon and samples, and puts its metrics before the caller's.

    Args:
        protocol: its name; None for the caller's own terms.
        data: where windows come from.
        split: the caller's.
        samples: the caller's.
        metrics: the caller's.

    Errors:
        InputError: there is no such protocol, or the data do not satisfy it; every field that
            differs is named.
    """
    if protocol is None:
        return EvaluationPlan(data.windows(split), split, samples, metrics, {}, [])
    agreed = read_protocol(protocol)
    part: Split = agreed.split  # type: ignore[assignment]  # our own file names a split
    windows = data.windows(part)
    horizon = len(windows.batch(torch.zeros(1, dtype=torch.long)).target)
    differences = agreed.differences(data.card, data.spec, windows=len(windows), horizon=horizon)
    differences += [
        f"the version of {name} is {METRICS[name].version} and should be {rule.version}"
        for name, rule in agreed.metrics.items()
        if name in METRICS and rule.version not in (None, METRICS[name].version)
    ]
    if horizon > agreed.horizon:
        windows = FirstFrames(windows, agreed.horizon)
    notes = [agreed.notes] if agreed.notes else []
    if agreed.digest.value is not None and not differences:
        differences += _other_content(agreed, windows, notes)
    if differences:
        raise InputError(
            f"The run does not satisfy the protocol {protocol}: {'; '.join(differences)}."
        )
    known = [name for name in agreed.metrics if name in METRICS]
    missing = {
        name: "this version of statecast has no such metric"
        for name in agreed.metrics
        if name not in METRICS
    }
    together = tuple(dict.fromkeys([*known, *metrics]))
    return EvaluationPlan(windows, part, agreed.samples, together, missing, notes)


def _other_content(agreed: Protocol, windows: Windows, notes: list[str]) -> list[str]:
    """A difference where the content must be the same to the bit, or else a note."""
    digest = agreed.digest
    if windows.digest == digest.value:
        return []
    phrase = f"the digest is {windows.digest[:12]}… and should be {str(digest.value)[:12]}…"
    if digest.exact:
        return [phrase]
    notes.append(f"The windows are not the protocol's to the bit: {phrase}. {digest.note or ''}")
    return []


def apply_protocol(
    tables: Mapping[str, Mapping[str, Any]], given: Mapping[str, str]
) -> dict[str, dict[str, Any]]:
    """Tables of a run with the options that the protocol in `evaluate` sets.

    Options of the data that concern tests alone, such as `test_horizon`, become the protocol's,
    and all windows are scored unless `evaluate.max_windows` is given.

    Args:
        tables: complete tables of options.
        given: options of the command line, as table.option.

    Errors:
        InputError: an option was given that the protocol sets.
    """
    changed = {name: dict(table) for name, table in tables.items()}
    name = changed["evaluate"].get("protocol")
    if name is None:
        return changed
    agreed = read_protocol(name)
    sets = {f"data.{option}": value for option, value in agreed.sets.items()}
    sets |= {f"evaluate.{option}": getattr(agreed, option) for option in FIXED}
    for option in sets:
        if option in given:
            raise InputError(
                f"The protocol {name} sets {option} to {sets[option]}; leave --{option} out, "
                "or the protocol."
            )
    if changed["data"]["name"] == agreed.data:
        changed["data"] |= agreed.sets
    if "evaluate.max_windows" not in given:
        changed["evaluate"]["max_windows"] = None
    return changed

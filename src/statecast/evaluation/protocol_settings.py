"""The terms of an evaluation: those of a protocol, or the caller's own."""

from __future__ import annotations

from collections.abc import Collection, Mapping
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
    """The plan of an evaluation.

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
    """A difference where the content must be the same bit for bit, or else a note."""
    digest = agreed.digest
    if windows.digest == digest.value:
        return []
    phrase = f"the digest is {windows.digest[:12]}… and should be {str(digest.value)[:12]}…"
    if digest.exact:
        return [phrase]
    notes.append(f"The windows are not bit for bit the protocol's: {phrase}. {digest.note or ''}")
    return []


def data_options(protocol: str | None, data: Mapping[str, Any]) -> dict[str, Any]:
    """Options of a data set, with those that concern tests alone as a protocol sets them.

    Args:
        protocol: its name; None for the options as they are.
        data: name and options of the data set.
    """
    agreed = None if protocol is None else read_protocol(protocol)
    return {**data, **(agreed.sets if agreed and agreed.data == data["name"] else {})}


def refuse_settings_of(protocol: str, given: Collection[str]) -> None:
    """Raise `InputError` where an option of the command line is one that a protocol sets.

    Args:
        protocol: its name.
        given: names of options, as `table.option`.
    """
    agreed = read_protocol(protocol)
    sets = {f"data.{option}": value for option, value in agreed.sets.items()}
    sets |= {f"evaluate.{option}": getattr(agreed, option) for option in FIXED}
    for option in given:
        if option in sets:
            raise InputError(
                f"The protocol {protocol} sets {option} to {sets[option]}; leave out --{option} or "
                "the protocol."
            )

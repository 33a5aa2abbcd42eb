"""The settings of an evaluation: those of a protocol, or the caller's own."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Any, NamedTuple

import torch

from statecast.data.base import DataSource, Split, Windows
from statecast.data.windows import FirstFrames
from statecast.errors import InputError
from statecast.evaluation.protocols.protocol import Protocol, read_protocol
from statecast.metrics import METRICS

FIXED = ("split", "samples")  # options of `evaluate` that a protocol sets


class EvaluationPlan(NamedTuple):
    """The windows that are scored, and how."""

    protocol: str | None  # its name; None for the caller's own settings
    windows: Windows
    split: Split
    samples: int
    metrics: tuple[str, ...]
    not_computed: dict[str, str]  # the protocol's metrics that statecast lacks, and why
    notes: list[str]  # facts that a reader of the scores must know


def resolve_protocol(
    protocol: str | None,
    data: DataSource,
    *,
    split: Split,
    samples: int,
    metrics: tuple[str, ...],
) -> EvaluationPlan:
    """Plan an evaluation.

    A protocol sets split, horizon and samples, and puts its metrics before the caller's.

    Args:
        protocol: name of the protocol; None for the caller's own settings.
        data: the data source that gives the windows.
        split: split to score without a protocol.
        samples: futures per window without a protocol.
        metrics: names of the metrics that the caller wants.

    Errors:
        InputError: no protocol has this name, or the data do not satisfy it; the message names
            every field that differs.
    """
    if protocol is None:
        return EvaluationPlan(None, data.windows(split), split, samples, metrics, {}, [])
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
    return EvaluationPlan(protocol, windows, part, agreed.samples, together, missing, notes)


def _other_content(agreed: Protocol, windows: Windows, notes: list[str]) -> list[str]:
    """The difference, if the content must match bit for bit; otherwise add a note."""
    digest = agreed.digest
    if windows.digest == digest.value:
        return []
    phrase = f"the digest is {windows.digest[:12]}… and should be {str(digest.value)[:12]}…"
    if digest.exact:
        return [phrase]
    notes.append(f"The windows are not bit for bit the protocol's: {phrase}. {digest.note or ''}")
    return []


def data_options(protocol: str | None, data: Mapping[str, Any]) -> dict[str, Any]:
    """Options of a data set, with the values that a protocol sets for its tests.

    Args:
        protocol: name of the protocol; None leaves the options as they are.
        data: name and options of the data set.
    """
    agreed = None if protocol is None else read_protocol(protocol)
    return {**data, **(agreed.sets if agreed and agreed.data == data["name"] else {})}


def refuse_settings_of(protocol: str, given: Collection[str]) -> None:
    """Raise `InputError` if the command line gives an option that the protocol sets.

    Args:
        protocol: name of the protocol.
        given: names of the options given, as `table.option`.
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

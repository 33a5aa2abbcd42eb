"""Test protocols by name: what a score must say to be set beside another, shipped as YAML."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from importlib import resources
from typing import Any, NamedTuple

import yaml

from statecast.errors import InputError
from statecast.evaluation.protocols import protocol_names
from statecast.frames import FrameSpec


class MetricRule(NamedTuple):
    """How a protocol reads a metric."""

    selection: str | None  # how samples are combined; None where there is one way
    version: str | None  # of our definition; None where none is known to be the protocol's


class Digest(NamedTuple):
    """Content that the windows must have."""

    value: str | None  # None where the data cannot be made by everybody
    exact: bool  # whether another processor makes the same bits
    note: str | None


@dataclass(frozen=True, kw_only=True)
class Protocol:
    """Which windows of which data are forecast, with how many samples, and how they are scored.

    Attributes:
        name: what it is called by.
        title: one line.
        source: whose protocol it is.
        data: name of the data set; None where any source of such frames may hold it.
        must_be: entries of the data's card that must hold.
        sets: options of the data set that concern tests alone, and that the protocol sets.
        frames: number of `channels`, `space` and `value_range`, as far as they are prescribed.
        split: whose windows are scored.
        windows: their number; None where the source does not state it.
        context: frames observed.
        horizon: frames forecast.
        samples: futures per window; a deterministic model gives one.
        metrics: what is computed, in the order of the source.
        digest: content of the windows.
        notes: further remarks for the reader of scores.
    """

    name: str
    title: str
    source: str
    data: str | None
    must_be: Mapping[str, Any] = field(default_factory=dict)
    sets: Mapping[str, Any] = field(default_factory=dict)
    frames: Mapping[str, Any] = field(default_factory=dict)
    split: str
    windows: int | None
    context: int
    horizon: int
    samples: int
    metrics: Mapping[str, MetricRule]
    digest: Digest
    notes: str | None = None

    def differences(
        self, card: Mapping[str, Any], spec: FrameSpec, *, windows: int, horizon: int
    ) -> list[str]:
        """Where data fall short of the protocol, a phrase per field; empty where they satisfy it.

        Args:
            card: of the data source.
            spec: of its frames.
            windows: number of windows in the split.
            horizon: frames that follow the context in them; more than needed are allowed.
        """
        found: dict[str, tuple[Any, Any]] = {"context": (spec.context, self.context)}
        if self.data is not None:
            found["data.name"] = (card.get("name"), self.data)
        same = self.data is None or card.get("name") == self.data
        for option, value in self.must_be.items() if same else ():
            found[f"data.{option}"] = (card.get(option), value)
        given = {
            "channels": len(spec.channels),
            "space": list(spec.space),
            "value_range": None if spec.value_range is None else list(spec.value_range),
        }
        for name, value in self.frames.items():
            found[name] = (given[name], value)
        if self.windows is not None:
            found["windows"] = (windows, self.windows)
        phrases = [
            f"{name} is {shown(here)} and should be {shown(due)}"
            for name, (here, due) in found.items()
            if here != due
        ]
        if horizon < self.horizon:
            phrases.append(f"horizon is {horizon} and should be at least {self.horizon}")
        return phrases


def shown(value: Any) -> str:
    """A value as YAML has it."""
    return yaml.safe_dump(value, default_flow_style=True).removesuffix("\n...\n").strip()


def read_protocol(name: str) -> Protocol:
    """A protocol by name.

    Errors:
        InputError: no protocol has this name.
    """
    titles = protocol_names()
    if name not in titles:
        raise InputError(f"There is no protocol {name!r}; choose from {', '.join(titles)}.")
    path = resources.files("statecast.evaluation.protocols") / f"{name}.yaml"
    content = yaml.safe_load(path.read_text(encoding="utf-8"))
    data, digest = content.pop("data"), content.pop("digest")
    return Protocol(
        name=name,
        title=titles[name],
        data=data["name"],
        must_be=data.get("must_be", {}),
        sets=data.get("sets", {}),
        digest=Digest(digest["value"], digest.get("exact", False), digest.get("note")),
        metrics={
            metric: MetricRule(rule.get("selection"), rule.get("version"))
            for metric, rule in content.pop("metrics").items()
        },
        **content,
    )

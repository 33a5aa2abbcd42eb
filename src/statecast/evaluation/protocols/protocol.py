"""Test protocols by name, shipped as YAML: the settings that make scores comparable."""

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

    selection: str | None  # how samples are combined; None if there is only one way
    version: str | None  # version of our metric that matches; None if none is known to match


class Digest(NamedTuple):
    """Content that the windows must have."""

    value: str | None  # None if the data are not freely available
    exact: bool  # whether every processor computes the same bits
    note: str | None


@dataclass(frozen=True, kw_only=True)
class Protocol:
    """A test protocol: data, windows, number of samples, and metrics.

    Attributes:
        name: name of the protocol.
        title: title, one line.
        source: publication that the protocol is from.
        data: name of the data set; None if any data set with such frames will do.
        must_be: required entries of the data set's card.
        sets: options of the data set's tests that the protocol sets.
        frames: required number of `channels`, `space` and `value_range`.
        split: split to score.
        windows: number of windows; None if the source does not state it.
        context: number of observed frames.
        horizon: number of forecast frames.
        samples: futures per window; a deterministic model gives one.
        metrics: rule of each metric, in the order of the source.
        digest: digest of the windows.
        notes: remarks for the reader of scores.
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
        """How data differ from the protocol, a phrase per field; empty if they satisfy it.

        Args:
            card: card of the data source.
            spec: shape, channels and range of its frames.
            windows: number of windows in the split.
            horizon: number of frames after the context; more than needed are allowed.
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
    """A value in YAML notation."""
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

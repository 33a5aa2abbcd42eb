"""Facts about each run: test windows, training, data, recipe and machine."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from shlex import quote
from typing import Any, NamedTuple

import torch

from statecast.data.base import Windows
from statecast.data.windows import FirstFrames
from statecast.errors import StatecastError
from statecast.evaluation.comparability import flat
from statecast.io.fields.preprocessing import read_preparation
from statecast.io.json_yaml import LARGEST_YAML, read_json, read_text
from statecast.metrics.base import written_out
from statecast.plots.curves import Chart, Line
from statecast.reports.page.charts import REFERENCE, Picture, drawn
from statecast.reports.page.example_windows import (
    Case,
    Futures,
    Survey,
    draw_cases,
    first_metric,
    survey,
)
from statecast.reports.page.runs import Member
from statecast.runs.folders import CONFIG_NAME
from statecast.runs.run import build_data
from statecast.training.checkpoint_folders import list_checkpoints
from statecast.training.diagnostics import DIAGNOSTICS_NAME
from statecast.training.logs import read_log


class Examples(NamedTuple):
    """Test windows of a run, or the reason why they are missing."""

    label: str
    missing: str = ""
    command: str = ""  # the command that makes the missing part
    survey: Survey | None = None
    samples: int = 1
    cases: Sequence[Case] = ()
    spread: Picture | None = None


def examples(
    member: Member,
    folder: Path,
    *,
    windows: int,
    samples: int,
    checkpoint: str,
    device: str,
    seed: int,
) -> Examples:
    """Best, median and worst test window of a run, or the reason why they are missing."""
    try:
        calibrated = bool(member.scored and member.scored.protocol.get("calibrated"))
        model = member.run.load(checkpoint, device=device, calibrated=calibrated)
        chosen = test_windows(member)
        futures = Futures(model, chosen, count=windows, samples=samples, seed=seed)
        found = survey(futures, first_metric(metrics_of(member), chosen.scored_spec(model.spec)))
        preparation = read_preparation(member.run.folder)
        cases = draw_cases(futures, found, folder, member.stem, preparation)
    except StatecastError as error:
        return Examples(member.label, str(error), training_command(member))
    spread = spread_picture(member, found, folder) if futures.samples > 1 else None
    return Examples(member.label, "", "", found, futures.samples, cases, spread)


def metrics_of(member: Member) -> list[str]:
    """Metrics of a run in order: those of its scores, or else those of its recipe."""
    if member.scored is not None:
        return list(member.scored.protocol.get("metrics", {}))
    return list(member.run.tables["evaluate"]["metrics"])


def test_windows(member: Member) -> Windows:
    """The windows that a run was scored on, or would be."""
    protocol = member.scored.protocol if member.scored else {}
    data = build_data(member.run.tables, protocol=protocol.get("name"))
    windows = data.windows(protocol.get("split", "test"))
    whole = len(windows.batch(torch.tensor([0])).target)
    horizon = protocol.get("horizon", whole)
    return windows if horizon == whole else FirstFrames(windows, horizon)


def spread_picture(member: Member, found: Survey, folder: Path) -> Picture:
    """Spread of the samples beside the error of their mean, against lead time."""
    spread = member.line(found.lead_times, found.spread)._replace(label="spread of the samples")
    error = Line("error of their mean", found.lead_times, found.error, REFERENCE, "--")
    chart = Chart("Spread and error", [spread, error], "lead time / frames", "root mean square")
    caption = "The two lines are equal if the spread of an ensemble matches its error."
    return drawn(f"{member.stem}-spread", chart, folder, caption)


def learning_curves(members: Sequence[Member], folder: Path) -> list[Picture]:
    """A chart per logged value, a line per run."""
    lines: dict[str, list[Line]] = {}
    for member in members:
        log, _ = training_log(member)
        for name, values in log.items():
            if name != "step" and "step" in log:
                lines.setdefault(name, []).append(member.line(log["step"], values))
    return [
        drawn(f"training-{number}", Chart(written_out(name), found, "step"), folder)
        for number, (name, found) in enumerate(lines.items(), start=1)
    ]


def training_log(member: Member) -> tuple[dict[str, list[float]], str]:
    """Columns of a run's log with its diagnostics, and what is wrong with the log."""
    try:
        log = read_log(member.run.folder)
        watched = read_log(member.run.folder, DIAGNOSTICS_NAME)
    except StatecastError as error:
        return {}, str(error)
    if not log:
        return {}, f"{member.label} has no training log."
    return log | watched if watched.get("step") == log.get("step") else log, ""


def untrained(members: Sequence[Member]) -> list[tuple[str, str]]:
    """Problems of runs without a training log, and the command that trains each."""
    told = [(training_log(member)[1], training_command(member)) for member in members]
    return [(text, command) for text, command in told if text]


def training_command(member: Member) -> str:
    """Command that trains a run, from its last checkpoint or from the start."""
    folder = member.run.folder
    if list_checkpoints(folder):
        return f"statecast train --resume {quote(str(folder))}"
    return f"statecast train RECIPE --output {quote(str(folder))}"


def data_card(member: Member) -> dict[str, Any]:
    """The card of the run's data, and facts about its frames."""
    try:
        card = flat(build_data(member.run.tables).card)
    except StatecastError as error:
        card = {"data": f"cannot be opened. {error}"}
    spec = member.run.spec
    return card | {
        "channels": spec.channels,
        "points or height × width": " × ".join(map(str, spec.space)),
        "value range": spec.value_range or "not known",
        "unit": spec.unit,
    }


def environment(member: Member) -> dict[str, Any]:
    """Versions and machine that the run was made with."""
    path = member.run.folder / "env.json"
    try:
        return dict(read_json(path))
    except (OSError, ValueError, TypeError) as error:
        return {path.name: f"cannot be read: {error}"}


def recipe(member: Member) -> str:
    """The complete recipe."""
    return read_text(member.run.folder / CONFIG_NAME, LARGEST_YAML)

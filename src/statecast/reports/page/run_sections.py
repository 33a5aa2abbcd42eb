"""Parts of a report about runs: test windows, training, data, recipe and machine."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from statecast.data.base import Windows
from statecast.data.windows import FirstFrames
from statecast.errors import StatecastError
from statecast.evaluation.comparability import flat
from statecast.evaluation.protocol_settings import under_protocol
from statecast.io.json_yaml import LARGEST_YAML, read_json, read_text
from statecast.metrics import METRICS
from statecast.reports.page.charts import REFERENCE, Chart, Line, grid_of
from statecast.reports.page.example_windows import (
    Case,
    Futures,
    Survey,
    draw_cases,
    first_metric,
    survey,
)
from statecast.reports.page.page import Html, code, element, figure, image, joined, paragraph, table
from statecast.reports.page.runs import Member
from statecast.reports.page.score_sections import LEAD_TIME
from statecast.runs.folders import CONFIG_NAME
from statecast.runs.run import build_data
from statecast.training.checkpoint_folders import list_checkpoints
from statecast.training.logs import read_log

DIAGNOSTICS = "diagnostics.csv"


def cases_part(
    member: Member,
    folder: Path,
    *,
    windows: int,
    samples: int,
    checkpoint: str,
    device: str,
    seed: int,
) -> Html:
    """Best, median and worst test window of a run; or why there are none."""
    try:
        model = member.run.load(checkpoint, device=device)
        futures = Futures(model, test_windows(member), count=windows, samples=samples, seed=seed)
        metric = first_metric(metrics_of(member), model.spec)
        found = survey(futures, metric)
        cases = draw_cases(futures, found, folder, member.stem)
    except StatecastError as error:
        lead = f"No forecasts of {member.label} can be shown. {error} "
        return paragraph(lead, code(training_command(member)), kind="missing")
    lead = (
        f"Of {len(found.scores)} evenly spaced test windows, by the {metric} of "
        + (f"{futures.samples} samples on average" if futures.samples > 1 else "the forecast")
        + f" (seed {seed}, checkpoint {checkpoint}). Borders are green while frames are observed, "
        "and purple once they are forecast; a missing value is pink."
    )
    parts = [paragraph(lead), *(case_figures(case, found, futures) for case in cases)]
    if futures.samples > 1:
        parts.append(spread_part(member, found, folder))
    return joined(parts)


def metrics_of(member: Member) -> list[str]:
    """Metrics of a run, in order: those of its scores, or else of its recipe."""
    if member.scored is not None:
        return list(member.scored.protocol.get("metrics", {}))
    return list(member.run.tables["evaluate"]["metrics"])


def test_windows(member: Member) -> Windows:
    """The windows that a run was scored on, or would be."""
    tables = member.run.tables
    protocol = member.scored.protocol if member.scored else {}
    if protocol.get("name"):
        named = tables["evaluate"] | {"protocol": protocol["name"]}
        tables = under_protocol(tables | {"evaluate": named}, {})
    windows = build_data(tables).windows(protocol.get("split", "test"))
    horizon = protocol.get("horizon")
    return windows if horizon is None else FirstFrames(windows, horizon)


def case_figures(case: Case, found: Survey, futures: Futures) -> Html:
    """An animation and a strip of a window."""
    unit = METRICS[found.metric].unit
    score = f"{found.metric} {case.score:.4g}" + (f" {unit}" if unit == "dB" else "")
    several = futures.samples > 1
    panels = "truth, mean and samples" if several else "truth and forecast"
    rows = "mean, samples and their spread" if several else "forecast and its absolute error"
    title = f"{case.title.capitalize()} window, number {case.number}: {score}"
    animated = figure(
        image(case.animation, f"Animation of window {case.number}: {panels}, side by side."),
        f"{panels.capitalize()}, frame after frame.",
    )
    frames = image(case.strip, _strip_words(case, rows), kind="strip")
    scrolled = {"class": "scroll", "tabindex": "0", "role": "region", "aria-label": title}
    strip = figure(
        element("div", frames, attributes=scrolled),
        f"Truth, {rows}; numbers are lead times in frames.",
    )
    pictures = [element("div", part, attributes={"class": "picture"}) for part in (animated, strip)]
    return joined([element("h4", title), *pictures])


def _strip_words(case: Case, rows: str) -> str:
    return f"Frames of window {case.number} from left to right: context, then truth, {rows}."


def spread_part(member: Member, found: Survey, folder: Path) -> Html:
    """Spread of the samples beside the error of their mean, against lead time."""
    lines = [
        member.line(found.lead_times, found.spread)._replace(label="spread of the samples"),
        Line("error of their mean", found.lead_times, found.error, REFERENCE, "--"),
    ]
    chart = Chart(
        name=f"{member.stem}-spread",
        title="Spread and error",
        lines=lines,
        x_label=LEAD_TIME,
        y_label="root mean square",
        caption="As large as each other where an ensemble knows how wrong it is.",
    )
    return grid_of([chart], folder)


def training_part(members: Sequence[Member], folder: Path) -> Html:
    """Learning curves: a chart per logged value, a line per run."""
    parts: list[object] = []
    lines: dict[str, list[Line]] = {}
    for member in members:
        log = _log(member, parts)
        for name, values in log.items():
            if name != "step" and "step" in log:
                lines.setdefault(name, []).append(member.line(log["step"], values))
    charts = [
        Chart(
            name=f"training-{number}",
            title=name.replace("_", " "),
            lines=found,
            x_label="step",
        )
        for number, (name, found) in enumerate(lines.items(), start=1)
    ]
    return joined([*parts, grid_of(charts, folder) if charts else ""])


def _log(member: Member, parts: list[object]) -> dict[str, list[float]]:
    """Logged columns of a run; what is missing is told in `parts`."""
    folder = member.run.folder
    try:
        log = read_log(folder)
        more = read_log(folder, DIAGNOSTICS)
    except StatecastError as error:
        parts.append(paragraph(str(error), kind="missing"))
        return {}
    if not log:
        command = code(training_command(member))
        parts.append(paragraph(f"{member.label} has logged no training. ", command, kind="missing"))
    if more.get("step") == log.get("step"):
        return log | more
    return log


def training_command(member: Member) -> str:
    """What trains a run: on from its last checkpoint, or its recipe from the start."""
    folder = member.run.folder
    if list_checkpoints(folder):
        return f"statecast train --resume {folder}"
    return f"statecast train RECIPE --output {folder}"


def data_part(member: Member) -> Html:
    """The card of the run's data."""
    try:
        card: dict[str, Any] = build_data(member.run.tables).card
    except StatecastError as error:
        return paragraph(f"The data cannot be opened. {error}", kind="missing")
    spec = member.run.spec
    frames = {
        "channels": ", ".join(spec.channels),
        "points or height × width": " × ".join(map(str, spec.space)),
        "value range": "not known" if spec.value_range is None else list(spec.value_range),
        "unit": spec.unit,
    }
    rows = [[key.replace("_", " "), _plain(value)] for key, value in flat(card).items()]
    rows += [[key, _plain(value)] for key, value in frames.items()]
    return table([], rows, caption=f"Data card of {member.label}.", kind="facts")


def _plain(value: object) -> str:
    """A value of a card in words."""
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, list):
        return ", ".join(_plain(item) for item in value)
    return "–" if value is None else str(value)


def environment_part(member: Member) -> Html:
    """What the run was made with."""
    path = member.run.folder / "env.json"
    try:
        content = read_json(path)
        rows = [[key, _plain(value)] for key, value in content.items()]
    except (OSError, ValueError, AttributeError) as error:
        return paragraph(f"{path} cannot be read: {error}.", kind="missing")
    return table([], rows, caption=f"Machine and versions of {member.label}.", kind="facts")


def recipe_part(member: Member) -> Html:
    """The complete recipe."""
    text = read_text(member.run.folder / CONFIG_NAME, LARGEST_YAML)
    return element(
        "details",
        element("summary", f"{CONFIG_NAME} of {member.label}"),
        element("pre", element("code", text)),
    )

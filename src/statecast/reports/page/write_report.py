"""report: one HTML file with everything known about some runs, including pictures."""

from __future__ import annotations

import base64
from collections.abc import Sequence
from datetime import date
from pathlib import Path
from typing import Any

from statecast.checks import typed
from statecast.errors import FileError, InputError, require
from statecast.evaluation.comparability import Group, grouped
from statecast.evaluation.comparison import compare
from statecast.evaluation.comparison_formats import about_differences
from statecast.io.atomic_files import atomic_path, write_text
from statecast.metrics.base import written_out
from statecast.reports.page import ensembles, run_facts, scores
from statecast.reports.page.runs import Member, members_of
from statecast.version import __version__

__all__ = ["write_report"]

MEDIA_TYPES = {".png": "image/png", ".svg": "image/svg+xml", ".webp": "image/webp"}
PAGE_BYTES = 4_000_000  # of a page; pictures beyond it stay in their folder
WORDS_BYTES = 400_000  # reserved for text


@typed
def write_report(
    folders: Sequence[str | Path],
    output: str | Path = "report.html",
    *,
    windows: int = 64,
    samples: int = 20,
    checkpoint: str = "best",
    device: str = "auto",
    seed: int = 1,
) -> Path:
    """Write a report on runs: one HTML file that refers to nothing outside it.

    It holds recipes, data, machines, learning curves, scores beside published ones, scores
    against lead time, the horizon of skill, the calibration of samples, and the best, median and
    worst test windows. For missing parts of a run it gives the command that makes them. Runs with
    different protocols get their own sections. The pictures are also written to the folder
    `NAME_pictures` beside the file.

    Args:
        folders: run folders.
        output: `.html` file to write.
        windows: number of test windows to forecast, evenly spaced; the report shows the best,
            median and worst of them.
        samples: futures per window.
        checkpoint: `best`, `last`, or a number of steps.
        device: `auto`, `cpu`, `cuda`, …
        seed: seed of the samples.

    Errors:
        InputError: there is no run, a run is given twice, or an option does not fit.
        FileError: a folder is not a run, or the file cannot be written.
        MissingExtraError: matplotlib is not installed.
    """
    require("matplotlib", "plots", "write a report")
    output = Path(output)
    if not folders:
        raise InputError("A report needs at least one run folder: statecast report RUN …")
    if windows < 1 or samples < 1:
        raise InputError(f"windows and samples must be at least 1, got {windows} and {samples}.")
    if output.suffix != ".html" or not output.parent.is_dir():
        raise FileError(f"The output must be a .html file in an existing folder, got {output}.")
    members = members_of(folders)
    pictures = output.with_name(f"{output.stem}_pictures")
    with atomic_path(pictures, join=True) as place:
        place.mkdir()
        examples = [
            run_facts.examples(
                member,
                place,
                windows=windows,
                samples=samples,
                checkpoint=checkpoint,
                device=device,
                seed=seed,
            )
            for member in members
        ]
        groups = grouped([member.scored for member in members if member.scored])
        content = {
            "members": members,
            "examples": examples,
            "seed": seed,
            "checkpoint": checkpoint,
            "groups": [group_content(members, groups, i, place) for i in range(len(groups))],
            "untrained": run_facts.untrained(members),
            "curves": run_facts.learning_curves(members, place),
            "facts": run_facts,
            "folder": pictures.name,
            "version": __version__,
            "today": date.today(),
        }
        write_text(output, render(content, place))
    return output


def group_content(
    members: Sequence[Member], groups: Sequence[Group], index: int, pictures: Path
) -> dict[str, Any]:
    """Everything about a group of comparable runs, for the template."""
    group, stem = groups[index], f"scores-{index + 1}"
    chosen = scores.scored_members(members, [run.label for run in group.runs])
    found = compare(group.runs)
    courses = list(scores.courses(chosen, found))
    beside = [course for course in courses if scores.TRIVIAL in course.trivial]
    return {
        "labels": [run.label for run in group.runs],
        "first": [run.label for run in groups[0].runs],
        "reasons": group.reasons,
        "summaries": scores.summaries(chosen, beside),
        "columns": [scores.title_of(column) for column in found.columns],
        "rows": scores.score_rows(found),
        "notes": scores.notes_on(chosen, found),
        "charts": [scores.course_chart(chosen, course, pictures, stem) for course in courses],
        "about_differences": about_differences(found),
        "differences": [
            [written_out(d.score), f"{d.one} minus {d.other}", d.interval, d.verdict]
            for d in found.differences
        ],
        "parts": list(scores.part_tables(chosen)),
        "skills": list(scores.skill_charts(chosen, found.columns, pictures, stem)),
        "skill": [
            [scores.title_of(c.column), *(scores.skill_statement(m, c) for m in chosen)]
            for c in beside
        ],
        "samples": ensembles.ensemble_charts(chosen, pictures, stem),
        "missing": [told for m in chosen if (told := ensembles.missing_metrics(m))],
        "analyses": list(ensembles.analyses(chosen)),
        "protocol": scores.protocol_rows(chosen),
    }


def render(content: dict[str, Any], pictures: Path) -> str:
    """The whole page, self-contained; all inserted text is escaped."""
    from jinja2 import Environment, PackageLoader, StrictUndefined

    environment = Environment(
        loader=PackageLoader("statecast.reports.page"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters["plain"] = plain
    return environment.get_template("page.html.j2").render(content | {"data": embedded(pictures)})


def embedded(pictures: Path) -> dict[str, str]:
    """Data addresses of the pictures in a folder, the smallest first, up to the size limit."""
    found, room = {}, PAGE_BYTES - WORDS_BYTES
    for path in sorted(pictures.iterdir(), key=lambda path: path.stat().st_size):
        content = base64.b64encode(path.read_bytes()).decode()
        room -= len(content)
        if room < 0:
            break
        found[path.name] = f"data:{MEDIA_TYPES[path.suffix]};base64,{content}"
    return found


def plain(value: Any) -> str:
    """A JSON value as text."""
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, list | tuple):
        return ", ".join(map(plain, value))
    return "–" if value is None else str(value)

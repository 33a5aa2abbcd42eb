"""report: one HTML file that holds everything known of some runs, pictures included."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from statecast.checks import typed
from statecast.errors import FileError, InputError, require
from statecast.evaluation.comparability import grouped
from statecast.io.atomic_files import atomic_path, write_text
from statecast.reports.page.ensemble_sections import ensemble_part, studies_part
from statecast.reports.page.page import Html, Section, code, joined, page, paragraph
from statecast.reports.page.run_sections import (
    cases_part,
    data_part,
    environment_part,
    recipe_part,
    training_part,
)
from statecast.reports.page.runs import Member, members_of
from statecast.reports.page.score_sections import (
    compared,
    lead_time_part,
    not_computed_part,
    protocol_part,
    reasons_part,
    score_table,
    skill_part,
)
from statecast.version import __version__

__all__ = ["write_report"]


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
    against lead time, the horizon of skill, what the samples are like, and the best, median and
    worst test windows. What a run lacks is said, with the command that makes it. Runs whose
    protocols differ stand in sections of their own. The pictures are also written to the folder
    `NAME_pictures` beside the file.

    Args:
        folders: run folders.
        output: `.html` file to write.
        windows: test windows to forecast, evenly spaced, of which the best, median and worst are
            shown.
        samples: futures of each.
        checkpoint: `best`, `last`, or a number of steps.
        device: `auto`, `cpu`, `cuda`, …
        seed: of the samples.

    Errors:
        InputError: no runs, one twice, or an option that does not fit.
        FileError: a folder is no run, or the file cannot be written.
        MissingExtraError: matplotlib is not installed.
    """
    require("matplotlib", "plots", "write a report")
    output = Path(output)
    if not folders:
        raise InputError("A report needs at least one run folder.")
    if windows < 1 or samples < 1:
        raise InputError(f"windows and samples must be at least 1, got {windows} and {samples}.")
    if output.suffix != ".html" or not output.parent.is_dir():
        raise FileError(f"A report is a .html file in a folder that exists, got {output}.")
    members = members_of(folders)
    pictures = output.with_name(f"{output.stem}_pictures")
    with atomic_path(pictures, join=True) as place:
        place.mkdir()
        shown = [
            cases_part(
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
        sections = [
            *score_sections(members, place),
            Section("Test windows", Html(""), per_run(members, shown))
            if len(members) > 1
            else Section("Test windows", shown[0]),
            Section("Training", training_part(members, place)),
            *(about(member) for member in members),
        ]
        names = ", ".join(member.label for member in members)
        write_text(output, page(f"Report on {names}", lead(members, pictures), sections))
    return output


def lead(members: Sequence[Member], pictures: Path) -> Html:
    """First words of the page."""
    models = ", ".join(
        f"{m.run.name} on {m.run.tables['data']['name']} ({m.label})" for m in members
    )
    where = joined(["Pictures as files: ", code(f"{pictures.name}/")], "")
    return joined([paragraph(f"{models}. statecast {__version__}."), paragraph(where)])


def per_run(members: Sequence[Member], contents: Sequence[Html]) -> tuple[Section, ...]:
    """A section per run."""
    return tuple(Section(m.label, c) for m, c in zip(members, contents, strict=True))


def score_sections(members: Sequence[Member], pictures: Path) -> list[Section]:
    """Scores of each group of runs that can be compared; and runs that have none."""
    scored = {m.scored.label: m for m in members if m.scored}
    groups = grouped([m.scored for m in scored.values() if m.scored])
    sections = []
    for number, group in enumerate(groups, start=1):
        chosen = [scored[run.label] for run in group.runs]
        names = ", ".join(run.label for run in group.runs)
        title = "Scores" if len(groups) == 1 else f"Scores of {names}"
        first = ", ".join(run.label for run in groups[0].runs)
        content = reasons_part(group.reasons, first)
        sections.append(Section(title, content, score_parts(chosen, pictures, f"scores-{number}")))
    absent = [paragraph(m.missing, kind="missing") for m in members if not m.scored]
    if absent:
        sections.append(Section("Scores to come" if groups else "Scores", joined(absent)))
    return sections


def score_parts(members: Sequence[Member], pictures: Path, stem: str) -> tuple[Section, ...]:
    """Everything that a group of comparable scores says."""
    found = compared(members)
    parts = [
        Section("Table", joined([score_table(found), not_computed_part(members)])),
        Section("Against lead time", lead_time_part(members, found, pictures, stem)),
        Section("Horizon of skill", skill_part(members, found)),
        Section("Samples", ensemble_part(members, pictures, stem)),
    ]
    studies = studies_part(members)
    if studies:
        parts.append(Section("Studies", studies))
    return (*parts, Section("Protocol", protocol_part(members)))


def about(member: Member) -> Section:
    """What a run was made of."""
    parts = (
        Section("Recipe", recipe_part(member)),
        Section("Data", data_part(member)),
        Section("Machine", environment_part(member)),
    )
    return Section(f"Run {member.label}", Html(""), parts)

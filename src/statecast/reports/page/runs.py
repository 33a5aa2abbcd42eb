"""The runs of a report, with their scores and colours."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from statecast.errors import StatecastError
from statecast.evaluation.comparability import Scored, read_scores, short_labels
from statecast.plots.curves import Line
from statecast.reports.page.charts import OWN, STYLES, plain_name
from statecast.runs.run import Run, open_run


class Member(NamedTuple):
    """A run of a report."""

    label: str
    run: Run
    scored: Scored | None
    missing: str  # why scores are missing
    number: int

    @property
    def stem(self) -> str:
        """Prefix of the names of its pictures."""
        return f"{self.number + 1}-{plain_name(self.label)[:40].strip('-').lower() or 'run'}"

    def line(self, x: Sequence[float], y: Sequence[float]) -> Line:
        """A line in the run's colour and style."""
        style = STYLES[self.number // len(OWN) % len(STYLES)]
        return Line(self.label, x, y, OWN[self.number % len(OWN)], style)


def members_of(folders: Sequence[str | Path]) -> list[Member]:
    """Open runs, and read their scores if they have any.

    Errors:
        FileError: a folder is not a run.
        InputError: a folder is given twice.
    """
    found = []
    for number, (label, folder) in enumerate(zip(short_labels(folders), folders, strict=True)):
        run = open_run(folder)
        scored, missing = None, ""
        try:
            scored = Scored(label, run.folder, read_scores(folder))
        except StatecastError as error:
            missing = str(error)
        found.append(Member(label, run, scored, missing, number))
    return found

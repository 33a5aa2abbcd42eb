"""A canary beside every attack: a file that code would make, and one that nothing may read."""

import os
import sys
from pathlib import Path
from typing import NamedTuple

NUMBERS = tuple(float(n) for n in range(770_000, 770_064))  # what the secret file holds
TEXT = b"canary-7f3a"


class Canary(NamedTuple):
    """Where execution, and reading, would show."""

    ran: Path  # made by code that runs
    secret: Path  # 64 numbers, float32
    text: Path  # letters

    @property
    def command(self) -> str:
        """A shell command that shows it ran."""
        return f"touch {self.ran}"

    def __reduce__(self):
        """Pickled, a canary is a call: whoever unpickles it runs the command."""
        return os.system, (self.command,)

    def check(self) -> None:
        """Fail if anything ran."""
        assert not self.ran.exists()

    def unseen(self, values: object) -> None:
        """Fail where values hold those of the secret file."""
        shown = str(values)
        assert "77000" not in shown
        assert TEXT.decode() not in shown


OPENED: list[str] = []
WATCHED: list[str] = []


def _watch(event: str, arguments: tuple[object, ...]) -> None:
    if event == "open" and WATCHED and str(arguments[0]) in WATCHED:
        OPENED.append(str(arguments[0]))


sys.addaudithook(_watch)

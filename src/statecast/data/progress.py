"""Progress bars."""

from __future__ import annotations

import sys
from collections.abc import Iterable
from typing import TypeVar

Item = TypeVar("Item")


def progress(
    items: Iterable[Item],
    what: str,
    *,
    unit: str = "it",
    total: int | None = None,
    leave: bool = True,
) -> Iterable[Item]:
    """Items with a progress bar, where there is a terminal.

    Args:
        items: one after another.
        what: shown before the bar.
        unit: of the items.
        total: number of items; by default their length.
        leave: whether the bar stays at the end.
    """
    from tqdm import tqdm

    bar: Iterable[Item] = tqdm(
        items, desc=what, unit=unit, total=total, leave=leave, disable=not sys.stderr.isatty()
    )
    return bar

"""Progress bars: at a terminal, unless the command is told to be quiet."""

from __future__ import annotations

import logging
import sys
from collections.abc import Iterable, Iterator
from operator import length_hint
from typing import TYPE_CHECKING, TypeVar

from statecast.distributed import is_main

if TYPE_CHECKING:
    from tqdm import tqdm

LOGGER = logging.getLogger(__name__)
Item = TypeVar("Item")


def progress(
    items: Iterable[Item],
    what: str,
    *,
    unit: str = "it",
    total: int | None = None,
    leave: bool = True,
) -> Iterator[Item]:
    """Yield items, and move a progress bar on after each.

    Args:
        items: one after another.
        what: shown before the bar.
        unit: of the items.
        total: number of items; by default their length.
        leave: whether the bar stays at the end.
    """
    total = total or length_hint(items) or None
    with progress_bar(what, total, unit=unit, leave=leave) as bar:
        for item in items:
            yield item
            bar.update()


def progress_bar(what: str | None, total: int | None, *, unit: str, leave: bool = True) -> tqdm:
    """A progress bar to update by hand.

    It is drawn at a terminal, by the main process, where statecast's logger lets information
    through, which `--quiet` forbids.

    Args:
        what: shown before the bar; None draws no bar.
        total: number of units; None if unknown.
        unit: name of a unit.
        leave: whether the bar stays at the end.
    """
    from tqdm import tqdm

    shown = what is not None and LOGGER.isEnabledFor(logging.INFO)
    disable = not (shown and sys.stderr.isatty() and is_main())
    return tqdm(total=total, desc=what, unit=unit, leave=leave, dynamic_ncols=True, disable=disable)

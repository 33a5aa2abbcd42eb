"""Fast paths of the library by name, and how to switch them off; none where it has none."""

from __future__ import annotations

import contextlib
from collections.abc import Iterable, Iterator
from importlib import import_module, util

NAMES: dict[str, str] = {}  # name and what it does
if util.find_spec("statecast.nn.fast.switches") is not None:
    NAMES = dict(import_module("statecast.nn.fast.switches").NAMES)


@contextlib.contextmanager
def without(names: Iterable[str]) -> Iterator[None]:
    """Switch fast paths off inside the block."""
    with contextlib.ExitStack() as stack:
        for name in names:
            stack.enter_context(import_module("statecast.nn.fast.switches").without(name))
        yield


def switched_off(options: Iterable[str]) -> tuple[str, ...]:
    """Names that `NAME=off` switches off; a later option counts more than an earlier one.

    Errors:
        ValueError: no such fast path, or neither on nor off.
    """
    found = dict.fromkeys(NAMES, True)
    for option in options:
        name, _, value = option.partition("=")
        if name not in NAMES or value not in ("on", "off"):
            raise ValueError(
                f"Expected NAME=on or NAME=off with a name of {list(NAMES)}, got {option!r}."
            )
        found[name] = value == "on"
    return tuple(name for name, on in found.items() if not on)

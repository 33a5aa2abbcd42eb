"""Registries of classes by name, imported on first use; installed packages can add classes."""

from __future__ import annotations

import ast
import inspect
from collections.abc import Iterator, Mapping, MutableMapping
from importlib.metadata import EntryPoint, entry_points
from importlib.util import find_spec
from pathlib import Path
from typing import Generic, TypeVar

from statecast.errors import InputError

T = TypeVar("T")


class Registry(MutableMapping[str, type[T]], Generic[T]):
    """Classes by name.

    Args:
        group: entry points by which installed packages add classes, such as `statecast.models`.
        places: name -> `module:Class` of the classes that come with statecast.
    """

    def __init__(self, group: str, places: Mapping[str, str]) -> None:
        self.group = group
        self.entries: dict[str, EntryPoint | type[T]] = {
            name: EntryPoint(name, place, group) for name, place in places.items()
        }
        for entry in entry_points(group=group):
            # Names that come with statecast cannot be replaced by other packages.
            self.entries.setdefault(entry.name, entry)

    def __getitem__(self, name: str) -> type[T]:
        found = self.entries[name]
        if isinstance(found, EntryPoint):
            found = self.entries[name] = load(found)
        return found

    def __setitem__(self, name: str, value: type[T]) -> None:
        self.entries[name] = value

    def __delitem__(self, name: str) -> None:
        del self.entries[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self.entries)

    def __len__(self) -> int:
        return len(self.entries)

    def __contains__(self, name: object) -> bool:
        return name in self.entries

    def titles(self) -> dict[str, str]:
        """First line of each class's docstring, by name; no class is imported."""
        return {name: title_of(entry) for name, entry in self.entries.items()}


def load(entry: EntryPoint) -> type:
    """The class that an entry point names.

    Errors:
        InputError: it cannot be imported, or is not a class.
    """
    package = entry.dist.name if entry.dist else "statecast"
    try:
        found = entry.load()
    except (ImportError, AttributeError) as error:
        raise InputError(
            f"The package {package} announces {entry.name!r} as {entry.value}, which cannot be "
            f"imported: {error}. Fix the package, or uninstall it."
        ) from error
    if not isinstance(found, type):
        raise InputError(
            f"The package {package} announces {entry.name!r} as {entry.value}, which should be a "
            f"class, got {type(found).__name__}."
        )
    return found


def title_of(entry: EntryPoint | type) -> str:
    """First line of a class's docstring, read from its source if it is not imported."""
    if isinstance(entry, type):
        return (inspect.getdoc(entry) or "").split("\n")[0]
    try:
        spec = find_spec(entry.module)
        tree = ast.parse(Path(spec.origin).read_text("utf-8")) if spec and spec.origin else None
    except (ImportError, OSError, SyntaxError, ValueError):
        return f"cannot be read ({entry.value})"
    for node in tree.body if tree else ():
        if isinstance(node, ast.ClassDef) and node.name == entry.attr:
            return (ast.get_docstring(node) or "").split("\n")[0]
    return ""

"""PreparedSource: what data sets in prepared stores have in common."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Sequence
from functools import cached_property
from pathlib import Path
from typing import Any, ClassVar, NamedTuple

from statecast.data.base import DataSource, InferredOption, horizons_of
from statecast.data.cache.frame_store import Kind, PreparedStore, StoreWriter, open_prepared
from statecast.frames import FrameSpec
from statecast.io.atomic_files import cache_path


class Origin(NamedTuple):
    """The publisher of the files that a data set is made from."""

    title: str
    source: str  # where its owner gives them
    licence: str
    files: str  # what the folder of the files holds
    reference: str


class Count(NamedTuple):
    """How many of something were found in the owner's files."""

    what: str
    found: int
    expected: int | None  # None if unknown


class PreparedSource(DataSource):
    """A data set that `statecast data prepare` makes from its owner's files.

    Args:
        path: folder of the prepared store; by default in the cache.
        context: frames observed.
        horizon: frames forecast in training.
        validation_horizon: frames forecast in validation; by default as in training.
        test_horizon: frames forecast in tests.
    """

    kind: ClassVar[Kind]
    origin: ClassVar[Origin]
    channels: ClassVar[tuple[str, ...]]

    def __init__(
        self,
        *,
        path: str | None,
        context: int,
        horizon: int,
        validation_horizon: int | None,
        test_horizon: int,
    ) -> None:
        self.path, self.context = path, context
        self.horizons = horizons_of(context, horizon, test_horizon, validation_horizon)

    @classmethod
    @abstractmethod
    def write(cls, source: Path, writer: StoreWriter) -> list[Count]:
        """Read the owner's files in a folder, write all sequences, and return counts of them.

        Errors:
            FileError: files are missing.
            CorruptionError: a file is damaged.
            InputError: a file is not what it should be.
        """

    @cached_property
    def store(self) -> PreparedStore:
        """The prepared store, opened on first use."""
        return open_prepared(self.folder, self.kind)

    @property
    def folder(self) -> Path:
        """Where the store is."""
        return default_folder(self.kind) if self.path is None else Path(self.path)

    @property
    def spec(self) -> FrameSpec:
        """The spec; the store need not exist."""
        return FrameSpec(
            channels=self.channels,
            space=self.kind.frame_shape[1:],
            context=self.context,
            horizon=self.horizons["train"],
            value_range=(0.0, 1.0),
        )

    @property
    def inferred_options(self) -> Sequence[InferredOption]:
        """The content of the store, which must exist before a run has a folder."""
        store = self.store
        shown = f"{store.folder}: {len(store.sequences)} sequences, {len(store.frames)} frames"
        return [InferredOption(self.kind.name, shown)]

    @property
    def card(self) -> dict[str, Any]:
        return {
            "name": self.kind.name,
            "version": self.kind.version,
            "context": self.context,
            "horizons": self.horizons,
            "source": self.origin.source,
            "licence": self.origin.licence,
            "reference": self.origin.reference,
        }


def default_folder(kind: Kind) -> Path:
    """The default place of a data set's store."""
    return cache_path() / kind.name

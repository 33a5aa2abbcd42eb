"""follow: a forecast that is rewritten whenever its source has new frames."""

from __future__ import annotations

import hashlib
import logging
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

from statecast.errors import FileError
from statecast.forecasting.forecast_file import Written
from statecast.io.paths import existing_paths

LOGGER = logging.getLogger(__name__)


def follow(
    source: str | Path | Sequence[str],
    forecast: Callable[[], Written],
    *,
    seconds: float = 10.0,
    sleep: Callable[[float], None] = time.sleep,
) -> Iterator[Written]:
    """Forecast now, and again each time that the files of a source change.

    Only the last frames are read, so the time of a forecast does not grow with the source. If the
    source cannot be read, for example because it is being written, it is read again once it
    changes.

    Args:
        source: files, Zarr stores or folders, as `forecast_file` takes them.
        forecast: function that writes the forecast.
        seconds: time between checks of the source.
        sleep: function that waits for a number of seconds.

    Yields:
        A record of every file written, without end.

    Errors:
        FileError, InputError: the first forecast fails.
    """
    known = state_of(source)
    yield forecast()
    while True:
        sleep(seconds)
        found = state_of(source)
        if found == known:
            continue
        known = found
        try:
            yield forecast()
        except FileError as error:
            LOGGER.warning("%s Waiting for the source to change.", error)


def state_of(source: str | Path | Sequence[str]) -> str:
    """A text that changes when a file of the source is added, removed or written."""
    digest = hashlib.sha256()
    for path in existing_paths(source):
        files = sorted(p for p in path.rglob("*") if p.is_file()) if path.is_dir() else [path]
        for file in files:
            try:
                facts = file.stat()
            except FileNotFoundError:  # removed after it was listed
                continue
            digest.update(f"{file}\0{facts.st_size}\0{facts.st_mtime_ns}\n".encode())
    return digest.hexdigest()

"""Requests to stop: a signal waits until the current step is done.

Schedulers send SIGTERM, SIGUSR1 or SIGUSR2 before they take the machine away.
"""

from __future__ import annotations

import signal
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

from statecast.distributed import SIGNALS, world_size

TWIN = 1.0  # seconds; `timeout` and terminals signal both a process and its group


class Stopped(BaseException):
    """A signal interrupted a block whose work can be repeated."""


class Interrupted(KeyboardInterrupt):
    """A signal came when there was nothing new to save."""


class StopRequest:
    """Context in which the first signal to stop sets `received`; a later one ends the process.

    A second signal within a second counts as the same request. Outside the main thread, signals
    cannot be caught, so nothing changes.
    """

    def __init__(self) -> None:
        self.received: str | None = None
        self._when = 0.0
        self._interruptible = False
        self._before: dict[signal.Signals, object] = {}

    def __enter__(self) -> StopRequest:
        if threading.current_thread() is threading.main_thread():
            for number in SIGNALS:
                self._before[number] = signal.signal(number, self._receive)
        return self

    def __exit__(self, *_: object) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)  # type: ignore[arg-type]
        self._before.clear()

    @contextmanager
    def interruptible(self) -> Iterator[None]:
        """Block that a signal ends at once with `Stopped`, even one received before the block.

        With several processes the block runs to its end, because each waits for the others.
        """
        if world_size() > 1:
            yield
            return
        self._interruptible = True
        try:
            if self.received:
                raise Stopped
            yield
        finally:
            self._interruptible = False

    def _receive(self, number: int, frame: FrameType | None) -> None:
        now = time.monotonic()
        if self.received is None:
            self.received, self._when = signal.Signals(number).name, now
            if self._interruptible:
                self._interruptible = False
                raise Stopped
        elif now - self._when >= TWIN:
            default = signal.default_int_handler if number == signal.SIGINT else signal.SIG_DFL
            signal.signal(number, default)
            signal.raise_signal(signal.Signals(number))


@contextmanager
def interrupting() -> Iterator[None]:
    """Block in which a signal to stop raises `Interrupted`, so that open files are closed."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return

    def interrupt(number: int, frame: FrameType | None) -> None:
        raise Interrupted(signal.Signals(number).name)

    before = {number: signal.signal(number, interrupt) for number in SIGNALS}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)

"""Measure a row: time in turns, memory in processes of their own, time to start."""

from __future__ import annotations

import statistics
from collections.abc import Callable
from functools import partial

from measuring import switches
from measuring.clock import Clock, Timing, alternate, in_turns
from measuring.footprint import added_by
from measuring.peaks import operations
from measuring.result import Result
from measuring.table import amount, markdown

from speed_rows import ROWS, Row
from speed_rows.base import Settings
from speed_rows.processes import measured, start_seconds
from statecast.training.heap import keep_memory

WARMING, CALLS = 2, 3  # calls before the clock runs, and while it does
BARE = ["-c", "pass"]  # what a Python does that is started for nothing


def measure(name: str, settings: Settings, clock: Clock, *, repeats: int, budget: float) -> Result:
    """The cells of a row of the table."""
    row = ROWS[name]
    if row.kind == "memory":
        return memory(name, row, settings)
    if row.kind == "apart":
        return apart(name, row, settings, repeats=repeats, budget=budget)
    if row.kind == "start":
        return start(name, row, repeats)
    assert row.build is not None
    with switches.without(settings.off):
        case = row.build(settings)
        ours, plain = operations(case.ours), operations(case.plain)
        timing = alternate(clock, case.ours, case.plain, repeats=repeats, budget=budget)
    return Result(
        row=name,
        title=row.title,
        sizes=case.sizes,
        kind="time",
        timing=timing,
        precision=case.precision,
        difference=None if case.difference is None else case.difference(ours[1], plain[1]),
        operations=(ours[0], plain[0]),
        moved=case.moved,
    )


def memory(name: str, row: Row, settings: Settings) -> Result:
    """Peaks of both sides, each in a new process."""
    (ours, sizes), (plain, _) = (measured(row.of, "memory", s, settings) for s in ("ours", "plain"))
    ratio = plain / ours
    timing = Timing(ours, plain, ratio, ratio, ratio, 1)
    return Result(row=name, title=row.title, sizes=sizes, kind="memory", timing=timing)


def apart(name: str, row: Row, settings: Settings, *, repeats: int, budget: float) -> Result:
    """Time of both sides in new processes: ours keeps its memory, which would serve both."""
    sizes: list[str] = []

    def side(which: str) -> float:
        seconds, found = measured(row.of, "time", which, settings)
        sizes.append(found)
        return seconds

    timing = in_turns(
        (partial(side, "ours"), partial(side, "plain")), repeats=repeats, budget=budget
    )
    return Result(row=name, title=row.title, sizes=sizes[0], kind="time", timing=timing)


def time_of(name: str, side: str, settings: Settings, clock: Clock) -> str:
    """Median seconds of one side of a row in this process; and the row's sizes."""
    build = ROWS[name].build
    assert build is not None
    if side == "ours" and not settings.on_gpu:
        keep_memory()
    with switches.without(settings.off):
        case = build(settings)
        call = case.ours if side == "ours" else case.plain
        for _ in range(WARMING):
            call()
        seconds = statistics.median(clock.seconds(call) for _ in range(CALLS))
    return f"{seconds} {case.sizes}"


def start(name: str, row: Row, repeats: int) -> Result:
    """Processor time of a command, and of a Python that is started for nothing."""
    sides: tuple[Callable[[], float], ...] = (
        partial(start_seconds, list(row.command)),
        partial(start_seconds, BARE),
    )
    for side in sides:  # files are read, and compiled, before the clock runs
        side()
    timing = in_turns(sides, repeats=repeats)
    return Result(
        row=name, title=row.title, sizes="against bare Python", kind="start", timing=timing
    )


def memory_of(name: str, side: str, settings: Settings) -> str:
    """Bytes that calls of one side of a row add at most, in this process; and the row's sizes."""
    build = ROWS[name].build
    assert build is not None
    with switches.without(settings.off):
        case = build(settings)
        added = added_by(case.ours if side == "ours" else case.plain, settings.device)
    return f"{added} {case.sizes}"


def ablation(name: str, settings: Settings, clock: Clock, *, repeats: int, budget: float) -> str:
    """Our side as it is against our side with each fast path switched off in turn.

    Errors:
        ValueError: the row is none whose sides take turns.
    """
    build = ROWS[name].build
    if build is None or ROWS[name].kind != "time":
        raise ValueError(f"An ablation is of a row that is timed, got {name!r}.")
    whole, rows = build(settings), []
    for path, what in switches.NAMES.items():
        with switches.without([path]):
            part = build(settings)

        def call(ours: Callable[[], object] = part.ours, path: str = path) -> object:
            with switches.without([path]):
                return ours()

        timing = alternate(clock, whole.ours, call, repeats=repeats, budget=budget)
        spread = f"{timing.lowest:.2f}–{timing.highest:.2f}"
        seconds = amount(timing.plain, "s"), amount(timing.ours, "s")
        rows.append((path, what, *seconds, f"{timing.ratio:.2f}", spread))
    header = ("fast path", "what it does", "without it", "with it", "ratio", "of turns")
    return f"{ROWS[name].title}, {whole.sizes}\n\n{markdown(header, rows)}"

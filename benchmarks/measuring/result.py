"""The measurements of one row, and how they are shown."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any, Literal

from measuring.clock import Timing
from measuring.table import amount, share

HEADER = ("row", "sizes", "ours", "plain", "ratio", "of turns", "of peak", "plain's", "differ by")


@dataclass(frozen=True, kw_only=True)
class Result:
    """One row of the table.

    Attributes:
        row: its name.
        title: for people.
        sizes: for people.
        kind: `time` and `start` are in seconds, `memory` is in bytes.
        timing: medians of both sides.
        precision: of our products.
        difference: between what both sides compute, where it was compared.
        operations: floating-point operations of products and convolutions of each side.
        moved: bytes that a call must move, where that is its limit.
    """

    row: str
    title: str
    sizes: str
    kind: Literal["time", "memory", "start"]
    timing: Timing
    precision: str = "float32"
    difference: float | None = None
    operations: tuple[float, float] = (0.0, 0.0)
    moved: float | None = None

    def cells(self, peaks: Mapping[str, float], *, on_gpu: bool) -> tuple[str, ...]:
        """A row of the table.

        Args:
            peaks: operations per second by precision, and bytes per second of a `copy`.
            on_gpu: whether float32 convolutions are rounded to TF32.
        """
        timing, unit = self.timing, "B" if self.kind == "memory" else "s"
        spread = f"{timing.lowest:.2f}–{timing.highest:.2f}" if timing.turns > 1 else ""
        return (
            self.title,
            self.sizes,
            amount(timing.ours, unit),
            amount(timing.plain, unit),
            f"{timing.ratio:.2f}",
            spread,
            self._share(0, timing.ours, peaks, on_gpu),
            self._share(1, timing.plain, peaks, on_gpu),
            "" if self.difference is None else f"{self.difference:.0e}",
        )

    def record(self) -> dict[str, Any]:
        """All of it as JSON takes it."""
        return asdict(self) | {"timing": self.timing._asdict()}

    def _share(self, side: int, seconds: float, peaks: Mapping[str, float], on_gpu: bool) -> str:
        if self.kind != "time":
            return ""
        if self.moved:
            return share(self.moved / seconds, peaks.get("copy"))
        precision = self.precision if side == 0 else "float32"
        name = "tf32" if on_gpu and precision == "float32" else precision
        return share(self.operations[side] / seconds, peaks.get(name))

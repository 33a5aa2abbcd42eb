"""Speed against plain code that computes the same: one table of ratios, measured in one run.

    python benchmarks/speed.py
    python benchmarks/speed.py --rows train-srvp-digits --batch 16 --repeats 7
    python benchmarks/speed.py --device cuda --output results/speed
    python benchmarks/speed.py --ablation train-srvp-digits

The other side is `benchmarks/plain/`: eager float32 code as a reader of the papers would write it,
which `tests/test_benchmarks.py` proves to give the same numbers. Both sides take turns; a ratio is
the median of the turns' own, plain over ours. Weights and frames are random: neither changes time.
"""

from __future__ import annotations

import argparse
import fnmatch
import json
import platform
import sys
from pathlib import Path
from typing import Any

import torch
from measuring import switches
from measuring.clock import Clock, alternate
from measuring.peaks import copy_peak, operations, product_peak
from measuring.table import markdown, seconds, share
from speed_rows import ROWS
from speed_rows.base import Settings

from statecast.precision import device_of

Result = dict[str, Any]
HEADER = ("row", "sizes", "ours", "plain", "ratio", "turns' ratios", "of peak", "plain", "agree")


def measure(name: str, settings: Settings, clock: Clock, known: argparse.Namespace) -> Result:
    """One row: both sides once with operations counted, then in turns."""
    row = ROWS[name]
    with switches.without(known.off):
        case = row.build(settings)
        our_operations, ours = operations(case.ours)
        their_operations, theirs = operations(case.plain)
        timing = alternate(
            clock, case.ours, case.plain, repeats=known.repeats, budget=known.seconds
        )
    return {
        "row": name,
        "title": row.title,
        "sizes": case.sizes,
        "precision": case.precision,
        "difference": case.difference(ours, theirs),
        "operations": {"ours": our_operations, "plain": their_operations},
        "moved": case.moved,
        **timing._asdict(),
    }


def ablation(name: str, settings: Settings, clock: Clock, known: argparse.Namespace) -> str:
    """Ours as it is against ours with each fast path switched off in turn."""
    whole = ROWS[name].build(settings)
    rows = []
    for path, what in switches.NAMES.items():
        with switches.without([path]):
            part = ROWS[name].build(settings)

        def call(part: Any = part, path: str = path) -> Any:
            with switches.without([path]):
                return part.ours()

        timing = alternate(clock, whole.ours, call, repeats=known.repeats, budget=known.seconds)
        rows.append(
            (
                path, what, seconds(timing.plain), seconds(timing.ours), f"{timing.ratio:.2f}",
                f"{timing.lowest:.2f}–{timing.highest:.2f}",
            )
        )  # fmt: skip
    print(f"\n{ROWS[name].title}, {whole.sizes}\n")
    return markdown(("without", "what it does", "without it", "with it", "ratio", "turns"), rows)


def peaks_of(clock: Clock, settings: Settings) -> dict[str, float]:
    """Operations per second of products by precision, bytes per second of copies."""
    plain = "tf32" if settings.on_gpu else "float32"
    precisions = dict.fromkeys(("float32", plain, settings.precision))
    return {p: product_peak(clock, p) for p in precisions} | {"copy": copy_peak(clock)}


def as_row(result: Result, peaks: dict[str, float], *, on_gpu: bool) -> tuple[str, ...]:
    """A row of the table."""
    fractions = []
    for side in ("ours", "plain"):
        precision = result["precision"] if side == "ours" else "float32"
        if on_gpu and precision == "float32":
            precision = "tf32"  # as convolutions run by default
        count, peak = result["operations"][side], peaks.get(precision)
        if result["moved"]:
            count, peak = result["moved"], peaks["copy"]
        fractions.append(share(count / result[side], peak))
    return (
        result["title"],
        result["sizes"],
        seconds(result["ours"]),
        seconds(result["plain"]),
        f"{result['ratio']:.2f}",
        f"{result['lowest']:.2f}–{result['highest']:.2f}",
        *fractions,
        f"{result['difference']:.0e}",
    )


def surroundings(settings: Settings, peaks: dict[str, float]) -> dict[str, Any]:
    """What the figures depend on besides the code."""
    gpu = torch.cuda.get_device_name(settings.device) if settings.on_gpu else None
    return {
        "device": gpu or platform.processor() or platform.machine(),
        "threads": torch.get_num_threads(),
        "torch": torch.__version__,
        "python": platform.python_version(),
        "precision": settings.precision,
        "peaks": peaks,
        "fast_paths": list(switches.NAMES),
    }


def arguments() -> argparse.ArgumentParser:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--rows", nargs="+", default=["*"], help="names or patterns; see --list")
    parser.add_argument("--list", action="store_true", help="name the rows and stop")
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--precision", choices=("float32", "bf16"), help="of ours; bf16 on a GPU")
    parser.add_argument("--repeats", type=int, default=7, help="turns of both sides")
    parser.add_argument("--seconds", type=float, default=45, help="per row, after 3 turns")
    parser.add_argument("--batch", type=int, help="windows of a training step")
    parser.add_argument("--samples", type=int)
    parser.add_argument("--frames", type=int, help="horizon of forecasts")
    parser.add_argument("--windows", type=int, help="windows forecast at once")
    parser.add_argument("--quick", action="store_true", help="smallest sizes, 1 turn: does it run?")
    parser.add_argument("--fast-paths", nargs="+", default=[], metavar="NAME=on|off")
    parser.add_argument("--ablation", metavar="ROW", help="ours without each fast path in turn")
    parser.add_argument("--output", type=Path, help="folder for speed.json and speed.md")
    return parser


def settings_of(known: argparse.Namespace) -> Settings:
    """Sizes and device that were asked for."""
    device = device_of(known.device)
    small = 2 if known.quick else None
    if known.quick:
        known.repeats = 1
    return Settings(
        device=device,
        precision=known.precision or ("bf16" if device.type == "cuda" else "float32"),
        batch=known.batch or small,
        samples=known.samples or small,
        frames=known.frames or small,
        windows=known.windows or (1 if known.quick else None),
    )


def chosen(patterns: list[str]) -> list[str]:
    """Names of rows, in the order of the table."""
    for pattern in patterns:
        if not fnmatch.filter(ROWS, pattern):
            raise ValueError(f"There is no row {pattern!r}; there are {', '.join(ROWS)}.")
    return [name for name in ROWS if any(fnmatch.fnmatch(name, p) for p in patterns)]


def main() -> None:
    """Read the command line, measure and print."""
    known = arguments().parse_args()
    if known.list:
        print("\n".join(f"{name:28}{row.title}" for name, row in ROWS.items()))
        return
    known.off = switches.switched_off(known.fast_paths)
    names, settings = chosen([known.ablation] if known.ablation else known.rows), settings_of(known)
    clock = Clock(settings.device)
    if known.ablation:
        print("\n\n".join(ablation(name, settings, clock, known) for name in names))
        return
    peaks = peaks_of(clock, settings)
    around = surroundings(settings, peaks)
    results, rows = [], []
    for name in names:
        results.append(measure(name, settings, clock, known))
        rows.append(as_row(results[-1], peaks, on_gpu=settings.on_gpu))
        print(" | ".join(rows[-1]), file=sys.stderr, flush=True)
    report = f"{description(around)}\n\n{markdown(HEADER, rows)}\n"
    if known.output:
        known.output.mkdir(parents=True, exist_ok=True)
        content = json.dumps({"run": around, "rows": results}, indent=2)
        (known.output / "speed.json").write_text(content + "\n")
        (known.output / "speed.md").write_text(report)
    print("\n" + report)


def description(around: dict[str, Any]) -> str:
    """What a reader of the table must know, in a few lines."""
    peaks = ", ".join(
        f"{name} {value / 1e9:.4g} {'GB/s' if name == 'copy' else 'GFLOP/s'}"
        for name, value in around["peaks"].items()
    )
    return (
        f"{around['device']}, {around['threads']} thread(s), torch {around['torch']}, ours at "
        f"{around['precision']}.\nMeasured peaks: {peaks}."
    )


if __name__ == "__main__":
    main()

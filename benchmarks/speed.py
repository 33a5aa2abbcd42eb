"""Speed against plain code that computes the same: one table of ratios, measured in one run.

    python benchmarks/speed.py
    python benchmarks/speed.py --rows train-srvp-digits 'latency-*' --batch 16 --repeats 9
    python benchmarks/speed.py --device cuda --output results/speed
    python benchmarks/speed.py --ablation train-srvp-digits

The other side is `benchmarks/plain/`: eager float32 code as a reader of the papers would write it,
which `tests/test_benchmarks.py` shows to give the same numbers. Both sides take turns; a ratio is
the median of the turns' own, plain over ours. Weights and frames are random: neither changes time.
"""

from __future__ import annotations

import argparse
import fnmatch
import json
import platform
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from measuring import switches
from measuring.clock import Clock
from measuring.peaks import copy_peak, product_peak
from measuring.result import HEADER, Result
from measuring.table import markdown
from speed_rows import ROWS
from speed_rows.base import Settings
from speed_rows.measure import ablation, measure, memory_of, time_of

from statecast.training.precision import device_of

SMALLEST = 2  # windows, samples and frames of a run that is quick


def arguments() -> argparse.ArgumentParser:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--rows", nargs="+", default=["*"], help="names or patterns, see --list")
    parser.add_argument("--list", action="store_true", help="name the rows")
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--precision", choices=("float32", "bf16"), help="ours; bf16 on a GPU")
    parser.add_argument("--repeats", type=int, default=7, help="turns of both sides")
    parser.add_argument("--seconds", type=float, help="of a row, after 3 turns: 30, or 12 on a GPU")
    parser.add_argument("--batch", type=int, help="windows of a training step")
    parser.add_argument("--samples", type=int, help="of best of N")
    parser.add_argument("--frames", type=int, help="horizon of forecasts")
    parser.add_argument("--windows", type=int, help="forecast at once")
    parser.add_argument("--quick", action="store_true", help="smallest sizes, one turn")
    parser.add_argument("--fast-paths", nargs="+", default=[], metavar="NAME=on|off")
    parser.add_argument("--ablation", metavar="ROW", help="ours without each fast path in turn")
    parser.add_argument("--output", type=Path, help="folder for speed.json and speed.md")
    parser.add_argument("--time-of", choices=("ours", "plain"), help=argparse.SUPPRESS)
    parser.add_argument("--memory-of", choices=("ours", "plain"), help=argparse.SUPPRESS)
    return parser


def settings_of(known: argparse.Namespace) -> Settings:
    """Sizes and device that were asked for."""
    device = device_of(known.device)
    small = SMALLEST if known.quick else None
    return Settings(
        device=device,
        precision=known.precision or ("bf16" if device.type == "cuda" else "float32"),
        batch=known.batch or small,
        samples=known.samples or small,
        frames=known.frames or small,
        windows=known.windows or (1 if known.quick else None),
        off=switches.switched_off(known.fast_paths),
    )


def chosen(patterns: Sequence[str]) -> list[str]:
    """Names of rows, in the order of the table.

    Errors:
        ValueError: a pattern fits none.
    """
    for pattern in patterns:
        if not fnmatch.filter(ROWS, pattern):
            raise ValueError(f"There is no row {pattern!r}; there are {', '.join(ROWS)}.")
    return [name for name in ROWS if any(fnmatch.fnmatch(name, p) for p in patterns)]


def surroundings(clock: Clock, settings: Settings) -> dict[str, Any]:
    """Facts that figures depend on besides the code, with the machine's peaks, measured here."""
    gpu = torch.cuda.get_device_name(settings.device) if settings.on_gpu else None
    products = dict.fromkeys(
        ("float32", settings.precision, *(("tf32",) if settings.on_gpu else ()))
    )
    peaks = {name: product_peak(clock, name) for name in products}
    return {
        "device": gpu or platform.processor() or platform.machine(),
        "threads": torch.get_num_threads(),
        "clock": "processor time" if clock.of_processor else "time passed",
        "torch": torch.__version__,
        "python": platform.python_version(),
        "precision": settings.precision,
        "without": list(settings.off),
        "peaks": peaks | {"copy": copy_peak(clock)},
    }


def described(around: dict[str, Any]) -> str:
    """Notes for readers of the table, in a few lines."""
    peaks = ", ".join(
        f"{name} {value / 1e9:.4g} {'GB/s' if name == 'copy' else 'GFLOP/s'}"
        for name, value in around["peaks"].items()
    )
    without = f", without {', '.join(around['without'])}" if around["without"] else ""
    return (
        f"{around['device']}, {around['threads']} thread(s), {around['clock']}, torch "
        f"{around['torch']}; ours at {around['precision']}{without}, plain code at float32.\n"
        f"Peaks measured: {peaks}."
    )


def table_of(
    names: Sequence[str], settings: Settings, clock: Clock, known: argparse.Namespace
) -> str:
    """Measure rows; the table, which is written to a folder as well where one is given."""
    around = surroundings(clock, settings)
    results: list[Result] = []
    lines: list[tuple[str, ...]] = []
    for name in names:
        results.append(measure(name, settings, clock, repeats=known.repeats, budget=known.seconds))
        lines.append(results[-1].cells(around["peaks"], on_gpu=settings.on_gpu))
        print(" | ".join(lines[-1]), file=sys.stderr, flush=True)
    report = f"{described(around)}\n\n{markdown(HEADER, lines)}\n"
    if known.output:
        known.output.mkdir(parents=True, exist_ok=True)
        content = {"run": around, "rows": [result.record() for result in results]}
        (known.output / "speed.json").write_text(json.dumps(content, indent=2) + "\n")
        (known.output / "speed.md").write_text(report)
    return report


def main(words: Sequence[str] | None = None) -> None:
    """Read the command line, measure and print."""
    parser = arguments()
    known = parser.parse_args(words)
    known.repeats = 1 if known.quick else known.repeats
    if known.list:
        print("\n".join(f"{name:32}{row.title}" for name, row in ROWS.items()))
        return
    try:
        settings = settings_of(known)
        known.seconds = known.seconds or (12 if settings.on_gpu else 30)
        names = chosen([known.ablation] if known.ablation else known.rows)
    except ValueError as error:
        parser.error(str(error))
    clock = Clock(settings.device)
    if known.time_of:
        print(time_of(names[0], known.time_of, settings, clock))
    elif known.memory_of:
        print(memory_of(names[0], known.memory_of, settings))
    elif known.ablation:
        print(ablation(names[0], settings, clock, repeats=known.repeats, budget=known.seconds))
    else:
        print("\n" + table_of(names, settings, clock, known))


if __name__ == "__main__":
    main()

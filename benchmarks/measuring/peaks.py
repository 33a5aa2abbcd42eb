"""Peak rates of this machine, measured by matrix products and copies, and counts of operations."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from typing import Any

import torch
from measuring.clock import Clock
from torch.utils.flop_counter import FlopCounterMode

SIDES = {"cpu": (512, 1024, 2048), "cuda": (2048, 4096, 8192)}
TRIALS = 5
LONGEST = 0.5  # seconds of a product, after which no larger one is tried
COPIED = {"cpu": 2**28, "cuda": 2**30}  # bytes, more than caches hold


def product_peak(clock: Clock, precision: str) -> float:
    """Operations per second of the fastest square matrix product at a precision.

    Args:
        clock: of the device.
        precision: `float32`, `tf32` (as a GPU's convolutions run by default) or `bf16`.
    """
    device, dtype = clock.device, torch.bfloat16 if precision == "bf16" else torch.float32
    best = 0.0
    with tensor_float(precision == "tf32"):
        for side in SIDES[device.type]:
            left, right = (torch.randn(side, side, device=device, dtype=dtype) for _ in range(2))
            out = left @ right
            for _ in range(TRIALS):
                seconds = clock.seconds(
                    lambda left=left, right=right, out=out: torch.mm(left, right, out=out)
                )
                best = max(best, 2 * side**3 / seconds)
                if seconds > LONGEST:  # a processor without bf16 of its own
                    return best
    return best


@contextlib.contextmanager
def tensor_float(allowed: bool) -> Iterator[None]:
    """Whether a GPU may round float32 products to TF32 inside the block."""
    before = torch.backends.cuda.matmul.allow_tf32
    torch.backends.cuda.matmul.allow_tf32 = allowed
    try:
        yield
    finally:
        torch.backends.cuda.matmul.allow_tf32 = before


def copy_peak(clock: Clock) -> float:
    """Bytes per second that a copy reads and writes together."""
    count = COPIED[clock.device.type] // 4
    source = torch.ones(count, device=clock.device)
    target = torch.empty_like(source)
    target.copy_(source)  # its pages are there before the clock runs
    seconds = min(clock.seconds(lambda: target.copy_(source)) for _ in range(TRIALS))
    return 2 * 4 * count / seconds


class NoTracker(contextlib.nullcontext[None]):
    """Tells no modules apart; PyTorch's tracker fails on views of weights without gradients."""

    parents = frozenset({"Global"})


def operations(call: Callable[[], Any]) -> tuple[float, Any]:
    """Floating-point operations of the products and convolutions of a call, and its result."""
    counter = FlopCounterMode(display=False)
    counter.mod_tracker = NoTracker()
    with counter:
        result = call()
    return float(counter.get_total_flops()), result

"""Fast paths: faster ways to compute the same, by name; each can be switched off.

    with switches.without("winograd"):
        model.forecast(context)

or, for a whole process, `STATECAST_WITHOUT=winograd,kernel_as_matmul`. Results agree up to
rounding.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar

from statecast.errors import InputError

VARIABLE = "STATECAST_WITHOUT"  # comma-separated names to switch off for the process

# Each fast path and its effect; `benchmarks/speed.py --ablation` measures the gain (docs/speed.md).
NAMES: dict[str, str] = {
    "channels_last": "maps are in channels-last format, which convolutions read fastest",
    "transposed_as_convolution": "transposed convolutions as convolutions of the coarse map",
    "winograd": "convolutions of wide maps by Winograd's algorithm, on a CPU",
    "kernel_as_matmul": "convolutions with a kernel as large as the map, as one matrix product",
    "content_once": "maps that frames share are convolved once per sequence, not once per frame",
    "fold_batch_norm": "forecasts fold batch normalisation into the weights of convolutions",
    "cached_weights": "forecasts derive tensors from weights once, not once per part",
    "malloc_reuse": "training on a CPU keeps freed memory for the next step",
    "batched_encoding": "several windows of a sequence are encoded in one call",
}


def _checked(names: tuple[str, ...], origin: str) -> frozenset[str]:
    unknown = [name for name in names if name not in NAMES]
    if unknown:
        raise InputError(
            f"{origin} got an unknown fast path, {unknown[0]!r}; choose from {', '.join(NAMES)}."
        )
    return frozenset(names)


_off: ContextVar[frozenset[str] | None] = ContextVar("switched off", default=None)


def enabled(name: str) -> bool:
    """Whether a fast path is switched on."""
    off = _off.get()
    if off is None:  # read late, so that the caller can catch an error
        named = os.environ.get(VARIABLE, "").split(",")
        off = _checked(tuple(part.strip() for part in named if part.strip()), VARIABLE)
        _off.set(off)
    return name not in off


@contextmanager
def without(*names: str) -> Iterator[None]:
    """Switch fast paths off inside the block.

    Errors:
        InputError: a name is not that of a fast path.
    """
    enabled(next(iter(NAMES)))
    token = _off.set((_off.get() or frozenset()) | _checked(names, "switches.without"))
    try:
        yield
    finally:
        _off.reset(token)

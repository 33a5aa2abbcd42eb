"""Fast paths: ways to compute the same sooner, by name; each can be switched off.

    with fast_paths.without("winograd"):
        model.forecast(context)

or, for a whole process, `STATECAST_WITHOUT=winograd,kernel_as_matmul`. Results agree within
rounding.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar

from statecast.errors import InputError

VARIABLE = "STATECAST_WITHOUT"  # names, separated by commas, switched off from the start

# Each fast path and its effect; `benchmarks/speed.py --ablation` measures the gain (docs/speed.md).
NAMES: dict[str, str] = {
    "channels_last": "maps lie in memory channel by channel of a pixel, as convolutions read them",
    "transposed_as_convolution": "transposed convolutions as convolutions of the coarse map",
    "winograd": "convolutions of wide maps by Winograd's algorithm, on a processor",
    "kernel_as_matmul": "convolutions with a kernel as large as the map, as one matrix product",
    "content_once": "what frames share is convolved once per sequence, not once per frame",
    "fold_batch_norm": "batch normalisation is folded into a convolution's weights, to forecast",
    "cached_weights": "what a forecast makes of weights alone is made once, not once per part",
    "malloc_reuse": "freed memory is kept for the next step, in a training on a processor",
    "batched_encoding": "several windows of a sequence are encoded in one call",
}


def _checked(names: tuple[str, ...], origin: str) -> frozenset[str]:
    unknown = [name for name in names if name not in NAMES]
    if unknown:
        raise InputError(
            f"{origin} names no fast path {unknown[0]!r}; there are {', '.join(NAMES)}."
        )
    return frozenset(names)


_off: ContextVar[frozenset[str] | None] = ContextVar("switched off", default=None)


def enabled(name: str) -> bool:
    """Whether a fast path is taken."""
    off = _off.get()
    if off is None:  # read late, so that a mistake is told where errors are caught
        named = os.environ.get(VARIABLE, "").split(",")
        off = _checked(tuple(part.strip() for part in named if part.strip()), VARIABLE)
        _off.set(off)
    return name not in off


@contextmanager
def without(*names: str) -> Iterator[None]:
    """Switch fast paths off inside the block.

    Errors:
        InputError: there is no fast path of such a name.
    """
    enabled(next(iter(NAMES)))
    token = _off.set((_off.get() or frozenset()) | _checked(names, "fast_paths.without"))
    try:
        yield
    finally:
        _off.reset(token)

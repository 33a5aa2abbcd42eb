"""Cache of tensors derived from weights, while the weights do not change."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any, TypeVar

import torch

from statecast.nn.fast.switches import enabled

Made = TypeVar("Made")
_made: ContextVar[dict[Hashable, Any] | None] = ContextVar("made of weights", default=None)


@contextmanager
def constant_weights() -> Iterator[None]:
    """Context in which no weight changes, such as a forecast in several parts."""
    if constant() or not enabled("cached_weights"):
        yield
        return
    token = _made.set({})
    try:
        yield
    finally:
        _made.reset(token)


def constant() -> bool:
    """Whether weights are known not to change."""
    return _made.get() is not None


def cached(key: Hashable, make: Callable[[], Made]) -> Made:
    """Result of `make`, cached while weights are `constant`.

    The key must hold the objects that the result depends on, so that they live as long as it does.
    """
    known = _made.get()
    if known is None or torch.is_grad_enabled():
        return make()
    if key not in known:
        known[key] = make()
    return known[key]

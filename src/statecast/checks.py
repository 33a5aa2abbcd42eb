"""Checks of the arguments of public functions against their signatures."""

from __future__ import annotations

import functools
import inspect
import math
import types
from collections.abc import Callable, Mapping, Sequence
from numbers import Integral, Real
from pathlib import Path
from typing import Any, Literal, ParamSpec, TypeVar, Union, get_args, get_origin

from statecast.errors import FileError, InputError, StatecastError

P = ParamSpec("P")
R = TypeVar("R")

MOST = 1 << 40  # larger integers are taken for mistakes, except seeds
LONGEST = 1_000_000  # most frames that a forecast has, and most steps per frame
STRANGE = ("builtins", "numpy", "torch")  # their types never stand in for ours
SHOWN = 60  # characters of a value in a message
ALLOCATION = ("allocate memory", "out of memory", "Storage size calculation overflowed",
              "numel: integer multiplication overflow", "negative dimension",
              "invalid array size")  # fmt: skip

WORDS: dict[Any, str] = {int: "a whole number", float: "a number", str: "text",
                         bool: "true or false", Path: "a path", "ndarray": "an array",
                         "Generator": "a torch.Generator().manual_seed(…)"}  # fmt: skip
PLURALS: dict[Any, str] = {int: "whole numbers", float: "numbers", str: "texts", Path: "paths"}


def typed(function: Callable[P, R]) -> Callable[P, R]:
    """Decorate a public function: refuse arguments whose types differ from its signature.

    Integers may be NumPy's, and tuples may be lists. A bool is not a number, and NaN is not
    accepted. The shapes and dtypes of tensors are for the function itself to check.

    Errors of the decorated function:
        InputError: an argument does not fit, or would need more memory than there is.
        FileError: the system refuses access to a file, or its name.
    """
    signature = inspect.signature(function)
    wanted: dict[str, Any] = {}

    @functools.wraps(function)
    def checked(*args: P.args, **kwargs: P.kwargs) -> R:
        if not wanted:
            wanted.update(annotations_of(function, signature))
        try:
            bound = signature.bind(*args, **kwargs)
        except TypeError as error:
            seeded = "generator" in signature.parameters and "'seed'" in str(error)
            remedy = ": pass generator=torch.Generator().manual_seed(…)" if seeded else ""
            raise TypeError(f"{function.__qualname__}() {error}{remedy}") from None
        for name, value in bound.arguments.items():
            if name in wanted and not (fits(value, wanted[name]) or is_seed(name, value)):
                raise InputError(refusal(name, value, wanted[name]))
        try:
            return function(*args, **kwargs)
        except StatecastError:
            raise
        except (OSError, UnicodeError) as error:  # such as a name that the system refuses
            reason = getattr(error, "strerror", None) or str(error)
            raise FileError(f"A file could not be accessed: {reason[:160]}.") from error
        except (MemoryError, RuntimeError, OverflowError) as error:
            if not is_allocation(error):
                raise
            raise InputError(
                "These sizes need more memory than there is: "
                f"{' '.join(str(error).split())[:160]}. Make them smaller."
            ) from error

    return checked


def is_allocation(error: BaseException) -> bool:
    """Whether an error says that memory ran out, or that a size overflows."""
    if isinstance(error, MemoryError):
        return True
    return any(words in str(error) for words in ALLOCATION)


def annotations_of(function: Callable[..., Any], signature: inspect.Signature) -> dict[str, Any]:
    """Types of the arguments, without those that only type checkers can resolve."""
    found: dict[str, Any] = {}
    scope = inspect.unwrap(function).__globals__
    for name, parameter in signature.parameters.items():
        text = parameter.annotation
        if text is parameter.empty or "VAR" in parameter.kind.name:
            continue
        try:
            found[name] = eval(text, scope) if isinstance(text, str) else text
        except NameError:
            continue
    return found


def fits(value: object, wanted: Any) -> bool:
    """Whether a value fits a type; every value fits a type that cannot be checked."""
    origin, inner = get_origin(wanted), get_args(wanted)
    if origin in (Union, types.UnionType):
        return any(fits(value, one) for one in inner)
    if origin is Literal:
        return any(type(value) is type(one) and value == one for one in inner)
    if wanted is None or wanted in PLAIN:
        return PLAIN[wanted](value)
    if isinstance(origin, type):
        return fits_container(value, origin, inner)
    if isinstance(wanted, type):
        # The function itself checks the sizes that a jaxtyping annotation names.
        expected = getattr(wanted, "array_type", wanted)
        # An object may act as a data source or a model without deriving from it.
        return isinstance(value, expected) or not is_strange(value)
    return True


def is_strange(value: object) -> bool:
    """Whether a value's type comes from Python, NumPy or PyTorch."""
    module = type(value).__module__
    return module in STRANGE or module.startswith("numpy.")


def fits_container(value: object, origin: type, inner: tuple[Any, ...]) -> bool:
    """Whether a value is a mapping or sequence of fitting elements, or of another generic type."""
    if issubclass(origin, Mapping):
        keys, values = inner or (Any, Any)
        return isinstance(value, Mapping) and all(
            fits(k, keys) and fits(v, values) for k, v in value.items()
        )
    if issubclass(origin, Sequence):
        return fits_sequence(value, origin, inner)
    return isinstance(value, origin) or not is_strange(value)


def fits_sequence(value: object, origin: type, inner: tuple[Any, ...]) -> bool:
    """Whether a value is a list or tuple of elements of a type, and not text."""
    if not isinstance(value, list | tuple) and (
        origin is tuple or isinstance(value, str | bytes) or not isinstance(value, Sequence)
    ):
        return False
    elements = list(value)
    if origin is tuple and Ellipsis not in inner:
        return len(elements) == len(inner) and all(map(fits, elements, inner))
    if inner[:1] == (float,):  # the function itself decides what NaN means
        return all(is_number(e) or isinstance(e, float) for e in elements)
    return all(fits(element, inner[0]) for element in elements) if inner else True


def is_seed(name: str, value: object) -> bool:
    """Whether an argument is a seed: a whole number of any size."""
    return name == "seed" and not isinstance(value, bool) and isinstance(value, Integral)


def is_whole(value: object) -> bool:
    """Whether a value is an integer smaller than `MOST`, and not a bool."""
    return not isinstance(value, bool) and isinstance(value, Integral) and abs(int(value)) < MOST


def is_number(value: object) -> bool:
    """Whether a value is a real number, neither a bool nor NaN."""
    if isinstance(value, Integral):
        return is_whole(value)
    return isinstance(value, Real) and not math.isnan(value)


PLAIN: dict[Any, Callable[[object], bool]] = {
    Any: lambda _: True,
    None: lambda value: value is None,
    types.NoneType: lambda value: value is None,
    object: lambda _: True,
    int: is_whole,
    float: is_number,
    bool: lambda value: isinstance(value, bool),
    str: lambda value: isinstance(value, str) and "\0" not in value,
    Path: lambda value: isinstance(value, Path) and "\0" not in str(value),
}


def refusal(name: str, value: object, wanted: object) -> str:
    """The error message for an argument that does not fit."""
    shown = " ".join(repr(value).split())[:SHOWN] if is_plain(value) else type(value).__name__
    if isinstance(value, int) and not is_plain(value):
        shown = "one that is too large"
    return f"{name} should be {described(wanted)}, got {shown}."


def described(wanted: Any) -> str:
    """A type in words: `a list of numbers` for a sequence, `{name: text}` for a mapping."""
    origin, inner = get_origin(wanted), get_args(wanted)
    if origin is Literal:
        return " or ".join(map(str, inner))
    if origin in (Union, types.UnionType):
        return " or ".join(map(described, inner))
    if wanted in (None, types.NoneType):
        return "None"
    if inner and isinstance(origin, type) and issubclass(origin, Mapping):
        return f"{{name: {described(inner[1])}}}"
    if inner and isinstance(origin, type) and issubclass(origin, Sequence):
        several = origin is not tuple or Ellipsis in inner
        each = ", ".join(map(described, inner))
        return f"a list of {PLURALS.get(inner[0], each)}" if several else f"[{each}]"
    name = getattr(origin or wanted, "__name__", str(wanted))
    return WORDS.get(wanted, WORDS.get(name, name))


def is_plain(value: object) -> bool:
    """Whether a value is short enough to be shown."""
    if isinstance(value, list | tuple):
        return len(value) <= 8 and all(map(is_plain, value))
    if isinstance(value, dict):
        return is_plain([part for item in value.items() for part in item])
    if isinstance(value, int):
        return abs(value) < MOST
    return value is None or isinstance(value, str | float)

"""The part of Python's unpickler that tensors and inert modules need, and nothing else.

Every name that a pickle asks for is looked up in a table of our own functions; no module is
imported, and no attribute of anything but our own records is set.
"""

from __future__ import annotations

import pickle
import pickletools
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Any, NamedTuple

import torch
from torch import Tensor

from statecast.errors import InputError

MODULE_PACKAGES = ("torch.nn.modules.", "var_sep.networks.")  # whose classes become records
MAX_DIMENSIONS = 64
DTYPES = {
    "DoubleStorage": torch.float64,
    "FloatStorage": torch.float32,
    "HalfStorage": torch.float16,
    "BFloat16Storage": torch.bfloat16,
    "LongStorage": torch.int64,
    "IntStorage": torch.int32,
    "ShortStorage": torch.int16,
    "CharStorage": torch.int8,
    "ByteStorage": torch.uint8,
    "BoolStorage": torch.bool,
}
NUMPY_TYPES = {"f8": "d", "f4": "f", "i8": "q", "i4": "i", "b1": "?"}  # to codes of `struct`

INSTRUCTIONS = frozenset(
    name
    for group in (
        ("PROTO", "FRAME", "STOP", "MARK", "NONE", "NEWTRUE", "NEWFALSE", "BINFLOAT", "LONG1"),
        ("BININT", "BININT1", "BININT2", "BINUNICODE", "SHORT_BINUNICODE", "BINSTRING"),
        ("SHORT_BINSTRING", "BINBYTES", "SHORT_BINBYTES", "EMPTY_DICT", "SETITEM", "SETITEMS"),
        ("EMPTY_LIST", "APPEND", "APPENDS", "EMPTY_SET", "ADDITEMS"),
        ("EMPTY_TUPLE", "TUPLE", "TUPLE1", "TUPLE2", "TUPLE3"),
        ("BINPUT", "LONG_BINPUT", "MEMOIZE", "BINGET", "LONG_BINGET", "POP", "POP_MARK", "DUP"),
        ("GLOBAL", "STACK_GLOBAL", "REDUCE", "NEWOBJ", "BUILD", "BINPERSID"),
    )
    for name in group
)

StorageReader = Callable[[str, int, object], Tensor]


@dataclass(eq=False)
class PickledModule:
    """A pickled module as inert data: the name of its class and its attributes."""

    name: str  # such as "torch.nn.modules.linear.Linear"
    state: dict[str, Any] = field(default_factory=dict)


class Storage(NamedTuple):
    """Numbers that tensors look at."""

    content: Tensor  # uint8
    dtype: torch.dtype


class Machine:
    """Reads pickles from streams.

    Args:
        path: of the file, for messages.
        storage: gives the bytes of a storage by its key, size and view; None where a pickle may
            hold no tensors.
        widths: filled with the size of a number of each storage.
    """

    def __init__(
        self,
        path: Path,
        storage: StorageReader | None,
        widths: dict[str, int] | None = None,
    ) -> None:
        self.path, self.storage, self.widths = path, storage, widths

    def run(self, stream: IO[bytes]) -> object:
        """The value of the next pickle in a stream."""
        start = stream.tell()
        check_instructions(stream)
        stream.seek(start)
        return _Reader(stream, self).load()

    def stored(self, reference: object) -> Storage:
        """The storage that a pickle refers to."""
        if self.storage is None or not isinstance(reference, tuple) or len(reference) not in (5, 6):
            raise ValueError("a reference to no storage")
        kind, dtype, key, _, count, *view = reference
        if kind != "storage" or not isinstance(dtype, torch.dtype) or not isinstance(count, int):
            raise ValueError("a reference to no storage")
        width = torch.empty(0, dtype=dtype).element_size()
        if count < 0:
            raise ValueError("a storage of negative size")
        if self.widths is not None:
            self.widths[str(key)] = width
        content = self.storage(str(key), count * width, view[0] if view else None)
        return Storage(content, dtype)


def check_instructions(stream: IO[bytes]) -> None:
    """Raise `ValueError` for an instruction that no checkpoint has, before any is carried out.

    Among them is one that would make Python reserve memory for a number that the file names.
    """
    for count, (instruction, argument, _) in enumerate(pickletools.genops(stream)):
        if instruction.name not in INSTRUCTIONS:
            raise ValueError(f"the instruction {instruction.name}")
        if instruction.name.endswith("PUT") and isinstance(argument, int) and argument > count:
            raise ValueError(f"value {argument} remembered after {count} instructions")


class _Reader(pickle.Unpickler):
    """Python's unpickler with every way out of it closed."""

    def __init__(self, stream: IO[bytes], machine: Machine) -> None:
        super().__init__(stream, encoding="utf-8")
        self.machine = machine

    def find_class(self, module: str, name: str) -> Any:
        full = f"{module}.{name}"
        if full in REBUILDERS:
            return REBUILDERS[full]
        if module == "torch" and name in DTYPES:
            return DTYPES[name]
        if module.startswith(MODULE_PACKAGES) and name.isidentifier() and name[0].isupper():
            return _record_class(full)
        asked = full[:80].encode("unicode_escape").decode()
        raise InputError(
            f"{self.machine.path} asks for {asked}, which a checkpoint of tensors does not need. "
            "It was refused, and nothing in it was run."
        )

    def persistent_load(self, reference: object) -> object:
        # Older files say of a module's class where its source was.
        match reference:
            case ("module", type() as record, *_) if issubclass(record, PickledModule):
                return record
        return self.machine.stored(reference)


def _record_class(full: str) -> type[PickledModule]:
    """A class of records that takes the place of a module's class."""

    def new(cls: type[PickledModule], *arguments: object) -> PickledModule:
        record = object.__new__(cls)
        record.name, record.state = full, {}
        return record

    def set_state(record: PickledModule, state: object) -> None:
        if not isinstance(state, dict) or not all(isinstance(key, str) for key in state):
            raise ValueError(f"the state of {full} is no dictionary of names")
        record.state = dict(state)

    def no_init(record: PickledModule, *arguments: object) -> None:
        pass

    body = {"__new__": new, "__init__": no_init, "__setstate__": set_state}
    return type("PickledModule", (PickledModule,), body)


def _tensor(storage: object, offset: object, size: object, stride: object, *rest: object) -> Tensor:
    """A view of a storage, which must lie inside it."""
    if not isinstance(storage, Storage):
        raise ValueError("a tensor of no storage")
    shape, steps = _whole_numbers(size), _whole_numbers(stride)
    (start,) = _whole_numbers((offset,))
    if len(shape) != len(steps) or len(shape) > MAX_DIMENSIONS:
        raise ValueError("a tensor whose size and stride differ in length")
    values = storage.content.view(storage.dtype)
    if 0 not in shape:
        last = start + sum((n - 1) * step for n, step in zip(shape, steps, strict=True))
        # A stride of 0 would let a small file ask for a huge tensor.
        if last >= len(values) or torch.Size(shape).numel() > max(len(values), 1):
            raise ValueError("a tensor that leaves its storage")
    elif start > len(values):
        raise ValueError("a tensor that leaves its storage")
    return values.as_strided(shape, steps, start)


def _whole_numbers(values: object) -> tuple[int, ...]:
    if not isinstance(values, tuple | list):
        raise ValueError("a shape that is no tuple")
    if not all(type(value) is int and value >= 0 for value in values):
        raise ValueError("a shape that is not made of whole numbers")
    return tuple(values)


def _parameter(tensor: object, *rest: object) -> Tensor:
    if not isinstance(tensor, Tensor):
        raise ValueError("a parameter that is no tensor")
    return tensor


def _dictionary(items: object = ()) -> dict[Any, Any]:
    if not isinstance(items, list | tuple):
        raise ValueError("a dictionary that is not made of items")
    return _Dictionary(items)


class _Dictionary(dict[Any, Any]):
    """A dictionary; attributes that a pickle wants to set on it are ignored."""

    def __setstate__(self, state: object) -> None:
        pass


def _list(items: object = ()) -> list[Any]:
    if not isinstance(items, list | tuple):
        raise ValueError("a set that is not made of items")
    return list(items)


def _encoded(text: object, coding: object = "latin1") -> bytes:
    if not isinstance(text, str) or coding not in ("latin1", "latin-1"):
        raise ValueError("bytes in an unknown coding")
    return text.encode("latin1")


class _NumpyType:
    """A number type of numpy."""

    def __init__(self, code: object, *rest: object) -> None:
        if code not in NUMPY_TYPES:
            raise ValueError(f"numbers of the numpy type {code!r:.20}")
        self.code, self.order = NUMPY_TYPES[str(code)], "<"

    def __setstate__(self, state: object) -> None:
        if isinstance(state, tuple) and len(state) > 1 and state[1] in ("<", ">", "|", "="):
            self.order = "=" if state[1] == "|" else str(state[1])


def _number(kind: object, content: object) -> float | int | bool:
    import struct

    if not isinstance(kind, _NumpyType) or not isinstance(content, bytes):
        raise ValueError("a number of no type")
    (value,) = struct.unpack(kind.order + kind.code, content)
    return bool(value) if kind.code == "?" else value


REBUILDERS: dict[str, Any] = {
    "collections.OrderedDict": _dictionary,
    "builtins.set": _list,
    "__builtin__.set": _list,
    "torch.Size": _list,
    "torch._utils._rebuild_tensor_v2": _tensor,
    "torch._utils._rebuild_parameter": _parameter,
    "torch.nn.parameter.Parameter": _parameter,
    "_codecs.encode": _encoded,
    "numpy.dtype": _NumpyType,
    "numpy.core.multiarray.scalar": _number,
    "numpy._core.multiarray.scalar": _number,
}

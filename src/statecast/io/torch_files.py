"""Files of `torch.save`, read without running code in them: state dicts and pickled modules."""

from __future__ import annotations

import io
import pickle
import zipfile
from collections import OrderedDict
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from statecast.errors import CorruptionError, FileError, InputError, StatecastError

LEGACY_HEAD = [0x1950A86A20F9469CFC6C, 1001]  # magic number and version, PyTorch before 1.6
MAX_PARTS = 100_000  # modules and tensors of one published module
# Beginnings of class names that become records: modules, and what research code pickles with them.
RECORDS = ("torch.nn.modules.", "torch.optim.", "var_sep.networks.", "models.", "argparse.",
           "numpy.dtype", "numpy.core.", "numpy._core.", "_codecs.")  # fmt: skip
DTYPES = {
    "Double": torch.float64, "Float": torch.float32, "Half": torch.float16, "Bool": torch.bool,
    "BFloat16": torch.bfloat16, "Long": torch.int64, "Int": torch.int32, "Short": torch.int16,
    "Char": torch.int8, "Byte": torch.uint8,
}  # fmt: skip


class PickledModule:
    """A pickled module or other object as inert data: the name of its class, and attributes."""

    name = ""  # such as "torch.nn.modules.linear.Linear"

    def __init__(self, *_: object) -> None: ...

    def __setstate__(self, state: object) -> None:
        self.state: dict[str, Any] = dict(state) if isinstance(state, dict) else {}


def load_torch_file(path: str | Path) -> object:
    """Load a file of `torch.save` onto the CPU, without running code in it.

    PyTorch itself loads state dicts (`weights_only=True`). Everything else is read here, with
    `PickledModule`s in place of modules: archives, and the format before PyTorch 1.6.

    Errors:
        FileError: there is no such file.
        InputError: it asks for other classes than tensors and modules, or is compressed.
        CorruptionError: it is damaged, states larger sizes than it has, or is not a file of
            `torch.save`.
    """
    path = Path(path)
    if not path.is_file():
        raise FileError(f"{path} is not a file; expected a file that torch.save wrote.")
    try:
        load_objects = load_legacy
        if zipfile.is_zipfile(path):
            load_objects = load_archive
            if sum(m.file_size for m in zipfile.ZipFile(path).infolist()) > path.stat().st_size:
                raise InputError(
                    f"{path} is compressed, which torch.save never does. Save it with torch.save."
                )
        try:
            content = torch.load(path, map_location="cpu", weights_only=True)
            check_tensors(content.values(), path)
        except Exception:  # not a state dict, or damaged, which the other reader finds out
            content = load_objects(path)
    except StatecastError:
        raise
    except Exception as error:  # damage can make the readers raise anything
        raise CorruptionError(
            f"{path} is damaged, or was not written by torch.save: {error!r:.80}"
        ) from error
    return content


def check_tensors(tensors: Any, path: Path) -> None:
    """Raise `ValueError` if tensors are larger than their storages, or these than the file."""
    storages = {t.untyped_storage().data_ptr(): t.untyped_storage().nbytes() for t in tensors}
    large = any(t.nbytes > t.untyped_storage().nbytes() for t in tensors)  # by a stride of 0
    if large or sum(storages.values()) > path.stat().st_size:
        raise ValueError("tensors leave their storages")


def load_archive(path: Path) -> object:
    """Load an archive: a pickle, and a member for each storage, little-endian."""
    with zipfile.ZipFile(path) as archive:
        (name,) = (name for name in archive.namelist() if name.endswith("/data.pkl"))
        reader = InertUnpickler(io.BytesIO(archive.read(name)), path)
        content = reader.load()
        for key, storage in reader.storages.items():
            storage[:] = archive.read(f"{name.removesuffix('.pkl')}/{key}")
    return content


def load_legacy(path: Path) -> object:
    """Load the older format: pickles of version, system, object and keys, then the storages."""
    with path.open("rb") as stream:
        if [InertUnpickler(stream, path).load() for _ in range(3)][:2] != LEGACY_HEAD:
            raise InputError(f"{path} is a pickle, but not one that torch.save wrote.")
        reader = InertUnpickler(stream, path)
        content, keys = reader.load(), InertUnpickler(stream, path).load()
        for key in keys:
            stream.seek(8, io.SEEK_CUR)  # the number of values
            storage = reader.storages.pop(key)
            storage[:] = stream.read(len(storage))
        if reader.storages or stream.read(1):
            raise ValueError("its storages are not those that its tensors need")
    return content


class InertUnpickler(pickle._Unpickler):
    """An unpickler of tensors and records.

    It derives from Python's unpickler in Python; the one in C allocates any size that a file asks
    for.
    """

    def __init__(self, stream: Any, path: Path) -> None:
        super().__init__(stream, encoding="utf-8")
        self.path, self.budget = path, path.stat().st_size  # bytes of all storages together
        self.storages: dict[str, memoryview] = {}  # to be filled, by as many bytes
        self.known: dict[str, Any] = {f"torch.{name}Storage": DTYPES[name] for name in DTYPES}
        self.known |= {"collections.OrderedDict": OrderedDict, "torch.Size": tuple}
        self.known |= {"builtins.set": set, "__builtin__.set": set}
        self.known["torch._utils._rebuild_tensor_v2"] = self.rebuild_tensor
        self.known["torch._utils._rebuild_parameter"] = lambda tensor, *_: tensor
        self.known["torch.nn.parameter.Parameter"] = lambda tensor, *_: tensor  # PyTorch 0.4

    def find_class(self, module: str, name: str) -> Any:
        full = f"{module}.{name}"
        if full.startswith(RECORDS):
            return type("PickledModule", (PickledModule,), {"name": full, "state": {}})
        if full not in self.known:
            raise InputError(
                f"{self.path} asks for {full!r:.80}, which is refused; no code in it was run."
            )
        return self.known[full]

    def persistent_load(self, pid: Any) -> object:
        if pid[0] == "module":  # a class, and the place of its source
            return pid[1]
        _, dtype, key, _, count, *view = pid
        if key not in self.storages:
            self.budget -= count * dtype.itemsize
            if self.budget < 0 or view not in ([], [None]):
                raise ValueError("storages are larger than the file, or share memory")
            self.storages[key] = memoryview(bytearray(count * dtype.itemsize))
        numbers = self.storages[key]
        return torch.frombuffer(numbers, dtype=dtype) if numbers else torch.zeros(0, dtype=dtype)

    def rebuild_tensor(self, storage: Tensor, start: int, size: Any, step: Any, *_: Any) -> Tensor:
        check_tensors([tensor := storage.as_strided(size, step, start)], self.path)
        return tensor


def module_tensors(module: PickledModule) -> dict[str, Tensor]:
    """Parameters and buffers of a module, with the names and in the order of a state dict.

    Errors:
        InputError: the module is not a tree of modules and tensors.
    """
    found: dict[str, Tensor] = {}
    pending: list[tuple[str, Any]] = [("", module)]
    for _ in range(MAX_PARTS):
        if not pending:
            return found
        name, part = pending.pop()
        if isinstance(part, Tensor):
            found[name] = part
        elif isinstance(part, PickledModule):
            unsaved = part.state.get("_non_persistent_buffers_set", set())
            for kind in ("_modules", "_buffers", "_parameters"):  # the last is taken up first
                entries = part.state.get(kind)
                if isinstance(entries, dict) and isinstance(unsaved, set):
                    kept = [key for key in reversed(entries) if key not in unsaved]
                    pending += [(f"{name}.{key}".lstrip("."), entries[key]) for key in kept]
        elif part is not None:
            raise InputError(f"{name!r:.80} should be a module or tensor, got {part!r:.80}.")
    raise InputError("The pickled module nests without end.")

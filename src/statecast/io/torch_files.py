"""Tensors and names out of a PyTorch pickle, without running anything in it.

A pickle is a small program. Here it can call nothing but a few functions of our own, and classes
become inert `PickledModule`s; see `pickle_machine.py`. This file reads the two formats around it.
"""

from __future__ import annotations

import io
import pickle
import struct
import sys
import zipfile
from pathlib import Path
from typing import IO

import torch
from torch import Tensor

from statecast.errors import CorruptionError, FileError, InputError
from statecast.io.pickle_machine import Machine, PickledModule

LEGACY_MAGIC = 0x1950A86A20F9469CFC6C  # first value of a file of PyTorch before 1.6
LEGACY_PROTOCOL = 1001
MAX_DEPTH = 64  # of nested modules
MAX_PARTS = 100_000  # modules and tensors of one published module
DAMAGE = (  # what a malformed pickle or archive can make Python, zipfile and torch raise
    ArithmeticError,
    AttributeError,
    EOFError,
    LookupError,
    MemoryError,
    NotImplementedError,
    RuntimeError,
    TypeError,
    ValueError,
    pickle.UnpicklingError,
    struct.error,
    zipfile.BadZipFile,
)


def read_pickle(path: str | Path) -> object:
    """What a file of `torch.save` holds, with nothing in it executed.

    State dicts come as dictionaries of tensors, pickled modules as `PickledModule`s, sets as lists,
    numpy's numbers as Python's. Tensors are on the CPU and need no gradient, wherever they were.
    Both formats are read: archives, and the older one of PyTorch before 1.6.

    Errors:
        FileError: there is no such file.
        InputError: it is no file of `torch.save`, or asks for more than tensors and modules.
        CorruptionError: it is truncated or damaged.

    Formats: https://docs.pytorch.org/docs/stable/notes/serialization.html,
    https://docs.python.org/3/library/pickletools.html.
    """
    path = Path(path)
    if not path.is_file():
        raise FileError(f"{path} is not a file; expected a file that torch.save wrote.")
    try:
        with path.open("rb") as stream:
            if path.stat().st_size < 4:
                raise CorruptionError(f"{path} is cut off: {path.stat().st_size} bytes.")
            start = stream.read(4)
            stream.seek(0)
            if start == b"PK\x03\x04":
                return read_archive(path, stream)
            if start[:1] == b"\x80":
                return read_legacy(path, stream.read())
    except (InputError, FileError):
        raise
    except OSError as error:
        raise FileError(f"{path} cannot be read: {error.strerror}.") from error
    except DAMAGE as error:
        reason = printable(str(error) or type(error).__name__)
        raise CorruptionError(f"{path} is damaged or cut off: {reason}. Get it again.") from error
    raise InputError(f"{path} is no file that torch.save wrote: it begins with {start!r}.")


def module_tensors(module: PickledModule) -> dict[str, Tensor]:
    """Parameters and buffers of a pickled module, under the names and in the order of a state dict.

    Errors:
        InputError: what the module holds is no tree of modules and tensors.
    """
    found: dict[str, Tensor] = {}
    collect(module, "", 0, found, [0])
    return found


def collect(
    module: object, prefix: str, depth: int, found: dict[str, Tensor], parts: list[int]
) -> None:
    """Add a module's tensors to `found`, then those of its parts; `parts` counts them."""
    parts[0] += 1
    if depth > MAX_DEPTH or parts[0] > MAX_PARTS:  # a module inside itself, or a bomb
        raise InputError(f"The pickled module nests without end at {printable(prefix)}.")
    if not isinstance(module, PickledModule):
        raise InputError(f"{printable(prefix)} should be a module, got {type(module).__name__}.")
    temporary = module.state.get("_non_persistent_buffers_set") or []
    for kind in ("_parameters", "_buffers", "_modules"):
        entries = module.state.get(kind) or {}
        if not isinstance(entries, dict) or not isinstance(temporary, list):
            raise InputError(f"{printable(prefix + kind)} should be a dictionary.")
        for name, entry in entries.items():
            full = f"{prefix}{name}"
            if entry is None or (kind == "_buffers" and name in temporary):
                continue
            if kind == "_modules":
                collect(entry, f"{full}.", depth + 1, found, parts)
            elif isinstance(entry, Tensor) and parts[0] < MAX_PARTS:
                found[full] = entry
                parts[0] += 1
            else:
                raise InputError(f"{printable(full)} should be a tensor.")


def read_archive(path: Path, stream: IO[bytes]) -> object:
    """Read the format of PyTorch 1.6 and later: an archive of a pickle and its storages."""
    with zipfile.ZipFile(stream) as archive:
        members = archive_members(path, archive)
        pickles = [name for name in members if name.count("/") == 1 and name.endswith("/data.pkl")]
        folder = pickles[0].partition("/")[0] if len(pickles) == 1 else ""
        if not folder or f"{folder}/constants.pkl" in members:
            raise InputError(f"{path} is no archive of torch.save: expected one data.pkl in it.")
        order = f"{folder}/byteorder"
        if order in members and archive.read(order).decode() != sys.byteorder:
            raise InputError(f"{path} was written on a machine of another byte order.")
        contents: dict[str, Tensor] = {}

        def storage(key: str, size: int, view: object) -> Tensor:
            if view is not None:
                raise ValueError("a view of a storage")
            if key not in contents:
                member = members[f"{folder}/data/{key}"]
                if member.file_size != size:
                    raise ValueError(f"storage {key} has {member.file_size} bytes, not {size}")
                with archive.open(member) as data:
                    contents[key] = filled(torch.empty(size, dtype=torch.uint8), data)
            if len(contents[key]) != size:
                raise ValueError(f"storage {key} has {len(contents[key])} bytes, not {size}")
            return contents[key]

        return Machine(path, storage).run(io.BytesIO(archive.read(pickles[0])))


def archive_members(path: Path, archive: zipfile.ZipFile) -> dict[str, zipfile.ZipInfo]:
    """Members of an archive by name, refused where they leave their folder or could be a bomb."""
    members: dict[str, zipfile.ZipInfo] = {}
    for member in archive.infolist():
        name = member.filename
        if name.startswith("/") or "\\" in name or ".." in name.split("/") or name in members:
            raise InputError(f"{path} holds the member {printable(name)}; refused.")
        if member.compress_type != zipfile.ZIP_STORED or member.flag_bits & 1:
            raise InputError(f"{path} is compressed or encrypted, as torch.save never does.")
        members[name] = member
    if sum(member.file_size for member in members.values()) > path.stat().st_size:
        raise InputError(f"{path} holds members that overlap; refused.")
    return members


def read_legacy(path: Path, content: bytes) -> object:
    """Read the format before PyTorch 1.6: three small pickles, the object's, then its storages."""
    stream = io.BytesIO(content)
    contents: dict[str, Tensor] = {}
    widths: dict[str, int] = {}
    announced = 0

    def storage(key: str, size: int, view: object) -> Tensor:
        nonlocal announced
        if key not in contents:
            announced += size
            if announced > len(content):
                raise ValueError(f"storages of {announced} bytes in a file of {len(content)}")
            contents[key] = torch.zeros(size, dtype=torch.uint8)
        if len(contents[key]) != size:
            raise ValueError(f"storage {key} has {len(contents[key])} bytes, not {size}")
        if view is not None:
            raise InputError(f"{path} holds views of storages, as only PyTorch before 0.4 wrote.")
        return contents[key]

    plain = Machine(path, None)
    if plain.run(stream) != LEGACY_MAGIC:
        raise InputError(f"{path} is a pickle, but none that torch.save wrote.")
    if plain.run(stream) != LEGACY_PROTOCOL:
        raise InputError(f"{path} has an unknown version of the format of torch.save.")
    system = plain.run(stream)
    if not isinstance(system, dict) or system.get("little_endian") is not (
        sys.byteorder == "little"
    ):
        raise InputError(f"{path} was written on a machine of another byte order.")
    machine = Machine(path, storage, widths)
    result = machine.run(stream)
    keys = plain.run(stream)
    if not isinstance(keys, list) or sorted(map(str, keys)) != sorted(contents):
        raise ValueError("its storages are not those that its tensors need")
    for key in keys:
        (count,) = struct.unpack("<q", stream.read(8))
        if count * widths[key] != len(contents[key]):
            raise ValueError(f"storage {printable(key)} has {count} numbers, not as announced")
        filled(contents[key], stream)
    return result


def filled(content: Tensor, stream: IO[bytes]) -> Tensor:
    """Fill a uint8 tensor from a stream, which must hold enough."""
    view = memoryview(content.numpy())  # type: ignore[arg-type]
    done = 0
    while done < len(view):
        block = stream.read(min(1 << 24, len(view) - done))
        if not block:
            raise EOFError(f"{len(view) - done} bytes of a tensor are missing")
        view[done : done + len(block)] = block
        done += len(block)
    stream.read(0 if isinstance(stream, io.BytesIO) else 1)  # lets zipfile check its sum
    return content


def printable(text: object, limit: int = 80) -> str:
    """Text of a stranger, shortened and without control characters, fit for a message."""
    escaped = str(text)[:limit].encode("unicode_escape").decode()
    return escaped + ("…" if len(str(text)) > limit else "")

"""Images of handwritten digits: those that scikit-learn carries, or MNIST's own files."""

from __future__ import annotations

import gzip
import hashlib
import math
import struct
import zlib
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from statecast.data.base import Split, seeded_generator
from statecast.errors import CorruptionError, FileError, require
from statecast.io.numpy_files import check_unpacked

Array = np.ndarray[Any, np.dtype[Any]]

SIDE = 28  # pixels of a digit's side, as in MNIST
INK = 20 / 28  # part of the side that the digit itself takes, as in MNIST
EMBEDDED_SHARES = {"train": 0.8, "validation": 0.05}  # of each class; the rest is for tests
MNIST_TRAIN_SHARE = 0.95  # of MNIST's training digits; the rest is for validation, as published
SPLIT_SEED = 42
IDX_BYTES = 0x08  # type code of unsigned bytes
MNIST_FILES = {
    "train": ("train-images-idx3-ubyte", "train-labels-idx1-ubyte"),
    "test": ("t10k-images-idx3-ubyte", "t10k-labels-idx1-ubyte"),
}


class Glyphs(NamedTuple):
    """Digits of one split."""

    images: Array  # (digit, side, side), uint8
    labels: Array  # (digit,), int64
    source: str

    @property
    def digest(self) -> str:
        """Hexadecimal sha256 of images and labels."""
        content = self.images.tobytes() + self.labels.tobytes()
        return hashlib.sha256(content).hexdigest()


def load_glyphs(folder: str | None, split: Split, *, side: int) -> Glyphs:
    """The digits of a split: MNIST's from a folder, or else those that scikit-learn carries.

    No digit is in two splits. Errors as `embedded_glyphs` and `mnist_glyphs`.
    """
    if folder is None:
        return embedded_glyphs(split, side=side)
    return mnist_glyphs(folder, split, side=side)


def origin_of(folder: str | None) -> dict[str, str]:
    """Source and licence of the digits of `load_glyphs`, for a card."""
    if folder is None:
        return {"source": "scikit-learn digits", "licence": "CC BY 4.0"}
    return {"source": "MNIST", "licence": "see the folder's owner"}


def embedded_glyphs(split: Split, *, side: int = SIDE) -> Glyphs:
    """The 1797 handwritten digits of 8×8 pixels that scikit-learn carries, enlarged.

    The splits share no digit, and each holds all ten classes. Source: E. Alpaydin and C. Kaynak,
    Optical Recognition of Handwritten Digits, UCI Machine Learning Repository,
    https://doi.org/10.24432/C50P49, CC BY 4.0.

    Errors:
        MissingExtraError: scikit-learn is not installed.
    """
    require("sklearn", "digits", "load the embedded handwritten digits")
    from sklearn.datasets import load_digits

    content = load_digits()
    images, labels = content.images, content.target.astype(np.int64)
    chosen = []
    for label in range(10):
        members = np.flatnonzero(labels == label)
        order = _shuffled(members, label)
        first = round(EMBEDDED_SHARES["train"] * len(order))
        second = first + round(EMBEDDED_SHARES["validation"] * len(order))
        bounds = {"train": (0, first), "validation": (first, second), "test": (second, None)}
        chosen.append(order[slice(*bounds[split])])
    index = np.sort(np.concatenate(chosen))
    ink = round(INK * side)
    before = (side - ink) // 2
    margin = (before, side - ink - before)
    enlarged = np.pad(enlarge(images[index] / 16.0, ink), ((0, 0), margin, margin))
    return Glyphs(enlarged, labels[index], "scikit-learn digits")


def mnist_glyphs(folder: str | Path, split: Split, *, side: int = SIDE) -> Glyphs:
    """MNIST's digits from a folder of its IDX files, compressed or not.

    Validation takes 5 % of the training digits; the test digits are those of the test files.

    Errors:
        FileError: a file is missing.
        CorruptionError: a file is cut off, or not an IDX file of bytes.
    """
    names = MNIST_FILES["test" if split == "test" else "train"]
    images, labels = (read_idx(find_idx(Path(folder), name)) for name in names)
    if images.ndim != 3 or labels.ndim != 1 or len(images) != len(labels):
        raise CorruptionError(
            f"{folder} should hold images (digit, row, column) and as many labels, got shapes "
            f"{images.shape} and {labels.shape}."
        )
    if split != "test":
        order = _shuffled(np.arange(len(images)), 0)
        cut = round(MNIST_TRAIN_SHARE * len(order))
        index = np.sort(order[:cut] if split == "train" else order[cut:])
        images, labels = images[index], labels[index]
    if images.shape[1:] != (side, side):
        images = enlarge(images / 255.0, side)
    return Glyphs(images, labels.astype(np.int64), "MNIST")


def enlarge(images: Array, side: int) -> Array:
    """Images in [0, 1] at another size, smooth, as bytes."""
    import torch

    small = torch.from_numpy(np.ascontiguousarray(images, dtype=np.float32))[:, None]
    resized = torch.nn.functional.interpolate(
        small, size=(side, side), mode="bicubic", align_corners=False, antialias=True
    )
    # Enlarged strokes are blurred; a steeper slope around one half sharpens them.
    sharp = resized if images.shape[-1] >= side else (resized - 0.5) * 1.8 + 0.5
    levels: Array = sharp.clamp(0, 1).mul(255).round().to(torch.uint8)[:, 0].numpy()
    return levels


def find_idx(folder: Path, name: str) -> Path:
    """The IDX file of this name in a folder; `.gz`, and a dot before `idx`, are accepted.

    Errors:
        FileError: the folder holds no such file.
    """
    dotted = name.replace("-idx", ".idx")
    for candidate in (name, f"{name}.gz", dotted, f"{dotted}.gz"):
        if (folder / candidate).is_file():
            return folder / candidate
    raise FileError(f"{folder} holds neither {name} nor {name}.gz, which are files of MNIST.")


def read_idx(path: Path) -> Array:
    """Array of bytes from an IDX file.

    Errors:
        CorruptionError: it is cut off, has bytes left over, or holds values other than bytes.
        FileError: it would unpack to far more than it takes (`check_unpacked`).
    """
    try:
        with gzip.open(path) if path.suffix == ".gz" else path.open("rb") as stream:
            head = stream.read(4)
            zero, kind, dimensions = struct.unpack(">HBB", head)
            if zero != 0 or kind != IDX_BYTES:
                raise CorruptionError(
                    f"{path} is not an IDX file of bytes: it begins with {head!r}."
                )
            shape = struct.unpack(f">{dimensions}I", stream.read(4 * dimensions))
            size = math.prod(shape)
            check_unpacked(path, "", size=size, packed=path.stat().st_size)
            content = stream.read(size + 1)
    except (FileError, CorruptionError):
        raise
    except (OSError, EOFError, struct.error, zlib.error) as error:
        raise CorruptionError(f"{path} is cut off, or not an IDX file: {error}.") from error
    if len(content) != size:
        more = "more" if len(content) > size else len(content)
        raise CorruptionError(f"{path} should hold {size} bytes for shape {shape}, got {more}.")
    return np.frombuffer(content, np.uint8).reshape(shape)


def _shuffled(members: Array, stream: int) -> Array:
    import torch

    order = torch.randperm(len(members), generator=seeded_generator(SPLIT_SEED, stream))
    return members[order.numpy()]

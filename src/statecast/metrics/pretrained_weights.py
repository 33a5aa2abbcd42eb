"""Weight files of the networks behind perceptual metrics: finding, downloading, checking.

The search goes through the given path, the path in an environment variable, `weights` in the cache
folder, the folder of PyTorch's hub and, if allowed, the original download address. A file of code
is only taken from the first three, which the user controls, because it is run.
"""

from __future__ import annotations

import os
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import torch
from torch import Tensor

from statecast.errors import CorruptionError, FileError, InputError
from statecast.io.atomic_files import cache_path, sha256_of
from statecast.io.torch_files import load_torch_file


@dataclass(frozen=True, kw_only=True)
class WeightFile:
    """A published file of weights.

    Attributes:
        name: published name of the file.
        source: address of the file, or where to find it.
        option: option of `evaluate` for the path of the file, or of the folder that holds it.
        variable: environment variable for the same path.
        digest: first hexadecimal digits of its sha256; empty if none was published.
        is_code: whether reading it runs it.
    """

    name: str
    source: str
    option: str
    variable: str
    digest: str = ""
    is_code: bool = False


class Located(NamedTuple):
    """A weight file on this machine."""

    path: Path
    sha256: str


ALEXNET = WeightFile(
    name="alexnet-owt-7be5be79.pth",
    source="https://download.pytorch.org/models/alexnet-owt-7be5be79.pth",
    option="lpips_weights",
    variable="STATECAST_LPIPS_WEIGHTS",
    digest="7be5be79",
)
VGG16 = WeightFile(
    name="vgg16-397923af.pth",
    source="https://download.pytorch.org/models/vgg16-397923af.pth",
    option="lpips_weights",
    variable="STATECAST_LPIPS_WEIGHTS",
    digest="397923af",
)
I3D = WeightFile(
    name="i3d_torchscript.pt",
    source="the FVD of StyleGAN-V, https://github.com/universome/stylegan-v",
    option="fvd_weights",
    variable="STATECAST_FVD_I3D",
    is_code=True,
)


def find(file: WeightFile, given: str | None = None) -> Path | None:
    """Path of a file on this machine; None if it is not found.

    Args:
        file: the file to find.
        given: path of the file, or of a folder that may hold it.

    Errors:
        FileError: the given path, or the one in the environment, does not exist.
    """
    for path in (given, os.environ.get(file.variable)):
        if path:
            named = Path(path).expanduser()
            if not named.exists():
                raise FileError(f"{named}, given for {file.name}, does not exist.")
            if not named.is_dir():
                return named
            if (named / file.name).is_file():
                return named / file.name
    folders = [weights_folder()]
    if not file.is_code:
        folders.append(Path(torch.hub.get_dir()) / "checkpoints")
    found = (folder / file.name for folder in folders if (folder / file.name).is_file())
    return next(found, None)


def weights_folder() -> Path:
    """Folder of weight files in the cache."""
    return cache_path() / "weights"


def why_missing(file: WeightFile, given: str | None, *, allow_download: bool) -> str | None:
    """Advice if a file is missing and may not be downloaded; None otherwise."""
    if find(file, given) is not None or (allow_download and not file.is_code):
        return None
    places = f"put it into {weights_folder()}, or set {file.option} or {file.variable}"
    if file.is_code:
        return f"it needs {file.name}, which is code, from {file.source}: {places}"
    return f"it needs {file.name} from {file.source}: {places}, or pass --allow-download"


def obtain(file: WeightFile, given: str | None = None, *, allow_download: bool = False) -> Located:
    """Find a file, or download it if it is missing and that is allowed; check its digest.

    Errors:
        FileError: the file is missing, or the download failed.
        CorruptionError: its digest is not the published one.
    """
    path = find(file, given)
    if path is None:
        reason = why_missing(file, given, allow_download=allow_download)
        if reason is not None:
            raise FileError(f"The metric cannot be computed: {reason}.")
        path = fetch(file)
    try:
        digest = sha256_of(path)
    except OSError as error:
        raise FileError(f"Cannot read {path}: {error.strerror}.") from error
    if not digest.startswith(file.digest):
        raise CorruptionError(
            f"{path} is not {file.name}: its sha256 begins with {digest[: len(file.digest)]}, "
            f"not {file.digest}. Download it again from {file.source}."
        )
    return Located(path, digest)


def fetch(file: WeightFile) -> Path:
    """Download a file into the cache.

    Errors:
        FileError: the download failed, or the cache cannot be written.
        CorruptionError: the download does not have the published digest.
    """
    path = weights_folder() / file.name
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        torch.hub.download_url_to_file(
            file.source, str(path), hash_prefix=file.digest, progress=sys.stderr.isatty()
        )
    except RuntimeError as error:  # PyTorch raises it for a wrong digest
        raise CorruptionError(f"{file.source} gave a different file: {error}.") from error
    except (OSError, ValueError) as error:
        raise FileError(
            f"Cannot download {file.source} to {path}: {error}. Download it by hand and set "
            f"{file.option}."
        ) from error
    return path


def read_weights(path: Path) -> dict[str, Tensor]:
    """Tensors of a PyTorch file, on the CPU; nothing in the file is run.

    Errors:
        CorruptionError: the file does not hold tensors by name.
    """
    try:
        content = load_torch_file(path)
    except (InputError, CorruptionError) as error:
        raise CorruptionError(f"{path} is not a file of weights: {error}") from error
    if not isinstance(content, dict) or not all(isinstance(v, Tensor) for v in content.values()):
        raise CorruptionError(f"{path} is not a file of weights: it should hold tensors by name.")
    return content

"""Checks of untrusted Zarr stores: no files outside them, and no codecs that could run code."""

from __future__ import annotations

import json
import os
import zipfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from statecast.errors import CorruptionError, FileError
from statecast.io.json_yaml import check_link, read_json

LARGEST = 64 << 20  # bytes of metadata
METADATA = ("zarr.json", ".zarray", ".zgroup", ".zmetadata")
# Codecs that only turn bytes into numbers or text. Others may unpickle, or run installed code.
CODECS = frozenset(
    (
        "bytes", "endian", "transpose", "sharding_indexed", "vlen-utf8", "vlen-bytes",
        "blosc", "gzip", "zlib", "zstd", "lz4", "lzma", "bz2", "zfpy", "pcodec",
        "crc32", "crc32c", "adler32", "fletcher32", "jenkins_lookup3",
        "shuffle", "delta", "fixedscaleoffset", "quantize", "bitround", "packbits", "astype",
    )
)  # fmt: skip
PREFIX = "numcodecs."  # of the names that codecs of Zarr 2 have in Zarr 3
CODEC_LISTS = ("filters", "compressor", "codecs", "index_codecs")  # keys of metadata


def check_store(folder: Path) -> None:
    """Raise `FileError` if a store refers to data outside it, or asks for unknown codecs.

    Links out of the store, pipes, devices, unknown codecs and storage transformers are refused.

    Errors:
        CorruptionError: its metadata cannot be read.
    """
    if folder.is_file():
        check_zipped(folder)
        return
    check_link(folder / "zarr.json")
    for path in files_below(folder):
        if path.name not in METADATA:
            continue
        try:
            check_metadata(read_json(path), path)
        except FileError:
            raise
        except (OSError, ValueError, RecursionError) as error:
            raise CorruptionError(f"{path} cannot be read: {error}.") from error


def check_zipped(path: Path) -> None:
    """Raise `FileError` if a zipped store asks for unknown codecs."""
    with zipfile.ZipFile(path) as content:
        for member in content.infolist():
            if member.filename.rpartition("/")[2] in METADATA:
                if member.file_size > LARGEST:
                    raise CorruptionError(f"{path}: {member.filename} is too large.")
                try:
                    check_metadata(json.loads(content.read(member)), path)
                except (ValueError, RecursionError) as error:
                    raise CorruptionError(f"{path} cannot be read: {error}.") from error


def files_below(folder: Path) -> Iterator[Path]:
    """Files of a folder and its sub-folders; links out of it, pipes and devices are errors."""
    inside = Path(os.path.realpath(folder))
    pending = [folder]
    while pending:
        with os.scandir(pending.pop()) as entries:
            for entry in entries:
                path = Path(entry.path)
                if entry.is_symlink() and not Path(os.path.realpath(path)).is_relative_to(inside):
                    raise FileError(
                        f"{path} is a link that leads out of {folder}. Copy its target there."
                    )
                if entry.is_dir(follow_symlinks=False):
                    pending.append(path)
                elif entry.is_file():
                    yield path
                elif not entry.is_dir():
                    raise FileError(f"{path} is not a regular file.")


def check_metadata(content: Any, path: Path) -> None:
    """Raise `FileError` for an unknown codec or a storage transformer at any depth."""
    pending = [content]
    while pending:
        part = pending.pop()
        if isinstance(part, list | tuple):
            pending += part
        if not isinstance(part, Mapping):
            continue
        if part.get("storage_transformers"):
            raise FileError(f"{path} asks for storage transformers, which are not accepted.")
        for key in CODEC_LISTS:
            found = part.get(key)
            for codec in found if isinstance(found, list | tuple) else [found]:
                check_codec(codec, path)
        # Attributes are for people; nothing acts on them.
        pending += [value for key, value in part.items() if key != "attributes"]


def check_codec(codec: Any, path: Path) -> None:
    """Raise `FileError` unless a codec is one of `CODECS`."""
    if codec is None:
        return
    name = codec.get("id", codec.get("name")) if isinstance(codec, Mapping) else codec
    if not isinstance(name, str) or name.removeprefix(PREFIX) not in CODECS:
        raise FileError(
            f"{path} asks for the codec {str(name)[:40]!r}, which is not accepted. Write the store "
            "with one of Zarr's own codecs, such as blosc or zstd."
        )

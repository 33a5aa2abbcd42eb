"""Clips behind a path: video files, and folders of images, each a clip."""

from __future__ import annotations

import glob
import os
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

from statecast.errors import FileError
from statecast.io.video.containers import VIDEO_ENDINGS
from statecast.io.video.decoding import RawFrame, decode_video
from statecast.io.video.images import IMAGE_ENDINGS, decode_images, natural


class Clip(NamedTuple):
    """One video: a file, or the images of a folder."""

    path: Path
    name: str  # below the path that the user named
    images: tuple[Path, ...] = ()  # of a folder, in order

    def frames(self) -> Iterator[RawFrame]:
        """Its frames, decoded.

        Errors:
            FileError, CorruptionError: it is no video, or damaged.
        """
        return decode_images(self.images) if self.images else decode_video(self.path)

    @property
    def stamp(self) -> list[list[str | int]]:
        """What changes when its files do: names, sizes and dates."""
        found = [(path, path.stat()) for path in self.images or (self.path,)]
        return [[str(path), stat.st_size, stat.st_mtime_ns] for path, stat in found]


def find_clips(path: str | Sequence[str], *, follow_links: bool = False) -> list[Clip]:
    """All clips behind a path, a pattern such as `clips/*.mp4`, or a list of them, in order.

    A folder is searched with its sub-folders: files with an ending of `VIDEO_ENDINGS` are clips,
    and so is each folder that holds images. Hidden files and others are passed over.

    Args:
        path: where to look.
        follow_links: accept symbolic links that lead out of a folder.

    Errors:
        FileError: nothing is there, or a link leads out of its folder.
    """
    clips: list[Clip] = []
    for item in [path] if isinstance(path, str) else path:
        matches = sorted(glob.glob(item)) if glob.has_magic(item) else [item]  # noqa: PTH207
        if not matches:
            raise FileError(f"No file matches {item}.")
        for match in map(Path, matches):
            if not match.exists():
                raise FileError(f"There is no file or folder {match}.")
            clips += in_folder(match, follow_links) if match.is_dir() else [Clip(match, match.name)]
    if not clips:
        raise FileError(
            f"{path} holds no videos. Expected files ending in {', '.join(VIDEO_ENDINGS)}, or "
            f"folders of images ({', '.join(IMAGE_ENDINGS)})."
        )
    return clips


def in_folder(folder: Path, follow_links: bool) -> list[Clip]:
    """Clips of a folder and its sub-folders, in the order of their names."""
    found: list[Clip] = []
    inside = folder.resolve()
    for place, folders, files in os.walk(folder, followlinks=follow_links):
        folders[:] = sorted((n for n in folders if not n.startswith(".")), key=_natural)
        here = Path(place)
        paths = sorted((here / n for n in files if not n.startswith(".")), key=natural)
        videos = [path for path in paths if path.suffix.lower() in VIDEO_ENDINGS]
        images = tuple(path for path in paths if path.suffix.lower() in IMAGE_ENDINGS)
        links = [here / name for name in folders] if not follow_links else []
        for path in (*videos, *images, *links):
            if path.is_symlink() and not follow_links and leads_out(path, inside):
                raise FileError(
                    f"{path} is a link that leads out of {folder}. Set follow_links: true if that "
                    "is meant."
                )
        found += [Clip(path, str(path.relative_to(folder))) for path in videos]
        if images:
            name = str(here.relative_to(folder)) if here != folder else folder.name
            found.append(Clip(here, name, images))
    return sorted(found, key=lambda clip: [natural(Path(part)) for part in Path(clip.name).parts])


def leads_out(path: Path, inside: Path) -> bool:
    """Whether a link's target lies outside a folder."""
    return not path.resolve().is_relative_to(inside)


def _natural(name: str) -> list[object]:
    return natural(Path(name))

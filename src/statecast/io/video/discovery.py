"""Clips at a path: video files, stacks of images, and folders of images."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Literal, NamedTuple

from statecast.errors import FileError
from statecast.io.paths import existing_paths, natural
from statecast.io.video.containers import NAMES, VIDEO_ENDINGS, beginning_of, sniff
from statecast.io.video.decoding import RawFrame, decode_video
from statecast.io.video.images import BEGINNINGS, IMAGE_ENDINGS, decode_images, groups_of, has_pages

COPIES = (".lrv", ".thm")  # small copies that cameras put beside their videos


class Clip(NamedTuple):
    """One video: a file, a stack of pages, or images that are its frames."""

    path: Path
    name: str  # below the path that the user named
    images: tuple[Path, ...] = ()  # in order

    def frames(self) -> Iterator[RawFrame]:
        """Its frames, decoded.

        Errors:
            FileError, CorruptionError: it is not a video, or damaged.
        """
        return decode_images(self.images) if self.images else decode_video(self.path)

    @property
    def stamp(self) -> list[list[str | int]]:
        """Fingerprint of its files: names, sizes and dates."""
        found = [(path, path.stat()) for path in self.images or (self.path,)]
        return [[str(path), stat.st_size, stat.st_mtime_ns] for path, stat in found]


class FoundClips(NamedTuple):
    """The videos found at a path."""

    clips: list[Clip]
    ignored: list[str]  # names of files in folders that are neither videos nor images


def find_clips(
    path: str | Path | Sequence[str | Path], *, follow_links: bool = False
) -> FoundClips:
    """All clips at a path, a pattern such as `clips/*.mp4`, or a list of them, in order.

    A folder is searched with its sub-folders. A file's ending, or else its first bytes, tell what
    it is. The images of a folder are the frames of one video or several, see `groups_of`; an image
    file of several pages is a video. Hidden files are left out.

    Args:
        path: where to look.
        follow_links: accept symbolic links that lead out of a folder.

    Errors:
        FileError: nothing is there, a path is remote, or a link leads out of its folder.
    """
    clips: list[Clip] = []
    ignored: list[str] = []
    for item in existing_paths(path):
        if item.is_dir():
            found = in_folder(item, follow_links)
            clips += found.clips
            ignored += found.ignored
        else:
            images = (item,) if kind_of(item) == "image" else ()
            clips.append(Clip(item, item.name, images))
    if not clips:
        named = ", ".join(map(str, [path] if isinstance(path, str | Path) else path))
        raise FileError(
            f"{named} holds no videos ({', '.join(NAMES.values())}) and no images "
            f"({', '.join(IMAGE_ENDINGS)})."
        )
    return FoundClips(clips, ignored)


def in_folder(folder: Path, follow_links: bool) -> FoundClips:
    """Clips of a folder and its sub-folders, in the order of their names."""
    clips: list[Clip] = []
    ignored: list[str] = []
    inside = folder.resolve()
    for place, folders, files in os.walk(folder, followlinks=follow_links):
        here = Path(place)
        folders[:] = [name for name in folders if not name.startswith(".")]
        images: list[Path] = []
        for path in sorted((here / n for n in files if not n.startswith(".")), key=natural):
            stays = follow_links or not path.is_symlink() or not leads_out(path, inside)
            kind = kind_of(path, look=stays)
            if kind and not stays:
                raise FileError(link_out(path, folder))
            if kind == "video":
                clips.append(Clip(path, str(path.relative_to(folder))))
            elif kind == "image":
                images.append(path)
            else:
                ignored.append(str(path.relative_to(folder)))
        for name in folders:
            if not follow_links and (here / name).is_symlink() and leads_out(here / name, inside):
                raise FileError(link_out(here / name, folder))
        clips += image_clips(images, here, folder)
    return FoundClips(sorted(clips, key=lambda clip: natural(Path(clip.name))), ignored)


def image_clips(images: Sequence[Path], here: Path, folder: Path) -> list[Clip]:
    """The images of a folder as clips: stacks, and the frames of one video or several."""
    clips = []
    groups = groups_of(images) if images else {}
    base = here.relative_to(folder) if here != folder else Path()
    for prefix, group in groups.items():
        if has_pages(group[0]):
            clips += [Clip(path, str(base / path.name), (path,)) for path in group]
            continue
        name = str(base / prefix) if len(groups) > 1 else str(base)
        clips.append(Clip(here, folder.name if name == "." else name, tuple(group)))
    return clips


def kind_of(path: Path, *, look: bool = True) -> Literal["video", "image"] | None:
    """Kind of a file, by its ending or else by its first bytes.

    Args:
        path: the file.
        look: whether the file may be opened.
    """
    ending = path.suffix.lower()
    if ending in IMAGE_ENDINGS:
        return "image"
    if ending in VIDEO_ENDINGS:
        return "video"
    if ending in COPIES or not look or not path.is_file():
        return None
    try:
        start = beginning_of(path)
    except FileError:
        return None
    if start.startswith(BEGINNINGS):
        return "image"
    return None if sniff(start) is None else "video"


def leads_out(path: Path, inside: Path) -> bool:
    """Whether a link's target lies outside a folder."""
    return not path.resolve().is_relative_to(inside)


def link_out(path: Path, folder: Path) -> str:
    """Message about a link that leads out of a folder."""
    return f"{path} is a link that leads out of {folder}. Set follow_links: true to accept it."

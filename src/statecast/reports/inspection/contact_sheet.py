"""Contact sheets: rows of pictures of a file or folder."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from statecast.errors import FileError, InputError
from statecast.io.atomic_files import atomic_path
from statecast.reports.inspection.findings import Finding

Array = np.ndarray[Any, np.dtype[Any]]

SIDE = 112  # pixels of a picture's longer side
GAP = 4  # pixels between pictures
ROWS, COLUMNS = 8, 8  # at most
MISSING = (200, 200, 200)


def write_sheet(finding: Finding, path: str | Path) -> Path:
    """Draw the pictures of a finding as a `.png`: a row per video, sequence or variable.

    Errors:
        InputError: there is nothing to draw.
        FileError: the path has another ending, or the file cannot be written.
    """
    from PIL import Image

    path = Path(path)
    if path.suffix.lower() != ".png":
        raise FileError(f"A contact sheet is written as .png, got {path.name!r}.")
    rows = [] if finding.preview is None else finding.preview()
    if not rows:
        raise InputError(f"There is nothing to draw for {finding.kind}.")
    pictures = [[fitted(picture) for picture in row] for row in rows]
    heights = [GAP + max(picture.shape[0] for picture in row) for row in pictures]
    width = GAP + max(picture.shape[1] for row in pictures for picture in row)
    across = max(map(len, pictures))
    sheet = np.full((sum(heights) + GAP, across * width + GAP, 3), 255, np.uint8)
    for i, row in enumerate(pictures):
        for j, picture in enumerate(row):
            top, left = GAP + sum(heights[:i]), GAP + j * width
            sheet[top : top + picture.shape[0], left : left + picture.shape[1]] = picture
    with atomic_path(path) as place:
        Image.fromarray(sheet).save(place, format="PNG")
    return path


def fitted(picture: Array) -> Array:
    """A picture whose longer side has `SIDE` pixels."""
    from PIL import Image

    scale = SIDE / max(picture.shape[:2])
    height, width = (max(1, round(scale * side)) for side in picture.shape[:2])
    method = Image.Resampling.BOX if scale < 1 else Image.Resampling.NEAREST
    return np.asarray(
        Image.fromarray(np.ascontiguousarray(picture)).resize((width, height), method)
    )


def coloured(frames: Array) -> list[Array]:
    """Frames (time, channel, *space) as bytes (y, x, 3), in colour or in shades of grey.

    All frames share one scale. Unknown values are light grey; points are a line of squares.
    """
    values = frames[:, :3] if frames.shape[1] == 3 else np.repeat(frames[:, :1], 3, axis=1)
    if values.ndim == 3:
        values = values[:, :, None]
    values = np.moveaxis(values.astype(np.float64), 1, -1)
    finite = values[np.isfinite(values)]
    low, high = (float(finite.min()), float(finite.max())) if finite.size else (0.0, 1.0)
    share = np.nan_to_num((values - low) / ((high - low) or 1.0), posinf=0.0, neginf=0.0)
    content: Array = (share * 255).round().astype(np.uint8)
    content[~np.isfinite(values).all(axis=-1)] = MISSING
    return list(content)


def rows_of(sequences: Sequence[Array]) -> list[list[Array]]:
    """Rows of pictures, one per sequence of frames."""
    return [coloured(frames) for frames in sequences[:ROWS]]

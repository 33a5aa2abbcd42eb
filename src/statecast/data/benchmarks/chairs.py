"""3D chairs: rendered chairs that turn around."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any, Literal

import numpy as np

from statecast.data.base import Split
from statecast.data.benchmarks.prepared_source import Count, Origin, PreparedSource
from statecast.data.cache.frame_store import Kind, StoreWriter
from statecast.data.progress import progress
from statecast.data.view_windows import ViewWindows, split_objects
from statecast.errors import CorruptionError, FileError, InputError

Array = np.ndarray[Any, np.dtype[Any]]

OBJECTS, VIEWS, AZIMUTHS = 1393, 62, 31
CROP = (100, 100, 500, 500)  # left, top, right, bottom, pixels
SIDE = 64
OUTER = "rendered_chairs"
PICTURE_NAME = re.compile(r"image_\d+_p(\d+)_t(\d+)_r\d+\.png")  # elevation and azimuth, degrees


class Chairs(PreparedSource):
    """Views of 1393 chairs from all around, RGB on white, 64×64.

    Objects are shuffled with a fixed seed: 15 % are for tests, a tenth of the others for
    validation. Each window carries its latents: the `object`'s number, and the `azimuth` and
    `elevation` of each view in degrees.

    Data: Aubry et al. (2014), https://doi.org/10.1109/CVPR.2014.487; use as Donà et al. (2021),
    https://arxiv.org/abs/2008.01352.

    Args:
        path: folder of the prepared store; by default in the cache.
        context: views observed.
        horizon: views forecast in training.
        validation_horizon: views forecast in validation; by default as in training.
        test_horizon: views forecast in tests.
        protocol: `paper` goes round all 62 views, so that a window may jump from one elevation to
            the other; `rings` keeps the elevation within a window.
    """

    kind = Kind("chairs", 1, (3, SIDE, SIDE), "|u1")
    channels = ("red", "green", "blue")
    origin = Origin(
        title="Rendered 3D chairs",
        source="https://www.di.ens.fr/willow/research/seeing3Dchairs/",
        licence="none is stated; the models are of 3D Warehouse; not ours to pass on",
        files=f"{OUTER}/OBJECT/renders/image_NNN_pEEE_tAAA_rDDD.png",
        reference="Aubry et al. (2014), https://doi.org/10.1109/CVPR.2014.487",
    )

    def __init__(
        self,
        *,
        path: str | None = None,
        context: int = 5,
        horizon: int = 10,
        validation_horizon: int | None = None,
        test_horizon: int = 10,
        protocol: Literal["paper", "rings"] = "paper",
    ) -> None:
        super().__init__(
            path=path, context=context, horizon=horizon,
            validation_horizon=validation_horizon, test_horizon=test_horizon,
        )  # fmt: skip
        self.protocol = protocol

    def windows(self, split: Split) -> ViewWindows:
        frames, objects = self.store.frames, len(self.store.sequences)
        return ViewWindows(
            frames.reshape(objects, VIEWS, *frames.shape[1:]),
            split_objects(objects)[split],
            context=self.context,
            length=self.context + self.horizons[split],
            ring=VIEWS if self.protocol == "paper" else AZIMUTHS,
            channels=self.channels,
            angles=np.array(self.store.sequences[0].labels["angles"], dtype=float),
        )

    @property
    def card(self) -> dict[str, Any]:
        return super().card | {"protocol": self.protocol}

    @classmethod
    def write(cls, source: Path, writer: StoreWriter) -> list[Count]:
        inner = source / OUTER if (source / OUTER).is_dir() else source
        objects = sorted(folder for folder in inner.iterdir() if (folder / "renders").is_dir())
        if not objects:
            raise FileError(f"{source} holds none of {cls.origin.files}.")
        split_objects(len(objects))  # too few are refused before the work begins
        first: list[list[int]] | None = None
        for folder in progress(objects, "preparing chairs"):
            pictures = sorted((folder / "renders").glob("*.png"))
            angles = angles_of(pictures, folder)
            first = first or angles
            if angles != first:
                raise InputError(
                    f"{folder.name} has views at other angles than {objects[0].name}. Get its "
                    "files again."
                )
            writer.add(folder.name, map(cropped, pictures), {"angles": angles})
        return [Count("objects", len(objects), OBJECTS)]


def angles_of(pictures: list[Path], folder: Path) -> list[list[int]]:
    """Azimuth and elevation of each view in degrees, from the names of the pictures.

    Errors:
        InputError: the number or names of the pictures are wrong, or elevations are mixed.
    """
    if len(pictures) != VIEWS:
        raise InputError(f"{folder} should hold {VIEWS} pictures in renders, got {len(pictures)}.")
    found = []
    for picture in pictures:
        match = PICTURE_NAME.fullmatch(picture.name)
        if match is None:
            raise InputError(f"{picture} should have a name like image_NNN_pEEE_tAAA_rDDD.png.")
        found.append([int(match[2]), int(match[1])])
    if any(len({e for _, e in found[i : i + AZIMUTHS]}) > 1 for i in (0, AZIMUTHS)):
        raise InputError(
            f"{folder} should hold {AZIMUTHS} pictures of one elevation, then those of another."
        )
    return found


def cropped(picture: Path) -> Array:
    """A picture (channel, y, x), cropped and then resized.

    Errors:
        CorruptionError: it cannot be decoded.
        InputError: it is too small.
    """
    from PIL import Image

    try:
        with Image.open(picture, formats=["PNG"]) as image:
            if image.width < CROP[2] or image.height < CROP[3]:
                raise InputError(
                    f"{picture} should have at least {CROP[3]}×{CROP[2]} pixels, got "
                    f"{image.height}×{image.width}."
                )
            view = image.convert("RGB").crop(CROP)
            resized = view.resize((SIDE, SIDE), Image.Resampling.LANCZOS)
    except InputError:
        raise
    except (OSError, SyntaxError, ValueError, Image.DecompressionBombError) as error:
        raise CorruptionError(f"{picture} cannot be decoded: {error}. Get it again.") from error
    return np.asarray(resized).transpose(2, 0, 1)

"""Tiny prepared stores of random frames, as `statecast data prepare` writes them."""

import datetime

import numpy as np

from statecast.data.cache.entries import make_entry
from statecast.data.cache.frame_store import write_frames
from statecast.data.prepare import preparable

CHOSEN = {  # options under which the tiny stores have windows
    "kth": {"context": 3, "horizon": 2, "validation_horizon": 2, "test_horizon": 2,
            "test_clips": 5},
    "human36m": {"context": 2, "horizon": 2, "validation_horizon": 2, "test_horizon": 2,
                 "frame_step": 2, "test_clips": 5},
    "bair": {"horizon": 3, "test_horizon": 3},
    "taxibj": {"test_windows": 6},
    "chairs": {},
}  # fmt: skip


def sequences_of(name, length):
    """Name and labels of each sequence, and its number of frames."""
    if name == "kth":
        persons = (1, 2, 3, 4, 21, 22)
        return [
            (f"person{p:02d}_boxing_d1", {"person": p, "action": "boxing", "trial": 1}, length or 8)
            for p in persons
        ]
    if name == "human36m":
        return [(f"S{s}-Walking", {"subject": s}, length or 9) for s in (1, 5, 6, 7, 8, 9, 11)]
    if name == "bair":
        parts = ["train"] * 4 + ["test"] * 2
        return [(f"{part}/{n}", {"split": part}, length or 8) for n, part in enumerate(parts)]
    if name == "taxibj":
        day = datetime.date(2013, 7, 1)
        return [(f"BJ13/{day}", {}, length or 96)]
    angles = [[azimuth * 11, level] for level in (20, 30) for azimuth in range(31)]
    return [(f"object{n}", {"angles": angles}, 62) for n in range(8)]


def tiny_store(name, folder, length=None):
    """Write the store of a data set."""
    kind = preparable()[name].kind
    generator = np.random.default_rng(0)

    def fill(writer):
        for sequence, labels, count in sequences_of(name, length):
            frames = generator.integers(0, 256, (count, *kind.frame_shape)).astype(kind.dtype)
            series = np.random.default_rng(count).normal(size=(count, kind.series))
            writer.add(sequence, frames, labels, series if kind.series else None)
        return {}

    make_entry(folder, kind.identity, lambda place: write_frames(place, kind, fill))
    return folder

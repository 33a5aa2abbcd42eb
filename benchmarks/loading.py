"""How fast frames reach the training loop, against how fast the small recipes take them.

    python benchmarks/loading.py --seconds 5

Frames a second from stored videos and from generated digits, with 0, 1 and 2 workers; then the
share of a training step that loading with as many workers takes. Writes its own videos first.
"""

from __future__ import annotations

import argparse
import os
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import torch

from statecast.data.base import DataSource, seeded_generator
from statecast.data.loading import training_batches
from statecast.data.synthetic.moving_digits import MovingDigits
from statecast.data.user.videos import Videos
from statecast.frames import Batch
from statecast.io.video.encoding import write_mp4
from statecast.models.build import model_of
from statecast.runs.recipes import read_recipe, resolve

WORKERS = (0, 1, 2)
CLIPS, LENGTH, SIDE = 64, 60, 64  # of the videos that are written
WARM = 4  # batches before the clock starts


def write_clips(folder: Path) -> None:
    """Videos of a bright square that drifts over noise."""
    generator = np.random.default_rng(0)
    for number in range(CLIPS):
        back = generator.integers(0, 128, (SIDE, SIDE, 3), dtype=np.uint8)
        pictures = [back.copy() for _ in range(LENGTH)]
        for moment, picture in enumerate(pictures):
            left = (moment + 3 * number) % (SIDE - 12)
            picture[20:32, left : left + 12] = 255
        write_mp4(pictures, folder / f"{number:03}.mp4", 25.0)


def rate(batches: Iterator[Batch], seconds: float) -> tuple[float, float]:
    """Frames a second, and seconds a batch."""
    for _ in range(WARM):
        next(batches)
    frames = count = 0
    start = time.perf_counter()
    while time.perf_counter() - start < seconds:
        values = next(batches).values
        frames, count = frames + values.shape[0] * values.shape[1], count + 1
    passed = time.perf_counter() - start
    return frames / passed, passed / count


def step_seconds(recipe: str, data: DataSource, overrides: list[str], seconds: float) -> float:
    """Seconds of a training step of a recipe on a batch that is there already."""
    tables = resolve(read_recipe(recipe), overrides)
    model = model_of(tables["model"], data.spec, generator=seeded_generator(1))
    batch = data.windows("train").training_batch(0, tables["train"]["batch_size"], seed=1)
    if model.needs_statistics:
        model.fit_statistics([batch])
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-4)
    done, start = 0, 0.0
    while done <= 2 or time.perf_counter() - start < seconds:
        optimizer.zero_grad()
        model.loss(batch, generator=seeded_generator(done))["total"].backward()
        optimizer.step()
        done += 1
        if done == 2:
            start = time.perf_counter()
    return (time.perf_counter() - start) / (done - 2)


def main() -> None:
    """Measure and print a table."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--seconds", type=float, default=5.0, help="of each measurement")
    known = parser.parse_args()
    load = f"{os.getloadavg()[0]:.1f}" if hasattr(os, "getloadavg") else "unknown"
    print(f"{os.cpu_count()} processors, {torch.get_num_threads()} thread(s), load {load}\n")
    print("| recipe | workers | frames/s | batch / ms | step / ms | loading / step |")
    print("|---|---|---|---|---|---|")
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        os.environ["STATECAST_CACHE"] = str(folder / "cache")
        (folder / "clips").mkdir()
        write_clips(folder / "clips")
        start = time.perf_counter()
        videos = Videos(path=str(folder / "clips"))
        decoding = CLIPS * LENGTH / (time.perf_counter() - start)
        tables = resolve(read_recipe("srvp-digits-small"))
        digits = MovingDigits(**{k: v for k, v in tables["data"].items() if k != "name"})
        cases = (("videos", videos), ("srvp-digits-small", digits))
        for recipe, data in cases:
            size = resolve(read_recipe(recipe))["train"]["batch_size"]
            step = step_seconds(recipe, data, [], known.seconds)
            for workers in WORKERS:
                batches = training_batches(
                    data.windows("train"),
                    range(10**6),
                    batch_size=size,
                    seed=1,
                    loader_workers=workers,
                )
                frames, seconds = rate(batches, known.seconds)
                print(
                    f"| {recipe} | {workers} | {frames:,.0f} | {1000 * seconds:.2f} | "
                    f"{1000 * step:.0f} | {seconds / step:.2%} |"
                )
                del batches
    print(f"\nDecoding and sizing, once: {decoding:,.0f} frames/s")


if __name__ == "__main__":
    main()

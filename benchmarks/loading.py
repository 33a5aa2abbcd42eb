"""How fast frames reach the training loop, against how fast the small recipes take them.

    python benchmarks/loading.py --seconds 5
    python benchmarks/loading.py --fields --seconds 5

Frames a second from stored videos and from generated digits, with 0, 1 and 2 workers; then the
share of a training step that loading with as many workers takes. Writes its own videos first.
With `--fields`, from Zarr stores of several chunks and a NetCDF file, read as they are, against
the prepared memory map of `storage: cache`, and memory.
"""

from __future__ import annotations

import argparse
import math
import os
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import torch

from statecast.data.base import DataSource, seeded_generator
from statecast.data.loading import training_batches
from statecast.data.synthetic.moving_digits import MovingDigits
from statecast.data.user.fields import Fields
from statecast.data.user.videos import Videos
from statecast.frames import Batch
from statecast.io.video.encoding import write_mp4
from statecast.models.build import model_of
from statecast.runs.recipes.resolve import read_recipe, resolve

WORKERS = (0, 1, 2)
CLIPS, LENGTH, SIDE = 64, 60, 64  # of the videos that are written
FRAMES, GRID, CHUNKS = 512, (128, 128), (1, 32, 256)  # of the fields that are written
PREPARED = ("cache", "memory")  # storage that is made once
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


def write_fields(folder: Path) -> dict[str, Path]:
    """One series of smooth fields, in a NetCDF file and in stores by the frames of a chunk."""
    import xarray

    generator = np.random.default_rng(0)
    noise = generator.standard_normal((FRAMES, *GRID), dtype=np.float32)
    days = np.datetime64("2001-01-01", "ns") + np.arange(FRAMES) * np.timedelta64(1, "D")
    coordinates = {"time": days, "lat": np.arange(GRID[0]) / 4, "lon": np.arange(GRID[1]) / 4}
    series = xarray.Dataset({"sst": (("time", "lat", "lon"), noise)}, coords=coordinates)
    paths = {"NetCDF": folder / "series.nc"}
    series.to_netcdf(paths["NetCDF"])
    for chunk in CHUNKS:
        name = f"Zarr, chunks of {chunk}"
        paths[name] = folder / f"{chunk}.zarr"
        chunks = {"sst": {"chunks": (chunk, *GRID)}}
        series.to_zarr(paths[name], encoding=chunks, zarr_format=2, consolidated=False)
    return paths


def measure_fields(folder: Path, seconds: float) -> None:
    """Print how fast windows of fields are read, whichever way they are stored.

    By the clock of the processor: pages of files that were just written lie in memory.
    """
    paths = write_fields(folder)
    ways = [(name, path, "files") for name, path in paths.items()]
    ways += [(f"storage: {way}", paths[f"Zarr, chunks of {CHUNKS[0]}"], way) for way in PREPARED]
    print("| stored as | frames/s | MiB/s | batch of 8 / ms | once / s |")
    print("|---|---|---|---|---|")
    clock = time.process_time
    for name, path, storage in ways:
        data = Fields(path=str(path), storage=storage, context=8, horizon=12, anomaly="mean")
        start, windows = clock(), data.windows("train")
        windows.batch(torch.zeros(1, dtype=torch.long))  # climatology, and the cache
        once = clock() - start
        batches = training_batches(windows, range(10**6), batch_size=8, seed=1)
        frames, each = rate(batches, seconds, clock)
        size = frames * 4 * math.prod(GRID) / 2**20
        print(f"| {name} | {frames:,.0f} | {size:,.0f} | {1000 * each:.1f} | {once:.1f} |")
    step = step_seconds("fields-srvp", data, ["--model.reference=none"], seconds, clock)
    print(f"\nA training step of `fields-srvp` on 8 of these windows: {step:.2f} s")


def rate(
    batches: Iterator[Batch], seconds: float, clock: Callable[[], float] = time.perf_counter
) -> tuple[float, float]:
    """Frames a second, and seconds a batch."""
    for _ in range(WARM):
        next(batches)
    frames = count = 0
    start = clock()
    while clock() - start < seconds:
        values = next(batches).values
        frames, count = frames + values.shape[0] * values.shape[1], count + 1
    passed = clock() - start
    return frames / passed, passed / count


def step_seconds(
    recipe: str,
    data: DataSource,
    overrides: list[str],
    seconds: float,
    clock: Callable[[], float] = time.perf_counter,
) -> float:
    """Seconds of a training step of a recipe on a batch that is there already."""
    tables = resolve(read_recipe(recipe), overrides)
    model = model_of(tables["model"], data.spec, generator=seeded_generator(1))
    batch = data.windows("train").training_batch(0, tables["train"]["batch_size"], seed=1)
    if model.needs_statistics:
        model.fit_statistics([batch])
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-4)
    done, start = 0, 0.0
    while done <= 2 or clock() - start < seconds:
        optimizer.zero_grad()
        model.loss(batch, generator=seeded_generator(done))["total"].backward()
        optimizer.step()
        done += 1
        if done == 2:
            start = clock()
    return (clock() - start) / (done - 2)


def measure_recipes(folder: Path, seconds: float) -> None:
    """Print how fast the small recipes get their frames, and what share of a step that takes."""
    (folder / "clips").mkdir()
    write_clips(folder / "clips")
    start = time.perf_counter()
    videos = Videos(path=str(folder / "clips"))
    decoding = CLIPS * LENGTH / (time.perf_counter() - start)
    tables = resolve(read_recipe("srvp-digits-small"))
    digits = MovingDigits(**{k: v for k, v in tables["data"].items() if k != "name"})
    print("| recipe | workers | frames/s | batch / ms | step / ms | loading / step |")
    print("|---|---|---|---|---|---|")
    for recipe, data in (("videos", videos), ("srvp-digits-small", digits)):
        size = resolve(read_recipe(recipe))["train"]["batch_size"]
        step = step_seconds(recipe, data, [], seconds)
        for workers in WORKERS:
            batches = training_batches(
                data.windows("train"),
                range(10**6),
                batch_size=size,
                seed=1,
                loader_workers=workers,
            )
            frames, each = rate(batches, seconds)
            print(
                f"| {recipe} | {workers} | {frames:,.0f} | {1000 * each:.2f} | "
                f"{1000 * step:.0f} | {each / step:.2%} |"
            )
            del batches
    print(f"\nDecoding and sizing, once: {decoding:,.0f} frames/s")


def main() -> None:
    """Measure and print a table."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--seconds", type=float, default=5.0, help="of each measurement")
    parser.add_argument("--fields", action="store_true", help="from stores of fields instead")
    known = parser.parse_args()
    load = f"{os.getloadavg()[0]:.1f}" if hasattr(os, "getloadavg") else "unknown"
    print(f"{os.cpu_count()} processors, {torch.get_num_threads()} thread(s), load {load}\n")
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        os.environ["STATECAST_CACHE"] = str(folder / "cache")
        (measure_fields if known.fields else measure_recipes)(folder, known.seconds)


if __name__ == "__main__":
    main()

"""Pictures of the data cards: `python docs/images/data_pictures.py` writes them beside itself."""

from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
import torch
from PIL import Image

from statecast.data.benchmarks.sst import SeaSurfaceTemperature
from statecast.data.synthetic.forks import Forks
from statecast.data.synthetic.moving_shapes import MovingShapes
from statecast.data.synthetic.oscillators import Oscillators
from statecast.data.synthetic.turntable import Turntable

HERE = Path(__file__).parent
DAYS, OBJECTS, VIEWS = (0, 5, 10, 15), 4, range(0, 31, 4)


def draw_sst() -> None:
    """Anomalies of two zones, every fifth day; the first zone has land."""
    data = SeaSurfaceTemperature(zones=2, days=150, land_zones=1)
    figure, axes = plt.subplots(2, len(DAYS), figsize=(5.6, 3), layout="constrained")
    for row, zone in zip(axes, data.zones, strict=True):
        for axis, day in zip(row, DAYS, strict=True):
            values = zone.temperature.values(slice(day, day + 1))[0] - zone.mean[zone.rows[day]]
            image = axis.imshow(values, origin="lower", cmap="RdBu_r", vmin=-2, vmax=2)
            axis.set(xticks=[], yticks=[], facecolor="0.6")
            axis.set_title(f"zone {zone.number}, day {day}", fontsize=8)
    figure.colorbar(image, ax=axes, label="anomaly, °C", shrink=0.8)
    figure.savefig(HERE / "sst.png", dpi=72)
    picture = Image.open(HERE / "sst.png").convert("RGB")  # 128 colours are enough, and smaller
    picture.quantize(128).save(HERE / "sst.png", optimize=True)


def draw_turntable() -> None:
    """A row for each object, a column for every fourth view."""
    views = Turntable(objects=7).windows("train").views[:OBJECTS]
    rows = [np.concatenate([seen[v].transpose(1, 2, 0) for v in VIEWS], axis=1) for seen in views]
    Image.fromarray(np.concatenate(rows)).save(HERE / "turntable.png", optimize=True)


def draw_shapes() -> None:
    """A row for each window, every second frame; the last two with camera motion and noise."""
    rows = []
    for options in ({}, {"camera": 0.4, "noise": 0.05}):
        values = MovingShapes(**options).windows("test").batch(torch.arange(1, 3)).values
        rows += [np.concatenate(list(window[::2].numpy()), axis=2) for window in values]
    picture = np.concatenate(rows, axis=1).transpose(1, 2, 0)
    image = Image.fromarray((255 * picture).round().astype(np.uint8))
    image.resize((2 * image.width, 2 * image.height), Image.Resampling.NEAREST).save(
        HERE / "shapes.png", optimize=True
    )


def draw_forks() -> None:
    """Three balls, from dark to bright: the last observed frame, and both futures."""
    windows = Forks(test_horizon=6, horizon=6).windows("test")
    batch = windows.batch(torch.arange(40))
    chosen = batch.latents["brightness"].argsort()[[2, 20, 37]]
    futures = windows.futures(chosen)
    probability = windows.mode_probabilities(chosen)[:, 1]
    figure, axes = plt.subplots(3, 7, figsize=(5.6, 2.7), layout="constrained")
    for row, axis in enumerate(axes):
        window = chosen[row]
        axis[0].set_ylabel(f"p = {float(probability[row]):.2f}", fontsize=8)
        shown = [batch.context.values[window, -1, 0], *futures.amax(dim=0)[row, :, 0]]
        for lead, (one, frame) in enumerate(zip(axis, shown, strict=True)):
            one.imshow(frame, cmap="gray", vmin=0, vmax=1)
            one.set(xticks=[], yticks=[])
            one.set_title("" if row else f"t = {lead}", fontsize=8)
    figure.savefig(HERE / "forks.png", dpi=72)


def draw_oscillators() -> None:
    """The middle of a drum: what was seen of it, what came, and the exact law of that."""
    source = Oscillators(context=24, test_horizon=24, missing=0.6)
    windows, middle = source.windows("test"), source.frame_size // 2
    batch, (mean, std) = windows.batch(torch.arange(1)), windows.exact_moments(torch.arange(1))
    pixel = (0, slice(None), 0, middle, middle // 2)
    centre, width, times = mean[pixel], 2 * std[pixel], batch.target.times
    figure, axis = plt.subplots(figsize=(5.6, 2.4), layout="constrained")
    axis.fill_between(times, centre - width, centre + width, color="0.85", label="exact law, ± 2σ")
    axis.plot(times, centre, color="0.4")
    axis.plot(batch.context.times, batch.context.values[pixel], "o", ms=3, label="observed")
    axis.plot(times, batch.target.values[pixel], ".", ms=3, label="what came")
    axis.set(xlabel="frames after the last observed one", ylabel="displacement")
    axis.legend(fontsize=7, loc="upper left")
    figure.savefig(HERE / "oscillators.png", dpi=72)


if __name__ == "__main__":
    draw_shapes()
    draw_forks()
    draw_oscillators()
    draw_sst()
    draw_turntable()

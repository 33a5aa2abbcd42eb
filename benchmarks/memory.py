"""Peak memory of scoring one window: 100 samples of 95 frames through a wide VGG codec with skips.

    python benchmarks/memory.py
    python benchmarks/memory.py --samples 20 --frames 20

Weights and frames are random: neither changes memory. Prints what each part takes beside what was
there before it: conditioning and decoding alone, then forecast and scores together.
"""

from __future__ import annotations

import argparse
import gc
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import torch

from statecast.data.base import Windows, seeded_generator, window_generators
from statecast.evaluation.scoring import score_windows
from statecast.frames import Batch, FrameSpec
from statecast.models.srvp import SRVP
from statecast.models.state_space import DECODE_BYTES

MEBIBYTE = 2**20
METRICS = ("mse", "psnr", "ssim", "crps", "energy", "spread_skill", "rank_histogram")


class Noise(Windows):
    """Windows of random frames."""

    def __init__(self, spec: FrameSpec, frames: int) -> None:
        self.spec, self.frames = spec, frames

    def __len__(self) -> int:
        return 1

    def batch(self, indices: torch.Tensor) -> Batch:
        shape = (len(indices), self.spec.context + self.frames, *self.spec.frame_shape)
        values = torch.rand(shape, generator=seeded_generator(0))
        return Batch.of(values, self.spec.context, channels=self.spec.channels)

    @property
    def digest(self) -> str:
        return "noise"


def resident() -> float:
    """Memory that this process holds, in MiB."""
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith("VmRSS:"):
            return int(line.split()[1]) / 1024
    raise OSError("This system does not tell how much memory a process holds.")


@contextmanager
def peak(title: str) -> Iterator[None]:
    """Print the most memory that is held inside the block, and what was held before."""
    gc.collect()
    before, done = resident(), threading.Event()
    highest = [before]

    def watch() -> None:
        while not done.wait(0.005):
            highest[0] = max(highest[0], resident())

    watcher = threading.Thread(target=watch)
    watcher.start()
    started = time.perf_counter()
    try:
        yield
    finally:
        done.set()
        watcher.join()
    seconds = time.perf_counter() - started
    print(
        f"{title:24}{before:10.0f}{highest[0]:10.0f}{highest[0] - before:10.0f}{seconds:10.1f}",
        flush=True,
    )


def main() -> None:
    """Read the command line, measure and print."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--samples", type=int, default=100)
    parser.add_argument("--frames", type=int, default=95)
    parser.add_argument("--context", type=int, default=10)
    parser.add_argument("--width", type=int, default=64)
    parser.add_argument("--architecture", default="vgg")
    parser.add_argument("--metrics", nargs="+", default=METRICS)
    parser.add_argument("--whole", action="store_true", help="forecast and scores alone")
    known = parser.parse_args()
    spec = FrameSpec(
        channels=("red", "green", "blue"), space=(64, 64), context=known.context,
        horizon=known.frames, value_range=(0.0, 1.0),
    )  # fmt: skip
    model = SRVP(
        spec, architecture=known.architecture, skips=True, width=known.width, latent_size=50,
        noise_size=50, generator=seeded_generator(1),
    ).eval()  # fmt: skip
    windows = Noise(spec, known.frames)
    frames = known.samples * known.frames
    size = 4 * frames * spec.frame_shape[0] * 64 * 64 / MEBIBYTE
    print(
        f"{frames} frames are {size:.0f} MiB; decoding may take {DECODE_BYTES / MEBIBYTE:.0f} MiB"
    )
    print(f"{'MiB':24}{'before':>10}{'peak':>10}{'added':>10}{'seconds':>10}")
    if not known.whole:
        measure_parts(model, windows, known)
    with peak("forecast and scores"):
        score_windows(model, windows, metrics=known.metrics, samples=known.samples)


def measure_parts(model: SRVP, windows: Noise, known: argparse.Namespace) -> None:
    """The peaks of conditioning, of decoding, and of each metric alone."""
    spec = model.spec
    context = windows.batch(torch.tensor([0])).context
    with torch.no_grad(), peak("conditioning"):
        state = model.observe(
            model.inputs(context),
            samples=known.samples,
            generator=window_generators(torch.arange(1), 1),
        )
    with torch.no_grad(), peak("decoding"):
        latents = state.latent.unsqueeze(2).expand(-1, -1, known.frames, -1)
        model.decode_all(state.content, latents)
    del latents, state
    for metric in known.metrics:
        forecast = torch.rand(known.samples, 1, known.frames, *spec.frame_shape)
        measure(windows, spec, metric, forecast)
        del forecast


def measure(windows: Noise, spec: FrameSpec, metric: str, samples: torch.Tensor) -> None:
    """The peak of one metric alone."""
    from statecast.frames import Forecast
    from statecast.metrics import METRICS as ALL

    target = windows.batch(torch.tensor([0])).target
    forecast = Forecast(samples=samples, times=target.times, channels=target.channels)
    with peak(metric):
        ALL[metric].of(spec).sums(forecast, target)


if __name__ == "__main__":
    main()

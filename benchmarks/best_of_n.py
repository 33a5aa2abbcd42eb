"""Best of N against plain loops: the same weights, noise, frames and scores, in less time.

    python benchmarks/best_of_n.py
    python benchmarks/best_of_n.py --samples 10 --frames 10 --repeats 5

The models of two shipped recipes with random weights, on random frames: neither changes the time.
Both sides take turns in one process; a table of medians and ratios is printed last. The other side
is `benchmarks/plain/srvp.py`.
"""

from __future__ import annotations

import argparse
import statistics
import time
from collections.abc import Callable
from typing import Any, NamedTuple

import torch
from plain import scores as plain_scores
from plain import srvp as plain

from statecast.data.base import generator_of, streams_of
from statecast.frames import Batch, Forecast, Frames, FrameSpec
from statecast.metrics import METRICS
from statecast.models import SRVP
from statecast.options import read_recipe

RECIPES = ("srvp-kth", "srvp-digits-stochastic")
SCORED = ("psnr", "ssim")
SEED = 1


class Case(NamedTuple):
    """What both sides are given."""

    model: SRVP
    batch: Batch
    samples: int

    @property
    def options(self) -> plain.Options:
        """What plain loops must know besides the weights."""
        model = self.model
        return plain.Options(model.skips, model.inference_frames, model.substeps)


def case_of(recipe: str, *, samples: int, frames: int, windows: int, **sizes: Any) -> Case:
    """The model of a recipe with random weights, and random windows."""
    tables = read_recipe(recipe)
    context = tables["data"]["context"]
    spec = FrameSpec(
        channels=("grey",), space=(64, 64), context=context, horizon=frames, value_range=(0.0, 1.0)
    )
    options = {key: value for key, value in tables["model"].items() if key != "name"} | sizes
    generator = generator_of(0)
    model = SRVP(spec, **options, generator=generator).eval()
    # As of a trained model: frames that move with the latent, statistics that are not 0 and 1.
    for layer in model.modules():
        if isinstance(layer, torch.nn.Conv2d | torch.nn.ConvTranspose2d):
            spread = (9 * layer.in_channels) ** -0.5  # so that maps keep their size
            torch.nn.init.normal_(layer.weight, 0.0, spread, generator=generator)
    for name, values in model.named_buffers():
        if name.endswith("running_var"):
            values.uniform_(0.5, 1.5, generator=generator)
        elif name.endswith("running_mean"):
            values.normal_(0.0, 0.1, generator=generator)
    values = torch.rand(windows, spec.length, *spec.frame_shape, generator=generator)
    return Case(model, Batch.of(values, context, channels=spec.channels), samples)


def noise_of(case: Case) -> plain.Noise:
    """The values that our forecast draws, window by window."""
    model, found = case.model, []
    assert model.posterior is not None
    latent, noise = model.initial[-1].out_features // 2, model.posterior.out_features // 2
    for number in range(len(case.batch)):
        stream = generator_of(SEED, number)

        def draw(*shape: int, stream: torch.Generator = stream) -> torch.Tensor:
            return torch.randn(case.samples, *shape, generator=stream)

        initial, observed = draw(latent), draw(len(case.batch.context) - 1, noise)
        future = [draw(noise) for _ in range(len(case.batch.target))]
        found.append((initial, observed, torch.stack(future, dim=1)))
    return plain.Noise(*(torch.stack(parts, dim=1) for parts in zip(*found, strict=True)))


def ours(case: Case) -> Forecast:
    """Our forecast."""
    streams = streams_of(torch.arange(len(case.batch)), SEED)
    return case.model.forecast(
        case.batch.context, len(case.batch.target), samples=case.samples, generator=streams
    )


def our_scores(forecast: Forecast, target: Frames, spec: FrameSpec) -> dict[str, float]:
    """The best sample of each window by our metrics."""
    metrics = {name: METRICS[name].of(spec) for name in SCORED}
    return {
        name: metric.scores(metric.sums(forecast, target))["best"].value
        for name, metric in metrics.items()
    }


def theirs(case: Case, noise: plain.Noise) -> torch.Tensor:
    """The forecast of plain loops."""
    return plain.forecast(
        dict(case.model.state_dict()), case.batch.context.values, noise, case.options
    )


def timed(call: Callable[[], Any]) -> tuple[float, Any]:
    """Seconds of the processor, and the result."""
    started = time.process_time()
    result = call()
    return time.process_time() - started, result


def compare(recipe: str, case: Case, repeats: int) -> list[str]:
    """Rows of the table: forecast, scores, and both."""
    noise, spec = noise_of(case), case.model.spec
    target = case.batch.target
    seconds: dict[str, list[tuple[float, float]]] = {"forecast": [], "scores": [], "both": []}
    for _ in range(repeats):
        one, forecast = timed(lambda: ours(case))
        other, frames = timed(lambda: theirs(case, noise))
        torch.testing.assert_close(forecast.samples, frames, atol=1e-4, rtol=0)
        seconds["forecast"].append((one, other))
        first, scores = timed(lambda forecast=forecast: our_scores(forecast, target, spec))
        second, others = timed(lambda frames=frames: plain_scores.best_of_n(frames, target.values))
        assert all(abs(scores[name] - others[name]) < 1e-3 for name in SCORED), (scores, others)
        seconds["scores"].append((first, second))
        seconds["both"].append((one + first, other + second))
    rows = []
    for part, pairs in seconds.items():
        our, their = (statistics.median(side) for side in zip(*pairs, strict=True))
        ratio = statistics.median(there / here for here, there in pairs)
        rows.append(f"| {recipe} | {part} | {our:.2f} | {their:.2f} | {ratio:.1f} |")
    return rows


def main() -> None:
    """Read the command line, compare and print."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--recipes", nargs="+", default=RECIPES)
    parser.add_argument("--samples", type=int, default=5)
    parser.add_argument("--frames", type=int, default=5, help="horizon")
    parser.add_argument("--windows", type=int, default=2)
    parser.add_argument("--repeats", type=int, default=3)
    known = parser.parse_args()
    rows = []
    for recipe in known.recipes:
        case = case_of(recipe, samples=known.samples, frames=known.frames, windows=known.windows)
        ours(case)  # the first call of either side prepares layers
        rows += compare(recipe, case, known.repeats)
    print(f"{known.samples} samples of {known.frames} frames, {known.windows} windows, medians of")
    print(f"{known.repeats} turns, seconds of {torch.get_num_threads()} thread(s)\n")
    print("| model | part | statecast | plain | ratio |\n|---|---|---|---|---|")
    print("\n".join(rows))


if __name__ == "__main__":
    main()

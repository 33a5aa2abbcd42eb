"""demo: forecasts of shipped models; then training, scores and pictures, without downloads."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from pathlib import Path

from statecast.data.base import seeded_generator
from statecast.data.loading import evenly
from statecast.frames import Batch
from statecast.io.atomic_files import write_text
from statecast.models.base import Forecaster
from statecast.plots.animations import animate_forecast
from statecast.plots.curves import plot_history, plot_scores
from statecast.plots.forecasts import plot_forecast
from statecast.runs.create import create_run
from statecast.runs.folders import CONFIG_NAME
from statecast.runs.run import evaluate_run, open_run, train_run
from statecast.runs.trained import trained_names
from statecast.runs.trained.loading import example, load_trained
from statecast.training.diagnostics import DIAGNOSTICS_NAME
from statecast.training.logs import read_log

SUMMARY_NAME = "summary.txt"
STRIP, ANIMATION = "forecast.png", "forecast.gif"
RECIPES = {"waves": "separable-wave-small", "digits": "srvp-digits-small"}
MINUTES = {"waves": 2.0, "digits": 4.5}  # of each part, on two idle cores
SHOWN = 4  # test windows in an animation
SAMPLES = 20
SEED = 3  # of the futures in the pictures


def demo(folder: str | Path = "demo", *, recipes: Mapping[str, str] | None = None) -> Path | None:
    """Forecast with shipped models, then train, score and draw; return the folder of results.

    If it was stopped, it continues where it stopped; finished parts are kept.

    Args:
        folder: folder for runs and pictures.
        recipes: recipe of each part to train, by name of the part.

    Returns:
        The folder; None if a signal stopped the demo.

    Errors:
        FileError: the folder cannot be written, or holds something else.
    """
    folder = Path(folder)
    parts = dict(recipes or RECIPES)
    show_trained(folder / "trained")
    summary: list[str] = []
    clock = Clock([MINUTES.get(name, 1.0) for name in parts])
    for name, recipe in parts.items():
        print(f"— {name}: {recipe}{clock.left()}", flush=True)
        done = folder / name / SUMMARY_NAME
        if not done.exists():
            text = make_part(recipe, folder / name)
            if text is None:
                return None
            write_text(done, text)
        clock.next_part()
        summary.append(f"{name}: {done.read_text()}")
    print("\n\n".join(["", *summary]))
    write_text(folder / SUMMARY_NAME, "\n\n".join(summary) + "\n")
    return folder


class Clock:
    """Estimates the remaining time of several parts.

    Args:
        expected: minutes that each part takes on an idle machine.
    """

    def __init__(self, expected: Sequence[float]) -> None:
        self.rest, self.done = list(expected), 0.0
        self.started = time.monotonic()

    def left(self) -> str:
        """The remaining minutes, estimated from the finished parts."""
        pace = (time.monotonic() - self.started) / 60 / self.done if self.done else 1.0
        return f" ({max(pace, 1.0) * sum(self.rest):.0f} min to go, more on a busy machine)"

    def next_part(self) -> None:
        """Count a part as finished."""
        self.done += self.rest.pop(0)


def show_trained(folder: Path) -> None:
    """Draw forecasts of the models that come with the package."""
    print("Forecasts of models that come with the package:", flush=True)
    for name, title in trained_names().items():
        place = folder / name
        place.mkdir(parents=True, exist_ok=True)
        pictures = [place / STRIP, place / ANIMATION]
        if not all(path.exists() for path in pictures):
            draw(load_trained(name).model, example(name), place)
        print(f"— {name}: {title}\n" + "\n".join(f"  {path}" for path in pictures), flush=True)


def make_part(recipe: str, folder: Path) -> str | None:
    """Train a recipe or resume its run, then score and draw; None if a signal stopped it."""
    begun = (folder / CONFIG_NAME).exists()
    run = open_run(folder) if begun else create_run(recipe, folder)
    result = train_run(run, resume=begun)
    if result.reason == "signal":
        return None
    scores = evaluate_run(run)
    windows = run.data().windows("test")
    shown = windows.batch(evenly(len(windows), SHOWN + 1)[1:])
    pictures = draw(run.load(), shown, run.folder)
    pictures += [run.folder / "scores.png", run.folder / "history.png"]
    plot_scores(scores.to_json(), pictures[-2])
    watched = read_log(run.folder, DIAGNOSTICS_NAME)
    plot_history(read_log(run.folder), pictures[-1], diagnostics=watched)
    text = [
        f"{recipe}, {result.step} steps in {result.seconds / 60:.1f} min, "
        f"{scores.protocol['windows']} test windows, {len(scores.lead_times)} frames",
        scores.table(),
        *[f"  {path}" for path in pictures],
    ]
    return "\n".join(text)


def draw(model: Forecaster, batch: Batch, folder: Path) -> list[Path]:
    """Draw forecasts of some windows."""
    forecast = model.forecast(
        batch.context,
        len(batch.target),
        samples=SAMPLES if model.stochastic else 1,
        generator=seeded_generator(SEED),
    )
    strip, animation = folder / STRIP, folder / ANIMATION
    plot_forecast(batch.context, forecast, strip, target=batch.target, samples=4)
    animate_forecast(batch.context, forecast, animation, target=batch.target, sequences=SHOWN)
    return [strip, animation]

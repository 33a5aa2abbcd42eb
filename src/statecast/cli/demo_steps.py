"""demo: train both models on data that needs no download, score them, draw their forecasts."""

from __future__ import annotations

import time
from collections.abc import Mapping
from pathlib import Path

from statecast.data.base import seeded_generator
from statecast.data.loading import evenly
from statecast.evaluation.score_tables import table
from statecast.frames import Batch
from statecast.io.atomic_files import write_text
from statecast.models.base import Forecaster
from statecast.plots.animations import animate_forecast
from statecast.plots.curves import plot_history, plot_scores
from statecast.plots.forecasts import plot_forecast
from statecast.runs.run import create_run, evaluate_run, train_run
from statecast.training.diagnostics import DIAGNOSTICS_NAME
from statecast.training.logs import read_log

RECIPES = {"waves": "separable-wave-small", "digits": "srvp-digits-small"}
SHOWN = 4  # test windows in an animation
SAMPLES = 20
SEED = 3  # of the futures in the pictures


def demo(folder: str | Path = "demo", *, recipes: Mapping[str, str] | None = None) -> Path | None:
    """Train, score and draw; return the folder of the results, None where a signal stopped it.

    Args:
        folder: where runs and pictures go; a numbered one beside it where it is not empty.
        recipes: name of each part and its recipe.

    Errors:
        FileError: the folder cannot be written.
    """
    started = time.monotonic()
    folder = _free(Path(folder))
    summary: list[str] = []
    for name, recipe in (recipes or RECIPES).items():
        print(f"— {name}: {recipe}", flush=True)
        run = create_run(recipe, folder / name)
        result = train_run(run)
        if result.reason == "signal":
            print(f"Stopped. {run.folder} holds what was trained; start the demo again.")
            return None
        scores = evaluate_run(run)
        windows = run.data().windows("test")
        shown = windows.batch(evenly(len(windows), SHOWN + 1)[1:])
        pictures = draw(run.load(), shown, run.folder)
        pictures += [run.folder / "scores.png", run.folder / "history.png"]
        plot_scores(scores, pictures[-2])
        watched = read_log(run.folder, DIAGNOSTICS_NAME)
        plot_history(read_log(run.folder), pictures[-1], diagnostics=watched)
        text = [
            f"{name}: {recipe}, {result.step} steps in {result.seconds / 60:.1f} min, "
            f"{scores['protocol']['windows']} test windows, {len(scores['lead_times'])} frames",
            table(scores),
            *[f"  {path}" for path in pictures],
        ]
        summary.append("\n".join(text))
    summary.append(f"{(time.monotonic() - started) / 60:.1f} min altogether")
    print("\n\n".join(["", *summary]))
    write_text(folder / "summary.txt", "\n\n".join(summary) + "\n")
    return folder


def draw(model: Forecaster, batch: Batch, folder: Path) -> list[Path]:
    """Pictures of forecasts of some test windows."""
    forecast = model.forecast(
        batch.context,
        len(batch.target),
        samples=SAMPLES if model.stochastic else 1,
        generator=seeded_generator(SEED),
    )
    strip, animation = folder / "forecast.png", folder / "forecast.gif"
    plot_forecast(batch.context, forecast, strip, target=batch.target, samples=4)
    animate_forecast(batch.context, forecast, animation, target=batch.target, sequences=SHOWN)
    return [strip, animation]


def _free(folder: Path) -> Path:
    """The folder itself where it is new or empty, else the first free numbered one beside it."""
    number, candidate = 1, folder
    while candidate.exists() and any(candidate.iterdir()):
        number += 1
        candidate = folder.with_name(f"{folder.name}-{number}")
    return candidate

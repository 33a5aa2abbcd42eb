"""calibrate_run: a calibration, fitted on a run's validation windows and kept in its folder."""

from __future__ import annotations

from typing import NamedTuple

from statecast.evaluation.calibrate import fit_calibration
from statecast.evaluation.scoring import Scores, score_windows
from statecast.evaluation.text_tables import aligned
from statecast.io.atomic_files import write_text
from statecast.io.sealed_json import sealed
from statecast.models.calibration import Calibration
from statecast.runs.calibration import CALIBRATION_NAME
from statecast.runs.run import Run

FEW_WINDOWS = 30  # below which a fit gets a warning
JUDGED_BY = ("crps", "energy", "spread_skill", "coverage")


class Calibrated(NamedTuple):
    """A calibration, and the scores of its validation windows before and after it."""

    calibration: Calibration
    before: Scores
    after: Scores
    units: tuple[str, ...]  # of each channel

    def lines(self) -> list[str]:
        """The scores side by side, then inflation and bias for each lead time and channel."""
        count = self.before.windows
        before, after = (values_of(scores) for scores in (self.before, self.after))
        scores = [["score", "before", "after"]]
        scores += [[name, f"{before[name]:.4g}", f"{after[name]:.4g}"] for name in before]
        rows = [["lead time", "channel", "inflation", "bias"]]
        found = self.calibration
        for i, time in enumerate(found.lead_times):
            for j, (name, unit) in enumerate(zip(found.channels, self.units, strict=True)):
                inflation, bias = float(found.inflation[i, j]), float(found.bias[i, j])
                shown = f"{bias:.3g}" if unit == "1" else f"{bias:.3g} {unit}"
                rows.append([f"{time:g}", name, f"{inflation:.3f}", shown])
        lines = [f"On the {count} validation windows that it was fitted on:", *aligned(scores)]
        lines += ["", *aligned(rows)]
        if count < FEW_WINDOWS:
            lines += [
                "",
                f"Warning: {count} windows are few to fit on; other windows may not gain. Judge it "
                "on test windows: statecast evaluate RUN --calibrated",
            ]
        return lines


def calibrate_run(
    run: Run,
    *,
    which: str = "best",
    samples: int = 20,
    max_windows: int | None = None,
    batch_size: int = 16,
    device: str = "auto",
    seed: int = 1,
) -> Calibrated:
    """Fit a calibration on a run's validation windows, and write it into the folder.

    Args:
        run: the run.
        which: the checkpoint: `best`, `last`, or a number of steps.
        samples: number of samples for each window.
        max_windows: number of windows to fit on, evenly spaced; by default all.
        batch_size: most windows at once.
        device: `auto`, `cpu`, `cuda`, …
        seed: seed of the samples.

    Errors:
        As `Run.load` and `fit_calibration`.
    """
    model, step = run.load_with_step(which, device=device)
    windows = run.data().windows("validation")
    found = fit_calibration(
        model, windows, samples=samples, batch_size=batch_size, max_windows=max_windows, seed=seed
    )

    def scored(calibration: Calibration | None) -> Scores:
        model.calibration = calibration
        return score_windows(
            model,
            windows,
            metrics=JUDGED_BY,
            samples=samples,
            batch_size=batch_size,
            count=max_windows,
            seed=seed,
        )

    made = Calibrated(found, scored(None), scored(found), model.spec.units)
    content = {
        "format": 1,
        "step": step,
        "samples": samples if model.stochastic else 1,
        "windows": made.before.windows,
        "digest": windows.digest,
        "seed": seed,
        **found.to_json(),
        "before": values_of(made.before),
        "after": values_of(made.after),
    }
    write_text(run.folder / CALIBRATION_NAME, sealed(content))
    return made


def values_of(scores: Scores) -> dict[str, float]:
    """Mean over lead times of each metric, and share of truths in each central interval."""
    inside = scores.details.get("coverage", {})
    return {
        **{name: score["ensemble"].value for name, score in scores.by_metric.items()},
        **{name: sum(shares) / len(shares) for name, shares in inside.items()},
    }

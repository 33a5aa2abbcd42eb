"""calibrate_run: a calibration, fitted on a run's validation windows and kept in its folder."""

from __future__ import annotations

from typing import NamedTuple

from statecast.evaluation.calibrate import fit_calibration
from statecast.evaluation.scoring import Scores, score_windows
from statecast.io.atomic_files import write_text
from statecast.io.sealed_json import sealed
from statecast.models.calibration import Calibration
from statecast.runs.calibration import CALIBRATION_NAME
from statecast.runs.run import Run

JUDGED_BY = ("crps", "energy", "spread_skill", "coverage")


class Calibrated(NamedTuple):
    """A calibration, and the scores of its validation windows before and after it."""

    calibration: Calibration
    before: Scores
    after: Scores

    def lines(self) -> list[str]:
        """The scores side by side, then inflation and bias for each lead time and channel."""
        rows = [f"{'validation windows':24}{'before':>10}{'after':>10}"]
        before, after = (values_of(scores) for scores in (self.before, self.after))
        rows += [f"{name:24}{before[name]:10.4g}{after[name]:10.4g}" for name in before]
        rows += ["", f"{'lead time':12}{'channel':16}{'inflation':>10}{'bias':>10}"]
        found = self.calibration
        for i, time in enumerate(found.lead_times):
            for j, name in enumerate(found.channels):
                values = (float(found.inflation[i, j]), float(found.bias[i, j]))
                rows.append(f"{time:<12g}{name:16}{values[0]:10.3f}{values[1]:10.3g}")
        return rows


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

    made = Calibrated(found, scored(None), scored(found))
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

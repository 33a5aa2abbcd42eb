"""statecast evaluate: score a run."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from statecast.evaluation.evaluation import Evaluation

INCOMPLETE = 3  # exit code if the weights of a requested metric are missing
SUMMARY = "Score a run, or a model of the package, on its test data, beside persistence."
TAKES_OPTIONS = True
TAKES_PROCESSES = True


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of the verb."""
    parser.add_argument("folder", metavar="RUN", help="run folder, or name of a shipped model")
    parser.add_argument(
        "--output", type=Path, metavar="FOLDER",
        help="folder of the scores; default: RUN, and none for a shipped model",
    )  # fmt: skip
    parser.add_argument("--checkpoint", default="best", help="best, last, or a number of steps")
    parser.add_argument("--device", default="auto", help="auto, cpu or cuda; default auto")
    parser.add_argument(
        "--calibrated",
        action="store_true",
        help="apply the correction that `statecast calibrate` fitted",
    )
    parser.add_argument(
        "--allow-download", action="store_true", help="fetch the weights that LPIPS needs"
    )
    parser.epilog = (
        "Change options of the recipe's table `evaluate` on the command line: --evaluate.metrics "
        "'[psnr, crps]', --evaluate.samples 20. `statecast train RECIPE --help` lists them."
    )


def run(options: argparse.Namespace, overrides: Sequence[str]) -> int:
    """Score a run, or a model that comes with the package."""
    from statecast.distributed import is_main, process_group
    from statecast.errors import InputError
    from statecast.io.atomic_files import make_folder
    from statecast.runs.run import evaluate_run, open_run
    from statecast.runs.trained.loading import evaluate_trained, is_trained

    if options.allow_download:
        overrides = [*overrides, "--evaluate.allow_download=true"]
    folder = options.output
    with process_group():
        if is_trained(options.folder):
            if options.checkpoint != "best" or options.calibrated:
                raise InputError(
                    f"{options.folder} comes with the package, with one set of weights and no "
                    "calibration: leave out --checkpoint and --calibrated."
                )
            if folder is not None:
                make_folder(folder)
            scores = evaluate_trained(
                options.folder, overrides, device=options.device, output=folder
            )
        else:
            opened = open_run(options.folder)
            folder = opened.folder if folder is None else make_folder(folder)
            scores = evaluate_run(
                opened,
                overrides,
                which=options.checkpoint,
                device=options.device,
                calibrated=options.calibrated,
                output=folder,
            )
        if not is_main():
            return 0
    print_scores(scores)
    if scores.is_empty:
        print("No score could be computed, so nothing was written; earlier scores stay.")
    elif folder is None:
        print("The scores were not kept; --output FOLDER writes them, for `statecast compare`.")
    else:
        print(f"Written: {', '.join(map(str, written_into(folder, scores)))}")
    lacking = [name for name, reason in scores.not_computed.items() if names_weights(reason)]
    if not lacking:
        return 0
    print(
        f"statecast: Scores are incomplete: the weights for {', '.join(lacking)} are missing; see "
        "above.",
        file=sys.stderr,
    )
    return INCOMPLETE


def print_scores(scores: Evaluation) -> None:
    """Print tables of scores, a summary in words, and what is missing."""
    from statecast.evaluation.analyses import ANALYSES
    from statecast.evaluation.skill import skill_lines

    if not scores.is_empty:
        print(scores.table())
    print("\n".join(["", *skill_lines(scores.skill)]))
    for warning in scores.warnings:
        print(f"Warning: {warning}")
    for name, found in scores.analyses.items():
        print("\n".join(["", f"{name}:", *ANALYSES[name]().lines(found)]))
    for metric, reason in scores.not_computed.items():
        print(f"{metric} was not computed: {reason}")


def written_into(folder: Path, scores: Evaluation) -> list[Path]:
    """Draw the scores, if matplotlib is installed; return the files now in the folder."""
    from statecast.errors import MissingExtraError
    from statecast.evaluation.evaluation import SCORES_NAME
    from statecast.plots.curves import plot_scores

    written, picture = [folder / SCORES_NAME], folder / "scores.png"
    try:
        plot_scores(scores.to_json(), picture)
        written.append(picture)
    except MissingExtraError as error:
        print(f"No picture of the scores: {error}")
    return written


def names_weights(reason: str) -> bool:
    """Whether a metric was not computed because the weights of its network are missing."""
    from statecast.metrics.pretrained_weights import ALEXNET, I3D, VGG16

    return any(file.name in reason for file in (ALEXNET, VGG16, I3D))

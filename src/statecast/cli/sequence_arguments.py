"""Arguments of `swap` and `interpolate`: sequences from files or test windows, and outputs."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from statecast.forecasting.predictor import Predictor
    from statecast.plots.latent_space import Videos

ENDINGS = (".png", ".gif")


def add_sequence_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments that both verbs take."""
    parser.add_argument("folder", metavar="RUN", help="run folder, or published checkpoint folder")
    parser.add_argument(
        "inputs", metavar="INPUT", nargs="*", help="two files of observed frames, as for forecast"
    )
    parser.add_argument(
        "--windows",
        type=int,
        nargs="+",
        metavar="N",
        help="numbers of test windows of RUN, instead of files",
    )
    parser.add_argument(
        "--output", required=True, metavar="FILE", help=".png or .gif; both are written"
    )
    parser.add_argument("--horizon", type=int, help="frames to forecast; default: as in training")
    parser.add_argument(
        "--context", type=int, help="last frames of each INPUT to use; default: as in training"
    )
    parser.add_argument(
        "--substeps", type=int, help="solver steps per frame; default: the model's own"
    )
    parser.add_argument("--seed", type=int, default=1, help="seed of the samples; default 1")
    parser.add_argument("--checkpoint", default="best", help="best, last, or a number of steps")
    parser.add_argument("--device", default="auto", help="auto, cpu or cuda; default auto")


def outputs(name: str) -> tuple[Path, Path]:
    """The picture and the animation to write.

    Errors:
        FileError: the ending is unknown, or the folder does not exist.
    """
    from statecast.errors import FileError

    path = Path(name)
    if path.suffix not in ENDINGS:
        raise FileError(f"Pictures are written as {' and '.join(ENDINGS)}, got {path.name!r}.")
    if not path.parent.is_dir():
        raise FileError(f"The folder {path.parent} does not exist; create it first.")
    return path.with_suffix(".png"), path.with_suffix(".gif")


def read_sequences(options: argparse.Namespace, predictor: Predictor) -> Videos:
    """The sequences that a command names.

    Errors:
        FileError: a file cannot be read, or there is no test data.
        InputError: the command gives neither two files nor windows, or they do not fit.
    """
    from statecast.errors import InputError

    if options.windows is not None:
        if options.inputs or options.context is not None:
            raise InputError(
                "Give either INPUT files or --windows; --context applies only to files."
            )
        return read_windows(options.folder, options.windows)
    if len(options.inputs) != 2:
        raise InputError(
            f"Give two INPUT files, or test windows with --windows, got {len(options.inputs)} "
            "files."
        )
    return read_files(options.inputs, predictor, options.context)


def read_files(paths: list[str], predictor: Predictor, count: int | None) -> Videos:
    """All sequences of some files."""
    import torch

    from statecast.errors import InputError
    from statecast.forecasting.inputs import read_context
    from statecast.frames import Frames
    from statecast.plots.latent_space import Videos

    model = predictor.model
    contexts = [model.check_context(read_context(p, predictor, count), str(p)) for p in paths]
    lengths = [len(context) for context in contexts]
    if len(set(lengths)) > 1:
        raise InputError(
            f"The contexts must have the same length, got {lengths} frames. Set --context."
        )
    values = torch.cat([context.values for context in contexts])
    known = [context.known for context in contexts]
    mask = torch.cat(known) if any(context.mask is not None for context in contexts) else None
    names = [
        Path(p).stem if len(c.values) == 1 else f"{Path(p).stem} {i}"
        for p, c in zip(paths, contexts, strict=True)
        for i in range(len(c.values))
    ]
    return Videos(Frames.context_of(values, model.spec.channels, mask=mask), None, tuple(names))


def read_windows(folder: str, numbers: list[int]) -> Videos:
    """Windows of a run's own test data."""
    import torch

    from statecast.errors import InputError
    from statecast.plots.latent_space import Videos
    from statecast.runs.official.loading import is_official
    from statecast.runs.run import open_run

    if is_official(folder):
        raise InputError(f"{folder} is a published checkpoint without data. Give INPUT files.")
    windows = open_run(folder).data().windows("test")
    if not all(0 <= number < len(windows) for number in numbers):
        raise InputError(f"The test windows are 0 to {len(windows) - 1}, got {numbers}.")
    batch = windows.batch(torch.tensor(numbers))
    names = tuple(f"window {number}" for number in numbers)
    return Videos(batch.context, batch.target, names)

"""statecast swap: the content of each video with the dynamics of every other."""

from __future__ import annotations

import argparse
from pathlib import Path

from statecast.cli.sequence_arguments import add_sequence_arguments

SUMMARY = "Draw the content of each video with the motion of every other."
MOST = 6  # sequences that fit into a picture


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of the verb."""
    add_sequence_arguments(parser)
    parser.add_argument(
        "--beside",
        metavar="RUN",
        nargs="+",
        default=(),
        help="other runs: draw one row per run, the first content with the last dynamics",
    )


def run(options: argparse.Namespace) -> int:
    """Swap contents, and draw them."""
    from statecast.cli.sequence_arguments import outputs, read_sequences
    from statecast.data.base import seeded_generator
    from statecast.errors import InputError
    from statecast.models.latent_space import content_swap
    from statecast.plots.latent_space import (
        animate_content_swap,
        plot_content_swap,
        plot_swaps_of_models,
    )
    from statecast.runs.load import load_model

    picture, animation = outputs(options.output)
    predictor = load_model(options.folder, options.checkpoint, device=options.device)
    videos = read_sequences(options, predictor)
    if not 2 <= len(videos.names) <= MOST:
        raise InputError(f"A content swap needs 2 to {MOST} sequences, got {len(videos.names)}.")
    others = [load_model(f, options.checkpoint, device=options.device) for f in options.beside]
    tables = [
        content_swap(
            one.model,
            videos.context,
            videos.context,
            options.horizon,
            substeps=options.substeps,
            generator=seeded_generator(options.seed),
        )
        for one in (predictor, *others)
    ]
    if others:
        names = [Path(folder).name for folder in (options.folder, *options.beside)]
        rows = list(zip(names, tables, strict=True))
        plot_swaps_of_models(rows, picture, contents=videos, dynamics=videos)
        print(f"Written: {picture}; content of {videos.names[0]}, dynamics of {videos.names[-1]}")
        return 0
    (table,) = tables
    plot_content_swap(table, picture, contents=videos, dynamics=videos)
    animate_content_swap(table, animation, contents=videos, dynamics=videos)
    count = len(videos.names)
    print(f"Written: {picture}, {animation}; {count} contents × {count} dynamics")
    return 0

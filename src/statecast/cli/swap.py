"""statecast swap: the content of each video with the dynamics of each."""

from __future__ import annotations

import argparse

from statecast.cli.sequence_arguments import add_sequence_arguments

SUMMARY = "Draw the content of each video moving as each of them does."
MOST = 6  # sequences that a picture has room for


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of the verb."""
    add_sequence_arguments(parser)


def run(options: argparse.Namespace) -> int:
    """Swap contents, and draw them."""
    from statecast.cli.sequence_arguments import outputs, read_sequences
    from statecast.data.base import seeded_generator
    from statecast.errors import InputError
    from statecast.models.latent_space import content_swap, require_latents
    from statecast.plots.latent_space import animate_content_swap, plot_content_swap
    from statecast.runs.load import load_model

    picture, animation = outputs(options.output)
    predictor = load_model(options.folder, options.checkpoint, device=options.device)
    model = require_latents(predictor.model)
    videos = read_sequences(options, predictor)
    if not 2 <= len(videos.names) <= MOST:
        raise InputError(
            f"A content swap is drawn of 2 to {MOST} sequences, got {len(videos.names)}."
        )
    table = content_swap(
        model,
        videos.context,
        videos.context,
        options.horizon,
        substeps=options.substeps,
        generator=seeded_generator(options.seed),
    )
    plot_content_swap(table, picture, contents=videos, dynamics=videos)
    animate_content_swap(table, animation, contents=videos, dynamics=videos)
    count = len(videos.names)
    print(f"Written: {picture}, {animation}; {count} contents × {count} dynamics")
    return 0

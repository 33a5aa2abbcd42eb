"""statecast interpolate: one content with dynamics between its own and another's."""

from __future__ import annotations

import argparse

from statecast.cli.sequence_arguments import add_sequence_arguments

SUMMARY = "Draw the content of one video with dynamics between its own and another's."
MOST = 20  # weights that fit into a picture


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of the verb."""
    add_sequence_arguments(parser)
    parser.add_argument(
        "--steps", type=int, default=5, help="number of weights from 0 to 1; default 5"
    )


def run(options: argparse.Namespace) -> int:
    """Interpolate dynamics, and draw them."""
    from statecast.cli.sequence_arguments import outputs, read_sequences
    from statecast.data.base import seeded_generator
    from statecast.errors import InputError
    from statecast.models.latent_space import interpolate, require_latents
    from statecast.plots.latent_space import animate_interpolation, plot_interpolation
    from statecast.runs.load import load_model

    picture, animation = outputs(options.output)
    if not 2 <= options.steps <= MOST:
        raise InputError(f"--steps must lie between 2 and {MOST}, got {options.steps}.")
    predictor = load_model(options.folder, options.checkpoint, device=options.device)
    model = require_latents(predictor.model)
    videos = read_sequences(options, predictor)
    if len(videos.names) != 2:
        raise InputError(
            f"An interpolation needs 2 sequences, got {len(videos.names)}: "
            f"{', '.join(videos.names)}."
        )
    first, second = videos.one(0), videos.one(1)
    weights = [step / (options.steps - 1) for step in range(options.steps)]
    forecasts = interpolate(
        model,
        first.context,
        second.context,
        weights,
        options.horizon,
        substeps=options.substeps,
        generator=seeded_generator(options.seed),
    )
    plot_interpolation(forecasts, weights, picture, first=first, second=second)
    animate_interpolation(forecasts, animation, first=first, second=second)
    print(f"Written: {picture}, {animation}; {options.steps} weights from 0 to 1")
    return 0

"""Warnings about windows outside the range that a model was trained on."""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor

from statecast.data.base import Windows
from statecast.data.loading import evenly, numbered_batches
from statecast.frames import Frames

WINDOWS = 256  # read from each split
SHARE = 0.1  # of the windows that may lie outside without a warning
BATCH = 32


def shift_warnings(training: Windows, windows: Windows) -> list[str]:
    """A warning for each channel whose observed mean lies outside the training range too often.

    Too often means in more than a tenth of the windows.

    Args:
        training: windows of the training split.
        windows: the windows to forecast.
    """
    usual, found = observed_means(training), observed_means(windows)
    if not len(usual):
        return []
    low, high = usual.amin(dim=0), usual.amax(dim=0)
    warnings = []
    names = training.batch(torch.zeros(1, dtype=torch.long)).context.channels
    for index, name in enumerate(names):
        values = found[:, index]
        for count, side in (
            (int((values > high[index]).sum()), "above"),
            (int((values < low[index]).sum()), "below"),
        ):
            if count > SHARE * len(values):
                warnings.append(
                    f"In {count} of {len(values)} windows, the observed mean of {name} lies "
                    f"{side} that of every training window: it ranges from "
                    f"{float(values.min()):.4g} to {float(values.max()):.4g} here, and from "
                    f"{float(low[index]):.4g} to {float(high[index]):.4g} in training. The model "
                    "extrapolates there."
                )
    return warnings


def observed_means(windows: Windows) -> Float[Tensor, "window channel"]:
    """Mean of each channel over the known values of each context."""
    chosen = evenly(len(windows), WINDOWS)
    means = torch.cat(
        [means_of(batch.context) for _, batch in numbered_batches(windows, chosen, BATCH)]
    )
    return means[~means.isnan().any(dim=1)]


def means_of(frames: Frames) -> Float[Tensor, "batch channel"]:
    """Mean of each channel over the known values of each sequence; NaN if none is known."""
    known = frames.known.movedim(2, 1).flatten(2)
    values = frames.values.movedim(2, 1).flatten(2).masked_fill(~known, 0)
    return values.sum(dim=2) / known.sum(dim=2)

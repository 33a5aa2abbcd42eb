"""Videos with missing frames."""

import torch

from statecast.frames import Frames


def with_gaps(values, missing, channels=("c",)):
    """Frames, the last at time 0, with those at some places of time missing."""
    known = torch.ones(values.shape, dtype=torch.bool)
    known[:, missing] = False
    return Frames(
        values=values.masked_fill(~known, torch.nan),
        times=torch.arange(1.0 - values.shape[1], 1.0),
        channels=channels,
        mask=known,
    )

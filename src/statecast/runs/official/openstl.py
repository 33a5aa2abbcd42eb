"""Settings as OpenSTL writes them beside its checkpoints, `model_param.json`."""

from __future__ import annotations

from typing import Any

from statecast.runs.official.settings import Settings

CONTEXT, HORIZON = 10, 10  # of Moving MNIST, the data of most checkpoints


def frame_counts(settings: Settings) -> tuple[int, int]:
    """Frames observed and forecast, by default those of Moving MNIST."""
    return (
        settings.whole("pre_seq_length", default=CONTEXT),
        settings.whole("aft_seq_length", default=HORIZON),
    )


def frame_space(settings: Settings) -> tuple[int, int] | None:
    """Height and width in `in_shape`, (time, channel, height, width); None if it is not set."""
    shape: Any = settings.get("in_shape")
    if shape is None:
        return None
    if not isinstance(shape, list) or len(shape) != 4 or any(type(n) is not int for n in shape):
        raise settings.unfit("in_shape", "four whole numbers")
    return shape[2], shape[3]

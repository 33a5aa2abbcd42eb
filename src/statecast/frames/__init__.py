"""Frames, Batch, Forecast and FrameSpec: the only types that cross a layer."""

from statecast.frames.batch import Batch
from statecast.frames.frames import Forecast, Frames
from statecast.frames.spec import FrameSpec
from statecast.frames.tensors import as_series, as_tensor, default_channels

__all__ = [
    "Batch",
    "Forecast",
    "FrameSpec",
    "Frames",
    "as_series",
    "as_tensor",
    "default_channels",
]

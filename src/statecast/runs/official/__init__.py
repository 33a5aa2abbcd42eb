"""Published checkpoints in and out: one file per system."""

from statecast.runs.official.arrays import from_arrays

__all__ = ["from_arrays"]

"""Published checkpoints, imported and exported: one file per system."""

from statecast.runs.official.arrays import from_arrays

__all__ = ["from_arrays"]

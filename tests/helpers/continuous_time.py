"""Golden values of continuous time: independent computations, see `config.json` beside them."""

from pathlib import Path

import numpy as np
import torch

GOLDEN = Path(__file__).parents[1] / "golden" / "continuous_time"


def golden(name):
    """Arrays of one file, as tensors."""
    with np.load(GOLDEN / f"{name}.npz") as arrays:
        return {key: torch.from_numpy(np.asarray(arrays[key])) for key in arrays}

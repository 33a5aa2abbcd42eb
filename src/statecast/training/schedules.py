"""Learning rates as a function of the step and of validation scores."""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass
from typing import Any

from statecast.training.options import TrainingOptions


def learning_rate_at(step: int, options: TrainingOptions) -> float:
    """Learning rate of a step, counted from 0, before any decay of `plateau`.

    `linear` is constant for `decay_start` steps and then falls linearly to 0 at the end;
    `milestones` multiplies the rate by `decay_factor` at each milestone; `cosine` falls from the
    highest rate to 0 over half a period. Over the first `warmup` steps the rate rises linearly.
    """
    scale, steps = 1.0, options.steps
    if options.schedule == "linear":
        scale = min(1.0, max(steps - step, 0) / max(steps - options.decay_start, 1))
    elif options.schedule == "milestones":
        scale = options.decay_factor ** sum(step >= start for start in options.milestones)
    elif options.schedule == "cosine":
        scale = 0.5 * (1 + math.cos(math.pi * min(step / steps, 1.0)))
    if step < options.warmup:
        scale *= (step + 1) / options.warmup
    return options.learning_rate * scale


@dataclass
class Plateau:
    """Decay of the learning rate when validation scores stop improving.

    If more than `patience` validations in a row bring no new best score, the rate is multiplied
    by `decay_factor`, and the count starts again (PyTorch's `ReduceLROnPlateau` with threshold 0).
    """

    decays: int = 0
    waited: int = 0

    def observe(self, improved: bool, options: TrainingOptions) -> None:
        """Count a validation."""
        self.waited = 0 if improved else self.waited + 1
        if options.schedule == "plateau" and self.waited > options.patience:
            self.decays, self.waited = self.decays + 1, 0

    def scale(self, options: TrainingOptions) -> float:
        """Factor of the learning rate."""
        return float(options.decay_factor**self.decays)

    def state(self) -> dict[str, Any]:
        """State for a checkpoint."""
        return asdict(self)

"""What to watch while a Separable is trained: how fast T moves, how constant S is, what varies."""

from __future__ import annotations

from typing import TYPE_CHECKING

from torch import Tensor

from statecast.frames import Batch

if TYPE_CHECKING:
    from statecast.models.separable import Separable

SMALLEST_NORM = 1e-12  # that is divided by


def diagnose_separable(model: Separable, batch: Batch) -> dict[str, Tensor]:
    r"""Diagnostics of each window.

    - `latent_speed`: $\|T_{t+1} - T_t\|$, the norm of dT/dt over a frame interval, mean over them;
    - `invariance_gap`: $\|S' - S\| / (\|S'\| + \|S\|)$, of the last and the first frames' content,
      between 0 and 1;
    - `latent` and `content`: T of all frames and S, whose units are counted as active where
      they vary.
    """
    frames, context = model.inputs(batch), model.spec.context
    path = model.rollout(model.dynamics_of(frames[:, :context]), frames.shape[1])
    found = {"latent_speed": path.diff(dim=1).norm(dim=-1).mean(dim=1), "latent": path}
    if model.content_encoder is not None:
        parts = frames[:, :context], frames[:, -context:]
        first, last = (model.content_of(part).code for part in parts)
        both = (first.norm(dim=1) + last.norm(dim=1)).clamp_min(SMALLEST_NORM)
        found |= {"invariance_gap": (last - first).norm(dim=1) / both, "content": first}
    return found

"""What to watch while an SRVP is trained: divergences, active units, gaps, and when to worry."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from statecast.frames import Batch

if TYPE_CHECKING:
    from statecast.models.srvp import SRVP

REMEDY = (
    "Lower model.{weight}, or model.observation_std, which weighs the frames against the "
    "divergences; or train longer before judging."
)


def diagnose_srvp(
    model: SRVP, batch: Batch, generator: torch.Generator | None
) -> dict[str, Tensor]:
    r"""Diagnostics of each window, from the posterior of all its frames.

    - `divergence_initial`: $KL(q(y_1) \| N(0, I))$;
    - `divergence_noise_per_frame`: $KL(q(z_t) \| p(z_t | y_{t-1}))$, mean over frame intervals;
    - `noise_gap`: $|\mu_q - \mu_p| / \sigma_p$ of z, mean over units and intervals;
    - `residual_per_frame`: sum of the norms of the Euler steps of an interval, mean over them;
    - `initial`, of y₁, and `noise`, of z: posterior means in standard deviations from the
      prior's, whose units are counted as active where they vary. For a standard normal prior
      that is the definition of Burda et al. (2016), https://arxiv.org/abs/1509.00519, section
      5.2; a learned prior may vary with the data by itself, which tells nothing of z.
    """
    frames = model.inputs(batch)
    inferred = model.infer(model.encode(frames).code, generator=generator)
    intervals = frames.shape[1] - 1
    found = {
        "divergence_initial": inferred.initial.divergence_from_standard(),
        "residual_per_frame": inferred.increments[0].norm(dim=-1).sum(dim=-1) / intervals,
        "initial": inferred.initial.mean,
    }
    if inferred.posterior is not None and inferred.prior is not None:
        moved = (inferred.posterior.mean - inferred.prior.mean[0]) / inferred.prior.std[0]
        divergence = inferred.posterior.divergence(inferred.prior)[0]
        found["divergence_noise_per_frame"] = divergence.mean(dim=1)
        found["noise_gap"] = moved.abs().mean(dim=(1, 2))
        found["noise"] = moved
    return found


def collapse_of_srvp(diagnosed: Mapping[str, float]) -> str | None:
    """A warning where no unit of y₁ or of z is active: the posterior is the prior."""
    for name, symbol, weight in (
        ("initial", "y₁", "initial_weight"),
        ("noise", "z", "noise_weight"),
    ):
        if diagnosed.get(f"{name}_active") == 0:
            remedy = REMEDY.format(weight=weight)
            return f"the posterior of {symbol} has collapsed: no unit is active. {remedy}"
    return None

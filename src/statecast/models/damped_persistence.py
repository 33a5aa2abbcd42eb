"""Damped persistence: the last observed anomaly, decaying with lead time."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Literal

import torch
from jaxtyping import Float
from torch import Tensor

from statecast.errors import InputError
from statecast.frames import Batch, FrameSpec
from statecast.models.baselines import Baseline, Climatology, along_leads, check_repeatable, filled

Normal = Literal["climatology", "context"]
POOLED = 20.0  # windows that the mean damping of all points weighs, against a point's own


class DampedPersistence(Baseline):
    r"""The last observed anomaly from a normal, damped as in training windows.

    $$\hat x_{t+h} = c + \phi_h (x_t - c), \qquad
    \phi_h = \frac{\sum (x_{t+h} - c)(x_t - c)}{\sum (x_t - c)^2} \in [0, 1]$$

    φ is fitted for each channel, point and lead, and shrunk towards the φ of all points of the
    channel, with the weight of 20 windows. Between leads it is linear; beyond the leads of
    training it decays further, as $\phi_H^{h/H}$.

    Args:
        spec: shape, channels and units of the frames; comes from the data.
        normal: `climatology`: c is the mean of training frames; or `context`: c is the mean of the
            observed frames, which follows a climate that drifts.
        generator: unused; every model accepts one.
    """

    damping: Tensor  # (lead, channel, *space)
    fitted: Tensor

    def __init__(
        self,
        spec: FrameSpec,
        *,
        normal: Normal = "climatology",
        generator: torch.Generator | None = None,
    ) -> None:
        super().__init__(spec, generator=generator)
        self.normal = normal
        self.climatology = Climatology(spec) if normal == "climatology" else None
        self.register_buffer("damping", torch.ones(spec.horizon, *spec.frame_shape))
        self.register_buffer("fitted", torch.zeros((), dtype=torch.int64))

    @property
    def needs_statistics(self) -> bool:
        return True

    def fit_statistics(self, batches: Iterable[Batch]) -> None:
        """Fit the normal and the damping in two passes over the training windows.

        Errors:
            InputError: there are no windows, or they allow only one pass.
        """
        check_repeatable(batches, "damped_persistence")
        if self.climatology is not None:
            self.climatology.fit_statistics(batches)
        products, squares = (torch.zeros_like(self.damping, dtype=torch.float64) for _ in range(2))
        windows = 0
        for batch in batches:
            normal = self.normal_of(filled(batch.context))
            last = (filled(batch.context)[:, -1:] - normal).double()
            both = batch.target.known & batch.context.known[:, -1:]
            coming = (batch.target.values - normal).double().masked_fill(~both, 0)
            products += (coming * last).sum(dim=0)
            squares += last.square().expand_as(coming).masked_fill(~both, 0).sum(dim=0)
            windows += len(batch)
        if windows == 0:
            raise InputError("Damped persistence needs training windows, got none.")
        points = tuple(range(2, squares.ndim))
        usual = squares.mean(dim=points, keepdim=True) * (POOLED / windows)
        pooled = products.sum(dim=points, keepdim=True)
        pooled = pooled / squares.sum(dim=points, keepdim=True).clamp_min(1e-300)
        found = (products + usual * pooled) / (squares + usual).clamp_min(1e-300)
        self.damping.copy_(found.clamp(0, 1))
        self.fitted.fill_(1)

    def normal_of(self, values: Float[Tensor, "batch time channel *space"]) -> Tensor:
        """The normal of each context's anomalies, (batch or 1, 1, channel, *space)."""
        if self.climatology is None:
            return values.mean(dim=1, keepdim=True)
        return self.climatology.mean.expand(1, 1, *self.climatology.mean.shape)

    def damping_at(self, times: Float[Tensor, " time"]) -> Float[Tensor, "time channel *space"]:
        """The fraction of the anomaly that is left at lead times; 1 at lead time 0."""
        leads = len(self.damping)
        beyond = (times / leads).clamp_min(1).view(-1, *[1] * (self.damping.ndim - 1))
        return along_leads(self.damping, times, at_zero=1.0) ** beyond.to(self.damping)

    def extrapolate(self, values: Tensor, times: Tensor) -> Tensor:
        if not bool(self.fitted):
            raise InputError("The damping is not fitted yet: call fit_statistics, or train it.")
        normal = self.normal_of(values)
        return normal + self.damping_at(times) * (values[:, -1:] - normal)

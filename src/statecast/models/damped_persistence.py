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
POOLED = 20.0  # windows that the damping of all points together counts as, beside a point's own


class DampedPersistence(Baseline):
    r"""The last observed anomaly from a normal, damped as it was in training.

    $$\hat x_{t+h} = c + \phi_h (x_t - c), \qquad
    \phi_h = \frac{\sum (x_{t+h} - c)(x_t - c)}{\sum (x_t - c)^2} \in [0, 1]$$

    φ is fitted for each channel, point and lead, and drawn towards that of all points of the
    channel as if 20 windows more had been seen. Between leads it is linear; beyond those of
    training it continues to decay as $\phi_H^{h/H}$.

    Args:
        spec: shape, channels and units of the frames; comes from the data.
        normal: c is the `climatology`, the mean of training frames; or the mean of the observed
            frames, the `context`, which moves where the climate does.
        generator: unused; here so that every model is built alike.
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
        """Set the normal and the damping from training windows, which are passed over twice.

        Errors:
            InputError: there are no windows, or they can be passed over once only.
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
            raise InputError("Damped persistence cannot be fitted without windows.")
        points = tuple(range(2, squares.ndim))
        usual = squares.mean(dim=points, keepdim=True) * (POOLED / windows)
        pooled = products.sum(dim=points, keepdim=True)
        pooled = pooled / squares.sum(dim=points, keepdim=True).clamp_min(1e-300)
        found = (products + usual * pooled) / (squares + usual).clamp_min(1e-300)
        self.damping.copy_(found.clamp(0, 1))
        self.fitted.fill_(1)

    def normal_of(self, values: Float[Tensor, "batch time channel *space"]) -> Tensor:
        """The normal that anomalies of each context are taken from, (batch or 1, 1, channel, …)."""
        if self.climatology is None:
            return values.mean(dim=1, keepdim=True)
        return self.climatology.mean.expand(1, 1, *self.climatology.mean.shape)

    def damping_at(self, times: Float[Tensor, " time"]) -> Float[Tensor, "time channel *space"]:
        """The share of the anomaly that is left at lead times; 1 before the first."""
        leads = len(self.damping)
        beyond = (times / leads).clamp_min(1).view(-1, *[1] * (self.damping.ndim - 1))
        return along_leads(self.damping, times, at_zero=1.0) ** beyond.to(self.damping)

    def extrapolate(self, values: Tensor, times: Tensor) -> Tensor:
        if not bool(self.fitted):
            raise InputError("The damping is not fitted yet: call fit_statistics, or train it.")
        normal = self.normal_of(values)
        return normal + self.damping_at(times) * (values[:, -1:] - normal)

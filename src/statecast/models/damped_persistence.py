"""Damped persistence: the last observed anomaly, at rest or carried on, decaying with lead time."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from typing import Literal

import torch
from jaxtyping import Float
from torch import Tensor

from statecast.errors import InputError
from statecast.frames import Batch, FrameSpec
from statecast.models.baselines import (
    Baseline,
    Climatology,
    MappedBatches,
    Persistence,
    along_leads,
    check_repeatable,
    filled,
)
from statecast.models.lagrangian_persistence import LagrangianPersistence

Normal = Literal["climatology", "context"]
POOLED = 20.0  # windows that the mean damping of all points weighs, against a point's own


class DampedPersistence(Baseline):
    r"""The last observed anomaly from a normal, damped as in training windows.

    $$\hat x_{t+h} = c + \phi_h y_h, \qquad
    \phi_h = \frac{\sum (x_{t+h} - c)\, y_h}{\sum y_h^2} \in [0, 1], \qquad
    y_h = x_t - c$$

    With `carried`, y is the Lagrangian persistence of the anomaly instead. φ is fitted for each
    channel, point and lead, and shrunk towards the φ of all points of the channel, with the weight
    of 20 windows. Between leads it is linear; beyond the leads of training it decays further, as
    $\phi_H^{h/H}$.

    Args:
        spec: shape, channels and units of the frames; comes from the data.
        normal: `climatology`: c is the mean of training frames; or `context`: c is the mean of the
            observed frames, which follows a climate that drifts.
        carried: whether the anomaly moves on as it did in the context; see
            `LagrangianPersistence`, which says what it needs.
        generator: unused; every model accepts one.
    """

    damping: Tensor  # (lead, channel, *space)
    fitted: Tensor

    def __init__(
        self,
        spec: FrameSpec,
        *,
        normal: Normal = "climatology",
        carried: bool = False,
        generator: torch.Generator | None = None,
    ) -> None:
        super().__init__(spec, generator=generator)
        # Anomalies may lie outside the range of the data.
        anomalies = replace(spec, value_range=None)
        self.undamped = LagrangianPersistence(anomalies) if carried else Persistence(anomalies)
        self.takes_gaps = self.undamped.takes_gaps
        self.normal = normal
        self.climatology = Climatology(spec) if normal == "climatology" else None
        self.register_buffer("damping", torch.ones(spec.horizon, *spec.frame_shape))
        self.register_buffer("fitted", torch.zeros((), dtype=torch.int64))

    @property
    def minimum_context(self) -> int:
        return self.undamped.minimum_context

    @property
    def needs_statistics(self) -> bool:
        return True

    def fit_statistics(self, batches: Iterable[Batch]) -> None:
        """Fit the normal, the motion if there is one, and the damping on training windows.

        Errors:
            InputError: there are no windows, or they allow only one pass.
        """
        check_repeatable(batches, "damped_persistence")
        if self.climatology is not None:
            self.climatology.fit_statistics(batches)
        batches = MappedBatches(batches, self.anomalies)
        if self.undamped.needs_statistics:
            self.undamped.fit_statistics(batches)
        products, squares = (torch.zeros_like(self.damping, dtype=torch.float64) for _ in range(2))
        windows = 0
        for batch in batches:
            times = batch.target.times.to(batch.context.values.device)
            undamped = self.undamped.extrapolate(filled(batch.context), times)
            both = batch.target.known & batch.context.known[:, -1:]
            undamped = undamped.double().masked_fill(~both, 0)
            products += (batch.target.values.double().masked_fill(~both, 0) * undamped).sum(dim=0)
            squares += undamped.square().sum(dim=0)
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

    def anomalies(self, batch: Batch) -> Batch:
        """A batch of anomalies from the normal of its context."""
        normal = self.normal_of(filled(batch.context))
        context, target = (
            replace(frames, values=frames.values - normal)
            for frames in (batch.context, batch.target)
        )
        return Batch(context=context, target=target, latents=batch.latents)

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
        return normal + self.damping_at(times) * self.undamped.extrapolate(values - normal, times)

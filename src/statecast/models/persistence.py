"""Persistence, climatology and linear extrapolation: the scores that a model must beat."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Iterable

import torch
from jaxtyping import Float
from torch import Tensor

from statecast.errors import InputError
from statecast.frames import Batch, Frames, FrameSpec
from statecast.models.base import Forecaster, Losses
from statecast.numerics.solvers import SolverName


class Baseline(Forecaster):
    """A forecast without trained weights.

    Args:
        spec: shape, channels and units of the frames; comes from the data.
        generator: unused; here so that every model is built alike.
    """

    def __init__(self, spec: FrameSpec, *, generator: torch.Generator | None = None) -> None:
        super().__init__(spec, normalise="none")

    @abstractmethod
    def extrapolate(
        self,
        values: Float[Tensor, "batch context channel *space"],
        times: Float[Tensor, " time"],
    ) -> Float[Tensor, "batch time channel *space"]:
        """Frames at `times`, not yet limited to the data's range."""

    def loss(self, batch: Batch, generator: torch.Generator | None = None) -> Losses:
        """Mean squared error of the forecast; there is nothing to minimise it with."""
        forecast = self._limited(batch.context, batch.target.times)
        return {"total": (forecast - batch.target.values).square().mean()}

    def predict(
        self,
        context: Frames,
        times: Float[Tensor, " time"],
        *,
        samples: int,
        substeps: int | None,
        solver: SolverName | None,
        content_from: Frames | None,
        generator: torch.Generator | None,
    ) -> Float[Tensor, "sample batch time channel *space"]:
        return self._limited(context, times).unsqueeze(0)

    def _limited(self, context: Frames, times: Tensor) -> Tensor:
        frames = self.extrapolate(context.values, times.to(context.values.device))
        if self.spec.value_range is None:
            return frames
        return frames.clamp(*self.spec.value_range)


class Persistence(Baseline):
    """The last observed frame, for ever."""

    def extrapolate(self, values: Tensor, times: Tensor) -> Tensor:
        return values[:, -1:].expand(-1, len(times), *values.shape[2:])


class Linear(Baseline):
    """The last observed frame, going on as it changed from the one before."""

    @property
    def minimum_context(self) -> int:
        return 2

    def extrapolate(self, values: Tensor, times: Tensor) -> Tensor:
        if values.shape[1] < 2:
            raise InputError("Linear extrapolation needs a context of at least 2 frames.")
        change = values[:, -1:] - values[:, -2:-1]
        return values[:, -1:] + times.view(-1, *[1] * (values.ndim - 2)) * change


class Climatology(Baseline):
    """The mean of all training frames, whatever the context."""

    mean: Tensor
    fitted: Tensor

    def __init__(self, spec: FrameSpec, *, generator: torch.Generator | None = None) -> None:
        super().__init__(spec, generator=generator)
        self.register_buffer("mean", torch.zeros(spec.frame_shape))
        self.register_buffer("fitted", torch.zeros((), dtype=torch.int64))

    @property
    def needs_statistics(self) -> bool:
        return True

    def fit_statistics(self, batches: Iterable[Batch]) -> None:
        """Set the mean of training frames.

        Errors:
            InputError: there are no frames.
        """
        count, total = 0, torch.zeros(self.spec.frame_shape, dtype=torch.float64)
        for batch in batches:
            values = batch.values.flatten(0, 1)
            count += len(values)
            total += values.double().sum(dim=0)
        if count == 0:
            raise InputError("A climatology cannot be fitted without frames.")
        self.mean.copy_(total / count)
        self.fitted.fill_(1)

    def extrapolate(self, values: Tensor, times: Tensor) -> Tensor:
        if not bool(self.fitted):
            raise InputError("The climatology is not fitted yet: call fit_statistics, or train it.")
        return self.mean.expand(len(values), len(times), *self.mean.shape)

"""Persistence, climatology and linear extrapolation: the scores that a model must beat."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable, Iterable, Iterator

import torch
from jaxtyping import Float
from torch import Tensor

from statecast.errors import InputError
from statecast.frames import Batch, Frames, FrameSpec
from statecast.models.base import Forecaster, Losses, known_mean, known_part
from statecast.solvers.solvers import SolverName


class Baseline(Forecaster):
    """A forecast without trained weights.

    Args:
        spec: shape, channels and units of the frames; comes from the data.
        generator: unused; every model accepts one.
    """

    takes_any_time = True
    takes_gaps = True

    def __init__(self, spec: FrameSpec, *, generator: torch.Generator | None = None) -> None:
        super().__init__(spec, normalise="none")

    @abstractmethod
    def extrapolate(
        self, values: Float[Tensor, "batch context channel *space"], times: Float[Tensor, " time"]
    ) -> Float[Tensor, "batch time channel *space"]:
        """Frames at `times`, not yet limited to the data's range."""

    def loss(
        self, batch: Batch, *, step: int = 0, generator: torch.Generator | None = None
    ) -> Losses:
        """Mean squared error of the forecast; no weights depend on it."""
        forecast = self._limited(batch.context, batch.target.times)
        return {"total": known_mean((forecast - batch.target.values).square(), batch.target.mask)}

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
        frames = self.extrapolate(filled(context), times.to(context.values.device))
        if self.spec.value_range is None:
            return frames
        return frames.clamp(*self.spec.value_range)


def filled(context: Frames) -> Float[Tensor, "batch context channel *space"]:
    """Context values, with each unknown one replaced by the last known one of its point.

    Values before the first known one become that one. A point that is never known becomes the
    mean of its channel and sequence.
    """
    values, mask = context.values, context.mask
    if mask is None or bool(mask.all()):
        return values
    known = mask.flatten(3).sum(dim=(1, 3))
    mean = known_part(values, mask).flatten(3).sum(dim=(1, 3)) / known.clamp_min(1)
    mean = mean.view(*mean.shape, *[1] * (values.ndim - 3)).unsqueeze(1)
    gaps = values.masked_fill(~mask, torch.nan)
    result = torch.where(mask.any(dim=1, keepdim=True), gaps, mean)
    for time in range(1, values.shape[1]):
        result[:, time] = torch.where(result[:, time].isnan(), result[:, time - 1], result[:, time])
    for time in reversed(range(values.shape[1] - 1)):
        result[:, time] = torch.where(result[:, time].isnan(), result[:, time + 1], result[:, time])
    return result


def along_leads(
    values: Float[Tensor, "lead *shape"],
    times: Float[Tensor, " time"],
    *,
    at_zero: float | None = None,
) -> Float[Tensor, "time *shape"]:
    """Values at lead times, linear between whole ones, constant beyond the last.

    Args:
        values: values at leads 1, 2, …
        times: lead times.
        at_zero: value at lead 0; by default, that at lead 1.
    """
    first = values[:1] if at_zero is None else torch.full_like(values[:1], at_zero)
    return between_frames(torch.cat([first, values]), times)


def between_frames(
    values: Float[Tensor, "lead *shape"], times: Float[Tensor, " time"]
) -> Float[Tensor, "time *shape"]:
    """Values at times, from those at 0, 1, …: linear in between, constant outside."""
    within = times.clamp(0, len(values) - 1).to(values.device)
    low = within.floor().long()
    share = (within - low).view(-1, *[1] * (values.ndim - 1)).to(values)
    return torch.lerp(values[low], values[(low + 1).clamp_max(len(values) - 1)], share)


def check_repeatable(batches: Iterable[Batch], name: str) -> None:
    """Raise `InputError` for an iterator, which allows only one pass."""
    if iter(batches) is batches:
        raise InputError(
            f"{name} reads its training windows twice, got an iterator that can be read once. Give "
            "a list, or any other iterable that can be restarted."
        )


class Persistence(Baseline):
    """The last observed frame, at every lead time."""

    def extrapolate(self, values: Tensor, times: Tensor) -> Tensor:
        return values[:, -1:].expand(-1, len(times), *values.shape[2:])


class Linear(Baseline):
    """The last observed frame, plus lead time times its change from the frame before."""

    takes_gaps = False

    @property
    def minimum_context(self) -> int:
        return 2

    def extrapolate(self, values: Tensor, times: Tensor) -> Tensor:
        if values.shape[1] < 2:
            raise InputError("Linear extrapolation needs a context of at least 2 frames.")
        change = values[:, -1:] - values[:, -2:-1]
        return values[:, -1:] + times.view(-1, *[1] * (values.ndim - 2)) * change


class Climatology(Baseline):
    """The mean of all training frames, for any context."""

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
        """Fit the mean of training frames.

        Errors:
            InputError: there are no frames.
        """
        total = torch.zeros(self.spec.frame_shape, dtype=torch.float64)
        count = torch.zeros(self.spec.frame_shape, dtype=torch.int64)
        for batch in batches:
            values = batch.values.flatten(0, 1).double()
            known = torch.ones_like(values, dtype=torch.bool)
            if batch.mask is not None:
                known = batch.mask.flatten(0, 1)
            count += known.sum(dim=0).cpu()
            total += known_part(values, known).sum(dim=0).cpu()
        if not bool((count > 0).any()):
            raise InputError("A climatology needs training frames, got none.")
        usual = total.flatten(1).sum(dim=1) / count.flatten(1).sum(dim=1)
        # Points that are never known, such as land, become the mean of the channel.
        usual = usual.view(-1, *[1] * (total.ndim - 1))
        self.mean.copy_(torch.where(count > 0, total / count.clamp_min(1), usual))
        self.fitted.fill_(1)

    def extrapolate(self, values: Tensor, times: Tensor) -> Tensor:
        if not bool(self.fitted):
            raise InputError("The climatology is not fitted yet: call fit_statistics, or train it.")
        return self.mean.expand(len(values), len(times), *self.mean.shape)


class MappedBatches:
    """Batches with a function applied to each, which can be iterated over again.

    Args:
        batches: the batches.
        change: the function.
    """

    def __init__(self, batches: Iterable[Batch], change: Callable[[Batch], Batch]) -> None:
        self.batches, self.change = batches, change

    def __iter__(self) -> Iterator[Batch]:
        return map(self.change, self.batches)

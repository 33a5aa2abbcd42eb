"""Normaliser: maps channels between the units of the data and those of the model."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Literal

import torch
from jaxtyping import Bool, Float
from torch import Tensor, nn

from statecast.errors import InputError
from statecast.frames import FrameSpec

Normalisation = Literal["auto", "none", "range", "standard"]
SMALLEST_SCALE = 1e-12  # a constant channel is divided by one instead


class Normaliser(nn.Module):
    """Maps each channel to (value − location) / scale and back.

    Args:
        spec: channels and value range of the data.
        method: `none` does not change values; `range` maps the data's range to [0, 1];
            `standard` to mean 0 and standard deviation 1; `auto` is `none` for data in [0, 1],
            `range` if the range is known, else `standard`.

    Location and scale are stored with the model's weights.
    """

    location: Tensor
    scale: Tensor

    def __init__(self, spec: FrameSpec, method: Normalisation) -> None:
        super().__init__()
        if method == "auto":
            method = "standard" if spec.value_range is None else "range"
            if spec.value_range == (0.0, 1.0):
                method = "none"
        self.method: Normalisation = method
        self.spec = spec
        low, high = 0.0, 1.0
        if method == "range" and spec.value_range is not None:
            low, high = spec.value_range
        count = len(spec.channels)
        self.register_buffer("location", torch.full((count,), low))
        self.register_buffer("scale", torch.full((count,), high - low))

    @property
    def needs_data(self) -> bool:
        """Whether location and scale come from training data, by `fit`."""
        return self.method == "standard" or (self.method == "range" and not self.spec.value_range)

    @property
    def fitting_output(self) -> Literal["sigmoid", "identity"]:
        """Output function of a decoder with the range of normalised values."""
        bounded = self.method == "range" or self.spec.value_range == (0.0, 1.0)
        return "sigmoid" if bounded and self.method != "standard" else "identity"

    def fit(
        self,
        batches: Iterable[
            tuple[
                Float[Tensor, "batch time channel *space"],
                Bool[Tensor, "batch time channel *space"] | None,
            ]
        ],
    ) -> None:
        """Fit location and scale to training frames; without need of data, do nothing.

        Args:
            batches: frames with their masks, which are True where values are known.

        Errors:
            InputError: a channel has no known values, or values are not finite.
        """
        if not self.needs_data:
            return
        count, total, squares = torch.zeros((), dtype=torch.int64), torch.zeros(()), torch.zeros(())
        low, high = torch.tensor(torch.inf), torch.tensor(-torch.inf)
        for values, mask in batches:
            points = values.movedim(2, 0).flatten(1).double()
            known = torch.ones_like(points, dtype=torch.bool)
            if mask is not None:
                known = mask.movedim(2, 0).flatten(1)
                points = points.masked_fill(~known, 0)
            count = count + known.sum(dim=1)
            total = total + points.sum(dim=1)
            squares = squares + points.square().sum(dim=1)
            low = torch.minimum(low, points.masked_fill(~known, torch.inf).amin(dim=1))
            high = torch.maximum(high, points.masked_fill(~known, -torch.inf).amax(dim=1))
        if not bool((count > 0).all()):
            raise InputError("A normaliser needs frames with known values in each channel.")
        mean = total / count
        if self.method == "range":
            location, scale = low, high - low
        else:
            location, scale = mean, (squares / count - mean.square()).clamp_min(0).sqrt()
        if not bool(torch.isfinite(location).all() and torch.isfinite(scale).all()):
            raise InputError("A normaliser needs finite frames, got NaN or infinity.")
        self.location.copy_(location)
        self.scale.copy_(torch.where(scale > SMALLEST_SCALE, scale, 1.0))

    def normalise(self, values: Float[Tensor, "*shape"], axis: int = 2) -> Float[Tensor, "*shape"]:
        """Values in the units of the model; `axis` is the channel axis."""
        if self.method == "none":
            return values
        return (values - self._along(self.location, values, axis)) / self._along(
            self.scale, values, axis
        )

    def restore(self, values: Float[Tensor, "*shape"], axis: int = 2) -> Float[Tensor, "*shape"]:
        """Values in the units of the data; `axis` is the channel axis."""
        if self.method == "none":
            return values
        return values * self._along(self.scale, values, axis) + self._along(
            self.location, values, axis
        )

    @staticmethod
    def _along(statistic: Tensor, values: Tensor, axis: int) -> Tensor:
        shape = [1] * values.ndim
        shape[axis] = -1
        return statistic.view(shape)

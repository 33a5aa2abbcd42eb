"""Calibration: a correction of forecasts, fitted on other windows."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from statecast.errors import InputError
from statecast.frames import Forecast


@dataclass(frozen=True, kw_only=True)
class Calibration:
    r"""Bias and inflation of the spread, for each lead time and channel.

    $$x_i' = \bar x + b + a\,(x_i - \bar x)$$

    with the mean $\bar x$ over samples. Results are clipped to the range of the data. Between the
    fitted lead times, a and b are interpolated linearly; beyond them, they stay constant.

    Attributes:
        lead_times: fitted lead times, in frame intervals.
        channels: names of the channels.
        inflation: factor a of the deviations from the mean, (time, channel).
        bias: b, in the units of the data, (time, channel).
    """

    lead_times: tuple[float, ...]
    channels: tuple[str, ...]
    inflation: Float[Tensor, "time channel"]
    bias: Float[Tensor, "time channel"]

    def __post_init__(self) -> None:
        shape = (len(self.lead_times), len(self.channels))
        fitting = [tuple(t.shape) == shape for t in (self.inflation, self.bias)]
        finite = bool(torch.isfinite(self.inflation).all() and torch.isfinite(self.bias).all())
        if not all(fitting) or not finite or not shape[0]:
            raise InputError(
                f"A calibration has a finite inflation and bias (time, channel) = {shape}, got "
                f"{tuple(self.inflation.shape)} and {tuple(self.bias.shape)}."
            )

    def apply(self, forecast: Forecast, value_range: tuple[float, float] | None = None) -> Forecast:
        """The forecast, corrected.

        Args:
            forecast: the forecast with all its samples, since their mean is needed.
            value_range: range to clip to; by default none.

        Errors:
            InputError: the forecast has other channels.
        """
        if forecast.channels != self.channels:
            raise InputError(
                f"The calibration is for the channels {self.channels}, the forecast has "
                f"{forecast.channels}."
            )
        samples = forecast.samples
        along = (-1, len(self.channels), *[1] * (samples.ndim - 4))
        inflation, bias = (
            self.at(forecast.times, values).to(samples).view(along)
            for values in (self.inflation, self.bias)
        )
        mean = samples.mean(dim=0)
        found = mean + bias + inflation * (samples - mean)
        return replace(
            forecast, samples=found if value_range is None else found.clamp(*value_range)
        )

    def at(
        self, times: Float[Tensor, " time"], values: Float[Tensor, "fitted channel"]
    ) -> Float[Tensor, "time channel"]:
        """Fitted values, interpolated to other lead times."""
        found = [np.interp(times.numpy(), self.lead_times, column.numpy()) for column in values.T]
        return torch.from_numpy(np.stack(found, axis=1))

    def to_json(self) -> dict[str, Any]:
        """As JSON values, by channel."""
        return {
            "lead_times": list(self.lead_times),
            "inflation": dict(zip(self.channels, self.inflation.T.tolist(), strict=True)),
            "bias": dict(zip(self.channels, self.bias.T.tolist(), strict=True)),
        }

    @classmethod
    def from_json(cls, content: Mapping[str, Any]) -> Calibration:
        """The inverse of `to_json`.

        Errors:
            KeyError, TypeError, ValueError: `content` does not come from `to_json`.
        """
        channels = tuple(content["inflation"])

        def columns(table: Mapping[str, Sequence[float]]) -> Tensor:
            return torch.tensor([table[name] for name in channels], dtype=torch.float64).T

        return cls(
            lead_times=tuple(map(float, content["lead_times"])),
            channels=channels,
            inflation=columns(content["inflation"]),
            bias=columns(content["bias"]),
        )

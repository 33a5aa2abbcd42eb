"""Build the noise of a latent from the options of a recipe."""

from __future__ import annotations

import math
from typing import Literal

from statecast.errors import InputError
from statecast.nn.diffusive_noise import ColouredNoise, DiffusionName, WhiteNoise
from statecast.nn.held_noise import AdaptiveNoise, GridNoise, PoissonNoise
from statecast.nn.noise_model import NoiseModel

NoiseName = Literal["held", "white", "coloured"]
RenewalName = Literal["frames", "grid", "poisson", "adaptive"]


def noise_model_of(
    noise: NoiseName,
    renewal: RenewalName,
    latent_size: int,
    noise_size: int,
    *,
    renewal_interval: float,
    renewal_rate: float,
    largest_rate: float,
    renewal_threshold: float,
    correlation_time: float,
    diffusion: DiffusionName,
    smallest_diffusion: float,
) -> NoiseModel | None:
    """The noise model that the options describe; None for noise held over frames, as published.

    Errors:
        InputError: a clock that never renews, a diffusion that vanishes, or another number that
            does not fit.
    """
    if not 1e-3 <= renewal_interval <= 1e6:
        raise InputError(
            f"renewal_interval must lie between 0.001 and 1e6 frames, got {renewal_interval}. For "
            "a model without noise, set stochastic: false."
        )
    if not 0 < renewal_rate < largest_rate <= 1000:
        raise InputError(
            "renewal_rate must be above 0 and below largest_rate, which must be at most 1000, got "
            f"{renewal_rate} and {largest_rate}."
        )
    if not 0 <= renewal_threshold < math.inf:
        raise InputError(
            f"renewal_threshold must be at least 0 nats and finite, got {renewal_threshold}."
        )
    if not (0 < smallest_diffusion < math.inf and 0 < correlation_time < math.inf):
        raise InputError(
            "smallest_diffusion and correlation_time must be positive and finite, or divergences "
            f"would be infinite, got {smallest_diffusion} and {correlation_time}."
        )
    sizes = (latent_size, noise_size)
    if noise == "white":
        return WhiteNoise(*sizes, diffusion=diffusion, smallest=smallest_diffusion)
    if noise == "coloured":
        return ColouredNoise(*sizes, time=correlation_time, smallest=smallest_diffusion)
    if renewal == "grid":
        return GridNoise(*sizes, period=renewal_interval)
    if renewal == "poisson":
        return PoissonNoise(*sizes, rate=renewal_rate, largest=largest_rate)
    if renewal == "adaptive":
        return AdaptiveNoise(
            *sizes, threshold=renewal_threshold, rate=renewal_rate, largest=largest_rate
        )
    return None

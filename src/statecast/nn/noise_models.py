"""The kinds of noise of a latent, by the options of a recipe."""

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
    """The kind of noise that options name; None for noise held on frames, as published.

    Errors:
        InputError: a clock that never renews, a diffusion that vanishes, or another number that
            does not fit.
    """
    check_clock_options(renewal_interval, renewal_rate, largest_rate, renewal_threshold)
    if not (0 < smallest_diffusion < math.inf and 0 < correlation_time < math.inf):
        raise InputError(
            "A diffusion that vanishes makes divergences infinite: smallest_diffusion and "
            f"correlation_time must be positive, got {smallest_diffusion} and {correlation_time}."
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


def check_clock_options(period: float, rate: float, largest: float, threshold: float) -> None:
    """Raise `InputError` for a clock that never renews, or that always does."""
    if not 1e-3 <= period <= 1e6:
        raise InputError(
            "Noise is renewed every `renewal_interval` frames, between 0.001 and 1e6, got "
            f"{period}: a clock that never renews holds one noise for ever. Set stochastic: false "
            "to go without."
        )
    if not 0 < rate < largest <= 1000:
        raise InputError(
            "The rate of renewal begins at `renewal_rate` per frame, above 0 and below "
            f"`largest_rate`, which is 1000 at most; got {rate} and {largest}. A clock of rate 0 "
            "never renews."
        )
    if not 0 <= threshold < math.inf:
        raise InputError(
            "Noise is renewed above a divergence of `renewal_threshold` nats, 0 or more and "
            f"finite, got {threshold}: with an infinite threshold the clock never renews."
        )

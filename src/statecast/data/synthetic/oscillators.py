"""Oscillators: a drum whose modes swing at random, seen now and then through noisy pixels."""

from __future__ import annotations

import math
from functools import cached_property
from typing import Any, NamedTuple

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from statecast.data.base import Split, horizons_of
from statecast.data.known_future import KnownFuture
from statecast.data.synthetic.generated_windows import GeneratedSource, GeneratedWindows
from statecast.errors import InputError
from statecast.frames import Batch, Forecast
from statecast.nn.kalman import Moments, apply, correct, discretise
from statecast.nn.random import Streams, standard_normal, uniform


class Dynamics(NamedTuple):
    """Linear dynamics of all modes in steps of one frame; a state is (positions, velocities)."""

    transition: Float[Tensor, "state state"]
    noise: Float[Tensor, "state state"]
    stationary: Moments  # law of a state without any observation


class Oscillators(GeneratedSource):
    r"""Standing waves of a square drum, each a damped oscillator driven by noise.

    $$dq_k = v_k\,dt, \qquad dv_k = -(\omega_k^2 q_k + \gamma v_k)\,dt + \sigma_k\,dW_k, \qquad
    x = \sum_k q_k \varphi_k + \text{noise}$$

    with $\sigma_k^2 = 2 \gamma \omega_k^2$, so that positions have variance 1. Frames are linear in
    the state, and all laws are Gaussian: a Kalman filter gives the exact law of the future, given
    the observed frames. Frames between the first and the last observed one are missing at random.

    Each window carries its latents: `position` and `velocity` of each mode (window, time, mode).

    Args:
        context: frames observed, including missing ones.
        horizon: frames forecast in training.
        test_horizon: frames forecast in tests.
        validation_horizon: frames forecast in validation; by default as in training.
        modes: number of standing waves, the slowest ones.
        period: period of the slowest wave in frames; it determines the others.
        damping: rate γ at which velocities fade, per frame.
        pixel_noise: standard deviation of each pixel's noise.
        missing: probability that a frame is missing: inside the context, and in the targets of
            training windows.
        frame_size: side of a frame in pixels.
        test_videos: windows of the test split.
        validation_videos: windows of the validation split.
        epoch: windows counted as one epoch; the supply of windows is endless.
        seed: seed of validation and test windows.
    """

    channels, value_range = ("displacement",), None

    def __init__(
        self,
        *,
        context: int = 10,
        horizon: int = 10,
        test_horizon: int = 20,
        validation_horizon: int | None = None,
        modes: int = 2,
        period: float = 12.0,
        damping: float = 0.05,
        pixel_noise: float = 0.1,
        missing: float = 0.5,
        frame_size: int = 16,
        test_videos: int = 500,
        validation_videos: int = 128,
        epoch: int = 500_000,
        seed: int = 42,
    ) -> None:
        self.context, self.modes, self.period, self.damping = context, modes, period, damping
        self.pixel_noise, self.missing, self.frame_size = pixel_noise, missing, frame_size
        self.horizons = horizons_of(context, horizon, test_horizon, validation_horizon)
        self.counts = {"train": epoch, "validation": validation_videos, "test": test_videos}
        self.seed = seed
        if min(modes, *self.counts.values()) < 1 or frame_size < 2 * math.isqrt(modes) + 2:
            raise InputError(
                "Oscillators need at least 1 mode, 1 window in each split, and frames large enough "
                f"to tell modes apart, got modes {modes}, windows {self.counts} and frame_size "
                f"{frame_size}."
            )
        if min(period, damping, pixel_noise) <= 0 or not 0 <= missing < 1:
            raise InputError(
                "Oscillators need a positive period, damping and pixel_noise, and missing in "
                f"[0, 1), got {period}, {damping}, {pixel_noise} and {missing}."
            )

    def windows(self, split: Split) -> OscillatorWindows:
        return OscillatorWindows(self, split)

    @property
    def card(self) -> dict[str, Any]:
        return self.card_of(
            "oscillators",
            modes=self.modes,
            period=self.period,
            damping=self.damping,
            pixel_noise=self.pixel_noise,
            missing=self.missing,
        )

    @cached_property
    def waves(self) -> list[tuple[int, int]]:
        """Half waves along y and x of each mode, from the slowest on."""
        several = range(1, self.modes + 1)
        pairs = [(rows, columns) for rows in several for columns in several]
        return sorted(pairs, key=lambda pair: (pair[0] ** 2 + pair[1] ** 2, pair))[: self.modes]

    @cached_property
    def patterns(self) -> Float[Tensor, "mode pixel"]:
        """Standing waves, sines of largest value 1, float64."""
        places = (torch.arange(self.frame_size, dtype=torch.float64) + 0.5) / self.frame_size
        found = [
            torch.outer((math.pi * rows * places).sin(), (math.pi * columns * places).sin())
            for rows, columns in self.waves
        ]
        return torch.stack(found).flatten(1)

    @cached_property
    def dynamics(self) -> Dynamics:
        """Dynamics in steps of one frame, float64."""
        size = self.modes
        squares = torch.tensor(
            [(2 * math.pi / self.period) ** 2 * (a**2 + b**2) / 2 for a, b in self.waves],
            dtype=torch.float64,
        )
        drift = torch.zeros(2 * size, 2 * size, dtype=torch.float64)
        one = torch.eye(size, dtype=torch.float64)
        drift[:size, size:] = one
        drift[size:, :size] = -squares.diag()
        drift[size:, size:] = -self.damping * one
        still = torch.zeros(size, dtype=torch.float64)
        diffusion = torch.cat([still, 2 * self.damping * squares]).diag()
        variances = torch.cat([torch.ones_like(squares), squares])
        stationary = Moments(torch.zeros_like(variances), variances.diag())
        return Dynamics(*discretise(drift, diffusion, 1.0), stationary)

    def simulate(
        self, start: Float[Tensor, "*batch state"], standard: Float[Tensor, "*batch time state"]
    ) -> Float[Tensor, "*batch time state"]:
        """States of the frames that follow a state, driven by standard normal values."""
        transition, noise, _ = self.dynamics
        states = []
        for drawn in standard.unbind(-2):
            start = Moments(apply(transition, start), noise).at(drawn)
            states.append(start)
        return torch.stack(states, dim=-2)

    def filtered(
        self, frames: Float[Tensor, "window time 1 y x"], known: Bool[Tensor, "window time"]
    ) -> Moments:
        """The exact law of the last frame's state, given the known frames.

        Pixels enter by their projection on the patterns, which loses no information.
        """
        gram = self.patterns @ self.patterns.T
        seen = frames.double().flatten(2) @ torch.linalg.solve(gram, self.patterns).T
        noise = self.pixel_noise**2 * torch.linalg.inv(gram)
        emission = torch.eye(self.modes, 2 * self.modes, dtype=torch.float64)
        transition, spread, state = self.dynamics
        state = Moments(*(part.expand(len(frames), *part.shape) for part in state))
        for index, (value, now) in enumerate(zip(seen.unbind(1), known.unbind(1), strict=True)):
            if index:
                state = state.transform(transition, spread)
            state = correct(state, value, now, emission=emission, noise=noise)
        return state


class OscillatorWindows(GeneratedWindows, KnownFuture):
    """Windows of one split of `Oscillators`."""

    def __init__(self, source: Oscillators, split: Split) -> None:
        super().__init__(split, source.counts[split], source.seed, source.card)
        self.source, self.length = source, source.context + source.horizons[split]

    def make(self, streams: Streams) -> Batch:
        source, count = self.source, len(streams.generators)
        like = torch.zeros(1, dtype=torch.float64)
        drawn = standard_normal((1, count, self.length, 2 * source.modes), like, streams)[0]
        first = source.dynamics.stationary.at(drawn[:, 0])
        states = torch.cat([first.unsqueeze(1), source.simulate(first, drawn[:, 1:])], dim=1)
        position, velocity = states.split(source.modes, dim=2)
        noise = standard_normal((1, count, self.length, source.frame_size**2), like, streams)[0]
        pixels = position @ source.patterns + source.pixel_noise * noise
        values = pixels.unflatten(2, (1, source.frame_size, source.frame_size)).float()
        known = self.known(streams, count)
        mask = known[:, :, None, None, None].expand_as(values)
        return Batch.of(
            values.masked_fill(~mask, torch.nan),
            source.context,
            channels=source.spec.channels,
            latents={"position": position.float(), "velocity": velocity.float()},
            mask=mask,
        )

    def known(self, streams: Streams, count: int) -> Bool[Tensor, "window time"]:
        """Which frames of each window are present."""
        drawn = uniform((count, self.length), torch.zeros(1), streams)
        known = drawn >= self.source.missing
        known[:, [0, self.source.context - 1]] = True
        if self.split != "train":
            known[:, self.source.context :] = True
        return known

    def state(self, indices: Tensor) -> Moments:
        """The exact law of the last observed state."""
        context = self.batch(indices).context
        known = context.known.flatten(2).any(dim=2)
        return self.source.filtered(context.values.nan_to_num(), known)

    def exact_forecast(
        self, indices: Tensor, *, samples: int, generator: torch.Generator | None = None
    ) -> Forecast:
        source, horizon = self.source, self.length - self.source.context
        state = self.state(indices)
        shape = (samples, len(indices), horizon + 1, 2 * source.modes)
        drawn = standard_normal(shape, state.mean, generator)
        states = source.simulate(state.at(drawn[:, :, 0]), drawn[:, :, 1:])
        noise = standard_normal(
            (*shape[:2], horizon, source.frame_size**2), torch.zeros(1), generator
        )
        pixels = (states[..., : source.modes] @ source.patterns).float()
        values = (pixels + source.pixel_noise * noise).unflatten(
            3, (1, source.frame_size, source.frame_size)
        )
        times = torch.arange(1.0, horizon + 1.0)
        return Forecast(samples=values, times=times, channels=source.spec.channels)

    def exact_moments(
        self, indices: Tensor
    ) -> tuple[Float[Tensor, "window time 1 y x"], Float[Tensor, "window time 1 y x"]]:
        """Mean and standard deviation of each pixel's exact normal law in the target."""
        source, state = self.source, self.state(indices)
        means, variances = [], []
        for _ in range(self.length - source.context):
            state = state.transform(*source.dynamics[:2])
            means.append(state.mean[:, : source.modes] @ source.patterns)
            covariance = state.covariance[:, : source.modes, : source.modes]
            spread = ((covariance @ source.patterns) * source.patterns).sum(dim=1)
            variances.append(spread + source.pixel_noise**2)
        shape = (1, source.frame_size, source.frame_size)
        mean, variance = (torch.stack(part, 1).unflatten(2, shape) for part in (means, variances))
        return mean.float(), variance.sqrt().float()

    def expected_crps(self, indices: Tensor) -> Float[Tensor, "window time"]:
        """σ / √π for a normal law, averaged over pixels."""
        _, std = self.exact_moments(indices)
        return std.flatten(2).mean(dim=2) / math.sqrt(math.pi)

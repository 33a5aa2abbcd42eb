"""Temperature carried by eddies on a periodic grid, for many zones at once."""

from __future__ import annotations

import math
from collections.abc import Iterator
from functools import cached_property
from typing import NamedTuple

import torch
from jaxtyping import Complex, Float
from torch import Tensor
from torch.nn import functional

DOMAIN = 72  # cells of a side of the periodic domain
SIDE = 64  # cells of a side of the part that is kept; water enters and leaves it
COARSE = 24  # cells of a side of the white noise that smooth random fields are made of
SPIN_UP = 100  # days before the first one kept


class OceanPhysics(NamedTuple):
    """Constants of the simulation, in cells (1/12°, about 9 km), days and °C."""

    speed: float = 1.0  # root mean square of each component of the flow, cells per day
    eddy_size: float = 32.0  # wavelength where the flow's spectrum bends
    eddy_days: float = 40.0  # memory of the eddies that come and go
    steady_share: float = 0.4  # of the stream function's variance: the part that never changes
    diffusivity: float = 0.15  # cells² per day
    relaxation: float = 1 / 40  # towards the seasonal climatology, per day
    gradient: float = -0.06  # of the climatology, °C per cell northwards
    forcing: float = 0.06  # standard deviation of a day's random heating, °C
    forcing_size: float = 20.0  # wavelength where the heating's spectrum bends


class SmoothFields:
    """Periodic random fields of unit variance, made of white noise on a coarse grid.

    Args:
        size: wavelength in cells where the spectrum bends; amplitudes fall as its power −2.5.
    """

    def __init__(self, size: float) -> None:
        rows, columns = frequencies(COARSE)
        wave = (rows.square() + columns.square()).sqrt() * COARSE / DOMAIN  # cycles per cell
        weight = (1 + (wave * size).square()) ** -1.25
        # No mean, and nothing at the coarse grid's own limit, where a sine cannot be told apart.
        weight[0, 0] = 0
        weight[COARSE // 2], weight[:, COARSE // 2] = 0, 0
        twice = torch.full((COARSE // 2 + 1,), 2.0)  # columns that stand for two conjugate modes
        twice[0] = 1
        self.weight = weight * COARSE / (twice * weight.square()).sum().sqrt()

    def spectrum(self, white: Float[Tensor, "zone y x"]) -> Complex[Tensor, "zone wave_y wave_x"]:
        """Fourier coefficients, on the whole domain, of the smooth field made of white noise."""
        coarse = torch.fft.rfft2(white) * self.weight * (DOMAIN / COARSE) ** 2
        half = COARSE // 2
        fine = coarse.new_zeros(len(white), DOMAIN, DOMAIN // 2 + 1)
        fine[:, :half, :half] = coarse[:, :half, :half]
        fine[:, 1 - half :, :half] = coarse[:, 1 - half :, :half]
        return fine


class Flow:
    r"""An incompressible flow whose stream function is a few hundred random Fourier modes.

    $$u = -\partial_y \psi, \qquad v = \partial_x \psi$$

    One part of every mode is steady, the other is an Ornstein–Uhlenbeck process, updated exactly.

    Args:
        physics: constants.
        generators: one per zone.
        coast: factor of the stream function (zone, y, x), 0 on land, so that no water crosses a
            coast; None if there is no land.
    """

    def __init__(
        self,
        physics: OceanPhysics,
        generators: list[torch.Generator],
        coast: Float[Tensor, "zone y x"] | None = None,
    ) -> None:
        self.physics, self.generators, self.coast = physics, generators, coast
        self.fields = SmoothFields(physics.eddy_size)
        self.steady, self.eddies = self.noise(), self.noise()
        self.memory = math.exp(-1 / physics.eddy_days)

    def noise(self) -> Float[Tensor, "zone y x"]:
        """White noise, from the generator of each zone."""
        return white_noise(self.generators)

    def advance(self) -> None:
        """Advance by one day, exactly for an Ornstein–Uhlenbeck process."""
        kept = math.sqrt(1 - self.memory**2)
        self.eddies = self.memory * self.eddies + kept * self.noise()

    @cached_property
    def scale(self) -> float:
        """Amplitude of the stream function that gives the flow its speed."""
        rows, columns = frequencies(COARSE)
        twice = torch.full((COARSE // 2 + 1,), 2.0)
        twice[0] = 1
        squares = (2 * math.pi / DOMAIN) ** 2 * (rows.square() + columns.square()) / 2
        variance = (twice * squares * self.fields.weight.square()).sum() / COARSE**2
        return self.physics.speed / math.sqrt(float(variance))

    def velocity(self) -> Float[Tensor, "zone component y x"]:
        """Velocity (u, v) in cells per day, u along columns."""
        share = self.physics.steady_share
        white = math.sqrt(share) * self.steady + math.sqrt(1 - share) * self.eddies
        stream = self.scale * self.fields.spectrum(white)
        if self.coast is not None:
            stream = torch.fft.rfft2(torch.fft.irfft2(stream, s=(DOMAIN, DOMAIN)) * self.coast)
        return torch.stack([-derivative(stream, 0), derivative(stream, 1)], dim=1)


def simulate(
    days: int,
    generators: list[torch.Generator],
    *,
    physics: OceanPhysics | None = None,
    coast: Float[Tensor, "zone y x"] | None = None,
    spin_up: int = SPIN_UP,
) -> Iterator[Float[Tensor, "zone y x"]]:
    r"""Anomalies θ from a climatology with a northward gradient G, day by day, in °C.

    $$\frac{\partial \theta}{\partial t} + u \cdot \nabla (\theta + G y) =
    \kappa \Delta \theta - \lambda \theta + \xi$$

    Advection is semi-Lagrangian: departure points to second order in time, interpolation to
    fourth order in space, the gradient G exactly. Diffusion, relaxation and the heating ξ are
    added in Fourier space, where they are exact. Unconditionally stable.

    Args:
        days: number of days kept.
        generators: one per zone, the source of all its randomness.
        physics: constants.
        coast: see `Flow`.
        spin_up: days before the first one kept.

    Yields:
        The part of the domain that is kept, `SIDE` × `SIDE`, row 0 in the south.
    """
    physics = physics or OceanPhysics()
    flow = Flow(physics, generators, coast)
    heating = SmoothFields(physics.forcing_size)
    decay = decay_of(physics)
    anomaly = torch.zeros(len(generators), DOMAIN, DOMAIN)
    before = flow.velocity()
    for day in range(spin_up + days):
        if day >= spin_up:
            yield anomaly[:, :SIDE, :SIDE]
        flow.advance()
        after = flow.velocity()
        displacement = departure((before + after) / 2)
        anomaly = interpolate(anomaly, displacement) + physics.gradient * displacement[:, 1]
        # Heating also decays during the day on which it comes, which is ignored.
        spectrum = torch.fft.rfft2(anomaly) * decay
        spectrum += physics.forcing * heating.spectrum(white_noise(generators))
        anomaly = torch.fft.irfft2(spectrum, s=(DOMAIN, DOMAIN))
        before = after


def decay_of(physics: OceanPhysics) -> Float[Tensor, "wave_y wave_x"]:
    """Exact factor of each mode in a day of diffusion and relaxation."""
    rows, columns = frequencies(DOMAIN)
    squared = (2 * math.pi / DOMAIN) ** 2 * (rows.square() + columns.square())
    return torch.exp(-(physics.relaxation + physics.diffusivity * squared))


def departure(velocity: Float[Tensor, "zone 2 y x"]) -> Float[Tensor, "zone 2 y x"]:
    """Where the water of each cell was a day ago, relative to the cell, by the midpoint rule.

    Args:
        velocity: (u, v) in the middle of the day, cells per day.
    """
    return -sampled(velocity, -0.5 * velocity)


def interpolate(
    fields: Float[Tensor, "zone y x"], displacement: Float[Tensor, "zone 2 y x"]
) -> Float[Tensor, "zone y x"]:
    """Values of periodic fields at each cell plus a displacement (x, y) in cells.

    Cubic B-splines through all values: the error shrinks as the fourth power of the spacing.
    """
    rows, columns = (
        (2 + torch.cos(2 * math.pi / DOMAIN * wave)) / 3 for wave in frequencies(DOMAIN)
    )
    coefficients = torch.fft.irfft2(torch.fft.rfft2(fields) / (rows * columns), s=fields.shape[1:])
    # The four weights along an axis form two pairs, each of them one linear interpolation.
    fraction = displacement - displacement.floor()
    last = fraction**3 / 6
    third = (1 + 3 * fraction + 3 * fraction**2 - 3 * fraction**3) / 6
    first = (1 - fraction) ** 3 / 6
    far = third + last
    shifts = [displacement.floor() - first / (1 - far), displacement.floor() + 1 + last / far]
    result = torch.zeros_like(fields)
    for y in range(2):
        for x in range(2):
            corner = torch.stack([shifts[x][:, 0], shifts[y][:, 1]], dim=1)
            along_x, along_y = (
                far[:, axis] if which else 1 - far[:, axis] for axis, which in ((0, x), (1, y))
            )
            result += along_x * along_y * sampled(coefficients.unsqueeze(1), corner)[:, 0]
    return result


def sampled(
    fields: Float[Tensor, "zone field y x"], displacement: Float[Tensor, "zone 2 y x"]
) -> Float[Tensor, "zone field y x"]:
    """Values of periodic fields at each cell plus a displacement, interpolated linearly."""
    size = fields.shape[-1]
    cells = torch.arange(size)
    x = (displacement[:, 0] + cells) % size
    y = (displacement[:, 1] + cells[:, None]) % size
    wrapped = functional.pad(fields, (0, 1, 0, 1), mode="circular")
    # `grid_sample` counts from −1 at the first value to 1 at the last one.
    places = torch.stack([x, y], dim=-1) * (2 / size) - 1
    return functional.grid_sample(wrapped, places, align_corners=True, padding_mode="border")


def frequencies(size: int) -> tuple[Tensor, Tensor]:
    """Cycles per domain of rows (size, 1) and columns (size // 2 + 1) of a real transform."""
    rows = torch.fft.fftfreq(size, 1 / size)
    return rows[:, None], torch.fft.rfftfreq(size, 1 / size)


def derivative(
    spectrum: Complex[Tensor, "zone wave_y wave_x"], axis: int
) -> Float[Tensor, "zone y x"]:
    """Derivative of periodic fields along y (axis 0) or x (axis 1), exact for every mode."""
    wave = 2 * math.pi / DOMAIN * frequencies(DOMAIN)[axis]
    # The derivative of the highest mode of an even grid is undetermined.
    wave = torch.where(wave.abs() < math.pi, wave, 0)
    return torch.fft.irfft2(1j * wave * spectrum, s=(DOMAIN, DOMAIN))


def white_noise(generators: list[torch.Generator]) -> Float[Tensor, "zone y x"]:
    """Independent normal numbers on the coarse grid, from the generator of each zone."""
    return torch.stack([torch.randn(COARSE, COARSE, generator=g) for g in generators])

"""The simulated ocean: exact solutions, declared order, budgets, and labelled files."""

import math

import netCDF4
import numpy as np
import pytest
import torch

from statecast.data.base import seeded_generator
from statecast.data.synthetic.ocean_simulation import (
    COARSE,
    DOMAIN,
    SIDE,
    Flow,
    OceanPhysics,
    SmoothFields,
    decay_of,
    departure,
    derivative,
    frequencies,
    interpolate,
    simulate,
    white_noise,
)
from statecast.data.synthetic.synthetic_ocean import NOISE, Ocean, land_of, ocean_folder

STILL = OceanPhysics(speed=1e-9, gradient=0.0)


def generators(count=2, stream=1):
    return [seeded_generator(3, stream, number) for number in range(count)]


def wave(cycles, axis=1, shift=0.0):
    """A sine along an axis of the domain, moved by `shift` cells."""
    cells = torch.arange(float(DOMAIN)) - shift
    line = torch.sin(2 * math.pi * cycles * cells / DOMAIN)
    return (line if axis == 1 else line[:, None]).expand(1, DOMAIN, DOMAIN).contiguous()


def uniform(x, y):
    return torch.tensor([x, y]).view(1, 2, 1, 1).expand(1, 2, DOMAIN, DOMAIN).contiguous()


def test_uniform_flow_moves_whole_cells_exactly():
    field = torch.randn(1, DOMAIN, DOMAIN, generator=torch.Generator().manual_seed(1))
    moved = interpolate(field, departure(uniform(3.0, -2.0)))
    torch.testing.assert_close(moved, field.roll((-2, 3), dims=(1, 2)), atol=2e-4, rtol=0)


def test_uniform_flow_moves_parts_of_cells_to_fourth_order():
    errors = [
        float((interpolate(wave(cycles), uniform(-0.4, 0.3)) - wave(cycles, shift=0.4)).abs().max())
        for cycles in (3, 6)
    ]
    order = math.log2(errors[1] / errors[0])
    assert 3.7 < order < 4.5
    # Both axes alike.
    across = interpolate(wave(6, axis=0), uniform(0.3, -0.4)) - wave(6, axis=0, shift=0.4)
    assert float(across.abs().max()) == pytest.approx(errors[1], rel=0.02)


def test_departure_points_in_a_turning_flow_are_of_second_order_in_time():
    # A shear flow u = (sin(2πy/L), 1): where water was a time ago is known exactly.
    y = torch.arange(float(DOMAIN))[:, None].expand(DOMAIN, DOMAIN)
    rate = 2 * math.pi / DOMAIN

    def error(days):
        velocity = torch.stack([torch.sin(rate * y), torch.ones_like(y)])[None] * days
        exact = (torch.cos(rate * y) - torch.cos(rate * (y - days))) / rate
        found = departure(velocity)
        assert torch.allclose(found[:, 1], torch.tensor(-days), atol=1e-5)
        return float((found[0, 0] - exact).abs().max())

    assert 2.7 < math.log2(error(8.0) / error(4.0)) < 3.3  # one step: one order more


def test_diffusion_and_relaxation_decay_a_mode_at_the_exact_rate():
    physics = OceanPhysics(diffusivity=0.7, relaxation=0.05)
    start = wave(5)
    spectrum = torch.fft.rfft2(start) * decay_of(physics)
    ended = torch.fft.irfft2(spectrum, s=(DOMAIN, DOMAIN))
    rate = 0.05 + 0.7 * (2 * math.pi * 5 / DOMAIN) ** 2
    torch.testing.assert_close(ended, start * math.exp(-rate), atol=1e-6, rtol=1e-5)


def test_the_flow_is_incompressible_and_as_fast_as_asked():
    physics = OceanPhysics(speed=0.8)
    squares = []
    for number in range(12):
        velocity = Flow(physics, generators(4, number)).velocity()
        parts = [torch.fft.rfft2(velocity[:, axis]) for axis in (0, 1)]
        divergence = derivative(parts[0], 1) + derivative(parts[1], 0)
        shear = derivative(parts[0], 0)
        assert divergence.abs().max() < 1e-4 * shear.abs().max()
        squares.append(velocity.square().mean())
    assert math.sqrt(torch.stack(squares).mean()) == pytest.approx(0.8, rel=0.1)


def test_no_water_crosses_a_coast():
    land = torch.zeros(1, DOMAIN, DOMAIN)
    land[:, 20:44, 20:44] = 1
    velocity = Flow(OceanPhysics(), generators(1), coast=1 - land).velocity()
    inland = velocity[:, :, 26:38, 26:38].abs().max()
    assert inland < 0.3 * velocity.abs().max()


def test_eddies_are_an_ornstein_uhlenbeck_process():
    physics = OceanPhysics(eddy_days=5.0)
    flow = Flow(physics, generators(1))
    path = []
    for _ in range(1500):
        flow.advance()
        path.append(flow.eddies)
    values = torch.stack(path).flatten(1)
    assert float(values.var()) == pytest.approx(1, abs=0.02)
    for lag in (1, 5):
        correlation = float((values[lag:] * values[:-lag]).mean() / values.square().mean())
        assert correlation == pytest.approx(math.exp(-lag / 5), abs=0.02)


def test_smooth_fields_have_unit_variance_no_mean_and_no_small_waves():
    spectrum = SmoothFields(20.0).spectrum(white_noise(generators(300)))
    fields = torch.fft.irfft2(spectrum, s=(DOMAIN, DOMAIN))
    assert float(fields.var()) == pytest.approx(1, rel=0.05)
    assert fields.mean(dim=(1, 2)).abs().max() < 1e-5
    rows, columns = frequencies(DOMAIN)
    small = (rows.abs() >= COARSE / 2) | (columns >= COARSE / 2)
    assert spectrum[:, small].abs().max() == 0


def test_without_flow_the_variance_is_that_of_the_heating_and_stays():
    physics = STILL._replace(relaxation=0.2, diffusivity=0.5)
    days = torch.stack(list(simulate(150, generators(4), physics=physics, spin_up=30)), dim=1)
    decay, weight = decay_of(physics), SmoothFields(physics.forcing_size).weight
    # Each mode is an autoregression: variance of a day's heating over 1 − decay².
    half = COARSE // 2
    rows = torch.cat([decay[:half, :half], decay[1 - half :, :half]])
    coarse = torch.cat([weight[:half, :half], weight[1 - half :, :half]])
    twice = torch.full((half,), 2.0)
    twice[0] = 1
    expected = (twice * (physics.forcing * coarse).square() / (1 - rows.square())).sum() / COARSE**2
    assert float(days.var()) == pytest.approx(float(expected), rel=0.08)


def test_with_flow_the_variance_stays_and_a_mean_does_not_grow():
    days = torch.stack(list(simulate(160, generators(6))), dim=1)
    early, late = days[:, :80], days[:, 80:]
    assert float(early.var() / late.var()) == pytest.approx(1, abs=0.35)
    assert days.mean().abs() < 0.3 * days.std()
    # Water moves: a week changes most of what a day does not.
    change = [(days[:, lag:] - days[:, :-lag]).square().mean() / days.var() for lag in (1, 7)]
    assert change[0] < 0.05
    assert change[1] > 5 * change[0]


def test_advection_alone_keeps_mean_and_nearly_all_variance():
    field = torch.fft.irfft2(
        SmoothFields(20.0).spectrum(white_noise(generators(2))), s=(DOMAIN, DOMAIN)
    )
    displacement = departure(Flow(OceanPhysics(), generators(2)).velocity())
    moved = interpolate(field, displacement)
    assert (moved.mean() - field.mean()).abs() < 5e-3 * field.std()
    assert float(moved.var() / field.var()) == pytest.approx(1, abs=0.01)


def test_a_zone_is_a_function_of_its_seed_alone():
    alone = torch.stack(list(simulate(5, generators(1), spin_up=2)))
    beside = torch.stack(list(simulate(5, generators(3), spin_up=2)))
    torch.testing.assert_close(alone[:, 0], beside[:, 0], atol=1e-6, rtol=1e-5)
    assert not torch.allclose(beside[:, 1], beside[:, 0])


class TestFiles:
    @pytest.fixture
    def folder(self, tmp_path, monkeypatch):
        monkeypatch.setenv("STATECAST_CACHE", str(tmp_path))
        return ocean_folder(Ocean(zones=2, days=40, land_zones=1, trained=32, seed=1))

    def test_they_are_labelled_and_packed(self, folder):
        with netCDF4.Dataset(folder / "data_2.nc") as file:
            assert file.variables["thetao"].dimensions == ("time", "lat", "lon")
            assert file.variables["thetao"].shape == (40, SIDE, SIDE)
            assert file.variables["thetao"].units == "degrees_C"
            assert file.variables["daily_mean"].shape == (366, SIDE, SIDE)
            assert file.variables["time"].units == "days since 2006-01-01"
            latitude = file.variables["lat"]
            assert latitude.units == "degrees_north"
            np.testing.assert_allclose(np.diff(latitude[:]), 1 / 12)
            celsius, mean = file.variables["thetao"][:], file.variables["daily_mean"][:]
            std = file.variables["daily_std"][:]
        assert not np.ma.is_masked(celsius)
        # Normalised by their own climatology, days of training have variance 1.
        normalised = (celsius[:32] - mean[:32]) / std[:32]
        assert float(normalised.std(axis=0).mean()) == pytest.approx(1, abs=0.15)
        # It is colder in the north and in spring than in late summer.
        assert (np.diff(mean.mean(axis=2), axis=1) < 0).all()
        assert mean.mean(axis=(1, 2)).argmax() == pytest.approx(239, abs=1)

    def test_neighbouring_days_differ_by_noise_at_least(self, folder):
        with netCDF4.Dataset(folder / "data_2.nc") as file:
            celsius = file.variables["thetao"][:].filled()
        rough = celsius[:, 1:-1, 1:-1] - 0.25 * (
            celsius[:, 2:, 1:-1] + celsius[:, :-2, 1:-1] + celsius[:, 1:-1, 2:]
            + celsius[:, 1:-1, :-2]
        )  # fmt: skip
        assert float(np.median(np.abs(rough))) > 0.5 * NOISE

    def test_land_is_where_it_is_high_and_unknown_every_day(self, folder):
        high = land_of(Ocean(2, 40, 1, 32, 1), 0)[:SIDE, :SIDE] > 1.0
        with netCDF4.Dataset(folder / "data_1.nc") as file:
            for name in ("thetao", "daily_mean", "daily_std"):
                mask = np.ma.getmaskarray(file.variables[name][:])
                assert (mask == high.numpy()).all()
        assert 0.02 < high.float().mean() < 0.5

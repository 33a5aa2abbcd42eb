"""Validation chooses the reference where it can tell, and training windows where it cannot."""

import numpy as np
import xarray

from statecast.data.user.fields import Fields
from statecast.evaluation.references import choose_reference

DAYS = 600


def field(path, *, memory, drift=0.0, calm=None):
    """Red noise with a memory of some days on a small grid; its mean drifts, and a time is calm."""
    generator = np.random.default_rng(0)
    values = np.zeros((DAYS, 4, 4))
    share = np.exp(-1 / memory)
    for day in range(1, DAYS):
        kept = 1.0 if calm is not None and day in range(*calm.indices(DAYS)) else share
        noise = generator.standard_normal((4, 4)) * np.sqrt(1 - share**2)
        values[day] = kept * values[day - 1] + noise
    values += drift * np.arange(DAYS)[:, None, None]
    times = np.datetime64("2001-01-01", "ns") + np.arange(DAYS) * np.timedelta64(1, "D")
    side = np.arange(4.0)
    data = {"t": (("time", "lat", "lon"), values)}
    xarray.Dataset(data, {"time": times, "lat": side, "lon": side}).to_netcdf(path)
    return Fields(path=str(path), context=3, horizon=4, anomaly="mean", multiple=1)


def carried_field(path):
    """Plane waves that move over a map, each at a speed of its own, and random in time."""
    generator = np.random.default_rng(0)
    y, x = np.mgrid[:16.0, :16.0]
    values = np.zeros((DAYS, 16, 16))
    for _ in range(20):
        ky, kx = 0.5 * generator.standard_normal(2)
        phase = ky * y + kx * x + generator.uniform(0, 2 * np.pi)
        turn = 0.6 * ky - 0.8 * kx + 0.01 * generator.standard_normal()
        values += np.cos(phase - turn * np.arange(DAYS)[:, None, None])
    times = np.datetime64("2001-01-01", "ns") + np.arange(DAYS) * np.timedelta64(1, "D")
    data = {"t": (("time", "lat", "lon"), values)}
    coords = {"time": times, "lat": np.arange(16.0), "lon": np.arange(16.0)}
    xarray.Dataset(data, coords).to_netcdf(path)
    return Fields(path=str(path), context=3, horizon=4, anomaly="mean", multiple=1)


def chosen(data):
    return choose_reference(data, batch_size=32, seed=1)


def test_validation_decides_where_it_can_tell(tmp_path):
    red = chosen(field(tmp_path / "red.nc", memory=3.0))
    assert red.value == "damped_persistence"
    assert "training windows" not in red.chosen
    moving = chosen(field(tmp_path / "moving.nc", memory=3.0, drift=0.05))
    assert moving.value == "recent_damped_persistence"


def test_training_windows_decide_between_what_a_short_validation_cannot_tell(tmp_path):
    """Anomalies that last over the few blocks of validation hide that they are damped."""
    data = field(tmp_path / "calm.nc", memory=12.0, calm=slice(430, 480))
    found = chosen(data)
    validation = found.chosen.split("persistence: ")[1].split(";")[0]
    assert validation.startswith("persistence 1")
    assert found.value == "damped_persistence"
    assert "too close to call there, so on training windows: damped_persistence" in found.chosen


def test_persistence_stays_where_nothing_is_gained(tmp_path):
    data = field(tmp_path / "walk.nc", memory=1e6)
    assert chosen(data).value == "persistence"


def test_maps_that_move_are_carried_on(tmp_path):
    found = chosen(carried_field(tmp_path / "carried.nc"))
    assert found.value in ("lagrangian_persistence", "damped_lagrangian_persistence")


def test_a_reference_that_does_not_apply_is_left_out(tmp_path):
    assert "lagrangian" not in chosen(field(tmp_path / "small.nc", memory=3.0)).chosen

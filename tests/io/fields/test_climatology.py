"""Climatology: least squares that finds what it was made of, from known values alone."""

import numpy as np
import pytest

from statecast.errors import InputError
from statecast.io.fields.climatology import fit_climatology
from statecast.io.fields.time_steps import phase

TIMES = np.datetime64("2001-01-01", "ns") + np.arange(3 * 365) * np.timedelta64(1, "D")


def seasons(times, amplitude):
    angle = 2 * np.pi * phase(times)[:, None, None]
    return 10 + amplitude * (np.cos(angle) - 0.5 * np.sin(2 * angle))


def test_seasons_are_found_and_go_on():
    amplitude = np.array([[1.0, 2.0, 0.0]])
    values = seasons(TIMES, amplitude).astype(np.float32)
    found = fit_climatology([(TIMES[:500], values[:500]), (TIMES[500:], values[500:])], "seasonal")
    later = TIMES + np.timedelta64(3 * 365, "D")
    np.testing.assert_allclose(found.at(later), seasons(later, amplitude), atol=1e-4)


def test_unknown_values_do_not_count():
    values = np.broadcast_to(seasons(TIMES, np.ones((1, 2))), (len(TIMES), 1, 2)).astype(np.float32)
    gappy = values.copy()
    gappy[::3, 0, 0] = np.nan
    gappy[:, 0, 1] = np.nan
    for anomaly in ("mean", "seasonal"):
        whole, found = (fit_climatology([(TIMES, v)], anomaly) for v in (values, gappy))
        np.testing.assert_allclose(found.at(TIMES)[:, 0, 0], whole.at(TIMES)[:, 0, 0], atol=0.02)
        assert (found.at(TIMES)[:, 0, 1] == 0).all()
    kept = ~np.isnan(gappy[:, 0, 0])
    mean = fit_climatology([(TIMES, gappy)], "mean").coefficients[0, 0, 0]
    assert mean == pytest.approx(values[kept, 0, 0].mean(), abs=1e-5)


def test_points_with_few_known_values_take_their_mean():
    values = seasons(TIMES, np.ones((1, 1))).astype(np.float32)
    values[12:] = np.nan
    found = fit_climatology([(TIMES, values)], "seasonal")
    np.testing.assert_allclose(found.at(TIMES), np.nanmean(values), rtol=1e-5)


def test_seasons_need_dates_and_frames_are_needed_at_all():
    with pytest.raises(InputError, match="dates"):
        fit_climatology([(np.arange(3.0), np.zeros((3, 1, 2)))], "seasonal")
    with pytest.raises(InputError, match="without frames"):
        fit_climatology([], "mean")

"""Climatology: least squares that finds what it was made of, from known values alone."""

import numpy as np
import pytest

from statecast.errors import InputError
from statecast.io.fields.climatology import fit_climatology, waves_of_the_day
from statecast.io.fields.time_steps import Step, day_phase, phase

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


def test_waves_of_the_day_are_found_beside_those_of_the_year():
    times = np.datetime64("2001-01-01", "ns") + np.arange(3 * 365 * 8) * np.timedelta64(3, "h")
    angle = 2 * np.pi * day_phase(times)[:, None, None]
    daily = 0.7 * np.sin(angle) + 0.2 * np.cos(2 * angle)
    values = (seasons(times, np.ones((1, 2))) + daily).astype(np.float32)
    found = fit_climatology(
        [(times, values)], "seasonal", daily=waves_of_the_day(Step(10800.0, "seconds"))
    )
    np.testing.assert_allclose(found.at(times[:99]), values[:99], atol=1e-3)
    alone = fit_climatology([(times[:800], (10 + daily[:800]).astype(np.float32))], "mean", daily=2)
    np.testing.assert_allclose(alone.at(times[:99]), 10 + daily[:99], atol=1e-3)


@pytest.mark.parametrize(("hours", "waves"), [(1, 2), (4, 2), (6, 1), (8, 1), (12, 0), (24, 0)])
def test_frames_tell_waves_of_the_day_by_three_in_each(hours, waves):
    assert waves_of_the_day(Step(3600.0 * hours, "seconds")) == waves


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

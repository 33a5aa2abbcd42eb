"""Time axes: steps in any calendar, continued exactly, and made even as asked."""

import numpy as np
import pytest
import xarray

from statecast.errors import InputError
from statecast.io.fields.time_axis import check_order, even_frames
from statecast.io.fields.time_steps import Step, after, continued, parse_step, phase, step_of


def dates(start, count, freq, calendar="standard"):
    index = xarray.date_range(start, periods=count, freq=freq, calendar=calendar,
                              use_cftime=calendar != "standard")  # fmt: skip
    values = np.asarray(index.values)
    return values if values.dtype.kind == "O" else values.astype("M8[ns]")


@pytest.mark.parametrize("calendar", ["standard", "noleap", "360_day"])
@pytest.mark.parametrize("freq", ["D", "6h", "5D", "MS", "YS", "QS"])
def test_an_axis_is_continued_as_xarray_would(calendar, freq):
    whole = dates("2003-01-01", 40, freq, calendar)
    step = step_of(whole[:25])
    assert step is not None
    np.testing.assert_array_equal(
        continued(whole[24], step, [float(i) for i in range(1, 16)]), whole[25:]
    )


def test_the_end_of_a_month_stays_there():
    step = Step(1, "months")
    last = np.datetime64("2001-01-31T12", "ns")
    assert after(last, step, 1) == np.datetime64("2001-02-28T12", "ns")
    assert after(last, step, 2) == np.datetime64("2001-03-31T12", "ns")
    cftime = pytest.importorskip("cftime")
    date = cftime.datetime(2001, 1, 31, 12, calendar="noleap")
    assert after(date, step, 1) == cftime.datetime(2001, 2, 28, 12, calendar="noleap")


def test_between_frames_time_is_linear():
    last = np.datetime64("2001-01-01", "ns")
    assert after(last, Step(1, "months"), 0.5) == np.datetime64("2001-01-16T12", "ns")
    assert after(last, Step(86400, "seconds"), 0.25) == np.datetime64("2001-01-01T06", "ns")
    assert after(3.0, Step(2, "numbers"), 1.5) == 6.0


def test_phase_is_the_share_of_the_year_in_every_calendar():
    days = dates("2001-01-01", 365, "D")
    np.testing.assert_allclose(phase(days), np.arange(365) / 365, atol=1e-12)
    days = dates("2001-01-01", 360, "D", "360_day")
    np.testing.assert_allclose(phase(days), np.arange(360) / 360, atol=1e-12)
    assert phase(np.array(["2004-12-31"], "M8[ns]"))[0] == pytest.approx(365 / 366)


@pytest.mark.parametrize(
    ("text", "step"),
    [("1D", Step(86400, "seconds")), ("6h", Step(21600, "seconds")), ("0.5", Step(0.5, "numbers")),
     ("30min", Step(1800, "seconds")), ("M", Step(1, "months")), ("2Y", Step(24, "months")),
     ("2W", Step(14 * 86400, "seconds"))],
)  # fmt: skip
def test_steps_are_read_from_text(text, step):
    assert parse_step(text) == step


@pytest.mark.parametrize("text", ["", "day", "-1D", "0h", "1 fortnight"])
def test_what_is_no_step_is_refused(text):
    with pytest.raises(InputError, match="time step"):
        parse_step(text)


def test_order_is_checked_and_the_frame_named():
    days = dates("2001-01-01", 5, "D")
    check_order(days, "it")
    with pytest.raises(InputError, match=r"frame 3, 2001-01-02.*sort: true"):
        check_order(days[[0, 1, 2, 1, 4]], "it")
    with pytest.raises(InputError, match="2001-01-02 occurs twice"):
        check_order(days[[0, 1, 1, 2]], "it")
    with pytest.raises(InputError, match=r"times of 1 frame\(s\) are missing"):
        check_order(np.array([0.0, np.nan]), "it")
    with pytest.raises(InputError, match="sort"):
        check_order(days[::-1], "it")


def uneven():
    return dates("2001-01-01", 10, "D")[[0, 1, 2, 5, 6, 7, 9]]


def even(times, **options):
    defaults = {"uneven_times": "refuse", "time_step": None, "origin": "it"}
    return even_frames(times, **(defaults | options))


def test_uneven_times_are_refused_with_the_place():
    with pytest.raises(InputError, match=r"2001-01-03 to 2001-01-06.*uneven_times: fill"):
        even(uneven())


def test_gaps_are_filled_with_frames_made_of_none():
    found = even(uneven(), uneven_times="fill")
    np.testing.assert_array_equal(found.times, dates("2001-01-01", 10, "D"))
    made_of = [list(range(a, b)) for a, b in zip(found.starts, found.stops, strict=True)]
    assert made_of == [[0], [1], [2], [], [], [3], [4], [5], [], [6]]
    crooked = uneven() + np.array([0, 0, 0, 8, 0, 0, 0]).astype("m8[h]")
    with pytest.raises(InputError, match="of a step off"):
        even(crooked, uneven_times="fill")


def test_accepted_times_are_as_they_were():
    found = even(uneven(), uneven_times="accept")
    assert found.starts.tolist() == list(range(len(found.starts)))
    assert (found.stops - found.starts == 1).all()
    assert found.step == Step(86400, "seconds")


def test_averages_are_over_whole_days_and_months():
    hours = dates("2001-01-30T06", 16, "6h")  # 30 January 06 h to 3 February
    found = even(hours, time_step="1D")
    assert (found.stops - found.starts).tolist() == [3, 4, 4, 4, 1]
    np.testing.assert_array_equal(found.times, dates("2001-01-30", 5, "D"))
    found = even(hours, time_step="1M")
    assert (found.stops - found.starts).tolist() == [7, 9]
    np.testing.assert_array_equal(found.times, dates("2001-01-01", 2, "MS"))
    with pytest.raises(InputError, match="give a step such as 1D"):
        even(hours, time_step="3")
    assert even(np.arange(6.0), time_step="2").stops.tolist() == [2, 4, 6]


def test_monthly_frames_at_mid_month_are_even():
    middle = (
        dates("2001-01-01", 12, "MS")
        + np.tile([0, 12], 6).astype("m8[h]")
        + np.timedelta64(14, "D")
    )
    assert step_of(middle) == Step(1, "months")
    wandering = dates("2001-01-01", 12, "MS") + (np.arange(12) % 4 * 7).astype("m8[D]")
    assert step_of(wandering) is None


def test_a_year_matches_its_days_and_nothing_else():
    year, days = Step(12, "months"), 86400.0
    for size, same in ((365, True), (365.2425, True), (366, True), (360, False), (30, False)):
        assert year.matches(Step(size * days, "seconds")) is same
        assert Step(size * days, "seconds").matches(year) is same
    assert Step(24, "months").matches(Step(730.5 * days, "seconds"))
    assert not year.matches(Step(24, "months"))
    assert not Step(1, "months").matches(Step(30 * days, "seconds"))
    weeks = dates("2001-01-12", 3, "364D")
    assert step_of(weeks) != year


def test_years_of_365_and_366_days_are_years_however_few():
    winters = np.datetime64("1948-01-15T12") + np.cumsum([0, *[8760, 8772] * 6]).astype("m8[h]")
    for count in (2, 3, 5, 13):
        assert step_of(winters[-count:]) == Step(12, "months")


@pytest.mark.parametrize("known", [Step(1, "months"), Step(30 * 86400, "seconds")])
def test_few_frames_have_the_step_of_training_if_they_fit_it(known):
    times = np.array(["2001-04-15", "2001-05-15"], "M8[ns]")  # a month, and 30 days
    assert even(times, known_step=known).step == known
    assert even(times, known_step=Step(86400, "seconds")).step == Step(1, "months")

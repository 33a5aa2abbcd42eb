"""Every kind of file that people really have: read with the right values, or refused clearly."""

import functools
import re
import shlex
import warnings
from contextlib import contextmanager

import cftime
import numpy as np
import pytest
import xarray
from helpers.field_files import SIZE, daily_files, days, labelled, raw_file, wave, wrf_file

from statecast.data.user.fields import Fields
from statecast.errors import CorruptionError, FileError, InputError, MissingExtraError
from statecast.io.fields.kinds import files_of, groups_of
from statecast.io.fields.preprocessing import plain_options
from statecast.io.fields.readers import open_fields
from statecast.io.fields.time_steps import Step, text_of
from statecast.io.json_yaml import parse_yaml
from statecast.reports.inspection import inspect_path

pytestmark = pytest.mark.filterwarnings("error")
DAY, HOUR, MONTH = Step(86400, "seconds"), Step(3600, "seconds"), Step(1, "months")


def fields(path, **options):
    return Fields(path=str(path), **({"anomaly": "none", "multiple": 1} | options))


def frames(data, sequence=0):
    """All frames of a sequence, (time, channel, y, x)."""
    return data.files.read(sequence, 0, data.files.lengths[sequence])


def said(data):
    return "\n".join(f"{choice.what}: {choice.chosen}" for choice in data.inferred_options)


def assert_wave(data, count):
    np.testing.assert_allclose(frames(data)[:, 0], wave(count), rtol=1e-5)


# Regions of longitudes


@pytest.mark.parametrize("start", [0, -180])
@pytest.mark.parametrize(
    ("asked", "expected"),
    [
        ((-20, 10), np.arange(-20, 11, 10)),
        ((340, 370), np.arange(340, 371, 10)),
        ((-180, 179), np.arange(-180, 180, 10)),
        ((0, 359), np.arange(0, 360, 10)),
        ((170, 190), [170, 180, 190]),
        ((-190, -170), [-190, -180, -170]),
    ],
)
def test_a_region_may_cross_the_seam_of_the_file(tmp_path, start, asked, expected):
    lon = np.arange(start, start + 360, 10)
    values = np.broadcast_to(np.mod(lon, 360.0), (20, 4, 36))  # each value tells its longitude
    made = xarray.Dataset({"t": (("time", "lat", "lon"), values)},
                          {"time": days(20), "lat": np.arange(4.0), "lon": lon})  # fmt: skip
    made.to_netcdf(tmp_path / "a.nc")
    data = fields(tmp_path / "a.nc", crop={"lon": asked})
    np.testing.assert_allclose(data.field.variables["lon"].values, expected)
    np.testing.assert_allclose(frames(data)[0, 0, 0], np.mod(expected, 360))
    assert f"lon {expected[0]:g} to {expected[-1]:g}, {len(expected)} points" in said(data)


def test_a_meridian_at_both_ends_is_taken_once_and_other_axes_are_not_turned(tmp_path):
    lon = np.arange(0, 361, 45)
    for name, units in (("a", "degrees_east"), ("b", "m")):
        xarray.Dataset(
            {"t": (("time", "lat", "lon"), np.zeros((20, 4, 9)))},
            {"time": days(20), "lat": np.arange(4.0), "lon": ("lon", lon, {"units": units})},
        ).to_netcdf(tmp_path / f"{name}.nc")
    data = fields(tmp_path / "a.nc", crop={"lon": (-90, 90)})
    assert data.field.variables["lon"].values.tolist() == [-90, -45, 0, 45, 90]
    assert fields(tmp_path / "b.nc", crop={"lon": (-90, 90)}).field.space == (4, 3)
    with pytest.raises(InputError, match="add 360 to the upper end"):
        fields(tmp_path / "a.nc", crop={"lon": (350, 10)})


def test_a_latitude_along_two_dimensions_is_no_row_of_a_grid(tmp_path):
    made = labelled(dims=("time", "y", "x")).drop_vars(["y", "x"])
    rows, columns = np.meshgrid(np.arange(SIZE), np.arange(SIZE), indexing="ij")
    for name, values, unit in (("lat", 30 + rows, "north"), ("lon", columns - 20, "east")):
        made = made.assign_coords({name: (("y", "x"), values, {"units": f"degrees_{unit}"})})
    made.to_netcdf(tmp_path / "a.nc")
    with pytest.raises(InputError, match=r"numbers of points, here \{y: \[2, 4\], x: \[0, 7\]\}"):
        fields(tmp_path / "a.nc", crop={"lat": (32, 34)})
    assert fields(tmp_path / "a.nc", crop={"y": (2, 4)}).field.space == (3, SIZE)


def test_ends_of_single_precision_and_names_of_roles_are_taken(tmp_path):
    made = labelled(dims=("valid_time", "latitude", "longitude"))
    made["latitude"] = np.arange(SIZE, dtype="f4") / 10
    made.to_netcdf(tmp_path / "a.nc")
    crop = {"lat": (0.1, 0.3), "time": ("2001-01-05", "2001-01-20")}
    data = fields(tmp_path / "a.nc", crop=crop)
    assert data.field.space == (3, SIZE)
    assert data.files.times[0][[0, -1]].astype("M8[D]").astype(str).tolist() == list(crop["time"])


@pytest.mark.parametrize("calendar", ["standard", "360_day"])
def test_a_range_of_dates(tmp_path, calendar):
    times = xarray.date_range("2001-12-01", periods=100, calendar=calendar,
                              use_cftime=calendar != "standard")  # fmt: skip
    labelled(100, times=times).to_netcdf(tmp_path / "a.nc")
    data = fields(tmp_path / "a.nc", crop={"time": ("2002", "2002-01-20")})
    np.testing.assert_array_equal(data.files.times[0], np.asarray(times.values[30:50] if calendar
                                  != "standard" else times.values[31:51]))  # fmt: skip
    assert data.preparation.options.crop == {}  # a later file is not held to it
    for wrong, message in (
        (("2010", "2011"), "nothing lies"),
        (("soon", "2011"), "range of dates"),
    ):
        with pytest.raises(InputError, match=message):
            fields(tmp_path / "a.nc", crop={"time": wrong})


@pytest.mark.parametrize(
    ("low", "high", "first", "last"),
    [
        (2002.0, 2002.0, "2002-01-01", "2002-12-31"),  # as a number in YAML arrives
        (200202.0, "200203", "2002-02-01", "2002-03-31"),
        (20020203, "2002-3-5", "2002-02-03", "2002-03-05"),
        ("2002-02-03T00", "2002-2", "2002-02-03", "2002-02-28"),
    ],
)
@pytest.mark.parametrize("calendar", ["standard", "noleap"])
def test_ends_of_a_range_of_dates_may_be_spelled_as_people_do(
    tmp_path, calendar, low, high, first, last
):
    times = xarray.date_range("2001-06-01", periods=800, calendar=calendar,
                              use_cftime=calendar != "standard")  # fmt: skip
    labelled(800, times=times).to_netcdf(tmp_path / "a.nc")
    data = fields(tmp_path / "a.nc", crop={"time": (low, high)})
    assert [text_of(data.files.times[0][place])[:10] for place in (0, -1)] == [first, last]
    assert data.preparation.options.crop == {}


# Missing values that files do not declare


def test_default_fills_and_values_out_of_range_are_unknown(tmp_path):
    values = wave(20).astype("f4")
    values[:, 0, 0], values[:, 0, 1] = 9.969209968386869e36, 400
    path = raw_file(tmp_path / "a.nc", 20, values=values, units="days since 2000-01-01",
                    valid_range=np.array([200, 350], "f4"))  # fmt: skip
    found = frames(fields(path))
    assert np.isnan(found[:, 0, 0, :2]).all()
    assert np.isfinite(found[:, 0, 1:]).all()
    assert "values outside 200 to 350 are unknown" in said(fields(path))


@pytest.mark.parametrize("unsigned", [False, True])
def test_ranges_and_flags_of_packed_numbers_are_in_their_own_unit(tmp_path, unsigned):
    """As sea-ice concentration: percent as bytes, and flags for the pole, coasts and land."""
    values = np.broadcast_to(np.arange(SIZE) * 30, (20, SIZE, SIZE)).astype("u1")
    values = values.copy()
    values[:, 0, :3] = [251, 253, 254]
    packed = {"scale_factor": 0.004, "add_offset": 0.0, "flag_values": np.array([251, 253, 254],
              "u1")}  # fmt: skip
    kind = "u1"
    if unsigned:
        values, kind = values.view("i1"), "i1"
        packed |= {"_Unsigned": "true", "flag_values": np.array([251, 253, 254], "u1").view("i1"),
                   "valid_range": np.array([0, -6], "i1")}  # fmt: skip
    path = raw_file(tmp_path / "a.nc", 20, values=values, value_kind=kind, packed=packed,
                    units="days since 2000-01-01")  # fmt: skip
    found = frames(fields(path))[0, 0]
    assert np.isnan(found[0, :3]).all()
    np.testing.assert_allclose(found[1], 0.12 * np.arange(SIZE), rtol=1e-5)


@pytest.mark.parametrize("attribute", ["nodata", "missing_value"])
def test_missing_values_in_odd_attributes_count(tmp_path, attribute):
    values = wave(20).astype("f4")
    values[:, :2] = -9999
    stated = {"nodata": -9999.0, "missing_value": "-9999"}[attribute]
    path = raw_file(tmp_path / "a.nc", 20, values=values, units="days since 2000-01-01",
                    **{attribute: stated})  # fmt: skip
    found = frames(fields(path))
    assert np.isnan(found[:, :, :2]).all()
    assert np.isfinite(found[:, :, 2:]).all()


@pytest.mark.parametrize("stands", [-9999.0, -999.0, 1e20, 99999.0])
def test_an_extreme_value_in_a_block_is_named_with_what_masks_it(tmp_path, stands):
    values = wave(20).astype("f4")
    values[:, :2] = stands
    path = raw_file(tmp_path / "a.nc", 20, values=values, units="days since 2000-01-01")
    with pytest.raises(
        InputError, match=rf"{stands:g} at 25%.*--data\.missing".replace("+", r"\+")
    ):
        fields(path)
    assert np.isnan(frames(fields(path, missing=stands))[:, :, :2]).all()
    assert (frames(fields(path, missing=()))[:, :, :2] == np.float32(stands)).all()


def few_points(values):
    values[:, 0, 0] = -9999


def few_frames(values):
    values[[7, 33], [3, 2], [3, 5]] = -9999


def a_whole_frame(values):
    values[5] = -999


def two_kinds(values):
    values[:, 0, 0], values[:, 0, 1] = -9999, -999


def half_of_the_frames(values):
    values[1::2, :, :2] = 1e36


@pytest.mark.parametrize(
    "mark", [few_points, few_frames, a_whole_frame, two_kinds, half_of_the_frames]
)
def test_usual_values_for_missing_are_found_wherever_they_are(tmp_path, mark):
    values = wave(40).astype("f4")
    mark(values)
    path = raw_file(tmp_path / "a.nc", values=values, units="days since 2000-01-01")
    with pytest.raises(InputError, match=r"as if it marked missing data.*--data\.missing"):
        fields(path)
    words = shlex.split(inspect_path(path).commands[0][1])[3:]
    options = {name.removeprefix("--data."): parse_yaml(text)
               for name, text in zip(words[::2], words[1::2], strict=True)}  # fmt: skip
    found = frames(fields(**(plain_options(options) | {"variables": "t"})))[:, 0]
    np.testing.assert_array_equal(np.isnan(found), (values < 0) | (values > 1e30))


@pytest.mark.parametrize(
    "declared",
    [{"valid_range": "200, 400"}, {"valid_min": "200"},
     {"missing_value": np.array([1e20, -9999], "f4")}],
)  # fmt: skip
def test_declarations_in_other_forms_count(tmp_path, declared):
    values = wave(40).astype("f4")
    values[:, 0, :3] = -9999
    path = raw_file(tmp_path / "a.nc", values=values, units="days since 2000-01-01", **declared)
    np.testing.assert_array_equal(np.isnan(frames(fields(path))[:, 0]), values < 0)


@pytest.mark.parametrize("signs", [(-1,), (-1, 1)])
def test_infinities_are_refused_with_the_option_that_masks_them(tmp_path, signs):
    """As the decibels of no echo of a radar."""
    values = wave(40).astype("f4")
    for number, sign in enumerate(signs):
        values[number::2, number] = sign * np.inf
    path = raw_file(tmp_path / "a.nc", values=values, units="days since 2000-01-01")
    with pytest.raises(InputError, match=r"infinite values, first in frame 0.*--data\.missing"):
        fields(path)
    words = shlex.split(inspect_path(path).commands[0][1])
    option = parse_yaml(words[words.index("--data.missing") + 1])
    found = frames(fields(path, **plain_options({"missing": option})))[:, 0]
    np.testing.assert_array_equal(found, np.where(np.isinf(values), np.nan, values))


@pytest.mark.parametrize("kind", ["i1", "i2"])
def test_the_smallest_stored_number_in_few_points_is_suspect(tmp_path, kind):
    values = np.broadcast_to(np.arange(SIZE), (20, SIZE, SIZE)).astype(kind).copy()
    values[:, 0, 0] = np.iinfo(kind).min
    path = raw_file(tmp_path / "a.nc", 20, values=values, value_kind=kind,
                    units="days since 2000-01-01",
                    packed={"scale_factor": 0.5, "add_offset": 3.0})  # fmt: skip
    with pytest.raises(InputError, match=f"of {np.iinfo(kind).min * 0.5 + 3:g} at"):
        fields(path)


def test_rain_masks_and_plateaus_are_not_taken_for_missing(tmp_path):
    rain = np.random.default_rng(0).gamma(0.5, 1e-4, (20, SIZE, SIZE))
    rain[rain < 1e-4] = 0
    land = (wave(20) > 280).astype("f4")
    for number, values in enumerate((rain, land, np.minimum(wave(20), 282))):
        path = raw_file(tmp_path / f"{number}.nc", 20, values=values, units="days since 2000-01-01")
        assert np.isfinite(frames(fields(path))).all()


def test_attributes_of_the_wrong_type_are_mended_and_two_fill_values_both_count(tmp_path):
    values = np.broadcast_to(np.arange(SIZE) + 100, (20, SIZE, SIZE)).astype("i2").copy()
    values[:, 0, 0], values[:, 0, 1] = -999, -9999
    packed = {"_FillValue": np.int16(-999), "missing_value": np.int16(-9999),
              "scale_factor": "0.02", "add_offset": "0.0"}  # fmt: skip
    path = tmp_path / "a.nc"
    import netCDF4

    with netCDF4.Dataset(path, "w") as file:
        for name, size in (("time", 20), ("lat", SIZE), ("lon", SIZE)):
            file.createDimension(name, size)
        file.createVariable("time", "f8", ("time",))[:] = np.arange(20)
        file["time"].units = "days since 2000-01-01"
        made = file.createVariable("t", "i2", ("time", "lat", "lon"), fill_value=np.int16(-999))
        made.set_auto_maskandscale(False)
        made.setncatts({name: value for name, value in packed.items() if name != "_FillValue"})
        made[:] = values
    with warnings.catch_warnings(record=True) as heard:
        warnings.simplefilter("always")
        found = frames(fields(path))[0, 0]
    assert not heard
    assert np.isnan(found[0, :2]).all()
    np.testing.assert_allclose(found[1], 0.02 * (np.arange(SIZE) + 100), rtol=1e-6)


# Dates


@pytest.mark.parametrize("text_only", [False, True])
def test_wrf_times_and_a_grid_repeated_in_time(tmp_path, text_only):
    data = fields(wrf_file(tmp_path / "a.nc", text_only=text_only), variables="T2")
    np.testing.assert_array_equal(data.files.times[0], days(40, "2019-06-01", "1h"))
    assert data.files.step == HOUR
    assert data.field.variables["XLAT"].values[:, 0].tolist() == (40.0 + np.arange(SIZE)).tolist()
    assert_wave(data, 40)
    assert fields(tmp_path / "a.nc").channels == ("T2",)  # XLAT and XLONG are no fields


@pytest.mark.parametrize(
    "spelling",
    ["{}", "{}T00:00:00", "{}T00:00Z", "{} 00:00:00", "{}_00:00:00.000", "{}T00:00:00+00:00"],
)
def test_dates_in_text(tmp_path, spelling):
    dates = days(40).astype("M8[D]").astype(str)
    texts = np.array([spelling.format(date) for date in dates], dtype=object)
    labelled(times=texts).to_netcdf(tmp_path / "a.nc")
    data = fields(tmp_path / "a.nc")
    np.testing.assert_array_equal(data.files.times[0], days(40))
    assert data.files.step == DAY


def test_valid_times_along_steps(tmp_path):
    made = labelled(dims=("step", "latitude", "longitude"), times=np.arange(40))
    made = made.assign_coords(valid_time=("step", days(40, step="6h")), time=days(1)[0])
    made.to_netcdf(tmp_path / "a.nc")
    np.testing.assert_array_equal(fields(tmp_path / "a.nc").files.times[0], days(40, step="6h"))


def test_dates_along_stations_are_not_their_time(tmp_path):
    made = labelled().isel(lat=0, drop=True).rename(lon="station")
    made = made.assign_coords(installed=("station", days(SIZE)))
    made.drop_vars("station").to_netcdf(tmp_path / "a.nc")
    assert fields(tmp_path / "a.nc").field.axes[:2] == ("time", ("station",))


@pytest.mark.parametrize(
    ("units", "calendar", "times", "expected", "step"),
    [
        ("months since 1979-01-01", "gregorian", np.arange(40), ["1979-01", "1982-04"], MONTH),
        ("months since 1979-01-15", None, np.arange(40), ["1979-01-15", "1982-04-15"], MONTH),
        ("years since 1900-01-01", None, np.arange(40), ["1900", "1939"], Step(12, "months")),
        ("day as %Y%m%d.%f", None, 20010101.5 + np.arange(20), ["2001-01-01T12", "2001-01-20T12"],
         DAY),
        ("Days Since 2001-01-01 00:00 UTC", None, np.arange(20), ["2001-01-01", "2001-01-20"], DAY),
        ("weeks since 2000-01-03", None, np.arange(20), ["2000-01-03", "2000-05-15"],
         Step(7 * 86400, "seconds")),
        ("", None, 2001001 + np.arange(20), ["2001-01-01", "2001-01-20"], DAY),
        ("", None, 20010101.5 + np.arange(20), ["2001-01-01T12", "2001-01-20T12"], DAY),
        ("", None, 200101010630 + 10000 * np.arange(20), ["2001-01-01T06:30", "2001-01-20T06:30"],
         DAY),
        ("", None, 20010101120015 + 1000000 * np.arange(20),
         ["2001-01-01T12:00:15", "2001-01-20T12:00:15"], DAY),
        ("", None, 20010101 + np.arange(20), ["2001-01-01", "2001-01-20"], DAY),
        ("", None, [200000 + 100 * y + m for y in (1, 2) for m in range(1, 13)],
         ["2001-01", "2002-12"], MONTH),
        ("days since 2001-01-01", "365", np.arange(20), None, DAY),
        ("months since 1960-01-01", "360", 0.5 + np.arange(20), None, MONTH),
    ],
)  # fmt: skip
def test_units_and_calendars_that_xarray_leaves_alone(
    tmp_path, units, calendar, times, expected, step
):
    count = len(times)
    path = raw_file(tmp_path / "a.nc", count, times=times, units=units, calendar=calendar)
    data = fields(path)
    found = data.files.times[0]
    if expected is None:
        first = {"365": (2001, 1, 1, "noleap"), "360": (1960, 1, 16, "360_day")}[calendar]
        assert found[0] == cftime.datetime(*first[:3], calendar=first[3])
    else:
        np.testing.assert_array_equal(found[[0, -1]], np.array(expected, "M8[us]"))
    assert data.files.step == step


def as_date_and_hour(dates):
    return {"date": digits_of(dates), "hour": hours_of(dates)}


def as_date_and_seconds(dates):
    return {"date": digits_of(dates), "datesec": hours_of(dates) * 3600, "time": np.arange(40)}


def as_year_month_day_and_hour(dates):
    year, month, day = np.array([str(date)[:10].split("-") for date in dates], int).T
    return {"hour": hours_of(dates), "year": year, "month": month.astype("f4"), "day": day}


def digits_of(dates):
    return np.array([int(str(date)[:10].replace("-", "")) for date in dates])


def hours_of(dates):
    return (dates - dates.astype("M8[D]")).astype("m8[h]").astype("i4")


@pytest.mark.parametrize(
    "parts", [as_date_and_hour, as_date_and_seconds, as_year_month_day_and_hour]
)
def test_dates_in_several_variables(tmp_path, parts):
    made = labelled().drop_vars("time")
    dates = days(40, "2000-02-27", "6h")
    made.assign({n: ("time", v) for n, v in parts(dates).items()}).to_netcdf(tmp_path / "a.nc")
    data = fields(tmp_path / "a.nc", variables="t")
    np.testing.assert_array_equal(data.files.times[0], dates)
    assert data.files.step == Step(6 * 3600, "seconds")


def test_inspect_takes_no_example_of_units_for_the_units_of_a_file(tmp_path):
    path = raw_file(tmp_path / "a.nc", units="days since 0000-01-01")
    finding = inspect_path(path)
    assert "time_units" in finding.problems[0]
    assert finding.commands == []


@pytest.mark.parametrize("name", ["snapshot", "it", "datetime"])
def test_frames_that_are_only_counted(tmp_path, name):
    labelled().rename(time=name).drop_vars(name).to_netcdf(tmp_path / "a.nc")
    data = fields(tmp_path / "a.nc")
    assert (data.field.axes.time, data.files.span) == (name, "0 to 39")
    assert_wave(data, 40)


def test_a_dimension_of_time_that_cannot_be_told_is_asked_for_by_inspect_too(tmp_path):
    labelled().rename(time="dim_0").drop_vars("dim_0").to_netcdf(tmp_path / "a.nc")
    assert "If one is, name it: --data.time NAME" in inspect_path(tmp_path / "a.nc").problems[0]
    assert_wave(fields(tmp_path / "a.nc", time="dim_0"), 40)


def test_units_that_make_no_sense_are_named_with_the_way_out(tmp_path):
    for units in ("days since the flood", "days after 2001-01-01"):
        path = raw_file(tmp_path / "a.nc", units=units)
        with pytest.raises(InputError, match=rf"'{units}'.*cdo -r copy.*time_units"):
            fields(path)
    data = fields(path, time_units="days since 2001-01-01")
    np.testing.assert_array_equal(data.files.times[0], days(40))
    labelled(times=np.array([f"week {n}" for n in range(40)], dtype=object)).to_netcdf(
        tmp_path / "b.nc"
    )
    with pytest.raises(InputError, match=r"'week 0', which is not a date"):
        fields(tmp_path / "b.nc")


@pytest.mark.parametrize(
    ("units", "first", "step"),
    [
        ("seconds since 1970-01-01", 978307200, 86400),
        ("milliseconds since 1970-01-01", 978307200000, 86400000),
        ("nanoseconds since 1970-01-01", 978307200 * 10**9, 86400 * 10**9),
        ("datenum", 730852, 1),
    ],
)
def test_numbers_that_look_like_dates_are_named_with_their_units(tmp_path, units, first, step):
    path = raw_file(tmp_path / "a.nc", times=first + step * np.arange(40), kind="i8")
    assert f"--data.time_units '{units}'" in said(fields(path))
    np.testing.assert_array_equal(fields(path, time_units=units).files.times[0], days(40))


@pytest.mark.parametrize("calendar", ["standard", "noleap"])
@pytest.mark.parametrize("mark", [np.nan, 9.969209968386869e36])
def test_a_time_that_was_never_written_is_missing(tmp_path, calendar, mark):
    times = np.where(np.arange(40) == 39, mark, np.arange(40))
    path = raw_file(tmp_path / "a.nc", times=times, units="days since 2000-01-01",
                    calendar=calendar)  # fmt: skip
    with pytest.raises(InputError, match=r"times of 1 frame\(s\) are missing"):
        fields(path)


def test_units_that_are_given_win_over_those_of_the_file(tmp_path):
    path = raw_file(tmp_path / "a.nc", times=np.arange(40), units="hours since 2001-01-01")
    data = fields(path, time_units="days since 2001-01-01")
    np.testing.assert_array_equal(data.files.times[0], days(40))
    for units in ("bananas", "days since yesterday"):
        with pytest.raises(InputError, match=f"has the units '{units}'"):
            fields(path, time_units=units)
    dates = days(40).astype("M8[D]").astype(str).astype(object)
    labelled(times=dates).to_netcdf(tmp_path / "b.nc")
    with pytest.raises(InputError, match="holds dates, and time_units are for numbers"):
        fields(tmp_path / "b.nc", time_units="days since 2001-01-01")


@pytest.mark.parametrize("option", ["sequences", "channels"])
def test_dimensions_that_are_not_there_are_refused(tmp_path, option):
    labelled().to_netcdf(tmp_path / "a.nc")
    with pytest.raises(
        InputError, match=r"not 'members', which should become sequences or channels"
    ):
        fields(tmp_path / "a.nc", **{option: "members"})


@pytest.mark.parametrize("units", ["days since 1900-01-01", "days since 1950-01-01"])
@pytest.mark.parametrize("options", [{}, {"time_step": "3h"}])
def test_times_of_single_precision_are_put_where_they_belong(tmp_path, units, options):
    start = (np.datetime64("2020-01-01") - np.datetime64(units[11:])).astype(int)
    path = raw_file(tmp_path / "a.nc", 300, times=start + np.arange(300) / 24, kind="f4",
                    units=units)  # fmt: skip
    data = fields(path, **options)
    if options:
        np.testing.assert_array_equal(data.files.times[0], days(100, "2020-01-01", "3h"))
        means = wave(300).reshape(100, 3, SIZE, SIZE).mean(axis=1)
        np.testing.assert_allclose(frames(data)[:, 0], means, rtol=1e-5)
    else:
        np.testing.assert_array_equal(data.files.times[0], days(300, "2020-01-01", "1h"))
        assert_wave(data, 300)


def test_gaps_in_times_of_single_precision_are_filled_where_they_are(tmp_path):
    kept = np.delete(np.arange(300), [100, 101, 250])
    path = raw_file(tmp_path / "a.nc", 297, times=43829 + kept / 24, kind="f4",
                    units="days since 1900-01-01", values=wave(300)[kept])  # fmt: skip
    found = frames(fields(path, uneven_times="fill", missing_frames="keep"))[:, 0]
    assert np.flatnonzero(np.isnan(found[:, 0, 0])).tolist() == [100, 101, 250]
    np.testing.assert_allclose(found[kept], wave(300)[kept], rtol=1e-5)


def test_averages_that_leave_frames_of_none_are_missing_frames(tmp_path):
    labelled(40).to_netcdf(tmp_path / "a.nc")
    with pytest.raises(
        InputError, match=r"39 of 79 frames would average no stored frame, first 2001-01-01T12"
    ):
        fields(tmp_path / "a.nc", time_step="12h")
    data = fields(tmp_path / "a.nc", time_step="12h", missing_frames="keep")
    assert np.isnan(frames(data)[1::2]).all()


@pytest.mark.parametrize(
    ("calendar", "freq", "step", "anomaly", "word"),
    [
        ("360_day", "YS", "1 year", "mean", "no seasons"),
        ("standard", "YS", "1 year", "mean", "no seasons"),
        ("noleap", "YS", "1 year", "mean", "no seasons"),
        ("360_day", "MS", "1 month", "seasonal", "two waves of the year"),
        ("standard", "MS", "1 month", "seasonal", "two waves of the year"),
        ("noleap", "D", "1 day", "seasonal", "two waves of the year"),
        ("standard", "6h", "6 hours", "seasonal", "a wave of the day"),
    ],
)
def test_annual_monthly_daily_and_hourly_series(tmp_path, calendar, freq, step, anomaly, word):
    count = {"YS": 60, "MS": 60, "D": 1500, "6h": 4800}[freq]
    times = xarray.date_range("1999-01-01", periods=count, freq=freq, calendar=calendar,
                              use_cftime=True)  # fmt: skip
    made = labelled(count, times=times)
    made["time"].attrs["bounds"] = "time_bnds"
    made["time"].encoding["units"] = "hours since 1970-01-01"
    made["time_bnds"] = (("time", "bnds"), np.stack([times, times], axis=1))
    made.to_netcdf(tmp_path / "a.nc")
    data = Fields(path=str(tmp_path / "a.nc"))
    assert (str(data.files.step), data.anomaly) == (step, anomaly)
    assert word in said(data)


def test_dates_beyond_2262_stay_what_they_are(tmp_path):
    times = np.datetime64("2300-01-01", "s") + np.arange(40) * np.timedelta64(86400, "s")
    made = labelled(times=times)
    made.to_netcdf(tmp_path / "a.nc")
    assert str(fields(tmp_path / "a.nc").files.times[0][0]).startswith("2300-01-01")
    from statecast.forecasting.predictor import Predictor
    from statecast.frames import FrameSpec
    from statecast.models.baselines import Persistence

    spec = FrameSpec(channels=("t",), space=(SIZE, SIZE), context=3, horizon=2)
    found = Predictor(Persistence(spec)).forecast(made, 2).to_xarray()
    assert str(found.valid_time.values[0])[:10] == "2300-02-10"


# Several files, dimensions and groups


@pytest.mark.parametrize("scalar", [False, True])
def test_a_folder_of_daily_files_is_one_series_and_its_gaps_are_filled(tmp_path, scalar):
    folder = daily_files(tmp_path / "daily", 30, without=(11, 20), scalar=scalar)
    with pytest.raises(InputError, match=r"2 missing, first 2001-01-12"):
        fields(folder)
    data = fields(folder, uneven_times="fill", missing_frames="keep")
    assert data.files.lengths == [30]
    assert "2001-01-01 to 2001-01-30" in said(data)
    found = frames(data)[:, 0]
    assert np.flatnonzero(np.isnan(found[:, 0, 0])).tolist() == [11, 20]
    np.testing.assert_allclose(found[12:20], wave(30)[12:20], rtol=1e-6)


def three_months(folder, change=lambda number, part: part, name="m_{}.nc"):
    """A series in three files, changed one by one."""
    for number in range(3):
        part = change(number, labelled(60).isel(time=slice(20 * number, 20 * number + 20)))
        path = folder / name.format(number)
        path.parent.mkdir(exist_ok=True, parents=True)
        part.to_netcdf(path)
    return folder


def upside_down(number, part):
    return part.isel(lat=slice(None, None, -1)) if number == 1 else part


def a_turn_further(number, part):
    return part.assign_coords(lon=part.lon + 360) if number == 1 else part


def in_other_order(number, part):
    return part.transpose("lon", "lat", "time") if number == 1 else part


@pytest.mark.parametrize("change", [upside_down, a_turn_further, in_other_order])
def test_files_of_one_series_may_run_in_other_directions(tmp_path, change):
    data = fields(three_months(tmp_path, change))
    assert data.files.lengths == [60]
    assert_wave(data, 60)


def test_files_lie_in_folders_such_as_years(tmp_path):
    assert_wave(fields(three_months(tmp_path, name="200{}/m.nc")), 60)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda n, part: part.isel(time=slice(0, 0 if n == 1 else None)), "holds no frames"),
        (lambda n, part: part.convert_calendar("noleap") if n == 1 else part,
         r"m_1\.nc has dates of the calendar noleap, .*m_0\.nc of the calendar standard"),
    ],
)  # fmt: skip
def test_files_that_make_no_series_are_named(tmp_path, change, message):
    three_months(tmp_path, change)
    with pytest.raises(InputError, match=message):
        fields(tmp_path)
    assert re.search(message, "".join(inspect_path(tmp_path).problems))


def test_seasons_apart_are_sequences(tmp_path):
    for year in (2001, 2002, 2003):
        labelled(30, times=days(30, f"{year}-06-01")).to_netcdf(tmp_path / f"{year}.nc")
    assert fields(tmp_path).files.lengths == [30, 30, 30]


@pytest.mark.parametrize(("option", "frame"), [("first", 9), ("last", 10), ("mean", None)])
def test_times_that_are_there_twice(tmp_path, option, frame):
    numbers = np.concatenate([np.arange(10), np.arange(9, 30)])
    path = raw_file(tmp_path / "a.nc", 31, times=numbers, units="days since 2000-01-01")
    with pytest.raises(InputError, match=r"2000-01-10 occurs twice.*--data\.duplicates"):
        fields(path)
    found = frames(fields(path, duplicates=option))[:, 0]
    assert len(found) == 30
    expected = wave(31)[9:11].mean(axis=0) if frame is None else wave(31)[frame]
    np.testing.assert_allclose(found[9], expected, rtol=1e-6)


def ensemble(path):
    made = xarray.concat([labelled() + number for number in range(3)], dim="member")
    made.assign_coords(member=[1, 2, 5]).to_netcdf(path)
    return path


def test_members_are_sequences_or_channels_by_an_option(tmp_path):
    path = ensemble(tmp_path / "a.nc")
    with pytest.raises(InputError, match=r"member has the values 1, 2, 5\..*--data\.sequences"):
        fields(path)
    data = fields(path, sequences="member")
    assert data.files.lengths == [40, 40, 40]
    for number in range(3):
        np.testing.assert_allclose(frames(data, number)[:, 0], wave(40) + number, rtol=1e-6)
    levels = fields(path, channels="member")
    assert levels.channels == ("t_1", "t_2", "t_5")
    np.testing.assert_allclose(frames(levels)[:, 2], wave(40) + 2, rtol=1e-6)
    one = fields(path, crop={"member": (2, 2)})
    np.testing.assert_allclose(frames(one)[:, 0], wave(40) + 1, rtol=1e-6)


def test_members_have_their_own_labels_and_levels_without_values_are_numbered(tmp_path):
    made = xarray.concat([labelled() + number for number in range(3)], dim="member")
    made = xarray.concat([made, made - 20], dim="level")
    made.to_netcdf(tmp_path / "a.nc")
    data = fields(tmp_path / "a.nc", sequences="member", channels="level")
    assert data.channels == ("t_0", "t_1")
    np.testing.assert_allclose(frames(data, 2)[:, 1], wave(40) - 18, rtol=1e-6)
    np.testing.assert_array_equal(data.files.coordinates(2, 5, 8).times, days(40)[5:8])
    finding = inspect_path(tmp_path / "a.nc")  # takes one of each
    assert "--data.crop '{level: [0, 0], member: [0, 0]}'" in finding.commands[0][1]


def test_final_and_preliminary_data_are_merged(tmp_path):
    final, recent = labelled(), labelled()
    final["t"][30:] = np.nan
    recent["t"][:30] = np.nan
    xarray.concat([final, recent], dim="expver").assign_coords(expver=[1, 5]).to_netcdf(
        tmp_path / "a.nc"
    )
    data = fields(tmp_path / "a.nc")
    assert_wave(data, 40)
    assert "expver" in said(data)


@pytest.mark.parametrize("ending", ["nc", "zarr"])
def test_groups_are_named_and_taken_by_an_option(tmp_path, ending):
    path = tmp_path / f"a.{ending}"
    made = labelled()
    write = made.to_netcdf if ending == "nc" else made.to_zarr
    (xarray.Dataset().to_netcdf if ending == "nc" else xarray.Dataset().to_zarr)(path)
    options = {} if ending == "nc" else {"consolidated": False}
    write(path, group="PRODUCT/data", mode="a", **options)
    assert groups_of(path) == ["PRODUCT/data"]
    with pytest.raises(InputError, match=r"groups PRODUCT/data.*--data\.group PRODUCT/data"):
        fields(path)
    assert_wave(fields(path, group="PRODUCT/data"), 40)
    with pytest.raises(InputError, match=r"has the groups \['PRODUCT/data'\], not 'OTHER'"):
        fields(path, group="OTHER")


def test_coordinates_of_the_group_around_count(tmp_path):
    made = labelled()
    made.drop_vars("t").to_netcdf(tmp_path / "a.nc")
    made[["t"]].drop_vars(["time", "lat", "lon"]).to_netcdf(tmp_path / "a.nc", group="g", mode="a")
    data = fields(tmp_path / "a.nc", group="g")
    np.testing.assert_array_equal(data.files.times[0], days(40))


@pytest.mark.parametrize("version", [2, 3])
def test_zipped_stores_are_read_and_their_codecs_checked(tmp_path, version):
    import json
    import zipfile

    labelled().to_zarr(tmp_path / "a.zarr", zarr_format=version, consolidated=False)
    path = tmp_path / "a.zarr.zip"
    with zipfile.ZipFile(path, "w") as content:
        for place in sorted((tmp_path / "a.zarr").rglob("*")):
            content.write(place, place.relative_to(tmp_path / "a.zarr"))
    assert_wave(fields(path), 40)
    evil = {"zarr_format": 2, "filters": [{"id": "pickle"}]}
    with zipfile.ZipFile(tmp_path / "b.zip", "w") as content:
        content.writestr(".zgroup", '{"zarr_format": 2}')
        content.writestr("t/.zarray", json.dumps(evil))
    with pytest.raises(FileError, match="codec 'pickle'"):
        open_fields(tmp_path / "b.zip")


def test_bounds_dates_and_text_are_no_fields(tmp_path):
    made = labelled()
    made["time"].attrs["bounds"] = "edges"
    made["time"].encoding["units"] = "days since 2001-01-01"
    made["edges"] = (("time", "nv"), np.zeros((40, 2)))
    made["lat_bnds"] = (("lat", "nv"), np.zeros((SIZE, 2)))
    made["name"] = (("time", "lat"), np.full((40, SIZE), "a"))
    made["valid"] = (("time", "lat"), np.zeros((40, SIZE)), {"units": "hours since 2001-01-01"})
    made[["edges", "lat_bnds", "name", "valid", "t"]].to_netcdf(tmp_path / "a.nc")
    assert fields(tmp_path / "a.nc").channels == ("t",)


def test_events_that_are_true_or_false_are_fields(tmp_path):
    (labelled() > 280).to_netcdf(tmp_path / "a.nc")
    np.testing.assert_array_equal(frames(fields(tmp_path / "a.nc"))[:, 0], wave(40) > 280)


def test_profiles_in_time_at_one_place_are_points(tmp_path):
    made = labelled().isel(lat=[0]).rename(lat="latitude", lon="depth")
    made = made.drop_vars("depth").expand_dims(longitude=[5.0], axis=3)
    made.to_netcdf(tmp_path / "a.nc")
    assert fields(tmp_path / "a.nc").field.axes.space == ("depth",)


# Names, and what is no field


@pytest.mark.parametrize("name", ["era5 [1].nc", "a*b.nc", "what?.nc"])
def test_a_path_that_exists_is_that_path(tmp_path, name):
    labelled().to_netcdf(tmp_path / name)
    assert_wave(fields(tmp_path / name), 40)


def test_folders_are_read_by_content_in_natural_order(tmp_path):
    folder = tmp_path / "raw [1]"
    folder.mkdir()
    for name in ("a_10.nc", "a_2.dat", "notes.txt", ".hidden.nc"):
        labelled().to_netcdf(folder / name) if name != "notes.txt" else (
            (folder / name).write_text("hello")
        )
    assert [path.name for path in files_of(str(folder))] == ["a_2.dat", "a_10.nc"]


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"GRIB\0\0\0\2", "it is GRIB.*grib_to_netcdf"),
        (b"\x0e\x03\x13\x01" + bytes(9), "it is HDF4.*h4tonccf"),
        (b'{"version": 1, "refs": {}}', "kerchunk index.*to_zarr"),
        (b"", "it is empty"),
        (b"\x1f\x8b\x08", "compressed with gzip.*gunzip"),
        (b"\x93NUMPY", "--data.name arrays"),
    ],
)
def test_other_formats_are_named_with_what_to_do(tmp_path, content, words):
    (tmp_path / "a.nc").write_bytes(content)
    with pytest.raises(CorruptionError, match=words):
        fields(tmp_path / "a.nc")


def memory(tmp_path, name, *, kind):
    """The address of a file or store in memory, which fsspec reads as any other."""
    import fsspec

    place = tmp_path / "kept"
    write = labelled().to_zarr if "zarr" in kind else labelled().to_netcdf
    options = {
        "zarr 2": {"zarr_format": 2, "consolidated": True},
        "zarr 3": {"zarr_format": 3, "consolidated": False},
        "netcdf 4": {},
        "netcdf 3": {"format": "NETCDF3_64BIT"},
        "group": {"group": "PRODUCT"},
    }[kind]
    write(place, **options)
    fsspec.filesystem("memory").put(str(place), f"/bucket/{name}", recursive="zarr" in kind)
    return f"memory://bucket/{name}"


@pytest.mark.parametrize(
    ("name", "kind"),
    [("a.zarr", "zarr 2"), ("store", "zarr 3"), ("a.nc", "netcdf 4"), ("a.bin", "netcdf 3")],
)
def test_addresses_are_read_by_content(tmp_path, monkeypatch, name, kind):
    monkeypatch.chdir(tmp_path)
    address = memory(tmp_path, name, kind=kind)
    data = fields(address)
    assert_wave(data, 40)
    np.testing.assert_array_equal(data.files.times[0], days(40))
    assert f"--data.path {address} " in inspect_path(address).commands[0][1]


def test_groups_and_patterns_of_addresses(tmp_path):
    address = memory(tmp_path, "groups.nc", kind="group")
    with pytest.raises(InputError, match=r"groups PRODUCT.*--data\.group PRODUCT"):
        fields(address)
    assert_wave(fields(address, group="PRODUCT"), 40)
    import fsspec

    for number in range(2):
        labelled(40).isel(time=slice(20 * number, 20 * number + 20)).to_netcdf(tmp_path / "a.nc")
        fsspec.filesystem("memory").put(str(tmp_path / "a.nc"), f"/parts/{number}.nc")
    data = fields("memory://parts/*.nc")
    assert data.files.lengths == [40]
    assert_wave(data, 40)
    with pytest.raises(FileError, match=r"Nothing matches memory://parts/b\*\.nc"):
        inspect_path("memory://parts/b*.nc")


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("none.nc", None, "There is nothing at memory://odd/none.nc"),
        ("a.grib", b"GRIB\0\0\0\2", "it is GRIB.*grib_to_netcdf"),
        ("login.nc", b"<!DOCTYPE html><html>", "a web page, such as one that asks for a password"),
        ("clip.mp4", b"\0\0\0\x18ftypmp42", "Only NetCDF and Zarr can be read from other machines"),
        ("cut.nc", b"\x89HDF\r\n\x1a\n" + bytes(99), "memory://odd/cut.nc cannot be read"),
        ("", b"", "is a folder, but not a Zarr store. Name its files"),
    ],
)
def test_addresses_of_anything_else_are_one_line(refused, name, content, message):
    import fsspec

    fsspec.filesystem("memory").pipe(f"/odd/{name or 'other'}", content or b"")
    if content is None:
        fsspec.filesystem("memory").rm(f"/odd/{name}")
    refused(message, ["inspect", f"memory://odd/{name}"])


@pytest.mark.parametrize(
    "address",
    [
        "https://psl.noaa.gov/thredds/dodsC/Datasets/sst.mnmean.nc",
        "dods://host/sst.nc",
        "https://host/erddap/griddap/jplMURSST41",
    ],
)
def test_opendap_is_named_with_what_to_do(address):
    with pytest.raises(FileError, match=r"OPeNDAP.*fileServer.*to_netcdf\('part\.nc'\)"):
        fields(address)


def test_files_of_other_variables_are_named(tmp_path):
    for name in ("t", "q"):
        labelled().rename(t=name).to_netcdf(tmp_path / f"{name}.nc")
    with pytest.raises(InputError, match=r"t\.nc holds t, .*q\.nc holds q\..*cdo merge"):
        fields(tmp_path)


def test_a_package_for_addresses_that_is_missing_is_named():
    import fsspec

    fsspec.register_implementation(
        "absent", "no_such_package.Files", errtxt="Install no_such_package", clobber=True
    )
    with pytest.raises(MissingExtraError, match=r"absent need another.*Install no_such_package"):
        fields("absent://bucket/a.zarr")


def test_a_server_that_gives_no_parts_of_files_is_read_whole(tmp_path):
    """Over a connection to a server of the standard library, through the least file system."""
    labelled().to_netcdf(tmp_path / "a.nc")
    with served(tmp_path) as address:
        assert_wave(fields(f"{address}/a.nc"), 40)
        with pytest.raises(FileError, match="cannot be read: HTTP Error 404"):
            fields(f"{address}/none.nc")


@contextmanager
def served(folder):
    """The address of a folder that this process serves; `plain` is HTTP without ranges."""
    import http.server
    import threading
    import urllib.request

    import fsspec

    class Plain(fsspec.AbstractFileSystem):
        protocol = "plain"

        def _open(self, path, mode="rb", **options):
            return urllib.request.urlopen(f"http://{self._strip_protocol(path)}")

        def isdir(self, path):
            return False

    class Quiet(http.server.SimpleHTTPRequestHandler):
        def log_message(self, *words):
            pass

    fsspec.register_implementation("plain", Plain, clobber=True)
    handler = functools.partial(Quiet, directory=str(folder))
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"plain://127.0.0.1:{server.server_port}"
        server.shutdown()


def test_a_damaged_chunk_is_one_line_of_inspect(tmp_path, refused):
    labelled().to_zarr(tmp_path / "a.zarr", zarr_format=2, consolidated=False)
    chunk = tmp_path / "a.zarr" / "t" / "0.0.0"
    chunk.write_bytes(chunk.read_bytes()[:-40])
    refused("cut off or damaged", ["inspect", tmp_path / "a.zarr"])


def test_units_of_each_variable_are_known(tmp_path):
    made = labelled()
    made["u"] = (made["t"] / 10).assign_attrs(units="m s-1")
    made.to_netcdf(tmp_path / "a.nc")
    data = fields(tmp_path / "a.nc", variables="t,u")
    assert dict(zip(data.channels, data.units, strict=True)) == {"t": "K", "u": "m s-1"}

"""Dates that only names of files tell: read where one reading is possible, or refused."""

import numpy as np
import pytest
import xarray
from helpers.field_files import SIZE, days, labelled, wave

from statecast.cli.main import MISTAKE, main
from statecast.data.user.fields import Fields
from statecast.errors import InputError
from statecast.io.fields.file_dates import dates_in_names, numbers_in_names
from statecast.reports.inspection import inspect_path


@pytest.mark.parametrize(
    ("first", "second", "expected"),
    [
        ("sst_20150103.nc", "sst_20150104.nc", ["2015-01-03", "2015-01-04"]),
        ("oisst-avhrr-v02r01.20240102.nc", "oisst-avhrr-v02r01.20240103.nc",
         ["2024-01-02", "2024-01-03"]),
        ("MyRun_2015-01.nc", "MyRun_2015-02.nc", ["2015-01-01", "2015-02-01"]),
        ("A2015365.L3m.nc", "A2016001.L3m.nc", ["2015-12-31", "2016-01-01"]),
        ("x2015.12.31v2.nc", "x2016.01.01v2.nc", ["2015-12-31", "2016-01-01"]),
        ("w_2019-06-01_00:00:00", "w_2019-06-01_06:30:00", ["2019-06-01", "2019-06-01T06:30"]),
        ("g.2015010300.nc", "g.2015010306.nc", ["2015-01-03", "2015-01-03T06"]),
        ("s20150103T1230Z.nc", "s20150103T1240Z.nc", ["2015-01-03T12:30", "2015-01-03T12:40"]),
        ("run7_19990101-20201231_20150103.nc", "run7_19990101-20201231_20150104.nc",
         ["2015-01-03", "2015-01-04"]),
        ("annual_2015.nc", "annual_2016.nc", ["2015-01-01", "2016-01-01"]),
    ],
)  # fmt: skip
def test_dates_in_names(first, second, expected):
    np.testing.assert_array_equal(dates_in_names([first, second]), np.array(expected, "M8[us]"))


@pytest.mark.parametrize(
    ("first", "second"),
    [
        ("run_01-02-2015.nc", "run_02-02-2016.nc"),  # day or month first?
        ("m_20150101-20150131.nc", "m_20150201-20150228.nc"),  # first or last day?
        ("g_20150103_00.nc", "g_20150103_06.nc"),  # hours or tiles?
        ("150103.nc", "150104.nc"),  # year, month or day first?
        ("03012015.nc", "04012015.nc"),
        ("20150131.nc", "20150132.nc"),  # no dates, so a count
        ("dec_2015.nc", "dec_2016.nc"),
        ("frame_0001.nc", "frame_0002.nc"),
        ("a.nc", "b_20150103.nc"),
    ],
)
def test_names_that_tell_no_date_or_two(first, second):
    assert dates_in_names([first, second]) is None


def folder_of(place, count, name, time=None):
    """Files of one frame each, without time, or all with one."""
    place.mkdir()
    for number, date in enumerate(days(count, "2015-01-30")):
        frame = labelled(count).isel(time=number, drop=True)
        frame = frame if time is None else frame.expand_dims(time=[time])
        written = str(date)[:10]
        frame.to_netcdf(place / name.format(written.replace("-", ""), number))
    return place


@pytest.mark.parametrize("time", [None, 0, np.datetime64("1970-01-01", "ns")])
def test_a_folder_is_dated_by_names_where_its_files_are_not(tmp_path, time):
    place = folder_of(tmp_path / "daily", 12, "sst_{}.nc", time)
    data = Fields(path=str(place), anomaly="none", multiple=1)
    np.testing.assert_array_equal(data.files.times[0], days(12, "2015-01-30"))
    np.testing.assert_allclose(data.files.read(0, 0, 12)[:, 0], wave(12), rtol=1e-6)
    said = {choice.chosen for choice in data.inferred_options}
    assert "dates are taken from the names of files" in said
    assert "from 2015-01-30 to 2015-02-10" in inspect_path(place).text


@pytest.mark.parametrize("time", [None, 0])
def test_numbers_in_names_count_frames_that_have_no_dates(tmp_path, time):
    place = folder_of(tmp_path / "snapshots", 12, "run2_{1:05}_u.nc", time)
    data = Fields(path=str(place), anomaly="none", multiple=1)
    np.testing.assert_array_equal(data.files.times[0], np.arange(12))
    np.testing.assert_allclose(data.files.read(0, 0, 12)[:, 0], wave(12), rtol=1e-6)
    said = {choice.chosen for choice in data.inferred_options}
    assert "times, which are numbers, are taken from the names of files" in said
    (place / "run2_00005_u.nc").unlink()
    with pytest.raises(InputError, match=r"1 missing, first 5\).*uneven_times fill"):
        Fields(path=str(place), anomaly="none")


@pytest.mark.parametrize(
    "names",
    [
        ["150103", "150104"],  # year, month or day first?
        ["03012015", "04012015"],
        ["a_1411", "a_1412", "a_1501"],  # months
        ["a_1_2", "a_2_3"],
        ["a_1", "b_2"],
        ["a_01", "a_1"],
    ],
)
def test_numbers_that_may_be_anything_else_are_none(names):
    assert numbers_in_names(names) is None
    assert numbers_in_names(["a_100.v2", "a_110.v2", "a_90.v2"]).tolist() == [100, 110, 90]


def test_their_own_dates_win(tmp_path):
    (tmp_path / "daily").mkdir()
    for number in range(8):
        own = labelled(8).isel(time=[number])
        own.to_netcdf(tmp_path / "daily" / f"created_{20240101 + number}.nc")
    assert Fields(path=str(tmp_path / "daily"), anomaly="none").files.span.startswith("2001-01-01")


@pytest.mark.parametrize(("time", "words"), [(None, "no time"), (0, "the same time, 0")])
def test_names_that_tell_nothing_are_refused_by_every_command(tmp_path, capsys, time, words):
    place = folder_of(tmp_path / "daily", 12, "{1}_run_{1}.nc", time)
    for command in (["inspect", str(place)], ["train", "fields", "--data.path", str(place)]):
        assert main(command) == MISTAKE
        error = capsys.readouterr().err
        assert f"12 files hold one frame each and {words}" in error
        assert "such as 0_run_0.nc and 11_run_11.nc, do not give each one a date or number" in error


def test_levels_are_no_time_and_other_dimensions_are_not_taken_for_space(tmp_path):
    (tmp_path / "levels").mkdir()
    (tmp_path / "records").mkdir()
    for number in range(8):
        pair = xarray.concat([labelled(8).isel(time=number, drop=True)] * 2, dim="lev")
        pair.to_netcdf(tmp_path / "levels" / f"a_{20150101 + number}.nc")
        record = labelled(8).rename(time="record").drop_vars("record")
        record.to_netcdf(tmp_path / "records" / f"a_{20150101 + number}.nc")
    data = Fields(path=str(tmp_path / "levels"), channels="lev", anomaly="none")
    assert (data.channels, data.files.lengths) == (("t_0", "t_1"), [8])
    with pytest.raises(InputError, match="none of them is recognised as time"):
        Fields(path=str(tmp_path / "records"))
    assert Fields(path=str(tmp_path / "records"), time="record", joining="sequences",
                  anomaly="none").files.lengths == [8] * 8  # fmt: skip
    assert data.field.space[0] == SIZE

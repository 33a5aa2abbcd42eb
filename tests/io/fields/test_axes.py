"""Dimensions are told by CF attributes, then by name, then by order; and can be named."""

import numpy as np
import pytest
import xarray

from statecast.errors import InputError
from statecast.io.fields.axes import axes_of


def field(dims, sizes=None, **coords):
    sizes = sizes or {name: 3 + index for index, name in enumerate(dims)}
    return xarray.DataArray(
        np.zeros([sizes[name] for name in dims]), dims=dims, coords=coords, name="u"
    )


DATES = np.array(["2001-01-01", "2001-01-02", "2001-01-03"], "M8[ns]")


@pytest.mark.parametrize(
    ("made", "time", "space"),
    [
        (field(("time", "lat", "lon")), "time", ("lat", "lon")),
        (field(("lon", "lat", "t")), "t", ("lat", "lon")),
        (field(("a", "b", "c"), a=("a", DATES)), "a", ("b", "c")),
        (field(("day", "station")), "day", ("station",)),
        (
            field(
                ("p", "q", "r"),
                p=("p", np.arange(3.0), {"axis": "X"}),
                q=("q", np.arange(4.0), {"standard_name": "time"}),
                r=("r", np.arange(5.0), {"units": "degrees_north"}),
            ),
            "q",
            ("r", "p"),
        ),
        (
            field(("time", "depth", "y", "x"), {"time": 3, "depth": 1, "y": 4, "x": 5}),
            "time",
            ("y", "x"),
        ),
        (field(("time", "lat", "lon"), {"time": 3, "lat": 1, "lon": 1}), "time", ("lat", "lon")),
    ],
)
def test_dimensions_are_told(made, time, space):
    found = axes_of(made)
    assert (found.time, found.space) == (time, space)


def test_attributes_win_over_names():
    # Named like a longitude, but said to be the latitude.
    made = field(("time", "x", "y"), x=("x", np.arange(4.0), {"units": "degrees_north"}),
                 y=("y", np.arange(5.0), {"axis": "X"}))  # fmt: skip
    assert axes_of(made).space == ("x", "y")


def test_space_told_by_order_alone_is_marked():
    assert axes_of(field(("time", "a", "b"))).by_order
    assert not axes_of(field(("time", "lat", "lon"))).by_order


def test_dates_of_other_calendars_are_time():
    times = xarray.date_range("2001-01-01", periods=3, calendar="360_day", use_cftime=True)
    assert axes_of(field(("a", "b", "c"), a=("a", times))).time == "a"


def test_names_that_are_given_are_taken():
    made = field(("a", "b", "c"))
    assert axes_of(made, time="b", y="c", x="a")[:2] == ("b", ("c", "a"))


@pytest.mark.parametrize(
    ("made", "options", "message"),
    [
        (field(("a", "b", "c")), {}, "none of them is recognised as time"),
        (field(("time", "day", "b")), {}, "time and day are recognised as time"),
        (field(("time",)), {}, "a series at one point"),
        (field(("time", "depth", "lat", "lon")), {}, r"\['depth'\]"),
        (field(("time", "a", "b", "c")), {}, "no dimension of space"),
        (field(("time", "lat", "lon")), {"x": "longitude"}, "not 'longitude'"),
    ],
)
def test_what_cannot_be_told_is_refused_and_dimensions_are_listed(made, options, message):
    with pytest.raises(InputError, match=message) as caught:
        axes_of(made, **options)
    assert "'time'" in str(caught.value) or "'a'" in str(caught.value)

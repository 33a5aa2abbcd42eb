"""A NetCDF 3 file says how long it is: whole ones are that long, and cut ones are refused."""

import numpy as np
import pytest
from helpers.field_files import labelled

from statecast.cli.main import MISTAKE, main
from statecast.errors import CorruptionError
from statecast.io.fields.netcdf3 import Header
from statecast.io.fields.readers import open_fields

FORMATS = ["NETCDF3_CLASSIC", "NETCDF3_64BIT", "NETCDF3_64BIT_DATA"]


def made(several):
    """A data set of one variable along time, or of several of odd sizes."""
    found = labelled(13).astype("i2")
    if several:
        found["q"] = ("time", np.arange(13, dtype="i1"))
        found["m"] = ("lat", np.arange(len(found.lat), dtype="i1"))
    return found


@pytest.mark.parametrize("several", [False, True])
@pytest.mark.parametrize("unlimited", [[], ["time"]])
@pytest.mark.parametrize("form", FORMATS)
def test_whole_files_are_as_long_as_they_say(tmp_path, form, unlimited, several):
    path = tmp_path / "a.nc"
    made(several).to_netcdf(path, format=form, unlimited_dims=unlimited, engine="netcdf4")
    with path.open("rb") as stream:
        end = Header(stream, path).end
    assert end <= path.stat().st_size < end + 4  # but for what pads the last value


@pytest.mark.parametrize("share", [0.02, 0.3, 0.99])
@pytest.mark.parametrize("form", FORMATS)
def test_files_that_are_cut_off_are_refused(tmp_path, capsys, form, share):
    """NetCDF's own library reads zeros there."""
    path = tmp_path / "a.nc"
    labelled(40).to_netcdf(path, format=form, unlimited_dims=["time"], engine="netcdf4")
    whole = path.read_bytes()
    path.write_bytes(whole[: int(share * len(whole))])
    with pytest.raises(CorruptionError, match=r"is cut off.*Download it again"):
        open_fields(path)
    assert main(["inspect", str(path)]) == MISTAKE
    assert "cut off" in capsys.readouterr().err

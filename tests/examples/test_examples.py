"""The example of labelled files runs from start to end."""

import runpy
import sys
from pathlib import Path

import xarray

EXAMPLE = Path(__file__).parents[2] / "examples" / "forecast_netcdf.py"


def test_the_example_writes_forecasts(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(sys, "argv", [str(EXAMPLE), "--folder", str(tmp_path), "--steps", "3"])
    runpy.run_path(str(EXAMPLE), run_name="__main__")
    assert "degC; of the last observed frame" in capsys.readouterr().out
    with xarray.open_dataset(tmp_path / "future.nc", decode_timedelta=True) as found:
        assert dict(found["sst"].sizes) == {
            "realization": 30, "lead_time": 20, "lat": 16, "lon": 25,
        }  # fmt: skip

"""DATASETS: name -> class of every data source."""

from statecast.data.base import DataSource
from statecast.data.digits import MovingDigits
from statecast.data.sst import SeaSurfaceTemperature
from statecast.data.turntable import Turntable
from statecast.data.waves import WaveEquation

DATASETS: dict[str, type[DataSource]] = {
    "moving_digits": MovingDigits,
    "sst": SeaSurfaceTemperature,
    "turntable": Turntable,
    "wave_equation": WaveEquation,
}

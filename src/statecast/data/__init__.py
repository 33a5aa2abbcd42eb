"""DATASETS: name -> class of every data source."""

from statecast.data.arrays import Arrays
from statecast.data.base import DataSource
from statecast.data.digits import MovingDigits
from statecast.data.fields import Fields
from statecast.data.sst import SeaSurfaceTemperature
from statecast.data.turntable import Turntable
from statecast.data.videos import Videos
from statecast.data.waves import WaveEquation

DATASETS: dict[str, type[DataSource]] = {
    "moving_digits": MovingDigits,
    "wave_equation": WaveEquation,
    "sst": SeaSurfaceTemperature,
    "turntable": Turntable,
    "arrays": Arrays,
    "fields": Fields,
    "videos": Videos,
}

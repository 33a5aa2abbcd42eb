"""DATASETS: name -> class of every data source."""

from statecast.data.arrays import Arrays
from statecast.data.base import DataSource
from statecast.data.digits import MovingDigits
from statecast.data.waves import WaveEquation

DATASETS: dict[str, type[DataSource]] = {
    "moving_digits": MovingDigits,
    "wave_equation": WaveEquation,
    "arrays": Arrays,
}

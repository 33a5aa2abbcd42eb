"""DATASETS: name -> class of every data source."""

from statecast.data.arrays import Arrays
from statecast.data.bair import BAIR
from statecast.data.base import DataSource
from statecast.data.chairs import Chairs
from statecast.data.digits import MovingDigits
from statecast.data.fields import Fields
from statecast.data.human36m import Human36M
from statecast.data.kth import KTH
from statecast.data.sst import SeaSurfaceTemperature
from statecast.data.taxibj import TaxiBJ
from statecast.data.turntable import Turntable
from statecast.data.videos import Videos
from statecast.data.waves import WaveEquation

DATASETS: dict[str, type[DataSource]] = {
    "moving_digits": MovingDigits,
    "wave_equation": WaveEquation,
    "sst": SeaSurfaceTemperature,
    "turntable": Turntable,
    "kth": KTH,
    "human36m": Human36M,
    "bair": BAIR,
    "taxibj": TaxiBJ,
    "chairs": Chairs,
    "arrays": Arrays,
    "fields": Fields,
    "videos": Videos,
}

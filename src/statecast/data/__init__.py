"""DATASETS: name -> class of every data source."""

from statecast.data.base import DataSource
from statecast.data.benchmarks.bair import BAIR
from statecast.data.benchmarks.chairs import Chairs
from statecast.data.benchmarks.human36m import Human36M
from statecast.data.benchmarks.kth import KTH
from statecast.data.benchmarks.sst import SeaSurfaceTemperature
from statecast.data.benchmarks.taxibj import TaxiBJ
from statecast.data.synthetic.moving_digits import MovingDigits
from statecast.data.synthetic.turntable import Turntable
from statecast.data.synthetic.waves import WaveEquation
from statecast.data.user.arrays import Arrays
from statecast.data.user.fields import Fields
from statecast.data.user.videos import Videos

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

"""DATASETS: name -> class of every data source."""

from __future__ import annotations

from typing import TYPE_CHECKING

from statecast.registry import Registry

if TYPE_CHECKING:
    from statecast.data.base import DataSource

DATASETS: Registry[DataSource] = Registry(
    "statecast.data",
    {
        "moving_digits": "statecast.data.synthetic.moving_digits:MovingDigits",
        "moving_shapes": "statecast.data.synthetic.moving_shapes:MovingShapes",
        "wave_equation": "statecast.data.synthetic.waves:WaveEquation",
        "sst": "statecast.data.benchmarks.sst:SeaSurfaceTemperature",
        "turntable": "statecast.data.synthetic.turntable:Turntable",
        "bouncing_ball": "statecast.data.synthetic.bouncing_ball:BouncingBall",
        "rolling_digits": "statecast.data.synthetic.rolling_digits:RollingDigits",
        "oscillators": "statecast.data.synthetic.oscillators:Oscillators",
        "forks": "statecast.data.synthetic.forks:Forks",
        "kth": "statecast.data.benchmarks.kth:KTH",
        "human36m": "statecast.data.benchmarks.human36m:Human36M",
        "bair": "statecast.data.benchmarks.bair:BAIR",
        "taxibj": "statecast.data.benchmarks.taxibj:TaxiBJ",
        "chairs": "statecast.data.benchmarks.chairs:Chairs",
        "arrays": "statecast.data.user.arrays:Arrays",
        "fields": "statecast.data.user.fields:Fields",
        "videos": "statecast.data.user.videos:Videos",
    },
)

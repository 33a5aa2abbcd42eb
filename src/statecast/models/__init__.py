"""MODELS: name -> class of every model."""

from statecast.models.base import Forecaster
from statecast.models.baselines import Climatology, Linear, Persistence
from statecast.models.dmd import DMD
from statecast.models.separable import Separable
from statecast.models.srvp import SRVP

MODELS: dict[str, type[Forecaster]] = {
    "srvp": SRVP,
    "separable": Separable,
    "persistence": Persistence,
    "climatology": Climatology,
    "linear": Linear,
    "dmd": DMD,
}
BASELINES = ("persistence", "climatology", "linear", "dmd")  # what `evaluate` can score beside

__all__ = [
    "BASELINES",
    "DMD",
    "MODELS",
    "SRVP",
    "Climatology",
    "Forecaster",
    "Linear",
    "Persistence",
    "Separable",
]

"""MODELS: name -> class of every model."""

from statecast.models.base import Forecaster
from statecast.models.persistence import Climatology, Linear, Persistence
from statecast.models.separable import Separable
from statecast.models.srvp import SRVP

MODELS: dict[str, type[Forecaster]] = {
    "srvp": SRVP,
    "separable": Separable,
    "persistence": Persistence,
    "climatology": Climatology,
    "linear": Linear,
}

__all__ = ["MODELS", "SRVP", "Climatology", "Forecaster", "Linear", "Persistence", "Separable"]

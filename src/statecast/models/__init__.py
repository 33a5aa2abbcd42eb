"""MODELS: name -> class of every model."""

from statecast.models.base import Forecaster
from statecast.models.baselines import Climatology, Linear, Persistence
from statecast.models.convlstm import ConvLSTM
from statecast.models.dmd import DMD
from statecast.models.mim import MIM
from statecast.models.phydnet import PhyDNet
from statecast.models.predrnn import PredRNN
from statecast.models.separable import Separable
from statecast.models.srvp import SRVP
from statecast.models.svg import SVG

MODELS: dict[str, type[Forecaster]] = {
    "srvp": SRVP,
    "separable": Separable,
    "svg": SVG,
    "convlstm": ConvLSTM,
    "predrnn": PredRNN,
    "mim": MIM,
    "phydnet": PhyDNet,
    "persistence": Persistence,
    "climatology": Climatology,
    "linear": Linear,
    "dmd": DMD,
}
BASELINES = ("persistence", "climatology", "linear", "dmd")  # what `evaluate` can score beside

__all__ = [
    "BASELINES",
    "DMD",
    "MIM",
    "MODELS",
    "SRVP",
    "SVG",
    "Climatology",
    "ConvLSTM",
    "Forecaster",
    "Linear",
    "Persistence",
    "PhyDNet",
    "PredRNN",
    "Separable",
]

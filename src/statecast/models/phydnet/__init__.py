"""PhyDNet: a partial differential equation beside a convolutional LSTM."""

from statecast.models.phydnet.model import PhyDNet

__all__ = ["PhyDNet"]

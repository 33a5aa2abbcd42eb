"""STUDIES: name -> what `evaluate` can find out about a model beyond scores of its forecasts."""

from statecast.studies.base import Study
from statecast.studies.probes import Probes

STUDIES: dict[str, type[Study]] = {"probes": Probes}

__all__ = ["STUDIES", "Study"]

"""STUDIES: name -> what `evaluate` can find out about a model beyond scores of its forecasts."""

from statecast.studies.base import Study
from statecast.studies.exchange import ContentExchange
from statecast.studies.probes import Probes
from statecast.studies.steps import Steps

STUDIES: dict[str, type[Study]] = {
    "probes": Probes,
    "exchange": ContentExchange,
    "steps": Steps,
}

__all__ = ["STUDIES", "Study"]

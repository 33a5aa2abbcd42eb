"""STUDIES: name -> what `evaluate` can find out about a model beyond scores of its forecasts."""

from statecast.studies.base import Study
from statecast.studies.exchange import ContentExchange

STUDIES: dict[str, type[Study]] = {
    "exchange": ContentExchange,
}

__all__ = ["STUDIES", "Study"]

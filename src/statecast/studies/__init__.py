"""STUDIES: name -> what `evaluate` can find out about a model beyond scores of its forecasts."""

from statecast.studies.base import Study

STUDIES: dict[str, type[Study]] = {}

__all__ = ["STUDIES", "Study"]

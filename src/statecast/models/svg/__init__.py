"""SVG: stochastic video generation with a learned or a fixed prior."""

from statecast.models.svg.model import SVG

__all__ = ["SVG"]

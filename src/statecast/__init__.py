"""statecast: forecast videos and gridded fields with state-based neural models."""

from statecast.version import __version__

__all__ = ["__version__"]

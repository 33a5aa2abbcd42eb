"""Test protocols and published scores, as data."""

from statecast.io.json_yaml import shipped_titles


def protocol_names() -> dict[str, str]:
    """Name and title of every protocol."""
    return shipped_titles("statecast.evaluation.protocols")

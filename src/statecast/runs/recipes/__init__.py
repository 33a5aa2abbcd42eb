"""Recipes (YAML) that come with the package."""

from statecast.io.json_yaml import shipped_titles


def recipe_names() -> dict[str, str]:
    """Name and description of every recipe that comes with the package."""
    return shipped_titles("statecast.runs.recipes")

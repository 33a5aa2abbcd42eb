"""Settings of published checkpoints, and checkpoints with our names."""

from __future__ import annotations

import inspect
import json
import math
from collections.abc import Callable, Collection, Mapping
from pathlib import Path
from typing import Any, NamedTuple

from statecast.errors import FileError, InputError
from statecast.frames import FrameSpec
from statecast.io.json_yaml import read_json
from statecast.models import MODELS
from statecast.models.base import Forecaster

COLOURS = {1: ("intensity",), 3: ("red", "green", "blue")}


class Official(NamedTuple):
    """A published checkpoint under our names of options and tensors."""

    name: str  # of the model, in MODELS
    spec: FrameSpec
    options: dict[str, Any]  # of the model's constructor
    load: Callable[[Any], Forecaster]  # sets the weights of a model built with these options
    settings: Settings  # as published

    def model(self) -> Forecaster:
        """The model with its weights, in evaluation mode.

        Errors:
            InputError: the settings describe no model, or the weights do not fit it.
        """
        try:
            return self.load(MODELS[self.name](self.spec, **self.options)).eval()
        except InputError:
            raise
        except (TypeError, ValueError, RuntimeError) as error:  # a text where a number should be
            reason = " ".join(str(error).split())
            raise InputError(f"{self.settings.path} describes no model: {reason}") from error


class Settings(dict[str, Any]):
    """Published settings; a missing key raises `InputError` and not `KeyError`.

    Args:
        path: JSON file of the settings, or the origin of `content`.
        content: the settings, if they are not in a JSON file.
    """

    def __init__(self, path: Path | str, content: Mapping[str, Any] | None = None) -> None:
        self.path = path
        if content is not None:
            super().__init__(content)
            return
        try:
            content = read_json(Path(path))
        except (OSError, ValueError) as error:
            raise FileError(f"{path} cannot be read as JSON: {error}.") from error
        if not isinstance(content, dict):
            raise FileError(f"{path} should hold a JSON object of settings.")
        super().__init__(content)

    def __missing__(self, key: str) -> Any:
        raise InputError(f"{self.path} lacks the setting {key!r}.")

    def whole(self, key: str, least: int = 1, *, default: int | None = None) -> int:
        """A whole number of at least `least`; `default` for a missing setting.

        Errors:
            InputError: the setting is missing without a default, or not such a number.
        """
        if default is not None and key not in self:
            return default
        value = self[key]
        if type(value) is not int or value < least:
            raise self.unfit(key, f"a whole number of at least {least}")
        return value

    def number(self, key: str) -> float:
        """A finite number; errors as `whole`."""
        value = self[key]
        if type(value) not in (int, float) or not math.isfinite(value):
            raise self.unfit(key, "a finite number")
        return value

    def flag(self, key: str) -> bool:
        """True or false; errors as `whole`."""
        value = self[key]
        if type(value) is not bool:
            raise self.unfit(key, "true or false")
        return value

    def unfit(self, key: str, expected: str) -> InputError:
        """The error for a setting of the wrong kind or value."""
        found = json.dumps(self[key])[:40]
        return InputError(f"{self.path} should set {key!r} to {expected}, got {found}.")


def options_of(config: Settings, names: Mapping[str, tuple[str, str]]) -> dict[str, Any]:
    """Our options from published settings.

    Args:
        config: the settings.
        names: by option, the published name and its kind: `whole`, `number` or `flag`.
    """
    return {ours: getattr(config, kind)(theirs) for ours, (theirs, kind) in names.items()}


def settings_of(options: Mapping[str, Any], names: Mapping[str, tuple[str, str]]) -> dict[str, Any]:
    """The inverse of `options_of`."""
    return {theirs: options[ours] for ours, (theirs, _) in names.items()}


def channel_names(count: int) -> tuple[str, ...]:
    """Names of the channels of published frames."""
    return COLOURS.get(count) or tuple(f"channel_{index}" for index in range(count))


def check_fit(model: Forecaster, demands: Mapping[str, tuple[object, object]]) -> None:
    """Raise `InputError` for the first option that the published layout cannot hold.

    Args:
        model: the model, whose normaliser must leave frames unchanged.
        demands: by option, its value and the value, or values, that the layout can hold.
    """
    for option, (found, known) in demands.items():
        if found not in (known if isinstance(known, tuple) else (known,)):
            choices = known if isinstance(known, tuple) else (known,)
            raise InputError(
                f"The published layout of {type(model).__name__} cannot hold {option}: "
                f"{plain(found)}; it can only hold {' or '.join(map(plain, choices))}."
            )
    normaliser = model.normaliser
    if bool((normaliser.location != 0).any() or (normaliser.scale != 1).any()):
        raise InputError(
            f"The published layout of {type(model).__name__} cannot hold normalise: "
            f"{normaliser.method}; it takes frames that are not normalised."
        )


def check_defaults(model: Forecaster, options: Mapping[str, Any], known: Collection[str]) -> None:
    """Raise `InputError` for an option that has no published setting and is not at its default.

    The default is what the published code does.
    """
    parameters = inspect.signature(type(model)).parameters
    for option in options.keys() - {"name", *known}:
        value = options[option]
        if option not in parameters or value != parameters[option].default:
            raise InputError(
                f"The published layout of {type(model).__name__} cannot hold {option}: "
                f"{plain(value)}. Leave it at its default."
            )


def plain(value: object) -> str:
    """A value as a recipe writes it."""
    return str(value).lower() if isinstance(value, bool) else str(value)

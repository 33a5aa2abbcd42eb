"""The errors a user can meet: one class per kind of mistake, each message says what to do."""

from __future__ import annotations

from collections.abc import Mapping


class StatecastError(Exception):
    """Base of every error that statecast raises on purpose.

    The command line prints the message on one line and exits with code 2.

    Attributes:
        told: whether another process of the command reports it; None if unknown.
    """

    told: bool | None = None


class InputError(StatecastError, ValueError):
    """An argument does not fit: a shape, a type, a value, an option.

    Args:
        message: what was expected, what came, and what to do.
        options: options of the data set that would help, each with a value as a command line
            takes it; the message names them too.
    """

    def __init__(self, message: str, *, options: Mapping[str, str] | None = None) -> None:
        super().__init__(message)
        self.options = dict(options or {})


class FileError(StatecastError, OSError):
    """A file or folder is missing, unreadable, or not what it should be."""


class CorruptionError(FileError):
    """A file's content does not match its recorded digest, or cannot be decoded."""


class OwnedError(FileError):
    """Another process is at work on a file or folder; the message names it."""


class MissingExtraError(StatecastError, ImportError):
    """An optional package is needed and not installed; the message names the extra."""


class NonFiniteLossError(StatecastError, ArithmeticError):
    """Training met a loss or a gradient that is not finite."""


class ProcessError(StatecastError, RuntimeError):
    """Processes that should work together cannot, or one of them has ended."""


class ConvergenceError(StatecastError, ArithmeticError):
    """A numerical method did not reach its tolerance."""


def require(package: str, extra: str, purpose: str) -> None:
    """Raise `MissingExtraError` unless the top-level `package` can be imported.

    Args:
        package: import name, such as `"xarray"`.
        extra: the extra of statecast that installs it, such as `"fields"`.
        purpose: what it is needed for, to complete "is needed to …".
    """
    import importlib.util

    if importlib.util.find_spec(package) is None:
        raise MissingExtraError(
            f"The package {package} is needed to {purpose}. "
            f"Install it with: pip install 'statecast[{extra}]'."
        )

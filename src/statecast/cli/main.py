"""The statecast command: parses the command line and runs one verb."""

from __future__ import annotations

import argparse
import errno
import io
import logging
import os
import sys
import warnings
from collections.abc import Sequence
from pathlib import Path

from statecast.cli.commands import VERBS, load_verb
from statecast.cli.train import INTERRUPTED
from statecast.distributed import launched_processes, launched_rank
from statecast.errors import InputError, StatecastError
from statecast.version import __version__

MISTAKE = 2  # exit code of a user's mistake
# Errors of a failed write to standard output; other system errors keep their traceback.
OUTPUT_ERRORS = (errno.EPIPE, errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EIO, errno.EBADF)
SPINS = "10000"  # iterations that an idle thread spins before it sleeps


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command; return its exit code."""
    prepare_output()
    try:
        try:
            return run_command(arguments)
        finally:
            sys.stdout.flush()
    except OSError as error:
        if error.filename is not None or error.errno not in OUTPUT_ERRORS:
            raise
        # Drop the rest of the buffer, or the interpreter would try to write it as it ends.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        if isinstance(error, BrokenPipeError):  # the reader has gone, as in `statecast list | head`
            return 0
        print(f"statecast: cannot write the output: {error.strerror}.", file=sys.stderr)
        return MISTAKE


def prepare_output() -> None:
    """Let output that is closed go nowhere, and show what its encoding lacks as `?`."""
    if sys.stdout is None:
        sys.stdout = Path(os.devnull).open("w", encoding="utf-8")  # noqa: SIM115 (until the end)
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="replace")


def run_command(arguments: Sequence[str] | None) -> int:
    """Run one command; errors that statecast raises on purpose become a line and an exit code."""
    warnings.formatwarning = one_line
    wait_briefly()
    words, overrides = split_overrides(sys.argv[1:] if arguments is None else arguments)
    parser = command_parser()
    if not words and not overrides:
        parser.print_help()
        return MISTAKE
    known = parser.parse_args(words)
    tell(logging.WARNING if known.quiet else logging.INFO)
    verb = load_verb(known.verb)
    takes_options = getattr(verb, "TAKES_OPTIONS", False)
    if overrides and not takes_options:
        parser.error(f"unrecognized arguments: {' '.join(overrides)}")
    try:
        if launched_processes() > 1 and not getattr(verb, "TAKES_PROCESSES", False):
            raise InputError(
                f"`statecast {known.verb}` runs in one process, but {launched_processes()} were "
                "launched. Start it without torchrun."
            )
        return int(verb.run(known, overrides) if takes_options else verb.run(known))
    except StatecastError as error:
        # Before processes join, what they meet follows from the command line: one tells it.
        told = error.told if error.told is not None else launched_rank() > 0
        if not told:
            # Messages name what files of others hold; control characters would move the cursor.
            text = "".join(c if c.isprintable() or c == "\n" else "?" for c in str(error))
            print(f"statecast: {text}", file=sys.stderr)
        return MISTAKE
    except KeyboardInterrupt:
        return INTERRUPTED


def wait_briefly() -> None:
    """Let idle threads of PyTorch sleep soon, unless the user has configured them.

    Threads that spin while they wait slow down the threads that they wait for.
    """
    if not {"OMP_WAIT_POLICY", "GOMP_SPINCOUNT"} & os.environ.keys():
        os.environ["GOMP_SPINCOUNT"] = SPINS


class StandardError(logging.Handler):
    """Writes to the `sys.stderr` of the moment."""

    def emit(self, record: logging.LogRecord) -> None:
        print(self.format(record), file=sys.stderr, flush=True)


def tell(level: int) -> None:
    """Write log messages of statecast from this level on to standard error only."""
    logger = logging.getLogger("statecast")
    logger.handlers, logger.propagate = [StandardError()], False
    logger.setLevel(level)


def one_line(
    message: Warning | str, category: object, filename: str, lineno: int, line: str | None = None
) -> str:
    """A warning as the command prints it, without file and line."""
    return f"statecast: {message}\n"


def split_overrides(arguments: Sequence[str]) -> tuple[list[str], list[str]]:
    """Split a command line into words and `--table.option value` pairs."""
    words, overrides = [], []
    rest = list(arguments)
    while rest:
        word = rest.pop(0)
        name, equals, _ = word.partition("=")
        if not (name.startswith("--") and "." in name):
            words.append(word)
            continue
        overrides.append(word)
        if not equals and rest:
            overrides.append(rest.pop(0))
    return words, overrides


def command_parser() -> argparse.ArgumentParser:
    """The parser of all verbs; it imports nothing heavy."""
    parser = argparse.ArgumentParser(
        prog="statecast",
        description="Forecast videos and gridded fields with state-based neural models.",
        epilog="Start with `statecast demo`, or `statecast list`.",
        allow_abbrev=False,
    )
    parser.add_argument("--quiet", action="store_true", help="print only warnings and results")
    parser.add_argument("--version", action="version", version=f"statecast {__version__}")
    verbs = parser.add_subparsers(dest="verb", required=True, metavar="VERB")
    for name in VERBS:
        verb = load_verb(name)
        added = verbs.add_parser(
            name,
            help=verb.SUMMARY,
            description=verb.SUMMARY,
            allow_abbrev=False,
            conflict_handler="resolve",  # a verb may have a --help of its own
        )
        added.add_argument(
            "--quiet", action="store_true", default=argparse.SUPPRESS, help=argparse.SUPPRESS
        )
        verb.add_arguments(added)
    return parser


if __name__ == "__main__":
    raise SystemExit(main())

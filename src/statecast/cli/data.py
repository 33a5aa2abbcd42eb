"""statecast data: prepare data sets from their owners' files, list them, and verify them."""

from __future__ import annotations

import argparse
import sys

SUMMARY = "Prepare a data set from the files of its owner; list or verify prepared data sets."


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of the verb."""
    actions = parser.add_subparsers(dest="action", required=True, metavar="ACTION")
    prepare = actions.add_parser(
        "prepare", help="prepare a data set; needed once", allow_abbrev=False
    )
    prepare.add_argument("name", help="data set; `statecast data list` names them")
    prepare.add_argument(
        "--source",
        required=True,
        metavar="DIR",
        help="folder of the owner's files, which are only read",
    )
    prepare.add_argument("--output", metavar="DIR", help="folder to write; default in the cache")
    actions.add_parser("list", help="list data sets, their sources, and which are prepared")
    verify = actions.add_parser(
        "verify",
        help="compare one data set, or all in the cache, with their recorded digests",
        allow_abbrev=False,
    )
    verify.add_argument("name", nargs="?", help="data set; default: all in the cache")
    verify.add_argument(
        "--path", metavar="DIR", help="folder of the data set; default in the cache"
    )


def run(options: argparse.Namespace) -> int:
    """Prepare, list or verify."""
    if options.action == "prepare":
        return run_prepare(options.name, options.source, options.output)
    if options.action == "verify":
        return run_verify(options.name, options.path)
    return run_list()


def run_verify(name: str | None, path: str | None) -> int:
    """Compare one data set, or all in the cache, with their recorded digests."""
    from statecast.data.prepare import verify, verify_cache
    from statecast.errors import CorruptionError, InputError

    if name is not None:
        store = verify(name, path)
        print(f"{store.folder} is intact: {len(store.frames)} frames match their digests")
        return 0
    if path is not None:
        raise InputError("--path needs a data set: statecast data verify NAME --path DIR.")
    damaged = []
    for found in verify_cache():
        print(f"{found.folder}: {found.found}", flush=True)
        damaged += [found.folder.name] if found.damaged else []
    if damaged:
        raise CorruptionError(f"Damaged: {', '.join(damaged)}.")
    return 0


def run_prepare(name: str, source: str, output: str | None) -> int:
    """Prepare a data set."""
    from statecast.data.prepare import prepare

    prepared = prepare(name, source, output)
    for warning in prepared.warnings:
        print(f"  warning: {warning}", file=sys.stderr)
    done = "Prepared" if prepared.made else "Already prepared"
    store = prepared.store
    print(f"{done}: {store.folder}; {len(store.sequences)} sequences, {len(store.frames)} frames")
    if output is not None:
        print(f"Use it with: --data.name {name} --data.path {output}")
    return 0


def run_list() -> int:
    """Print all data sets, their sources, and which are prepared."""
    from statecast.data.benchmarks.prepared_source import default_folder
    from statecast.data.prepare import UNPREPARED, preparable

    for name, source in preparable().items():
        folder = default_folder(source.kind)
        state = f"prepared in {folder}" if folder.is_dir() else "not prepared"
        origin = source.origin
        print(f"{name}: {origin.title}, {state}")
        print(f"  from {origin.source}\n  files: {origin.files}\n  licence: {origin.licence}")
    print("\nWithout preparation:")
    for name, how in UNPREPARED.items():
        print(f"  {name}: {how}")
    return 0

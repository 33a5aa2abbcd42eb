"""statecast train: train a recipe, or resume a run."""

from __future__ import annotations

import argparse
import logging
import signal
from collections.abc import Sequence
from shlex import quote
from typing import TYPE_CHECKING

from statecast.distributed import launched_processes

if TYPE_CHECKING:
    from statecast.runs.run import Run
    from statecast.training.loop import TrainingResult

LOGGER = logging.getLogger(__name__)
SUMMARY = "Train a recipe; set any of its options as --table.option value."
TAKES_OPTIONS = True
TAKES_PROCESSES = True
STOPPED = 75  # exit code after a signal: saved, and can be resumed (EX_TEMPFAIL)
INTERRUPTED = 130  # exit code after a second Ctrl-C, as in shells: 128 + SIGINT


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of the verb."""
    parser.add_argument(
        "-h",
        "--help",
        action=RecipeHelp,
        nargs=0,
        help="show this help; after RECIPE, also its options and their values",
    )
    parser.add_argument("recipe", nargs="?", help="name of a recipe, or a YAML file")
    parser.add_argument(
        "--output", metavar="RUN", help="run folder to create; default runs/RECIPE-N"
    )
    parser.add_argument(
        "--init-from", metavar="RUN", help="start from the weights of this run or shipped model"
    )
    parser.add_argument(
        "--resume",
        metavar="RUN",
        help="continue the training in this folder; --train.steps 20000 extends it",
    )
    parser.add_argument(
        "--fallback",
        action="store_true",
        help="with --resume: rename damaged checkpoints, and continue from the newest intact one",
    )
    parser.add_argument(
        "--print_config", action="store_true", help="print the complete recipe and exit"
    )


class RecipeHelp(argparse.Action):
    """Help on the verb, and on the options of a recipe named before it."""

    def __call__(
        self, parser: argparse.ArgumentParser, namespace: argparse.Namespace, *rest: object
    ) -> None:
        parser.print_help()
        if namespace.recipe is not None:
            from statecast.errors import StatecastError
            from statecast.runs.recipes.resolve import describe_options

            try:
                print(f"\nOptions of {namespace.recipe}:\n{describe_options(namespace.recipe)}")
            except StatecastError as error:
                parser.error(str(error))
        parser.exit()


def run(options: argparse.Namespace, overrides: Sequence[str]) -> int:
    """Train a recipe or resume a run, on all launched processes."""
    from statecast.distributed import is_main, process_group, run_on_main
    from statecast.runs.run import train_run
    from statecast.training.signals import Interrupted, interrupting

    with process_group():
        made = run_on_main(lambda: start(options, overrides))
        if made is None:
            return 0
        how = f"Continue with: statecast train --resume {quote(str(made.folder))}"
        try:
            with interrupting():
                result = train_run(made, resume=options.resume is not None)
        except Interrupted as stop:
            if is_main():
                print(f"Stopped by {stop} between steps; nothing is lost. {how}")
            return STOPPED
        except KeyboardInterrupt:
            if is_main():
                print(f"Stopped at once; the last checkpoint is intact. {how}")
            return INTERRUPTED
        if result.reason == "signal" and launched_processes() > 1:
            # Launchers end the other processes of a command when the first one exits.
            signal.signal(signal.SIGTERM, signal.SIG_IGN)
        if is_main():
            report(made, result)
    return STOPPED if result.reason == "signal" else 0


def start(options: argparse.Namespace, overrides: Sequence[str]) -> Run | None:
    """The created or opened run; None after printing the recipe."""
    from statecast.errors import InputError
    from statecast.runs.create import change_training, create_run
    from statecast.runs.recipes.resolve import read_recipe, resolve
    from statecast.runs.run import open_run
    from statecast.training.checkpoints import fall_back

    if (options.recipe is None) == (options.resume is None):
        raise InputError(
            "Give either a recipe or --resume RUN. `statecast list` names the recipes."
        )
    if options.resume is not None:
        if options.output or options.init_from or options.print_config:
            raise InputError(
                "--resume keeps the folder and the weights: remove --output, --init-from and "
                "--print_config."
            )
        made = open_run(options.resume)
        if overrides:
            made = change_training(made, overrides)
        for line in fall_back(made.folder) if options.fallback else []:
            LOGGER.warning(line)
    elif options.fallback:
        raise InputError("--fallback needs --resume RUN.")
    elif options.print_config:
        import yaml

        tables = resolve(read_recipe(options.recipe), overrides, origin=options.recipe)
        print(yaml.safe_dump(tables, sort_keys=False, allow_unicode=True), end="")
        return None
    else:
        made = create_run(options.recipe, options.output, overrides, init_from=options.init_from)
    for choice in made.inferred_options:
        LOGGER.info("  %s: %s", choice.what, choice.chosen)
    LOGGER.info("Training %s in %s", made.name, made.folder)
    return made


def report(made: Run, result: TrainingResult) -> None:
    """Print how a training ended, and the next command."""
    from statecast.training.checkpoint_folders import step_of
    from statecast.training.checkpoints import best_of

    steps = made.tables["train"]["steps"]
    best = best_of(made.folder)
    folder = quote(str(made.folder))
    again = f"statecast train --resume {folder}"
    if result.reason == "signal":
        print(f"Saved at step {result.step} of {steps}. Continue with: {again}")
        return
    taken = f"in {result.seconds / 60:.1f} min"
    if result.reason == "minutes":
        print(f"Trained {result.step} of {steps} steps {taken} (train.max_minutes): {made.folder}")
    else:
        print(f"Trained {result.step} steps {taken}: {made.folder}")
    if result.step and best is not None and step_of(best) == 0:
        print(made.nothing_learned)
        return
    if result.reason == "minutes":
        print(f"Train on with: {again}")
    print(f"Next: statecast evaluate {folder}")

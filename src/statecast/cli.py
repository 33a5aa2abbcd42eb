"""The statecast command: one short function per verb."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence

from statecast.errors import StatecastError
from statecast.version import __version__

MISTAKE = 2  # exit code of a user's mistake
STOPPED = 75  # exit code after a signal: saved, and can be gone on with (EX_TEMPFAIL)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command; return its exit code."""
    words, overrides = split_overrides(sys.argv[1:] if arguments is None else arguments)
    parser = command_parser()
    known = parser.parse_args(words)
    takes_options = known.verb in ("train", "evaluate")
    if overrides and not takes_options:
        parser.error(f"unrecognized arguments: {' '.join(overrides)}")
    try:
        return int(known.run(known, overrides) if takes_options else known.run(known))
    except StatecastError as error:
        print(f"statecast: {error}", file=sys.stderr)
        return MISTAKE
    except KeyboardInterrupt:
        return STOPPED
    except BrokenPipeError:  # the reader of our output has gone, as in `statecast list | head`
        sys.stderr.close()
        return 0


def split_overrides(arguments: Sequence[str]) -> tuple[list[str], list[str]]:
    """Words of the command line without, and only, `--table.option value` and its like."""
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
    """The parser of all verbs; imports nothing heavy."""
    parser = argparse.ArgumentParser(
        prog="statecast",
        description="Forecast videos and gridded fields with state-based neural models.",
        epilog="Start with `statecast demo`, or `statecast list`.",
        allow_abbrev=False,
    )
    parser.add_argument("--version", action="version", version=f"statecast {__version__}")
    verbs = parser.add_subparsers(dest="verb", required=True, metavar="VERB")

    def verb(name: str, run: object, text: str) -> argparse.ArgumentParser:
        added = verbs.add_parser(name, help=text, description=text, allow_abbrev=False)
        added.set_defaults(run=run)
        return added

    verb("list", run_list, "Name the recipes, models, data sets and metrics.")
    added = verb("train", run_train, "Train a recipe; any of its options as --table.option value.")
    added.add_argument("recipe", nargs="?", help="name of a recipe, or a YAML file")
    added.add_argument("--output", metavar="RUN", help="new run folder; default runs/RECIPE-N")
    added.add_argument("--resume", metavar="RUN", help="go on with the training of this folder")
    added.add_argument(
        "--print_config", action="store_true", help="print the complete recipe, and do nothing"
    )
    added = verb("evaluate", run_evaluate, "Score a run on its test data, beside persistence.")
    added.add_argument("folder", metavar="RUN", help="run folder")
    added.add_argument("--checkpoint", default="best", help="best, last, or a number of steps")
    added.add_argument("--device", default="auto")
    added = verb("forecast", run_forecast, "Forecast the frames that follow those of a file.")
    added.add_argument("folder", metavar="RUN", help="run folder, or published checkpoint folder")
    added.add_argument("input", metavar="INPUT", help="observed frames, .npy or .npz")
    added.add_argument("--output", required=True, metavar="FILE", help=".npz, .gif or .png")
    added.add_argument("--horizon", type=int, help="frames to forecast")
    added.add_argument("--samples", type=int, default=1, help="futures to draw; default 1")
    added.add_argument("--context", type=int, help="last frames of INPUT to use")
    added.add_argument("--substeps", type=int, help="Euler steps per frame")
    added.add_argument("--seed", type=int, default=1, help="of the samples; default 1")
    added.add_argument("--checkpoint", default="best", help="best, last, or a number of steps")
    added.add_argument("--device", default="auto")
    added = verb("demo", run_demo, "Train two small models, score them and draw their forecasts.")
    added.add_argument("--output", default="demo", metavar="FOLDER", help="default: demo")
    return parser


def run_list(options: argparse.Namespace) -> int:
    """Print what there is."""
    from statecast.data import DATASETS
    from statecast.metrics import METRICS
    from statecast.models import MODELS
    from statecast.options import recipe_names

    def section(title: str, rows: dict[str, str]) -> None:
        width = max(map(len, rows))
        print(f"{title}\n" + "".join(f"  {n.ljust(width)}  {t}\n" for n, t in rows.items()))

    section("Recipes (statecast train NAME)", recipe_names())
    for title, registry in (("Models", MODELS), ("Data sets", DATASETS), ("Metrics", METRICS)):
        section(title, {n: (c.__doc__ or "").split("\n")[0] for n, c in registry.items()})
    return 0


def run_train(options: argparse.Namespace, overrides: list[str]) -> int:
    """Train a recipe, or go on with a run."""
    from statecast.errors import InputError
    from statecast.options import read_recipe, resolve
    from statecast.runs import create_run, open_run, train_run

    if (options.recipe is None) == (options.resume is None):
        raise InputError("Give a recipe to train, or --resume RUN. `statecast list` names recipes.")
    if options.print_config:
        import yaml

        tables = resolve(read_recipe(options.recipe), overrides, origin=options.recipe)
        print(yaml.safe_dump(tables, sort_keys=False, allow_unicode=True), end="")
        return 0
    if options.resume is not None:
        if overrides or options.output:
            raise InputError("A resumed training keeps its recipe; leave other options out.")
        run = open_run(options.resume)
    else:
        run = create_run(options.recipe, options.output, overrides)
    print(f"Training {run.name} in {run.folder}", file=sys.stderr)
    result = train_run(run, resume=options.resume is not None)
    if result.reason == "signal":
        print(f"Saved at step {result.step}. Go on with: statecast train --resume {run.folder}")
        return STOPPED
    print(f"Trained {result.step} steps in {result.seconds / 60:.1f} min: {run.folder}")
    print(f"Next: statecast evaluate {run.folder}")
    return 0


def run_evaluate(options: argparse.Namespace, overrides: list[str]) -> int:
    """Score a run."""
    from statecast.evaluation import table
    from statecast.plots import plot_scores
    from statecast.runs import evaluate_run, open_run

    run = open_run(options.folder)
    scores = evaluate_run(run, overrides, which=options.checkpoint, device=options.device)
    print(table(scores))
    for metric, reason in scores["not_computed"].items():
        print(f"{metric} was not computed: {reason}")
    picture = plot_scores(scores, run.folder / "scores.png")
    print(f"Written: {run.folder / 'scores.json'}, {picture}")
    return 0


def run_forecast(options: argparse.Namespace) -> int:
    """Forecast from a file to a file."""
    from pathlib import Path

    from statecast.forecasting import forecast_file
    from statecast.official import is_official, load_official
    from statecast.precision import device_of
    from statecast.runs import open_run

    if is_official(options.folder):
        model = load_official(options.folder).to(device_of(options.device))
    else:
        model = open_run(options.folder).load(options.checkpoint, device=options.device)
    forecast = forecast_file(
        model,
        options.input,
        options.output,
        horizon=options.horizon,
        samples=options.samples,
        context=options.context,
        substeps=options.substeps,
        seed=options.seed,
    )
    shape = ", ".join(map(str, forecast.samples.shape))
    print(f"Written: {Path(options.output)}, (sample, batch, time, channel, *space) = ({shape})")
    return 0


def run_demo(options: argparse.Namespace) -> int:
    """Train, score and draw both models."""
    from statecast.demo import demo

    demo(options.output)
    return 0


if __name__ == "__main__":
    raise SystemExit(main())

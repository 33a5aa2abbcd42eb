"""Recipes resolved to complete options: a table holds the keyword arguments of a callable."""

from __future__ import annotations

import difflib
import os
import re
import warnings
from collections.abc import Mapping, Sequence
from importlib import resources
from pathlib import Path
from typing import Any

from statecast.data import DATASETS
from statecast.errors import FileError, InputError
from statecast.evaluation.evaluate import evaluate
from statecast.io.json_yaml import LARGEST_YAML, check_plain, parse_yaml, read_text
from statecast.models import MODELS
from statecast.models.change import ReferenceName
from statecast.runs.recipes import recipe_names
from statecast.training.options import TrainingOptions

CODE = ("evaluate.fvd_weights",)  # options that name a file of code, which is run
Tables = dict[str, dict[str, Any]]
UNION = re.compile(  # in messages of jsonargparse
    r'Parser key "([\w.]+)": Does not validate.*? Subtypes: [\[(](.*?)[\])] Errors:.*'
    r"Given value: (.*)"
)
PLAIN = re.compile(r"""Parser key "([\w.]+)": Expected an? (<class '\w+'>)\. Got value: (.*)""")
REGISTRIES: dict[str, Mapping[str, type]] = {"model": MODELS, "data": DATASETS}
GIVEN: dict[str, set[str | int]] = {  # arguments that do not come from a recipe
    "model": {"spec", "generator"},
    "data": set(),
    "train": set(),
    "evaluate": {"model", "data", "name"},
}


def read_recipe(name: str) -> Tables:
    """A recipe by name, or from a YAML file.

    Errors:
        InputError: there is no such recipe, or it is not made of tables.
        FileError: the file cannot be read.
    """
    names = recipe_names()
    if name in names:
        text = (resources.files("statecast.runs.recipes") / f"{name}.yaml").read_text()
    elif name.endswith((".yaml", ".yml")):
        try:
            text = read_text(Path(os.path.realpath(name)), LARGEST_YAML)
        except (OSError, ValueError) as error:
            raise FileError(f"The recipe {name} cannot be read: {error}.") from error
    else:
        raise InputError(
            f"There is no recipe {name!r}{nearest(name, names)} `statecast list` names all "
            "recipes. The name of a recipe file must end in .yaml."
        )
    return as_tables(text, name)


def as_tables(text: str, origin: str) -> Tables:
    """YAML text as tables of options.

    Errors:
        InputError: it is not YAML, or not tables by name.
    """
    try:
        content = parse_yaml(text)
    except ValueError as error:
        raise InputError(f"{origin} is not valid YAML: {error}.") from error
    tables = isinstance(content, dict) and all(isinstance(name, str) for name in content)
    if not tables or not all(isinstance(table, dict) for table in content.values()):
        raise InputError(
            f"{origin} should hold the tables {', '.join(GIVEN)}, each with its options."
        )
    return content


def resolve(tables: Tables, overrides: Sequence[str] = (), *, origin: str = "The recipe") -> Tables:
    """Complete tables: every default written out, overrides applied, every type checked.

    Args:
        tables: the tables of a recipe.
        overrides: as on a command line: `--table.option value` or `--table.option=value`.
        origin: named in errors.

    Errors:
        InputError: a table, name or option is unknown (the message names the nearest known one), a
            value has the wrong type, or the recipe names a file of code.
    """
    unknown = [table for table in tables if table not in GIVEN]
    if unknown:
        raise InputError(f"{origin} has a table {unknown[0]!r}{nearest(unknown[0], GIVEN)}")
    given = dict(pairs(overrides))
    check_code(tables, origin)
    check_texts([tables, given], origin)
    names = {kind: name_of(kind, tables, given, origin) for kind in REGISTRIES}
    parser = parser_for(names)
    known = known_options(parser)
    tables = shared_options(tables, names, known)
    for table, values in tables.items():
        for option in values:
            check_known(f"{table}.{option}", known, origin)
    for option in given:
        check_known(option, known, "The command line")
    defaults = {f"{t}.{o}": v for t, values in tables.items() for o, v in values.items()}
    return parse(parser, defaults, given, origin)


def shared_options(tables: Tables, names: Mapping[str, str], known: Sequence[str]) -> Tables:
    """Tables without options that a model or data set does not have that replaces the recipe's."""
    kept = dict(tables)
    for kind, name in names.items():
        values = tables.get(kind, {})
        if values.get("name", name) == name:
            continue
        lost = [option for option in values if f"{kind}.{option}" not in known]
        kept[kind] = {o: v for o, v in values.items() if o not in lost} | {"name": name}
        if lost:
            warnings.warn(
                f"{name} has no options {', '.join(lost)}; the recipe's values for "
                f"{values['name']} are left out.",
                stacklevel=3,
            )
    return kept


def check_code(tables: Tables, origin: str) -> None:
    """Raise `InputError` if a recipe names a file of code, which only its user may do."""
    for option in CODE:
        table, name = option.split(".")
        if tables.get(table, {}).get(name) is not None:
            raise InputError(
                f"{origin} sets {option}, which names a file of code to run. Give it on the "
                "command line of `statecast evaluate`, or in STATECAST_FVD_I3D."
            )


def check_texts(values: Any, origin: str) -> None:
    """Raise `InputError` for YAML that expands when it is parsed; see `check_plain`.

    jsonargparse parses text as YAML if an option takes another type.
    """
    pending = [values]
    while pending:
        value = pending.pop()
        if isinstance(value, Mapping):
            pending += [*value.keys(), *value.values()]
        elif isinstance(value, list | tuple):
            pending += value
        elif isinstance(value, str):
            try:
                check_plain(value)
            except ValueError as error:
                raise InputError(f"{origin} holds the text {value[:40]!r}: {error}.") from error


def without_code(tables: Tables) -> Tables:
    """Tables to write down, without the options that name code, which only a user may give."""
    kept = {table: dict(values) for table, values in tables.items()}
    for option in CODE:
        table, name = option.split(".")
        kept[table][name] = None
    return kept


def name_of(kind: str, tables: Tables, given: Mapping[str, str], origin: str) -> str:
    """The requested model or data set."""
    name = given.get(f"{kind}.name", tables.get(kind, {}).get("name"))
    registry = REGISTRIES[kind]
    if name is None:
        raise InputError(f"{origin} names no {kind}. Set {kind}.name to one of {list(registry)}.")
    if not isinstance(name, str) or name not in registry:
        raise InputError(f"There is no {kind} {name!r}{nearest(str(name), registry)}")
    return name


def parser_for(names: Mapping[str, str]) -> Any:
    """A parser whose options are the signatures of the callables behind each table."""
    from jsonargparse import ArgumentParser

    parser = ArgumentParser(exit_on_error=False, prog="statecast train RECIPE")
    for kind, registry in REGISTRIES.items():
        group = registry[names[kind]]
        parser.add_argument(f"--{kind}.name", type=str, default=names[kind])
        parser.add_class_arguments(group, kind, skip=GIVEN[kind])
    parser.add_argument(
        "--data.thin", type=float, default=0.0, help="probability that a frame is left out"
    )
    parser.add_argument("--model.reference", type=ReferenceName, default="none")
    parser.add_argument("--model.spread", type=bool, default=True)
    parser.add_class_arguments(TrainingOptions, "train")
    parser.add_function_arguments(evaluate, "evaluate", skip=GIVEN["evaluate"])
    return parser


def describe_options(recipe: str) -> str:
    """Every option of a recipe, with its meaning and its value in the recipe.

    Errors:
        InputError: as `read_recipe` and `resolve`.
    """
    tables = read_recipe(recipe)
    values = resolve(tables, origin=recipe)
    parser = parser_for({kind: values[kind]["name"] for kind in REGISTRIES})
    parser.set_defaults(
        {f"{table}.{o}": v for table, options in values.items() for o, v in options.items()}
    )
    text: str = parser.format_help()
    # Without usage, --help, and options that read tables from files: a recipe replaces them.
    text = re.sub(r" *--\w+ CONFIG\s+Path to a configuration file\.\n", "", text)
    return text[text.index("  --model.name") :].rstrip("\n")


def known_options(parser: Any) -> list[str]:
    """Names of all options, as table.option."""
    return [
        action.dest
        for action in parser._actions
        if "." in action.dest and action.option_strings and "--help" not in action.option_strings
    ]


def parse(
    parser: Any, defaults: Mapping[str, Any], given: Mapping[str, str], origin: str
) -> Tables:
    """Let the parser check every value."""
    from jsonargparse import ArgumentError, Namespace

    nested: Tables = {}
    for option, value in defaults.items():
        table, name = option.split(".", 1)
        nested.setdefault(table, {})[name] = value
    try:
        config = parser.parse_object(nested)
        if given:
            arguments = [f"--{option}={value}" for option, value in given.items()]
            config = parser.parse_args(arguments, namespace=config, defaults=False)
    except (ArgumentError, TypeError, ValueError, KeyError, RecursionError) as error:
        raise InputError(f"{origin} does not fit: {plain_reason(error)}") from error
    assert isinstance(config, Namespace)
    return {table: plain(values) for table, values in config.as_dict().items() if table in GIVEN}


def plain_reason(error: Exception) -> str:
    """The reason that the parser gives, without its jargon for types."""
    reason = " ".join(str(error).split())
    found = UNION.match(reason) or PLAIN.match(reason)
    if found is None:
        return reason
    kinds = re.sub(r"<class '([\w.]+)'>", r"\1", found[2]).replace(", NoneType", "")
    return f"{found[1]} takes {kinds}, got {found[3]}."


def plain(value: Any) -> Any:
    """Tuples as lists, so that YAML and JSON can hold them."""
    if isinstance(value, dict):
        return {key: plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [plain(item) for item in value]
    return value


def pairs(overrides: Sequence[str]) -> list[tuple[str, str]]:
    """`--a.b value` and `--a.b=value` as pairs.

    Errors:
        InputError: a word has neither form, or an option has no value.
    """
    result, rest = [], list(overrides)
    while rest:
        word = rest.pop(0)
        if not word.startswith("--") or "." not in word.split("=", 1)[0]:
            raise InputError(f"Expected an option like --train.steps 1000, got {word!r}.")
        name, equals, value = word.removeprefix("--").partition("=")
        if not equals:
            if not rest:
                raise InputError(f"The option --{name} needs a value.")
            value = rest.pop(0)
        result.append((name, value))
    return result


def check_known(option: str, known: Sequence[str], origin: str) -> None:
    """Raise `InputError` naming the nearest option unless this one is known."""
    if option not in known:
        raise InputError(f"{origin} has an unknown option {option!r}{nearest(option, known)}")


def nearest(name: str, known: Mapping[str, Any] | Sequence[str]) -> str:
    """The end of a sentence that suggests a known name."""
    # The same option of another table, or else the one with the most similar spelling.
    option = name.rsplit(".", 1)[-1]
    found = [other for other in known if "." in other and other.rsplit(".", 1)[-1] == option][:1]
    found = found or difflib.get_close_matches(name, list(known), n=1, cutoff=0.5)
    return f"; did you mean {found[0]!r}?" if found else "."

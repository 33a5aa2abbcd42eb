"""Small mistakes, put into the source one at a time: do the tests nearest to it notice?

    python tests/mutation/mutate.py --count 100 --seed 1 [metrics/base.py …]

The tests are collected once, and run once to learn which of them calls which function. Each mutant
lives in a fork of that process, where it is tried by the tests that call its function, the shortest
first. A survivor is an error unless `explained.yaml` says why nothing can notice it. With `--each`,
the count is of each file.
"""

from __future__ import annotations

import argparse
import ast
import copy
import gc
import json
import os
import random
import signal
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from types import FunctionType, ModuleType
from typing import NamedTuple

import pytest
import yaml

TESTS = Path(__file__).parents[1]
SOURCE = TESTS.parent / "src" / "statecast"
NEAREST = yaml.safe_load((Path(__file__).parent / "nearest.yaml").read_text())
EXPLAINED = yaml.safe_load((Path(__file__).parent / "explained.yaml").read_text())
SWAPS = {
    ast.Add: ast.Sub, ast.Sub: ast.Add, ast.Mult: ast.Div, ast.Div: ast.Mult, ast.Pow: ast.Mult,
    ast.FloorDiv: ast.Mult, ast.Lt: ast.LtE, ast.LtE: ast.Lt, ast.Gt: ast.GtE, ast.GtE: ast.Gt,
    ast.Eq: ast.NotEq, ast.NotEq: ast.Eq, ast.Is: ast.IsNot, ast.IsNot: ast.Is, ast.In: ast.NotIn,
    ast.NotIn: ast.In, ast.And: ast.Or, ast.Or: ast.And, ast.BitAnd: ast.BitOr,
}  # fmt: skip
WORDS = {"min": "max", "any": "all", "sum": "mean", "argmin": "argmax", "square": "abs"}
WORDS |= {new: old for old, new in WORDS.items()}
PLAIN = (bool, int, float, str, tuple, frozenset, type(None))  # kinds of constants
SKIPPED = ("annotation", "returns", "decorator_list")  # fields that hold nothing to test


def variant(node: ast.AST) -> ast.AST | None:
    """A mistake in the place of a node, where there is one to make."""
    new = copy.deepcopy(node)
    match new:
        case ast.Compare(ops=[op]) if type(op) in SWAPS:
            new.ops = [SWAPS[type(op)]()]
        case ast.BinOp(op=op) | ast.BoolOp(op=op) if type(op) in SWAPS:
            new.op = SWAPS[type(op)]()
        case ast.UnaryOp(op=ast.Not() | ast.USub()):
            return new.operand
        case ast.Constant(value=bool(value)):
            new.value = not value
        case ast.Constant(value=int(value) | float(value)):
            new.value = value + 1
        case ast.IfExp():
            new.test = ast.UnaryOp(ast.Not(), new.test)
        case ast.Attribute(attr=word) if word in WORDS:
            new.attr = WORDS[word]
        case ast.Name(id=word) if word in ("min", "max", "any", "all"):
            new.id = WORDS[word]
        case _:
            return None
    return new


class Mutant(NamedTuple):
    """One mistake in one file."""

    file: str  # below src/statecast
    function: str  # qualified name of the outermost function that it is in; "" outside of all
    name: str  # file, place and change
    source: str  # of the whole file, with the mistake


def mutants_of(file: str) -> Iterator[Mutant]:
    """Every mistake that can be made in a file."""
    tree = ast.parse((SOURCE / file).read_text())

    def visit(node: ast.AST, where: str, function: str) -> Iterator[Mutant]:
        if isinstance(node, ast.ClassDef | ast.FunctionDef):
            where = f"{where}{node.name}."
            if isinstance(node, ast.FunctionDef):
                function = function or where[:-1]
        if isinstance(node, ast.arguments):
            function = ""  # defaults are seen without a call
        for name, value in ast.iter_fields(node):
            children = value if isinstance(value, list) else [value]
            for index, child in enumerate(children):
                if name in SKIPPED or not isinstance(child, ast.AST):
                    continue
                if isinstance(child, ast.JoinedStr | ast.Raise) or "strict" in vars(child).values():
                    continue  # words, and `strict=True` of zip
                if (new := variant(child)) is not None:
                    within = isinstance(node, ast.expr | ast.keyword)  # else too long to show
                    before = ast.unparse(node if within else child)
                    children[index] = new
                    setattr(node, name, children if isinstance(value, list) else new)
                    change = f"{before} → {ast.unparse(node if within else new)}"
                    called = f"{file}: {where[:-1]}: {change}"
                    yield Mutant(file, function, called, ast.unparse(tree))
                    children[index] = child
                    setattr(node, name, value)
                yield from visit(child, where, function)

    return visit(tree, "", "")


def module_of(file: str) -> ModuleType:
    """The module of a file, as the tests have imported it."""
    return sys.modules["statecast." + file.removesuffix(".py").replace("/", ".")]


def telling(file: str) -> str:
    """The source of a file, each of whose functions adds its name to `CALLED`."""
    tree = ast.parse((SOURCE / file).read_text())

    def visit(node: ast.AST, where: str) -> None:
        if isinstance(node, ast.ClassDef | ast.FunctionDef):
            where = f"{where}{node.name}."
        for child in ast.iter_child_nodes(node):
            visit(child, where)
        if isinstance(node, ast.FunctionDef):
            node.body[:0] = ast.parse(f"CALLED.add({f'{file} {where[:-1]}'!r})").body

    visit(tree, "")
    return ast.unparse(tree)


def adopt(file: str, source: str, called: set[str] | None = None) -> None:
    """Put other source in the place of a file's, in functions and constants that are in use."""
    old = module_of(file)
    new = ModuleType(old.__name__)
    new.__file__ = old.__file__
    vars(old)["CALLED"] = vars(new)["CALLED"] = called
    exec(compile(source, str(old.__file__), "exec"), new.__dict__)
    functions = [f for f in gc.get_objects() if type(f) is FunctionType]
    named = {f.__qualname__: f for f in functions if f.__globals__ is new.__dict__}
    for function in functions:
        if function.__globals__ is old.__dict__ and function.__qualname__ in named:
            other = named[function.__qualname__]
            function.__code__ = other.__code__
            function.__defaults__, function.__kwdefaults__ = (
                other.__defaults__,
                other.__kwdefaults__,
            )
    for name, value in vars(new).items():
        before = vars(old).get(name)
        if isinstance(value, type) and value.__module__ == old.__name__:
            for key, content in vars(value).items():
                if isinstance(content, PLAIN) and not key.startswith("__"):
                    setattr(before, key, content)
        elif isinstance(value, PLAIN) and not name.startswith("__") and value != before:
            for module in [m for m in sys.modules.values() if vars(m).get(name) is before]:
                setattr(module, name, value)


class Calls(NamedTuple):
    """One run of a test."""

    seconds: float
    functions: list[str]  # file and qualified name of those that it called


def in_fork(work: Callable[[], bool], limit: float) -> bool | None:
    """Whether work in a fork of this process ends well; None where that takes too many seconds."""
    sys.stdout.flush()
    if (number := os.fork()) == 0:
        os.setpgid(0, 0)
        status, nothing = 1, os.open(os.devnull, os.O_WRONLY)
        os.dup2(nothing, 1)
        os.dup2(nothing, 2)
        with suppress(BaseException):
            status = 0 if work() else 1
        os._exit(status)
    end = time.monotonic() + limit
    while time.monotonic() < end:
        done, status = os.waitpid(number, os.WNOHANG)
        if done:
            return os.waitstatus_to_exitcode(status) == 0
        time.sleep(0.02)
    os.killpg(number, signal.SIGKILL)
    os.waitpid(number, 0)
    return None


class Trial:
    """A plugin of pytest: what it collects is run once as it is, and then against mutants.

    Args:
        mutants: to be tried.
    """

    def __init__(self, mutants: list[Mutant]) -> None:
        self.mutants = mutants
        self.counts = dict.fromkeys(("killed", "timed out", "explained", "survived"), 0)

    def pytest_runtestloop(self, session: pytest.Session) -> bool:
        """Try all mutants with the tests of a session."""
        with tempfile.NamedTemporaryFile() as record:
            if not in_fork(lambda: self.listen(session, record.name), 3600):
                raise pytest.UsageError(f"{record.read().decode()} fails without any mistake.")
            calls = {name: Calls(*call) for name, call in json.load(record).items()}
        for mutant in self.mutants:
            state = "explained"
            if mutant.name not in EXPLAINED:
                found = self.survives(session, mutant, calls)
                state = {True: "survived", False: "killed", None: "timed out"}[found]
            self.counts[state] += 1
            print(f"{state}  {mutant.name}", flush=True)
        return True

    def listen(self, session: pytest.Session, record: str) -> bool:
        """Run all tests, and write down how long each takes and what it calls.

        Functions tell that they are called by source that is adopted as that of mutants is.
        """
        called: set[str] = set()
        for file in {mutant.file for mutant in self.mutants}:
            adopt(file, telling(file), called)
        found: dict[str, Calls] = {}
        for item in session.items:
            called.clear()
            started = time.monotonic()
            passed = self.passes(session, item)
            if not passed:
                Path(record).write_text(item.nodeid)
                return False
            found[item.nodeid] = Calls(time.monotonic() - started, sorted(called))
        Path(record).write_text(json.dumps(found))
        return True

    def survives(
        self, session: pytest.Session, mutant: Mutant, calls: dict[str, Calls]
    ) -> bool | None:
        """Whether every test that calls the function of a mutant passes with it, and in time."""
        near = tuple(str(TESTS / test) for test in NEAREST[mutant.file])
        chosen = [
            item
            for item in sorted(session.items, key=lambda item: calls[item.nodeid].seconds)
            if f"{mutant.file} {mutant.function}" in calls[item.nodeid].functions
            or (not mutant.function and f"{item.path}::{item.name}".startswith(near))
        ]

        def work() -> bool:
            adopt(mutant.file, mutant.source)
            return all(self.passes(session, item) for item in chosen)

        return in_fork(work, 10 + 4 * sum(calls[item.nodeid].seconds for item in chosen))

    def passes(self, session: pytest.Session, item: pytest.Item) -> bool:
        """Whether a test passes, by itself."""
        session.config.hook.pytest_runtest_protocol(item=item, nextitem=None)
        return session.testsfailed == 0


def main() -> None:
    """Read the command line, try mutants, say what came of them."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("files", nargs="*", default=list(NEAREST), help="below src/statecast")
    parser.add_argument("--count", type=int, default=100, help="mutants to try, drawn at random")
    parser.add_argument("--each", action="store_true", help="try so many of each file")
    parser.add_argument("--seed", type=int, default=1)
    asked = parser.parse_args()
    found = [list(mutants_of(file)) for file in asked.files]
    groups = found if asked.each else [[mutant for group in found for mutant in group]]
    for group in groups:
        random.Random(asked.seed).shuffle(group)
    trial = Trial(sorted(mutant for group in groups for mutant in group[: asked.count]))
    tests = {test for mutant in trial.mutants for test in NEAREST[mutant.file]}
    options = ["-q", "--capture=no", "--assert=plain", "-p", "no:cacheprovider", "-p", "no:xdist"]
    status = pytest.main([*options, *sorted(str(TESTS / test) for test in tests)], [trial])
    total = sum(map(len, found))
    print(f"{sum(trial.counts.values())} of {total} mutants tried: {trial.counts}")
    raise SystemExit(int(status) or trial.counts["survived"] > 0)


if __name__ == "__main__":
    main()

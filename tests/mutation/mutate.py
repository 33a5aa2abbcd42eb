"""Small mistakes, put into the source one at a time: do the tests nearest to it notice?

    python tests/mutation/mutate.py --count 100 --seed 1 [metrics/base.py …]

Each mutant runs in a fork of a process that has imported PyTorch once. Survivors are printed, and
are an error unless `explained.yaml` says why nothing can notice them.
"""

from __future__ import annotations

import argparse
import ast
import contextlib
import copy
import importlib
import os
import random
import signal
import sys
import time
from collections.abc import Iterator
from importlib.machinery import SourceFileLoader
from importlib.util import spec_from_file_location
from pathlib import Path

import yaml

TESTS = Path(__file__).parents[1]
SOURCE = TESTS.parent / "src" / "statecast"
HEAVY = (
    "torch",
    "numpy",
    "pytest",
    "scipy.stats",
    "skimage.metrics",
    "scoringrules",
    "hypothesis",
    "xarray",
    "safetensors.torch",
    "jaxtyping",
    "beartype",
    "matplotlib.pyplot",
    "torchdiffeq",
)
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


def mutants_of(file: str) -> Iterator[tuple[str, str, str]]:
    """File, description and source of every mistake that can be made in a file."""
    tree = ast.parse((SOURCE / file).read_text())

    def visit(node: ast.AST, where: str) -> Iterator[tuple[str, str, str]]:
        if isinstance(node, ast.ClassDef | ast.FunctionDef):
            where = f"{where}{node.name}."
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
                    yield file, f"{file}: {where[:-1]}: {change}", ast.unparse(tree)
                    children[index] = child
                    setattr(node, name, value)
                yield from visit(child, where)

    return visit(tree, "")


def survives(file: str, source: str | None, limit: float) -> bool:
    """Whether the tests nearest to a file pass within so many seconds, with another source."""
    if (number := os.fork()) == 0:
        run_tests(file, source)
    end = time.monotonic() + limit
    while time.monotonic() < end:
        done, status = os.waitpid(number, os.WNOHANG)
        if done:
            return os.waitstatus_to_exitcode(status) == 0
        time.sleep(0.02)
    os.killpg(number, signal.SIGKILL)
    os.waitpid(number, 0)
    return False


def run_tests(file: str, source: str | None) -> None:
    """Run the tests nearest to a file in this process, which ends with their exit status."""
    os.setpgid(0, 0)
    module = "statecast." + file.removesuffix(".py").replace("/", ".")

    class Loader(SourceFileLoader):
        def get_code(self, fullname):
            return compile(source, self.path, "exec")

    class Finder:
        @staticmethod
        def find_spec(name, path=None, target=None):
            if name != module or source is None:
                return None
            place = str(SOURCE / file)
            return spec_from_file_location(name, place, loader=Loader(name, place))

    sys.meta_path.insert(0, Finder)
    nothing = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nothing, 1)
    os.dup2(nothing, 2)
    import pytest

    status = 1
    with contextlib.suppress(BaseException):
        tests = [str(TESTS / test) for test in NEAREST[file]]
        status = pytest.main(["-x", "-q", "--assert=plain", "-p", "no:cacheprovider", *tests])
    os._exit(int(status))


def main() -> None:
    """Read the command line, try mutants, say what came of them."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("files", nargs="*", default=list(NEAREST), help="below src/statecast")
    parser.add_argument("--count", type=int, default=100, help="mutants to try, drawn at random")
    parser.add_argument("--seed", type=int, default=1)
    asked = parser.parse_args()
    found = [mutant for file in asked.files for mutant in mutants_of(file)]
    random.Random(asked.seed).shuffle(found)
    sys.path.insert(0, str(TESTS))
    for name in HEAVY:
        importlib.import_module(name)
    limits: dict[str, float] = {}
    counts = dict.fromkeys(("killed", "explained", "survived"), 0)
    for file, mutant, source in sorted(found[: asked.count]):
        if file not in limits:
            started = time.monotonic()
            if not survives(file, None, 600):
                raise SystemExit(f"The tests of {file} fail without any mistake.")
            limits[file] = 10 + 4 * (time.monotonic() - started)
        if mutant in EXPLAINED:
            state = "explained"
        else:
            state = "survived" if survives(file, source, limits[file]) else "killed"
        counts[state] += 1
        if state == "survived":
            print(f"SURVIVED  {mutant}", flush=True)
    print(f"{sum(counts.values())} of {len(found)} mutants tried: {counts}")
    raise SystemExit(counts["survived"] > 0)


if __name__ == "__main__":
    main()

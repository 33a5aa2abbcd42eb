"""No file of the package imports itself through others, lazy and type-only imports included."""

import ast
from graphlib import CycleError, TopologicalSorter
from importlib import resources
from pathlib import Path

import pytest

PACKAGE = "statecast"
ROOT = Path(str(resources.files(PACKAGE)))


def module_of(path: Path, root: Path = ROOT) -> str:
    """Dotted name of the module that a file holds."""
    parts = [PACKAGE, *path.relative_to(root).with_suffix("").parts]
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def imports_of(tree: ast.AST, known: set[str]) -> set[str]:
    """Modules that a file names in any import statement, wherever it stands."""
    found: set[str] = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, "imports are absolute"
            names = {f"{node.module}.{alias.name}" for alias in node.names}
            # `from package import name` reads the package itself unless each name is a module.
            found |= names & known if names <= known else {str(node.module), *names}
    return found & known


def graph_of(root: Path) -> dict[str, set[str]]:
    """Imports of the package by each of its modules."""
    files = {module_of(path, root): path for path in root.rglob("*.py")}
    known = set(files)
    return {
        name: imports_of(ast.parse(path.read_text()), known) - {name}
        for name, path in files.items()
    }  # fmt: skip


def test_no_circle_of_imports_between_files():
    graph = graph_of(ROOT)
    # The package itself names everything that it offers, and loads each name when it is asked for.
    graph[PACKAGE] = set()
    assert len(graph) > 100
    try:
        TopologicalSorter(graph).prepare()
    except CycleError as error:
        pytest.fail(f"a circle of imports: {' → '.join(error.args[1])}")


@pytest.mark.parametrize(
    "lazily",
    [
        "def f():\n    from statecast.a import x\n",
        "from typing import TYPE_CHECKING\nif TYPE_CHECKING:\n    from statecast import a\n",
        "import statecast.a\n",
    ],
)
def test_a_circle_is_found_however_it_is_hidden(tmp_path, lazily):
    (tmp_path / "__init__.py").write_text("")
    (tmp_path / "a.py").write_text("from statecast.b import y\n")
    (tmp_path / "b.py").write_text(lazily)
    with pytest.raises(CycleError):
        TopologicalSorter(graph_of(tmp_path)).prepare()

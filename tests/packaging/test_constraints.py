"""constraints.txt is current: what pyproject.toml asks for is pinned, fits, and nothing else is."""

import tomllib
from importlib import metadata
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name
from packaging.version import Version

ROOT = Path(__file__).parents[2]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
LINES = [
    line for line in (ROOT / "constraints.txt").read_text().splitlines()
    if line and not line.startswith("#")
]  # fmt: skip
PINS = {canonicalize_name(line.split("==")[0]): Version(line.split("==")[1]) for line in LINES}
# Brought in where no package that is installed here says so: by pip, or on other systems.
ELSEWHERE = {"pip", "setuptools", "colorama"}
ON_GPUS = ("nvidia-", "cuda-", "triton")  # of PyTorch's builds, which bring their own versions


def demands():
    """Every requirement of the package and of all its extras, but for its own extras."""
    groups = [PROJECT["dependencies"], *PROJECT["optional-dependencies"].values()]
    wanted = [Requirement(text) for group in groups for text in group]
    return [one for one in wanted if canonicalize_name(one.name) != PROJECT["name"]]


def brought(name):
    """The requirements of an installed package here, with all that they require."""
    found, pending = set(), [(name, frozenset())]
    while pending:
        package, extras = pending.pop()
        try:
            texts = metadata.requires(package) or []
        except metadata.PackageNotFoundError:
            continue
        for text in texts:
            needed = Requirement(text)
            if needed.marker and not any(
                needed.marker.evaluate({"extra": extra}) for extra in (extras or {""})
            ):
                continue
            key = canonicalize_name(needed.name)
            if key not in found and key not in ELSEWHERE and not key.startswith(ON_GPUS):
                found.add(key)
                pending.append((key, frozenset(needed.extras)))
    return found


@pytest.mark.parametrize("wanted", demands(), ids=str)
def test_every_dependency_is_pinned_within_its_bounds(wanted):
    name = canonicalize_name(wanted.name)
    assert name in PINS, f"pin {name} in constraints.txt"
    assert wanted.specifier.contains(PINS[name], prereleases=True)


def test_pins_are_exact_once_and_in_order():
    assert len(PINS) == len(LINES)
    assert sorted(LINES, key=str.lower) == LINES


def test_what_dependencies_bring_is_pinned_and_nothing_else_is():
    """As far as they are installed here; where not all are, unused pins cannot be told."""
    direct = {canonicalize_name(one.name) for one in demands()}
    here = {canonicalize_name(dist.name) for dist in metadata.distributions()}
    needed = set(direct)
    for one in demands():
        needed |= brought(one.name) | {
            key for extra in one.extras for key in brought(f"{one.name}") if extra
        }
    assert needed & here <= PINS.keys(), f"pin {sorted((needed & here) - PINS.keys())}"
    if direct <= here:
        # Extras of what is brought, such as those of jsonargparse, are looked for by name.
        for requirement in demands():
            for text in metadata.requires(requirement.name) or []:
                inner = Requirement(text)
                if any(inner.marker and inner.marker.evaluate({"extra": e})
                       for e in requirement.extras):  # fmt: skip
                    needed |= {canonicalize_name(inner.name)} | brought(inner.name)
        unused = PINS.keys() - needed
        assert not unused, f"nothing needs {sorted(unused)}: leave them out of constraints.txt"

"""Start-up: what a command imports before it does anything, and what it never needs."""

import subprocess
import sys

import pytest

from statecast.cli.commands import VERBS

REPORT = (
    "print()\n"
    "outside = {name.split('.')[0] for name in sys.modules} - set(sys.stdlib_module_names)\n"
    "own = [name for name in sys.modules if name.split('.')[0] == 'statecast']\n"
    "print(' '.join(sorted(outside - before)))\n"
    "print(' '.join(sorted(own)))"
)
# Of the packages that statecast can use, those that do not tell what there is.
NEVER_FOR_LIST = {
    "PIL", "av", "cftime", "h5netcdf", "h5py", "jsonargparse", "matplotlib", "netCDF4", "pandas",
    "safetensors", "scipy", "skimage", "sklearn", "tensorboard", "torchdiffeq", "xarray", "zarr",
}  # fmt: skip


def modules_after(lines: str) -> tuple[set[str], set[str]]:
    """Packages outside the standard library, and modules of statecast, that code has imported."""
    # What Python imports by itself, for packages installed in place, is not ours.
    before = "import sys\nbefore = {name.split('.')[0] for name in sys.modules}\n"
    done = subprocess.run(
        [sys.executable, "-c", f"{before}{lines}\n{REPORT}"],
        capture_output=True,
        text=True,
        check=True,
    )
    outside, own = done.stdout.splitlines()[-2:]
    return set(outside.split()), set(own.split())


def command(*commands: list[str]) -> str:
    """Code that runs commands of statecast one after the other."""
    return (
        "from statecast.cli.main import main\n"
        f"for words in {list(commands)}:\n"
        "    try:\n        main(words)\n    except SystemExit as end:\n"
        "        assert not end.code, (words, end.code)"
    )


def test_import_loads_its_version_alone():
    outside, own = modules_after("import statecast")
    assert outside == {"statecast"}
    assert own == {"statecast", "statecast.version"}


@pytest.mark.parametrize(
    "commands",
    [[["--help"]], [["--version"]], [[verb, "--help"] for verb in VERBS]],
    ids=["help", "version", "help of every verb"],
)
def test_help_imports_the_standard_library_alone(commands):
    outside, own = modules_after(command(*commands))
    assert outside == {"statecast"}
    assert "statecast.cli.train" in own
    # Nothing of the library itself either, but what reads a command line and words its errors.
    assert not {name.split(".")[1] for name in own if "." in name} & {"models", "data", "nn"}


def test_list_imports_no_more_than_what_it_names():
    outside, _ = modules_after(command(["list"]))
    assert "torch" not in outside
    assert not outside & NEVER_FOR_LIST


def test_a_public_name_is_imported_when_it_is_used():
    outside, own = modules_after("import statecast\nstatecast.StatecastError")
    assert outside == {"statecast"}
    assert own == {"statecast", "statecast.version", "statecast.errors"}


@pytest.mark.parametrize(("before", "after"), [("PYTHONIOENCODING=ascii", ""), ("", ">&-")])
def test_output_that_is_narrow_or_closed_is_no_mistake(before, after):
    words = f"{before} {sys.executable} -m statecast list trained {after}"
    done = subprocess.run(["sh", "-c", words], capture_output=True, text=True, check=True)
    assert done.stderr == ""
    assert ("32?32" in done.stdout) == (after == "")

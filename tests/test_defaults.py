"""Defaults of public signatures are those that were written down.

After a change that is meant, `python tests/test_defaults.py` writes them anew.
"""

import inspect
import json
from pathlib import Path

import statecast

GOLDEN = Path(__file__).parent / "golden" / "defaults.json"


def defaults_of(call) -> dict[str, str]:
    """Default of every argument, as it would be typed."""
    return {
        name: "required" if parameter.default is parameter.empty else repr(parameter.default)
        for name, parameter in inspect.signature(call).parameters.items()
        if name != "self"
    }


def public_defaults() -> dict[str, dict[str, str]]:
    """Arguments and defaults of everything that a user calls."""
    calls = {name: getattr(statecast, name) for name in statecast.__all__ if "Error" not in name}
    for registry in ("MODELS", "DATASETS", "METRICS"):
        calls |= {f"{registry}.{name}": kind for name, kind in getattr(statecast, registry).items()}
    for kind in (statecast.Predictor, statecast.Forecaster, statecast.Forecast):
        methods = inspect.getmembers(kind, inspect.isfunction)
        calls |= {f"{kind.__name__}.{name}": m for name, m in methods if name[0] != "_"}
    return {name: defaults_of(call) for name, call in sorted(calls.items()) if callable(call)}


def test_defaults_of_public_signatures_are_as_written_down():
    found, known = public_defaults(), json.loads(GOLDEN.read_text())
    changes = {
        f"{call}({argument})": (
            known.get(call, {}).get(argument),
            found.get(call, {}).get(argument),
        )
        for call in found | known
        for argument in found.get(call, {}) | known.get(call, {})
    }
    assert {what: change for what, change in changes.items() if change[0] != change[1]} == {}
    assert found.keys() == known.keys()


if __name__ == "__main__":
    lines = [f"{json.dumps(name)}: {json.dumps(v)}" for name, v in public_defaults().items()]
    GOLDEN.write_text("{\n" + ",\n".join(lines) + "\n}\n")

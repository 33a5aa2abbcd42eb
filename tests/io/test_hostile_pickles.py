"""Pickles of strangers, under every name that a file of numbers can have."""

import builtins
import io
import json
import pickle
import zipfile
from collections import OrderedDict

import numpy as np
import pytest
import torch

from statecast.data.synthetic.moving_mnist_file import read_test_set
from statecast.data.user.array_files import open_sequences
from statecast.errors import StatecastError
from statecast.forecasting.inputs import read_array
from statecast.io.torch_files import read_pickle
from statecast.metrics.pretrained_weights import read_weights
from statecast.reports.inspection.inspect_path import inspect_path
from statecast.runs.official.loading import load_official

PROTOCOLS = range(6)


class Call:
    """Pickles into any call."""

    def __init__(self, *parts):
        self.parts = parts

    def __reduce__(self):
        return self.parts


class Rebuilt:
    """A call hidden in the state of what `weights_only` knows, as of published bypasses."""

    def __init__(self, canary):
        self.canary = canary

    def __reduce__(self):
        return OrderedDict, (), {"a": self.canary}


def programs(canary):
    """Pickles that would run the canary."""
    hidden = [{"a": (1, {"b": [canary]})}]
    text = f"open({str(canary.ran)!r}, 'w')"
    return {
        "plain": canary,
        "nested": hidden,
        "key": {(canary,): 1},
        "state": Rebuilt(canary),
        "list": Call(OrderedDict, ([canary],)),
        "eval": Call(builtins.eval, (text,)),
        "exec": Call(builtins.exec, (text,)),
        "getattr": Call(getattr, (canary, "check")),
        "import": Call(builtins.__import__, ("os",)),
        "script": Call(torch.jit.load, (str(canary.secret),)),
        "storage": Call(torch.load, (str(canary.secret),)),
        "file": Call(torch.from_file, (str(canary.secret), False, 64)),
        "memmap": Call(np.memmap, (str(canary.secret),)),
        "open": Call(open, (str(canary.text),)),
    }


NAMES = (
    "plain", "nested", "key", "state", "list", "eval", "exec", "getattr", "import", "script",
    "storage", "file", "memmap", "open",
)  # fmt: skip


def zipped(path, program, name="archive/data.pkl"):
    with zipfile.ZipFile(path, "w", zipfile.ZIP_STORED) as archive:
        archive.writestr(name, program)
        archive.writestr("archive/version", "3\n")
    return path


def legacy(path, program):
    head = b"".join(
        pickle.dumps(value, 2) for value in (0x1950A86A20F9469CFC6C, 1001, {"little_endian": True})
    )
    path.write_bytes(head + program + pickle.dumps([], 2))
    return path


@pytest.mark.parametrize("protocol", PROTOCOLS)
@pytest.mark.parametrize("name", NAMES)
def test_no_pickle_runs_in_any_wrapping_or_protocol(name, protocol, canary, tmp_path):
    program = pickle.dumps(programs(canary)[name], protocol)
    path = tmp_path / "model.pt"
    path.write_bytes(program)
    for made in (path, zipped(tmp_path / "zip.pt", program), legacy(tmp_path / "old.pt", program)):
        with pytest.raises(StatecastError) as caught:
            read_pickle(made)
        assert "\n" not in str(caught.value)
        with pytest.raises(StatecastError):
            read_weights(made)


def test_the_canary_would_sing(canary, tmp_path):
    """These tests can fail: Python's own reader runs what ours refuses."""
    pickle.loads(pickle.dumps(canary))
    assert canary.ran.exists()
    canary.ran.unlink()


@pytest.mark.parametrize(
    "opcode",
    [
        b"cos\nsystem\n",
        b"ios\nsystem\n",
        b"\x8c\x02os\x8c\x06system\x93",
        b"\x82\x01",
        b"\x83\x01\x00",
        b"\x84\x01\x00\x00\x00",
    ],
)
def test_every_instruction_that_names_a_function_is_refused(opcode, canary, tmp_path):
    program = b"\x80\x02(S'" + canary.command.encode() + b"'\n" + opcode + b"R."
    for made in (
        zipped(tmp_path / "zip.pt", program),
        legacy(tmp_path / "old.pt", program),
    ):
        with pytest.raises(StatecastError):
            read_pickle(made)


def test_published_folders_refuse_a_pickle_in_any_file(canary, tmp_path):
    program = pickle.dumps(canary, 2)
    srvp, separable = tmp_path / "srvp", tmp_path / "separable"
    for folder in (srvp, separable):
        folder.mkdir()
    config = {"archi": "dcgan", "nx": 64, "nc": 1, "nt_cond": 5, "seq_len": 15}
    (srvp / "config.json").write_text(
        json.dumps(
            config
            | dict.fromkeys(
                (
                    "ny",
                    "nz",
                    "nf",
                    "nhx",
                    "nh_inf",
                    "nh_res",
                    "nt_inf",
                    "n_euler_steps",
                    "nlayers_inf",
                    "nlayers_res",
                ),
                3,
            )
            | {"skipco": True}
        )
    )
    zipped(srvp / "model.pt", program)
    settings = {
        "architecture": "mlp",
        "decoder_architecture": None,
        "offset": 5,
        "nt_cond": 5,
        "no_s": False,
        "data": "wave",
        "nt_pred": 5,
        "mixing": "mul",
    }
    (separable / "params.json").write_text(json.dumps(settings))
    for name in ("ov_Es", "ov_Et", "decoder", "t_resnet"):
        legacy(separable / f"{name}.pt", program)
    for folder in (srvp, separable):
        for look in (load_official, inspect_path):
            with pytest.raises(StatecastError):
                look(folder)


def object_array(canary):
    array = np.empty(2, dtype=object)
    array[:] = [canary, 1]
    return array


def test_object_arrays_are_refused_in_npy_and_npz(canary, tmp_path):
    np.save(tmp_path / "a.npy", object_array(canary), allow_pickle=True)
    np.savez(
        tmp_path / "a.npz",
        values=object_array(canary),
        sequences=object_array(canary),
        latents=object_array(canary),
        labels=object_array(canary),
    )
    structured = np.zeros(2, dtype=[("a", object), ("b", "f4")])
    structured["a"][0] = canary
    np.save(tmp_path / "b.npy", structured, allow_pickle=True)
    for name in ("a.npy", "a.npz", "b.npy"):
        for read in (read_array, open_sequences):
            with pytest.raises(StatecastError):
                read(tmp_path / name)
    for name in ("a.npy", "b.npy"):
        with pytest.raises(StatecastError):
            inspect_path(tmp_path / name)
    assert "not unpacked" in inspect_path(tmp_path / "a.npz").text
    with pytest.raises(StatecastError):
        read_test_set(tmp_path / "a.npz", length=1, size=1)


@pytest.mark.parametrize("ending", [".npy", ".npz"])
def test_a_bare_pickle_under_the_name_of_an_array_is_refused(ending, canary, tmp_path):
    path = tmp_path / f"a{ending}"
    path.write_bytes(pickle.dumps(canary))
    with pytest.raises(StatecastError):
        read_array(path)
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("values", pickle.dumps(canary))
        archive.writestr("values.npy", pickle.dumps(canary))
    for read in (read_array, open_sequences, inspect_path):
        with pytest.raises(StatecastError):
            read(path)


def test_members_with_names_of_other_places_are_neither_written_nor_read(canary, tmp_path):
    """Arrays are taken out of an archive by name; no member becomes a file."""
    stream = io.BytesIO()
    np.lib.format.write_array(stream, np.ones((2, 1, 2, 2), np.float32))
    before = set(tmp_path.rglob("*"))
    path = tmp_path / "a.npz"
    for name in ("../../evil.npy", "/tmp/evil.npy", str(canary.secret), "a\\..\\b.npy"):
        with zipfile.ZipFile(path, "w") as archive:
            archive.writestr(name, stream.getvalue())
        assert read_array(path).sum() == 8
        inspect_path(path)
        assert set(tmp_path.rglob("*")) == before | {path}
    link = zipfile.ZipInfo("values.npy")
    link.external_attr = 0o120777 << 16  # a symbolic link, as zip stores it
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr(link, str(canary.secret))
    with pytest.raises(StatecastError):
        read_array(path)

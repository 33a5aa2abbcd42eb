"""Pickles of strangers, under every name that a file of numbers can have."""

import builtins
import contextlib
import io
import json
import os
import pickle
import zipfile
from collections import OrderedDict

import numpy as np
import pytest
import torch

from statecast.data.synthetic.moving_mnist_file import read_test_set
from statecast.data.user.array_files import found_arrays, open_sequences
from statecast.errors import InputError, StatecastError
from statecast.io.torch_files import load_torch_file, module_tensors
from statecast.metrics.pretrained_weights import read_weights
from statecast.reports.inspection.inspect_path import inspect_path
from statecast.runs.official.loading import load_official


def read_array(path):
    """The array that is read of a file."""
    return np.asarray(found_arrays(path, None)[0][0])


class Call:
    """Pickles into any call."""

    def __init__(self, *parts):
        self.parts = parts

    def __reduce__(self):
        return self.parts


def attacks(canary):
    """Objects whose pickles make the canary's file."""
    text = f"open({str(canary.ran)!r}, 'w').close()"
    module = torch.nn.Linear(1, 1)
    module.extra = canary
    return {
        "plain": canary,
        "nested": [{"a": (1, {"b": [canary]})}],
        "key": {(canary,): 1},
        "state of a dictionary": Call(OrderedDict, (), {"a": canary}),
        "argument": Call(OrderedDict, ([("a", canary)],)),
        "eval": Call(builtins.eval, (text,)),
        "exec": Call(builtins.exec, (text,)),
        "getattr": Call(getattr, (canary, "real")),
        "mkdir": Call(os.mkdir, (str(canary.ran),)),
        "memmap": Call(np.memmap, (str(canary.ran), "u1", "w+", 0, 4)),
        "from_file": Call(torch.from_file, (str(canary.ran), True, 4)),
        "save": Call(torch.save, ({}, str(canary.ran))),
        "attribute of a module": module,
    }


NAMES = (
    "plain", "nested", "key", "state of a dictionary", "argument", "eval", "exec", "getattr",
    "mkdir", "memmap", "from_file", "save", "attribute of a module",
)  # fmt: skip


@pytest.mark.parametrize("name", NAMES)
def test_attacks_work_on_others_and_not_here(name, canary, tmp_path):
    attack, path = attacks(canary)[name], tmp_path / "model.pt"
    pickle.loads(pickle.dumps(attack, 2))
    canary.ran.rmdir() if canary.ran.is_dir() else canary.ran.unlink()
    for zipped in (True, False):
        for protocol in (2, 3, 4, 5):
            torch.save(
                attack, path, pickle_protocol=protocol, _use_new_zipfile_serialization=zipped
            )
            with pytest.raises(InputError, match="refused; no code in it was run") as caught:
                load_torch_file(path)
            assert "\n" not in str(caught.value)
            with pytest.raises(StatecastError):
                read_weights(path)
    path.write_bytes(pickle.dumps(attack))
    with pytest.raises(InputError, match="refused"):
        load_torch_file(path)


@pytest.mark.parametrize(
    "name",
    [
        "builtins\neval", "builtins\nexec", "builtins\ngetattr", "builtins\n__import__",
        "posix\nmkdir", "posix\nsystem", "numpy\nmemmap", "torch.serialization\nsave",
        "functools\npartial",
    ],
)  # fmt: skip
def test_what_attacks_call_cannot_even_be_named(name, tmp_path):
    path = zipped(tmp_path / "model.pt", f"\x80\x02c{name}\n.".encode("latin1"))
    with pytest.raises(InputError, match="refused; no code in it was run"):
        load_torch_file(path)


@pytest.mark.parametrize("state", [{"__defaults__": (1,)}, (None, {"__defaults__": (1,)})])
@pytest.mark.parametrize(
    "name",
    [
        "ctorch._utils\n_rebuild_tensor_v2\n", "ccollections\nOrderedDict\n",
        "ctorch\nFloatStorage\n", "ctorch.nn.modules.linear\nLinear\n",
    ],
)  # fmt: skip
def test_what_a_pickle_may_name_it_cannot_change(name, state, tmp_path):
    path = tmp_path / "model.pt"
    program = b"\x80\x02" + name.encode() + pickle.dumps(state, 2)[2:-1] + b"b."
    good = torch.nn.Linear(2, 2)
    torch.save(good, tmp_path / "good.pt")
    expected = module_tensors(load_torch_file(tmp_path / "good.pt"))
    with contextlib.suppress(StatecastError):
        load_torch_file(zipped(path, program))
    found = module_tensors(load_torch_file(tmp_path / "good.pt"))
    assert all(torch.equal(found[key], value) for key, value in expected.items())


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


def test_published_folders_refuse_a_pickle_in_any_file(canary, tmp_path):
    program = pickle.dumps(canary, 2)
    srvp, separable = tmp_path / "srvp", tmp_path / "separable"
    for folder in (srvp, separable):
        folder.mkdir()
    sizes = ("ny", "nz", "nf", "nhx", "nh_inf", "nh_res", "nt_inf")
    sizes += ("n_euler_steps", "nlayers_inf", "nlayers_res")
    config = {"archi": "dcgan", "nx": 64, "nc": 1, "nt_cond": 5, "seq_len": 15, "skipco": True}
    (srvp / "config.json").write_text(json.dumps(config | dict.fromkeys(sizes, 3)))
    zipped(srvp / "model.pt", program)
    settings = {"architecture": "mlp", "decoder_architecture": None, "offset": 5, "nt_cond": 5,
                "no_s": False, "data": "wave", "nt_pred": 5, "mixing": "mul"}  # fmt: skip
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

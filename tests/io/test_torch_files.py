"""Pickles of strangers: tensors come out, and nothing in them runs."""

import contextlib
import io
import os
import pickle
import zipfile
from collections import OrderedDict
from pathlib import Path

import pytest
import torch

from statecast.errors import CorruptionError, FileError, InputError, StatecastError
from statecast.io.pickle_machine import PickledModule
from statecast.io.torch_files import module_tensors, read_pickle

GOLDEN = Path(__file__).parents[1] / "golden"
DICTS = sorted(GOLDEN.glob("srvp_*/model.pt"))
MODULES = sorted(GOLDEN.glob("sepnet_*/*.pt"))


@pytest.mark.parametrize("zipped", [True, False])
@pytest.mark.parametrize("path", DICTS, ids=lambda p: p.parent.name)
def test_state_dicts_equal_those_of_torch(path, zipped, tmp_path):
    expected = torch.load(path, weights_only=True)
    torch.save(expected, tmp_path / "a.pt", _use_new_zipfile_serialization=zipped)
    found = read_pickle(tmp_path / "a.pt")
    assert list(found) == list(expected)
    for name, tensor in expected.items():
        assert found[name].dtype == tensor.dtype
        assert torch.equal(found[name], tensor), name


@pytest.mark.parametrize("path", MODULES, ids=lambda p: f"{p.parent.name}/{p.stem}")
def test_pickled_modules_become_inert_records(path):
    module = read_pickle(path)
    assert isinstance(module, PickledModule)
    assert module.name.startswith("var_sep.networks.")
    tensors = module_tensors(module)
    assert tensors
    assert all(isinstance(tensor, torch.Tensor) for tensor in tensors.values())
    assert not callable(module)


@pytest.mark.parametrize("zipped", [True, False])
def test_names_of_a_module_are_those_of_its_state_dict(zipped, tmp_path):
    layers = torch.nn.Sequential(
        torch.nn.Conv2d(2, 3, 3), torch.nn.BatchNorm2d(3), torch.nn.Sequential(torch.nn.GRU(3, 4))
    )
    torch.save(layers, tmp_path / "a.pt", _use_new_zipfile_serialization=zipped)
    found = module_tensors(read_pickle(tmp_path / "a.pt"))
    expected = layers.state_dict()
    assert list(found) == list(expected)
    for name, tensor in expected.items():
        assert torch.equal(found[name], tensor), name


def test_views_share_their_storage_and_keep_their_strides(tmp_path):
    whole = torch.arange(12.0).view(3, 4)
    content = {"whole": whole, "part": whole.t()[1:3], "empty": whole[:0], "half": whole.half()}
    torch.save(content, tmp_path / "a.pt")
    found = read_pickle(tmp_path / "a.pt")
    for name, tensor in content.items():
        assert torch.equal(found[name], tensor), name
    assert found["part"].data_ptr() == found["whole"].data_ptr() + 4


class Malicious:
    """Pickles into a call."""

    def __init__(self, function, *arguments):
        self.call = function, arguments

    def __reduce__(self):
        return self.call


def attacks(sentinel):
    command = f"touch {sentinel}"
    return {
        "system": Malicious(os.system, command),
        "eval": Malicious(eval, f"open({str(sentinel)!r}, 'w')"),
        "getattr": Malicious(getattr, os, "system"),
        "load": Malicious(torch.load, "other.pt"),
        "open": Malicious(open, str(sentinel), "w"),
        "nested": OrderedDict(a=[{"b": Malicious(os.system, command)}]),
    }


@pytest.mark.parametrize("zipped", [True, False])
@pytest.mark.parametrize("name", list(attacks("x")))
def test_calls_are_refused_and_not_made(name, zipped, tmp_path):
    sentinel = tmp_path / "ran"
    path = tmp_path / "a.pt"
    try:
        torch.save(attacks(sentinel)[name], path, _use_new_zipfile_serialization=zipped)
    except (pickle.PicklingError, TypeError):
        pytest.skip("cannot be pickled here")
    with pytest.raises(InputError, match="refused"):
        read_pickle(path)
    assert not sentinel.exists()


def archive(path, program):
    """An archive of torch.save whose pickle is this program."""
    torch.save({"a": torch.zeros(4)}, path)
    with zipfile.ZipFile(path) as old:
        members = {name: old.read(name) for name in old.namelist()}
    with zipfile.ZipFile(path, "w", zipfile.ZIP_STORED) as new:
        for name, content in members.items():
            new.writestr(name, program(content) if name.endswith("data.pkl") else content)
    return path


def test_tensors_that_leave_their_storage_are_refused(tmp_path):
    for size, stride, offset in [((5,), (1,), 0), ((4,), (1,), 1), ((2, 2), (2, 2), 0),
                                 ((10**6, 10**6), (0, 0), 0), ((2,), (1,), -1)]:  # fmt: skip
        program = _tensor_program(size, stride, offset)
        with pytest.raises(CorruptionError):
            read_pickle(archive(tmp_path / "a.pt", lambda _, p=program: p))


def _tensor_program(size, stride, offset):
    class Storage:
        pass

    class Pickler(pickle.Pickler):
        def persistent_id(self, value):
            if isinstance(value, Storage):
                return ("storage", torch.FloatStorage, "0", "cpu", 4)
            return None

    stream = io.BytesIO()
    arguments = (Storage(), offset, size, stride, False, OrderedDict())
    Pickler(stream, protocol=2).dump(Malicious(torch._utils._rebuild_tensor_v2, *arguments))
    return stream.getvalue()


def test_members_that_leave_the_archive_are_refused(tmp_path):
    path = archive(tmp_path / "a.pt", lambda program: program)
    with zipfile.ZipFile(path, "a") as content:
        content.writestr("../outside", b"x")
    with pytest.raises(InputError, match="outside"):
        read_pickle(path)


@pytest.mark.parametrize("zipped", [True, False])
def test_a_cut_off_file_is_our_own_error(zipped, tmp_path):
    path = tmp_path / "a.pt"
    weights = torch.load(DICTS[0], weights_only=True)
    torch.save(weights, path, _use_new_zipfile_serialization=zipped)
    content = path.read_bytes()
    for cut in [0, 1, 3, 10, 100, len(content) // 2, len(content) - 20]:
        path.write_bytes(content[:cut])
        with pytest.raises(StatecastError):
            read_pickle(path)


def test_damaged_programs_are_our_own_errors(tmp_path):
    path = tmp_path / "a.pt"
    torch.save({"a": torch.zeros(4)}, path, _use_new_zipfile_serialization=False)
    content = bytearray(path.read_bytes())
    generator = torch.Generator().manual_seed(0)
    for _ in range(300):
        position = int(torch.randint(len(content), (), generator=generator))
        damaged = bytearray(content)
        damaged[position] = int(torch.randint(256, (), generator=generator))
        path.write_bytes(damaged)
        with contextlib.suppress(StatecastError):
            read_pickle(path)  # a changed number is still a number


def test_other_files_are_refused(tmp_path):
    with pytest.raises(FileError, match="not a file"):
        read_pickle(tmp_path / "none.pt")
    (tmp_path / "text.pt").write_text("hello, world")
    with pytest.raises(InputError, match="no file that torch"):
        read_pickle(tmp_path / "text.pt")
    (tmp_path / "plain.pt").write_bytes(pickle.dumps({"a": 1}))
    with pytest.raises(InputError, match="none that torch"):
        read_pickle(tmp_path / "plain.pt")

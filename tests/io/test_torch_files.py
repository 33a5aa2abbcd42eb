"""Pickles of strangers: tensors come out, and nothing in them runs."""

import argparse
import contextlib
import io
import pickle
import tracemalloc
import zipfile
from collections import OrderedDict

import pytest
import torch
from helpers.golden import GOLDEN

from statecast.errors import CorruptionError, FileError, InputError, StatecastError
from statecast.io.torch_files import PickledModule, load_torch_file, module_tensors

DICTS = sorted(GOLDEN.glob("srvp_*/model.pt"))
MODULES = sorted(GOLDEN.glob("sepnet_*/*.pt"))


@pytest.mark.parametrize("zipped", [True, False])
@pytest.mark.parametrize("path", DICTS, ids=lambda p: p.parent.name)
def test_state_dicts_equal_those_of_torch(path, zipped, tmp_path):
    expected = torch.load(path, weights_only=True)
    torch.save(expected, tmp_path / "a.pt", _use_new_zipfile_serialization=zipped)
    found = load_torch_file(tmp_path / "a.pt")
    assert list(found) == list(expected)
    for name, tensor in expected.items():
        assert found[name].dtype == tensor.dtype
        assert torch.equal(found[name], tensor), name


@pytest.mark.parametrize("path", MODULES, ids=lambda p: f"{p.parent.name}/{p.stem}")
def test_pickled_modules_become_inert_records(path):
    module = load_torch_file(path)
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
    found = module_tensors(load_torch_file(tmp_path / "a.pt"))
    expected = layers.state_dict()
    assert list(found) == list(expected)
    for name, tensor in expected.items():
        assert torch.equal(found[name], tensor), name


@pytest.mark.parametrize("zipped", [True, False])
def test_modules_beside_other_objects_are_found(zipped, tmp_path):
    """As SVG wrote them: a dictionary of modules, and options that hold a class."""
    layer, options = torch.nn.Linear(2, 3), argparse.Namespace(lr=0.5, optimizer=torch.optim.Adam)
    content = {"encoder": layer, "opt": options}
    torch.save(content, tmp_path / "a.pt", _use_new_zipfile_serialization=zipped)
    found = load_torch_file(tmp_path / "a.pt")
    assert torch.equal(module_tensors(found["encoder"])["weight"], layer.weight)
    assert found["opt"].name == "argparse.Namespace"
    assert found["opt"].state["lr"] == 0.5
    assert found["opt"].state["optimizer"].name == "torch.optim.adam.Adam"


def test_views_share_their_storage_and_keep_their_strides(tmp_path):
    whole = torch.arange(12.0).view(3, 4)
    content = {"whole": whole, "part": whole.t()[1:3], "empty": whole[:0], "half": whole.half()}
    torch.save(content, tmp_path / "a.pt")
    found = load_torch_file(tmp_path / "a.pt")
    for name, tensor in content.items():
        assert torch.equal(found[name], tensor), name
    assert found["part"].data_ptr() == found["whole"].data_ptr() + 4


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
            load_torch_file(archive(tmp_path / "a.pt", lambda _, p=program: p))


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
    Pickler(stream, protocol=2).dump(Rebuilt(arguments))
    return stream.getvalue()


class Rebuilt:
    """Pickles into a tensor."""

    def __init__(self, arguments):
        self.arguments = arguments

    def __reduce__(self):
        return torch._utils._rebuild_tensor_v2, self.arguments


def test_an_archive_that_unpacks_to_more_than_it_is_is_refused(tmp_path):
    path = archive(tmp_path / "a.pt", lambda program: program)
    with zipfile.ZipFile(path, "a", zipfile.ZIP_DEFLATED) as content:
        content.writestr("archive/data/1", bytes(1 << 20))
    with pytest.raises(InputError, match="compressed"):
        load_torch_file(path)


def test_storages_that_are_larger_than_their_file_are_refused(tmp_path):
    path = tmp_path / "a.pt"
    torch.save(torch.nn.Linear(2, 2), path, _use_new_zipfile_serialization=False)
    huge = path.read_bytes().replace(b"K\x04Ntq", b"J\xff\xff\xff\x7fNtq")
    assert huge != path.read_bytes()
    path.write_bytes(huge)
    with pytest.raises(CorruptionError):
        load_torch_file(path)


def test_a_number_that_a_pickle_names_reserves_no_memory(tmp_path):
    program = b"\x80\x02}r\xff\xff\xff\x0f."  # an entry of 2 GiB in the list of known objects
    path = archive(tmp_path / "a.pt", lambda _: program)
    tracemalloc.start()
    load_torch_file(path)
    assert tracemalloc.get_traced_memory()[1] < 1 << 20
    tracemalloc.stop()


def test_what_refers_to_itself_ends(tmp_path):
    outer, inner = torch.nn.Sequential(), torch.nn.Sequential()
    outer.add_module("a", inner)
    inner._modules["b"] = outer
    torch.save(outer, tmp_path / "a.pt")
    with pytest.raises(InputError, match="nests without end"):
        module_tensors(load_torch_file(tmp_path / "a.pt"))


@pytest.mark.parametrize("zipped", [True, False])
def test_a_cut_off_file_is_our_own_error(zipped, tmp_path):
    path = tmp_path / "a.pt"
    weights = torch.load(DICTS[0], weights_only=True)
    torch.save(weights, path, _use_new_zipfile_serialization=zipped)
    content = path.read_bytes()
    for cut in [0, 1, 3, 10, 100, len(content) // 2, len(content) - 20]:
        path.write_bytes(content[:cut])
        with pytest.raises(StatecastError):
            load_torch_file(path)


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
            load_torch_file(path)  # a changed number is still a number


def test_other_files_are_refused(tmp_path):
    with pytest.raises(FileError, match="not a file"):
        load_torch_file(tmp_path / "none.pt")
    (tmp_path / "text.pt").write_text("hello, world")
    with pytest.raises(CorruptionError, match="not written by torch"):
        load_torch_file(tmp_path / "text.pt")
    (tmp_path / "plain.pt").write_bytes(b"".join(pickle.dumps({"a": n}) for n in range(3)))
    with pytest.raises(InputError, match="not one that torch"):
        load_torch_file(tmp_path / "plain.pt")

"""HDF5, NetCDF and Zarr that point elsewhere, or ask for code: refused, and nothing is read."""

import json
import os
import pickle

import h5py
import numpy as np
import pytest
import zarr
from helpers.canary import NUMBERS

from statecast.data.benchmarks.sst_files import read_zones
from statecast.data.benchmarks.taxibj import read_flows
from statecast.data.user.array_files import found_arrays, open_sequences
from statecast.errors import FileError, StatecastError
from statecast.io.fields.readers import check_chunks, open_fields
from statecast.io.hdf5 import opened, shared_file
from statecast.reports.inspection.inspect_path import inspect_path

SHAPE = (4, 4, 4)
WAYS = ("external link", "soft link to it", "external storage", "virtual")
AXES = {"time": 4, "y": 4, "x": 4}


def elsewhere(canary):
    """An HDF5 file with the secret numbers, which another file could point to."""
    path = canary.secret.with_suffix(".h5")
    if not path.exists():
        with h5py.File(path, "w") as content:
            content["v"] = np.array(NUMBERS, "<f4").reshape(SHAPE)
            scale(content, content["v"])
    return path


def scale(content, array):
    """Dimension scales, which make an HDF5 file one of NetCDF's."""
    for number, (name, size) in enumerate(AXES.items()):
        if name not in content:
            content.create_dataset(name, data=np.arange(size, dtype="f8")).make_scale(name)
        array.dims[number].attach_scale(content[name])


def pointing(path, way, canary, name="v"):
    """A file whose array `name` is what another file holds."""
    with h5py.File(path, "w") as content:
        own = content.create_dataset("own", data=np.zeros(SHAPE, "<f4"))
        scale(content, own)
        other = elsewhere(canary)
        if way == "external link":
            content[name] = h5py.ExternalLink(str(other), "/v")
        elif way == "soft link to it":
            content["group"] = h5py.ExternalLink(str(other), "/")
            content[name] = h5py.SoftLink("/group/v")
        elif way == "external storage":
            external = [(str(canary.secret), 0, h5py.h5f.UNLIMITED)]
            scale(content, content.create_dataset(name, SHAPE, "<f4", external=external))
        else:
            layout = h5py.VirtualLayout(SHAPE, "<f4")
            layout[:] = h5py.VirtualSource(str(other), "v", shape=SHAPE)
            scale(content, content.create_virtual_dataset(name, layout))
    return path


@pytest.mark.parametrize("way", WAYS)
def test_hdf5_values_that_lie_elsewhere_are_not_read(way, canary, tmp_path):
    path = pointing(tmp_path / "a.h5", way, canary, "values")
    for read in (
        lambda: found_arrays(path, "values"),
        lambda: shared_file(path),
        lambda: open_sequences(path, dataset="values", axes="tyx"),
        lambda: opened(path).__enter__(),
    ):
        with pytest.raises(StatecastError) as caught:
            read()
        canary.unseen(caught.value)
    with pytest.raises(FileError, match="another file"):
        inspect_path(path)


@pytest.mark.parametrize("engine", ["netcdf4", "h5netcdf", None])
@pytest.mark.parametrize("way", WAYS)
def test_netcdf_values_that_lie_elsewhere_are_not_read(way, engine, canary, tmp_path):
    path = pointing(tmp_path / "a.nc", way, canary)
    with pytest.raises(FileError) as caught:
        open_fields(path, engine=engine)["v"].to_numpy()
    assert "link" in str(caught.value) or "another file" in str(caught.value)
    with pytest.raises(FileError):
        inspect_path(path)


@pytest.mark.parametrize("deep", ["group/in/group", "loop"])
def test_links_are_found_in_groups_and_groups_in_circles_end(deep, canary, tmp_path):
    path = tmp_path / "a.nc"
    with h5py.File(path, "w") as content:
        inner = content.create_group("group/in")
        inner["back"] = content["group"]  # a circle of hard links
        inner["soft"] = h5py.SoftLink("/group")
        if deep != "loop":
            inner["group"] = h5py.ExternalLink(str(elsewhere(canary)), "/")
    if deep == "loop":
        with opened(path) as content:
            assert list(content) == ["group"]
        return
    with pytest.raises(FileError, match="link"), opened(path):
        pytest.fail("opened")


def test_zones_and_flows_that_lie_elsewhere_are_not_read(canary, tmp_path):
    for way in WAYS:
        folder = tmp_path / way
        folder.mkdir()
        pointing(folder / "data_1.nc", way, canary, "thetao")
        with pytest.raises(FileError):
            read_zones(folder)
    path = tmp_path / "BJ13_M32x32_T30_InOut.h5"
    with h5py.File(path, "w") as content:
        content["data"] = np.zeros((1, 2, 32, 32))
        external = [(str(canary.text), 0, 12)]
        content.create_dataset("date", (1,), "S12", external=external)
    with pytest.raises(FileError) as caught:
        read_flows(path)
    canary.unseen(caught.value)


def store(path, version=2, codecs=None):
    group = zarr.open_group(path, mode="w", zarr_format=version)
    array = group.create_array("v", shape=SHAPE, dtype="<f4", chunks=(1, 4, 4), compressors=codecs,
                               dimension_names=list(AXES) if version == 3 else None)  # fmt: skip
    array[:] = 1
    if version == 2:
        array.attrs["_ARRAY_DIMENSIONS"] = list(AXES)
    return path


def chunks(path, version):
    folder = path / "v"
    found = folder.rglob("c/*/0/0") if version == 3 else folder.glob("*.0.0")
    return sorted(p for p in found if p.is_file())


def read_store(path):
    dataset = open_fields(path)
    check_chunks(path, dataset, ["v"], "time")
    return dataset["v"].to_numpy()


@pytest.mark.parametrize("version", [2, 3])
def test_stores_without_tricks_are_read(version, tmp_path):
    path = store(tmp_path / "a.zarr", version)
    assert read_store(path).sum() == 64
    inside = chunks(path, version)
    inside[1].unlink()
    inside[1].symlink_to(inside[0])  # a link within the store leads nowhere else
    assert read_store(path).sum() == 64


@pytest.mark.parametrize("version", [2, 3])
@pytest.mark.parametrize("target", ["secret", "relative", "parent", "metadata", "folder"])
def test_links_out_of_a_store_are_refused(target, version, canary, tmp_path):
    path = store(tmp_path / "a.zarr", version)
    chunk = chunks(path, version)[2]
    if target == "folder":
        other = store(tmp_path / "other.zarr", version)
        (path / "w").symlink_to(other / "v", target_is_directory=True)
    elif target == "parent":
        (path / "v").rename(tmp_path / "moved")
        (path / "v").symlink_to(tmp_path / "moved", target_is_directory=True)
    elif target == "metadata":
        name = "zarr.json" if version == 3 else ".zattrs"
        (path / "v" / name).unlink()
        (path / "v" / name).symlink_to(canary.text)
    else:
        chunk.unlink()
        there = os.path.relpath(canary.secret, chunk.parent)
        chunk.symlink_to(canary.secret if target == "secret" else there)
    for look in (open_fields, inspect_path):
        with pytest.raises(FileError, match="link that leads out") as caught:
            look(path)
        canary.unseen(caught.value)


def test_a_pipe_in_a_store_is_refused_and_not_waited_for(tmp_path):
    path = store(tmp_path / "a.zarr")
    chunk = chunks(path, 2)[0]
    chunk.unlink()
    os.mkfifo(chunk)
    with pytest.raises(FileError, match="not a regular file"):
        open_fields(path)


CODECS = {
    "pickle": [{"id": "pickle", "protocol": 5}],
    "text, then pickle": [{"id": "vlen-utf8"}, {"id": "pickle", "protocol": 5}],
    "json": [{"id": "json2"}],
    "unknown": [{"id": "imagecodecs_tiff"}],
    "nonsense": ["pickle", 3, None, {}],
}


@pytest.mark.parametrize("where", ["filters", "compressor"])
@pytest.mark.parametrize("name", CODECS)
def test_codecs_that_could_run_something_are_refused(name, where, canary, tmp_path):
    path = store(tmp_path / "a.zarr")
    folder = path / "time"
    folder.mkdir()
    codecs = CODECS[name]
    metadata = {"zarr_format": 2, "shape": [4], "chunks": [4], "dtype": "|O", "compressor": None,
                "fill_value": None, "order": "C", "filters": None}  # fmt: skip
    metadata[where] = codecs if where == "filters" else codecs[-1]
    (folder / ".zarray").write_text(json.dumps(metadata))
    (folder / ".zattrs").write_text(json.dumps({"_ARRAY_DIMENSIONS": ["time"]}))
    (folder / "0").write_bytes(pickle.dumps(canary))
    with pytest.raises(FileError, match="codec"):
        open_fields(path)


def test_zarr_3_codecs_within_shards_and_storage_transformers_are_refused(tmp_path):
    path = store(tmp_path / "a.zarr", 3)
    place = path / "v" / "zarr.json"
    whole = json.loads(place.read_text())
    evil = {"name": "pickle", "configuration": {}}
    for change in (
        {"codecs": [evil]},
        {"codecs": [{"name": "sharding_indexed", "configuration": {"codecs": [evil]}}]},
        {"codecs": [{"name": "sharding_indexed", "configuration": {"index_codecs": [evil]}}]},
        {"codecs": [{"name": "numcodecs.pickle"}]},
        {"storage_transformers": [{"name": "kerchunk"}]},
    ):
        place.write_text(json.dumps(whole | change))
        with pytest.raises(FileError, match=r"codec|transformers"):
            open_fields(path)


@pytest.mark.parametrize("version", [2, 3])
def test_consolidated_metadata_is_not_believed(version, tmp_path):
    """It could describe arrays that are not there, or name other codecs."""
    path = store(tmp_path / "a.zarr", version)
    if version == 2:
        array = json.loads((path / "v" / ".zarray").read_text()) | {"shape": [9, 4, 4]}
        known = {"v/.zarray": array, ".zgroup": {"zarr_format": 2}, "v/.zattrs": {}}
        content = {"zarr_consolidated_format": 1, "metadata": known}
        (path / ".zmetadata").write_text(json.dumps(content))
    else:
        root = json.loads((path / "zarr.json").read_text())
        array = json.loads((path / "v" / "zarr.json").read_text()) | {"shape": [9, 4, 4]}
        kept = {"kind": "inline", "must_understand": False, "metadata": {"../../v": array}}
        (path / "zarr.json").write_text(json.dumps(root | {"consolidated_metadata": kept}))
    assert read_store(path).shape == SHAPE


@pytest.mark.parametrize("content", ["", "{", "[" * 100_000, "3", '{"zarr_format": 9}', "\xff"])
def test_damaged_metadata_of_a_store_is_our_own_error(content, tmp_path):
    path = store(tmp_path / "a.zarr")
    (path / "v" / ".zarray").write_text(content, encoding="latin-1")
    with pytest.raises(StatecastError):
        open_fields(path)["v"].to_numpy()


@pytest.mark.parametrize(
    "content",
    [
        b'{"version": 1, "refs": {"v/0.0.0": ["/etc/hostname", 0, 10]}}',  # kerchunk
        b"http://127.0.0.1/a.nc\n",
        b"<?xml version='1.0'?><netcdf location='/etc/hostname'/>",  # NcML
        b"\x0e\x03\x13\x01" + b"\0" * 100,  # HDF4
    ],
)
@pytest.mark.parametrize("ending", [".nc", ".zarr"])
def test_references_and_addresses_are_no_fields(content, ending, tmp_path):
    path = tmp_path / f"a{ending}"
    path.write_bytes(content)
    for look in (open_fields, inspect_path):
        with pytest.raises(FileError):
            look(path)


def test_names_that_look_like_addresses_are_names(tmp_path, monkeypatch):
    """xarray would take `zip::a.nc` for an address, and open what it leads to."""
    monkeypatch.chdir(tmp_path)
    with h5py.File("plain.nc", "w") as content:
        content["v"] = np.zeros(SHAPE, "<f4")
        scale(content, content["v"])
    for name in ("zip::plain.nc", "simplecache::file::a.nc", "memory:a.nc"):
        os.link("plain.nc", name)
        assert open_fields(name)["v"].sum() == 0


def test_claims_of_huge_arrays_are_our_own_errors(tmp_path):
    group = zarr.open_group(tmp_path / "a.zarr", mode="w", zarr_format=2)
    big = (1 << 20, 1 << 20, 1 << 10)
    array = group.create_array("v", shape=big, dtype="<f4", chunks=(1, 1 << 15, 1 << 9))
    array.attrs["_ARRAY_DIMENSIONS"] = list(AXES)
    from statecast.io.fields.source import FieldOptions, Source

    source = Source(open_fields(tmp_path / "a.zarr"), FieldOptions(missing_frames="keep"), "a.zarr")
    with pytest.raises(StatecastError):
        source.read(slice(None), 0)

"""Inspect: what is there is said as it is, what is damaged is one line, pictures show it."""

import gzip
import json
import pickle
import shlex
import struct
import zipfile
from pathlib import Path

import h5py
import numpy as np
import pytest
from helpers.labelled_fields import sea_surface, write_field
from helpers.sample_videos import cut, noise, ramp, write_video
from PIL import Image

from statecast.cli.main import MISTAKE, main
from statecast.errors import CorruptionError, FileError, InputError
from statecast.reports.inspection import inspect_path, write_sheet
from statecast.reports.inspection.contact_sheet import GAP, SIDE
from statecast.reports.inspection.findings import Finding, sampled, statistics
from statecast.runs.create import create_run
from statecast.runs.recipes.resolve import read_recipe, resolve

pytestmark = pytest.mark.usefixtures("cache")


def facts(path, **options):
    return dict(inspect_path(path, **options).facts)


def trains(finding, tmp_path):
    """Whether the command line that is suggested makes a run."""
    ((purpose, command),) = finding.commands
    words = shlex.split(command)
    assert (purpose, words[:2]) == ("Train", ["statecast", "train"])
    run = create_run(words[2], tmp_path / f"run-{len(list(tmp_path.iterdir()))}", words[3:])
    return run.spec


class TestVideos:
    @pytest.fixture
    def folder(self, tmp_path):
        folder = tmp_path / "my clips"
        folder.mkdir()
        for number in range(4):
            write_video(folder / f"{number}.mkv", noise(12 + number), rate=20)
        write_video(folder / "wide.mp4", noise(14, 32, 64), rate=20)
        return folder

    def test_counts_sizes_rates_and_splits(self, folder, tmp_path):
        finding = inspect_path(folder)
        said = dict(finding.facts)
        assert "5 video(s)" in finding.kind
        assert said["sizes"] == "32×32 (4), 64×32 (1)"
        assert said["formats"] == "Matroska/WebM, ffv1 (4), MP4/MOV, h264 (1)"
        assert said["frames"] == "68, 12 to 15 each, all decoded"
        assert said["frames per second"] == "20"
        assert said["splits"].startswith("by video: 3 train (39 frames)")
        assert finding.problems == []
        spec = trains(finding, tmp_path)
        assert f"{spec.context} frames observed, {spec.horizon} forecast" == said["windows"]

    def test_damaged_ones_are_named_and_left_out(self, folder, tmp_path):
        cut(folder / "2.mkv", 0.6)
        finding = inspect_path(folder)
        assert len(finding.problems) == 1
        assert finding.problems[0].startswith("2.mkv: ")
        assert "--data.on_error skip" in finding.text
        trains(finding, tmp_path)
        assert inspect_path(folder, quick=True).problems == []  # its header is whole

    def test_rates_that_differ_are_made_one(self, folder):
        write_video(folder / "fast.mkv", noise(12), rate=40)
        assert "--data.frames_per_second 20" in inspect_path(folder).text

    def test_a_picture_shows_frames_of_each(self, tmp_path):
        write_video(tmp_path / "a.mkv", ramp(8))
        path = write_sheet(inspect_path(tmp_path / "a.mkv"), tmp_path / "sheet.png")
        sheet = np.asarray(Image.open(path))
        assert sheet.shape == (120, 8 * 116 + 4, 3)
        assert [int(sheet[60, 60 + 116 * i, 0]) for i in range(8)] == [
            10 + 20 * i for i in range(8)
        ]

    def test_a_folder_of_images_is_one_video(self, tmp_path):
        folder = tmp_path / "images"
        folder.mkdir()
        for number, frame in enumerate(noise(40, 16, 16)):
            Image.fromarray(frame).save(folder / f"{number:03}.png")
        finding = inspect_path(folder)
        said = dict(finding.facts)
        assert (said["formats"], said["frames per second"]) == ("images", "unknown")
        assert said["frames"].startswith("40")
        assert said["splits"].startswith("by time")
        trains(finding, tmp_path)


class TestArrays:
    @pytest.mark.parametrize(
        ("shape", "axes"),
        [
            ((20, 16, 32, 32), "ntyx"), ((20, 30, 1, 16, 16), "ntcyx"), ((200, 16, 32, 3), "tyxc"),
            ((200, 16, 16), "tyx"), ((200, 50), "tx"), ((20, 16, 30, 20, 3), "ntyxc"),
            ((200, 2, 16, 16), "tcyx"), ((200, 10, 10), "tyx"),
        ],
    )  # fmt: skip
    def test_what_is_suggested_trains(self, tmp_path, shape, axes):
        np.save(tmp_path / "a.npy", np.random.default_rng(0).integers(0, 255, shape, np.uint8))
        finding = inspect_path(tmp_path / "a.npy")
        assert f"axes {axes}, by a guess" in dict(finding.facts)["would be read"]
        assert dict(finding.facts)["array"].startswith(f"uint8 {shape}, from 0 to 254")
        spec = trains(finding, tmp_path)
        sizes = dict(zip(axes, shape, strict=True))
        assert spec.space == tuple(sizes[a] for a in "yx" if a in sizes)
        write_sheet(finding, tmp_path / "a.png")

    @pytest.mark.parametrize("frames", [24, 50])
    def test_short_recordings_are_suggested_with_windows_that_they_hold(self, tmp_path, frames):
        np.save(tmp_path / "a.npy", np.random.default_rng(0).random((frames, 16, 32), np.float32))
        finding = inspect_path(tmp_path / "a.npy")
        assert "--data.axes says otherwise" in dict(finding.facts)["would be read"]
        assert trains(finding, tmp_path).space == (16, 32)

    def test_what_arrays_are_not_read_from_is_named(self, tmp_path):
        kinds = {
            "a.mat": (b"MATLAB 5.0 MAT-file" + bytes(200), "save it with -v7.3"),
            "a.npy.gz": (gzip.compress(bytes(99)), "compressed with gzip. Unpack it"),
            "a.pkl": (pickle.dumps(np.zeros(3)), "a pickle, which can run code"),
            "empty.npy": (b"", "is empty"),
        }
        for name, (content, message) in kinds.items():
            (tmp_path / name).write_bytes(content)
            with pytest.raises(FileError, match=message):
                inspect_path(tmp_path / name)

    def test_ranges_and_gaps(self, tmp_path):
        array = np.linspace(-3, 5, 600, dtype=np.float32).reshape(6, 10, 10)
        array[0, 0, :6] = np.nan
        np.save(tmp_path / "a.npy", array)
        said = facts(tmp_path / "a.npy")["array"]
        assert "to 5, mean" in said
        assert "6 NaN or infinite (1.00%)" in said

    def test_large_arrays_are_sampled_evenly(self):
        array = np.arange(1000 * 40).reshape(1000, 40)
        piece, whole = sampled(array, 5000)
        assert not whole
        assert 2500 <= piece.size <= 5000
        assert piece[0, 0] == 0
        assert np.unique(np.diff(piece[:, 0])).size == 1
        assert sampled(array)[1]
        assert statistics(np.zeros((0, 3))) == "no values"

    def test_npz_and_hdf5_list_what_they_hold(self, tmp_path):
        videos, other = np.zeros((12, 20, 1, 16, 16), np.uint8), np.ones(5)
        np.savez(tmp_path / "a.npz", clips=videos, weights=other)
        with h5py.File(tmp_path / "a.h5", "w") as content:
            content["clips"], content["weights"] = videos, other
        for name in ("a.npz", "a.h5"):
            finding = inspect_path(tmp_path / name)
            said = dict(finding.facts)
            assert said["weights"] == "float64 (5,), from 1 to 1, mean 1"
            assert said["clips"].startswith("uint8 (12, 20, 1, 16, 16), from 0 to 0")
            assert trains(finding, tmp_path).space == (16, 16)
            write_sheet(finding, tmp_path / "a.png")

    def test_an_archive_that_would_fill_memory_is_not_unpacked(self, tmp_path):
        header = {"descr": "<f8", "fortran_order": False, "shape": (1 << 20, 1 << 20)}
        with (
            zipfile.ZipFile(tmp_path / "a.npz", "w", zipfile.ZIP_DEFLATED) as archive,
            archive.open("big.npy", "w") as stream,
        ):
            np.lib.format.write_array_header_1_0(stream, header)
            stream.write(bytes(1000))
        assert facts(tmp_path / "a.npz")["big"].endswith("not unpacked")

    def test_objects_and_words_are_not_read(self, tmp_path):
        np.save(tmp_path / "a.npy", np.array([{"a": 1}], dtype=object), allow_pickle=True)
        with pytest.raises(CorruptionError, match="holds Python objects"):
            inspect_path(tmp_path / "a.npy")
        np.save(tmp_path / "a.npy", np.array(["word"]))
        assert inspect_path(tmp_path / "a.npy").commands == []


class TestFields:
    def test_variables_axes_times_and_gaps(self, tmp_path):
        sea = sea_surface(60, island=True)
        path = write_field(tmp_path / "sea.nc", sea)
        finding = inspect_path(path)
        said = dict(finding.facts)
        assert said["time is"] == "time, space is lat, lon"
        assert said["frames"].startswith("60, 1 day")
        assert "(time, lat, lon), degC" in said["sst"]
        missing = float(np.isnan(sea["sst"].values).mean())
        land = int(np.isnan(sea["sst"].values).all(axis=0).sum())
        assert f"{missing:.2%} missing, {land} of " in said["sst values"]
        spec = trains(finding, tmp_path)
        assert spec.channels == ("sst",)
        write_sheet(finding, tmp_path / "sea.png")
        sea.to_zarr(tmp_path / "sea.zarr", consolidated=False)
        zarr = inspect_path(tmp_path / "sea.zarr")
        assert "zarr store" in zarr.kind.lower()
        assert dict(zarr.facts)["sst values"] == said["sst values"]

    def test_a_sheet_of_a_field_is_north_up_and_has_no_blank_part(self, tmp_path):
        sea = sea_surface(60).sortby("lat")
        sea["sst"][:] = sea["lat"]
        path = write_sheet(inspect_path(write_field(tmp_path / "a.nc", sea)), tmp_path / "a.png")
        with Image.open(path) as opened:
            sheet = np.asarray(opened.convert("L")).astype(int)
        assert sheet[GAP, GAP] > sheet[-GAP - 1, GAP]
        height = SIDE * sea.sizes["lat"] / max(sea.sizes["lat"], sea.sizes["lon"])
        assert len(sheet) == round(height) + 2 * GAP

    def test_what_cannot_be_split_is_no_training(self, tmp_path):
        finding = inspect_path(write_field(tmp_path / "a.nc", sea_surface(5)))
        assert finding.commands == []
        assert dict(finding.facts)["frames"].startswith("5, 1 day apart")
        assert "No training: Sequence 0 has 5 frames" in finding.problems[0]

    def test_stations_are_suggested_with_a_model_of_points(self, tmp_path):
        path = write_field(tmp_path / "line.nc", sea_surface(60).isel(lat=0, drop=True))
        assert trains(inspect_path(path), tmp_path).space == (9,)
        with pytest.raises(InputError, match="train fields-srvp"):
            create_run("fields", tmp_path / "run", [f"--data.path={path}"])

    def test_zones_are_sequences_and_places_are_no_fields(self, tmp_path):
        for zone in range(3):
            made = sea_surface()
            made = made.assign_coords(lon=made.lon + 50 * zone)
            grid = np.broadcast_to(made.lat.values[:, None], made.sst.shape)
            made["XLAT"] = (("time", "lat", "lon"), grid, {"units": "degree_north"})
            write_field(tmp_path / f"zone{zone}.nc", made)
        finding = inspect_path(tmp_path)
        assert finding.problems == []
        assert dict(finding.facts)["sequences"] == "3, a file each"
        assert finding.commands[0][1].endswith("--data.variables sst")

    def test_groups_with_numbers_for_names(self, tmp_path):
        for level in range(2):
            made = sea_surface(height=6 // (level + 1))
            options = {"consolidated": False, "zarr_format": 2, "mode": "a"}
            made.to_zarr(tmp_path / "pyramid", group=str(level), **options)
        finding = inspect_path(tmp_path / "pyramid")
        assert dict(finding.facts)["groups"] == "0, 1"
        trains(finding, tmp_path)

    def test_a_file_without_frames_is_a_problem(self, tmp_path):
        import xarray

        xarray.Dataset({"a": ("t", np.arange(3.0))}).to_netcdf(tmp_path / "a.nc")
        assert "no variable has frames" in inspect_path(tmp_path / "a.nc").text


def test_runs_checkpoints_and_mnist(tmp_path, recipe):
    run = tmp_path / "run"
    assert main(["train", recipe, "--output", str(run)]) == 0
    finding = inspect_path(run)
    said = dict(finding.facts)
    assert (said["model"], said["data"], said["steps"]) == ("srvp", "pendulum", "12 of 12")
    assert [purpose for purpose, _ in finding.commands] == ["Score"]
    with pytest.raises(InputError, match="nothing to draw"):
        write_sheet(finding, tmp_path / "a.png")

    published = Path(__file__).parents[2] / "golden" / "srvp_dcgan"
    config = json.loads((published / "config.json").read_text())
    assert facts(published)["latent_size"] == str(config["ny"])

    folder = tmp_path / "mnist"
    folder.mkdir()
    images = noise(1, 20, 28, channels=28)[0]
    head = struct.pack(">HBB3I", 0, 8, 3, 20, 28, 28)
    with gzip.open(folder / "train-images-idx3-ubyte.gz", "wb") as stream:
        stream.write(head + images.tobytes())
    (folder / "train-labels-idx1-ubyte").write_bytes(struct.pack(">HBBI", 0, 8, 1, 20) + bytes(20))
    finding = inspect_path(folder)
    assert dict(finding.facts)["train"] == "20 images (28, 28), 20 labels"
    assert "t10k-images" in finding.problems[0]
    write_sheet(finding, tmp_path / "mnist.png")
    assert "idx" in inspect_path(folder / "train-labels-idx1-ubyte").kind


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("a.mp4", b"", "is empty"),
        ("a.mp4", b"ffconcat version 1.0\nfile b.mkv\n", "is text"),
        ("a.bin", b"\x7fELF\1\2\3\4\5", "unknown kind: it begins with 7f 45"),
        ("a.npy", b"\x93NUMPY\x01\0v\0{'descr'", "cannot be read"),
        ("a.npz", b"PK\3\4 cut off", "cannot be read"),
        ("a.h5", b"\x89HDF\r\n\x1a\n cut off", "cannot be read"),
        ("a.nc", b"\x89HDF\r\n\x1a\n cut off", "cannot be read"),
        ("a.nc", b"something", "not a NetCDF file"),
        ("a.mkv", b"\x1aE\xdf\xa3 cut off", "cut off"),
        ("a.png", b"\x89PNG\r\n\x1a\n....", "one image"),
        ("x-idx3-ubyte", b"\0\0\x08\x03\0\0", "cut off"),
    ],
)
def test_what_is_damaged_or_unknown_is_one_line(tmp_path, refused, name, content, message):
    (tmp_path / name).write_bytes(content)
    refused(message, ["inspect", tmp_path / name])


def test_folders_of_nothing_known(tmp_path):
    with pytest.raises(FileError, match="holds no videos"):
        inspect_path(tmp_path)
    (tmp_path / "a.npy").write_bytes(b"x")
    with pytest.raises(CorruptionError, match=r"a\.npy cannot be read"):
        inspect_path(tmp_path)
    with pytest.raises(FileError, match="no file or folder"):
        inspect_path(tmp_path / "none")


def test_names_of_others_cannot_write_to_the_terminal():
    finding = Finding("kind")
    finding.say("name", "a\x1b[2Jb\nc")
    assert "\x1b" not in finding.text
    assert finding.text.count("\n") == 1


def test_the_command_prints_and_draws(tmp_path, capsys):
    write_video(tmp_path / "a.mkv", noise(60))
    words = ["inspect", str(tmp_path / "a.mkv"), "--output", str(tmp_path / "a.png")]
    assert main(words) == 0
    seen = capsys.readouterr().out
    assert "Train: statecast train videos --data.path" in seen
    assert (tmp_path / "a.png").stat().st_size > 0
    assert main([*words[:-1], str(tmp_path / "a.jpg")]) == MISTAKE


def test_the_recipe_resolves():
    assert resolve(read_recipe("videos"))["data"]["name"] == "videos"

"""Arrays: what was written comes back, split by sequence, and every bad file is refused."""

import re

import h5py
import numpy as np
import pytest
import torch

from statecast.data.base import SPLITS
from statecast.data.user.array_files import open_sequences
from statecast.data.user.array_windows import ArrayWindows
from statecast.data.user.arrays import Arrays
from statecast.errors import CorruptionError, FileError, InputError
from statecast.reports.inspection.inspect_path import inspect_path


def written(path, shape=(20, 9, 1, 4, 6), dtype=np.uint8, seed=0):
    generator = np.random.default_rng(seed)
    array = generator.integers(0, 256, shape).astype(dtype)
    if path.suffix == ".npz":
        np.savez_compressed(path, sequences=array, other=np.zeros(3))
    else:
        np.save(path, array)
    return array


@pytest.fixture
def path(tmp_path):
    return tmp_path / "a.npy"


@pytest.mark.parametrize("ending", ["npy", "npz"])
def test_windows_hold_the_frames_of_their_sequences(tmp_path, ending):
    path = tmp_path / f"a.{ending}"
    array = written(path)
    data = Arrays(path=str(path), context=3, horizon=2, test_horizon=4)
    starts = {"train": (0, 16), "validation": (16, 18), "test": (18, 20)}
    for split in SPLITS:
        windows = data.windows(split)
        length = 7 if split == "test" else 5
        first, last = starts[split]
        assert len(windows) == (last - first) * (9 - length + 1)
        batch = windows.batch(torch.tensor([1, len(windows) - 1]))
        assert len(batch.context) == 3
        for values, sequence, start in (
            (batch.values[0], first, 1),
            (batch.values[1], last - 1, 9 - length),
        ):
            expected = array[sequence, start : start + length] / np.float32(255)
            torch.testing.assert_close(values, torch.from_numpy(expected))
    assert data.spec.value_range == (0.0, 1.0)
    assert data.spec.channels == ("intensity",)


def test_no_sequence_is_in_two_splits_whatever_the_shares(path):
    written(path, (11, 6, 1, 2, 2))
    for validation, test in ((0.1, 0.1), (0.5, 0.5), (0.01, 0.01), (0.9, 0.2)):
        data = Arrays(
            path=str(path), context=2, horizon=2, validation_fraction=validation, test_fraction=test
        )
        numbers = [n for part in data.parts.values() for n in part]
        assert sorted(number for number, _, _ in numbers) == list(range(11))
        assert all(len(part) for part in data.parts.values())


def test_tests_can_have_a_file_of_their_own(tmp_path):
    written(tmp_path / "a.npy", (10, 6, 3, 4, 4))
    tests = written(tmp_path / "b.npy", (4, 12, 3, 4, 4), seed=1)
    data = Arrays(
        path=str(tmp_path / "a.npy"), test_path=str(tmp_path / "b.npy"), context=2, horizon=3,
        test_horizon=10, validation_fraction=0.3,
    )  # fmt: skip
    assert {name: len(part) for name, part in data.parts.items()} == {
        "train": 7, "validation": 3, "test": 4,
    }  # fmt: skip
    batch = data.windows("test").batch(torch.arange(4))
    torch.testing.assert_close(batch.values, torch.from_numpy(tests / np.float32(255)))
    assert data.spec.channels == ("red", "green", "blue")
    assert data.card["files"] == {"train": "a.npy", "test": "b.npy"}


def test_other_numbers_are_taken_as_they_are(path):
    array = written(path, (10, 5, 2, 7), np.dtype(">i2"))
    data = Arrays(path=str(path), context=2, horizon=2, channels=["u", "v"], unit="K")
    batch = data.windows("train").batch(torch.tensor([0]))
    torch.testing.assert_close(batch.values[0], torch.from_numpy(array[0, :4].astype(np.float32)))
    assert data.spec.value_range is None
    assert (data.spec.space, data.spec.channels, data.spec.unit) == ((7,), ("u", "v"), "K")
    bounded = Arrays(path=str(path), context=2, horizon=2, value_range=(0, 255))
    assert bounded.spec.value_range == (0.0, 255.0)
    assert bounded.spec.channels == ("channel_0", "channel_1")


def test_a_file_is_mapped_and_not_read(path):
    written(path)
    sequences = (
        Arrays(path=str(path)[:-4] + ".npy", context=2, horizon=2).windows("train").sequences
    )
    (stored,) = sequences.arrays
    assert isinstance(stored, np.memmap)
    assert not stored.flags.writeable


def test_a_stride_thins_windows(path):
    written(path, (10, 9, 1, 2, 2))
    data = Arrays(path=str(path), context=2, horizon=2, window_stride=3)
    assert data.windows("train").starts[:3].tolist() == [[0, 0], [0, 3], [1, 0]]


def test_the_digest_follows_content_and_cut(path):
    written(path)
    digest = Arrays(path=str(path), context=2, horizon=2).windows("test").digest
    assert Arrays(path=str(path), context=2, horizon=3).windows("test").digest != digest
    written(path, seed=1)
    assert Arrays(path=str(path), context=2, horizon=2).windows("test").digest != digest


def test_gaps_are_named_and_not_passed_on(path):
    array = np.random.default_rng(0).random((10, 6, 1, 3, 3), dtype=np.float32)
    array[2, 4, 0, 1, 1] = np.nan
    np.save(path, array)
    with pytest.raises(InputError, match=r"Sequence 2 holds NaN .* from frame 4 on"):
        Arrays(path=str(path), context=2, horizon=2)
    assert "Sequence 2 holds NaN" in inspect_path(path).text
    # Of data too large to be looked through, a window that holds some is refused when it is read.
    windows = ArrayWindows(
        open_sequences(path).sequences, np.array([[2, 0], [2, 1]]), context=2, length=4,
        channels=("a",),
    )  # fmt: skip
    assert windows.batch(torch.tensor([0])).values.isfinite().all()
    with pytest.raises(InputError, match=r"Sequence 2 holds NaN .* from frame 1 on"):
        windows.batch(torch.tensor([0, 1]))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"context": 0}, "at least 1"),
        ({"validation_horizon": 0}, "at least 1"),
        ({"window_stride": 0}, "at least 1"),
        ({"context": 8}, "9 frames hold no train windows of 10"),
        ({"test_horizon": 8}, "9 frames hold no test windows of 10"),
        ({"validation_fraction": 0.0}, "between 0 and 1"),
        ({"test_fraction": 1.0}, "between 0 and 1"),
        ({"channels": ("a", "b")}, "1 channel"),
        ({"value_range": (0, 255)}, "cannot be set for bytes"),
    ],
)
def test_options_that_do_not_fit_are_refused(path, options, message):
    written(path)
    with pytest.raises(InputError, match=message):
        Arrays(**{"path": str(path), "context": 2, "horizon": 2} | options)


def test_ranges_must_rise(path):
    written(path, dtype=np.float32)
    with pytest.raises(InputError, match="smallest and the largest"):
        Arrays(path=str(path), context=2, horizon=2, value_range=(1.0, 1.0))


def test_files_that_are_none_are_refused(tmp_path, path):
    def refused(name, error, message):
        with pytest.raises(error, match=message):
            Arrays(path=str(tmp_path / name), context=2, horizon=2)

    refused("none.npy", FileError, "no file or folder")
    (tmp_path / "video.mp4").write_bytes(b"\0\0\0\x18ftypisom")
    refused("video.mp4", FileError, r"\.npy, \.npz, \.mat")
    written(path)
    content = path.read_bytes()
    (tmp_path / "cut.npy").write_bytes(content[: len(content) // 2])
    refused("cut.npy", CorruptionError, "cannot be read")
    (tmp_path / "empty.npy").write_bytes(b"")
    refused("empty.npy", CorruptionError, "cannot be read")
    written(tmp_path / "b.npz")
    content = (tmp_path / "b.npz").read_bytes()
    (tmp_path / "cut.npz").write_bytes(content[: len(content) // 2])
    refused("cut.npz", CorruptionError, "cannot be read")
    damaged = bytearray(content)
    damaged[len(content) // 3] ^= 0xFF
    (tmp_path / "flip.npz").write_bytes(bytes(damaged))
    refused("flip.npz", CorruptionError, "cannot be read")
    np.savez(tmp_path / "two.npz", a=np.zeros(3), b=np.zeros(3))
    refused("two.npz", InputError, "holds a .* Name one of them with dataset")
    np.save(tmp_path / "object.npy", np.array([{}]), allow_pickle=True)
    refused("object.npy", CorruptionError, "Python objects.*each sequence as a .npy file of one")
    np.save(tmp_path / "flat.npy", np.zeros(9))
    refused("flat.npy", InputError, r"2 to 5 axes.*\(9,\)")
    np.save(tmp_path / "text.npy", np.full((9, 6, 6, 6), "a"))
    refused("text.npy", InputError, "should hold numbers")
    np.save(tmp_path / "none_at_all.npy", np.zeros((0, 6, 1, 6, 6)))
    refused("none_at_all.npy", InputError, "should hold numbers")
    written(tmp_path / "few.npy", (2, 9, 1, 4, 4))
    refused("few.npy", InputError, "too few for three splits")


def test_test_frames_must_be_like_the_others(tmp_path):
    written(tmp_path / "a.npy")
    for name, shape, dtype in (
        ("b", (4, 9, 1, 4, 8), np.uint8),
        ("c", (4, 9, 1, 4, 6), np.float32),
    ):
        written(tmp_path / f"{name}.npy", shape, dtype)
        with pytest.raises(InputError, match="Convert one"):
            Arrays(path=str(tmp_path / "a.npy"), test_path=str(tmp_path / f"{name}.npy"))


class TestHDF5:
    """HDF5: the same frames as from NumPy, read piece by piece, and no other file opened."""

    @pytest.fixture
    def file(self, tmp_path):
        return tmp_path / "a.h5"

    def test_windows_are_those_of_the_same_array_in_numpy(self, tmp_path, file):
        array = written(tmp_path / "a.npy", (12, 7, 1, 4, 5))
        with h5py.File(file, "w") as content:
            content.create_dataset("group/sequences", data=array, chunks=True, compression="gzip")
        options = {"context": 2, "horizon": 3, "window_stride": 2}
        plain = Arrays(path=str(tmp_path / "a.npy"), **options)
        found = Arrays(path=str(file), dataset="group/sequences", **options)
        for split in SPLITS:
            one, other = plain.windows(split), found.windows(split)
            everything = torch.arange(len(one))
            assert torch.equal(one.batch(everything).values, other.batch(everything).values)
            assert one.digest == other.digest

    def test_workers_read_for_themselves(self, file):
        from statecast.data.loading import training_batches

        with h5py.File(file, "w") as content:
            content["values"] = np.random.default_rng(0).random((10, 6, 1, 3, 3))
        windows = Arrays(path=str(file), context=2, horizon=2).windows("train")
        options = {"batch_size": 3, "seed": 1}
        alone = [b.values for b in training_batches(windows, range(4), loader_workers=0, **options)]
        shared = [
            b.values for b in training_batches(windows, range(4), loader_workers=2, **options)
        ]
        assert all(map(torch.equal, alone, shared))

    def test_what_is_there_is_listed(self, file):
        with h5py.File(file, "w") as content:
            content["one"], content["more/two"] = np.zeros((4, 5, 1, 2, 2)), np.zeros(3)
            content["words"] = "text"
        assert open_sequences(file).dataset == "one"
        with pytest.raises(InputError, match=r"no array 'three'; .*more/two"):
            open_sequences(file, dataset="three")
        with pytest.raises(InputError, match="words"):
            open_sequences(file, dataset="words")

    def test_damaged_files_are_named(self, file):
        with h5py.File(file, "w") as content:
            content["values"] = np.zeros((40, 50, 1, 2, 2))
        whole = file.read_bytes()
        for bad in (whole[:3000], b"", b"text" * 100):
            file.write_bytes(bad)
            with pytest.raises(CorruptionError, match=r"a\.h5 cannot be read as HDF5"):
                open_sequences(file)
        with pytest.raises(FileError, match="no file"):
            open_sequences(file.with_name("none.h5"))


class TestAxes:
    """Axes in any order mean the same frames."""

    @pytest.mark.parametrize("ending", ["npy", "h5"])
    @pytest.mark.parametrize("axes", ["ntyxc", "ctnxy", "xyctn"])
    def test_any_order(self, tmp_path, axes, ending):
        array = written(tmp_path / "plain.npy", (10, 6, 3, 4, 5))
        moved = array.transpose(["ntcyx".index(axis) for axis in axes])
        path = tmp_path / f"a.{ending}"
        if ending == "npy":
            np.save(path, moved)
        else:
            with h5py.File(path, "w") as content:
                content["values"] = moved
        plain = Arrays(path=str(tmp_path / "plain.npy"), context=2, horizon=2)
        found = Arrays(path=str(path), axes=axes, context=2, horizon=2)
        assert found.spec == plain.spec
        for split in SPLITS:
            one, other = plain.windows(split), found.windows(split)
            indices = torch.arange(len(one))
            assert torch.equal(one.batch(indices).values, other.batch(indices).values)

    def test_one_recording_is_split_in_time(self, path):
        array = np.random.default_rng(0).random((50, 4, 3), dtype=np.float32)
        np.save(path, array)
        data = Arrays(path=str(path), axes="tyx", context=2, horizon=2)
        assert data.parts == {
            "train": [(0, 0, 41)], "validation": [(0, 41, 45)], "test": [(0, 45, 50)],
        }  # fmt: skip
        for split, ((_, first, last),) in data.parts.items():
            windows = data.windows(split)
            values = windows.batch(torch.arange(len(windows))).values
            expected = np.stack([array[s : s + 4, None] for s in range(first, last - 3)])
            assert torch.equal(values, torch.from_numpy(expected))
        with pytest.raises(InputError, match="4 frames hold no validation windows of 9") as error:
            Arrays(path=str(path), axes="tyx", context=4, horizon=5, test_horizon=7)
        advice = re.findall(r"--data\.(\w+) (\d+)", str(error.value))
        assert [name for name, _ in advice] == ["context", "horizon", "test_horizon"]
        lengths = {name: int(number) for name, number in advice}
        assert Arrays(path=str(path), axes="tyx", **lengths).context == 1

    @pytest.mark.parametrize("axes", ["tt", "nyx", "ty", "tyxz", ""])
    def test_letters_that_mean_nothing(self, path, axes):
        written(path)
        with pytest.raises(InputError, match="axes must name each axis"):
            open_sequences(path, axes=axes)

    def test_another_number_of_axes(self, path):
        written(path)
        with pytest.raises(InputError, match="axes tyx should have 3 sizes"):
            open_sequences(path, axes="tyx")


def blobs(sequences=12, frames=20, side=24):
    """Spots that move in circles, (sequence, time, y, x), from 0 to 1; alike in time alone."""
    y, x = np.mgrid[:side, :side]
    phase = 6 * np.random.default_rng(0).random(sequences)[:, None, None, None]
    angle = np.arange(frames)[None, :, None, None] / 4 + phase
    middle, radius = side / 2, side / 4
    squared = (x - middle - radius * np.cos(angle)) ** 2 + (
        y - middle - radius * np.sin(angle)
    ) ** 2
    return np.exp(-squared / 12)


def frames_of(path, sequence=3, **options):
    """The frames of a sequence as they are read, (time, channel, y, x)."""
    found = open_sequences(path, **options).sequences
    return found.read(sequence, 0, found.lengths[sequence])


class TestKinds:
    """Arrays as people have them: the guess of their axes is right, and is printed."""

    truth = blobs()

    @pytest.mark.parametrize("dtype", ["u1", "f4"])
    @pytest.mark.parametrize(
        "axes",
        ["ntyx", "tnyx", "ntcyx", "tncyx", "ntyxc", "tnyxc", "nyxt", "tyxn", "nyxtc", "nctyx"],
    )
    def test_sequences(self, path, axes, dtype):
        letters = axes.replace("c", "")
        values = self.truth.transpose(["ntyx".index(letter) for letter in letters])
        values = (255 * values).astype(dtype)
        if "c" in axes:
            values = np.stack([values] * 3, axis=axes.index("c"))
        np.save(path, values)
        assert open_sequences(path).sequences.axes == axes
        expected = (255 * self.truth[3]).astype(dtype)
        found = frames_of(path)
        assert len(found[0]) == (3 if "c" in axes else 1)
        np.testing.assert_array_equal(found[:, 0], expected)
        chosen = {c.option: c.value for c in Arrays(path=str(path)).inferred_options}
        assert chosen["axes"] == axes
        assert f"axes {axes}, by a guess" in inspect_path(path).text

    @pytest.mark.parametrize("axes", ["tyx", "tyxc", "tcyx", "yxt"])
    def test_one_recording(self, path, axes):
        values = blobs(1, 60)[0].transpose(["tyx".index(a) for a in axes.replace("c", "")])
        if "c" in axes:
            values = np.stack([values, values], axis=axes.index("c"))
        np.save(path, values)
        data = Arrays(path=str(path), context=2, horizon=2)
        assert data.axes == axes
        assert [len(data.parts[split]) for split in SPLITS] == [1, 1, 1]
        np.testing.assert_array_equal(frames_of(path, 0)[:, 0], blobs(1, 60)[0])

    def test_sequences_of_points_are_not_taken_for_frames(self, path):
        """As a data set of one-dimensional equations: (sequence, time, x)."""
        phase = np.random.default_rng(0).uniform(0, 6, (40, 1, 1))
        time, place = np.arange(50)[:, None] / 20, np.linspace(0, 6, 64)
        np.save(path, np.sin(2 * place - time + phase).astype("f4"))
        with pytest.raises(InputError, match=r"frames \(tyx\), or sequences of points \(ntx\)"):
            Arrays(path=str(path))
        assert inspect_path(path).commands == []
        assert Arrays(path=str(path), axes="ntx").spec.frame_shape == (1, 64)

    def test_many_channels_have_to_be_said(self, path):
        np.save(path, np.zeros((10, 30, 20, 24, 24), np.float32))
        with pytest.raises(InputError, match="axes ntcyx it would have 20 channels"):
            Arrays(path=str(path))
        assert Arrays(path=str(path), axes="ntcyx").spec.frame_shape == (20, 24, 24)

    def test_yes_and_no_are_black_and_white(self, path):
        np.save(path, self.truth > 0.5)
        data = Arrays(path=str(path))
        assert data.spec.value_range == (0.0, 1.0)
        values = data.windows("train").batch(torch.tensor([0])).values[0, :, 0].numpy()
        np.testing.assert_array_equal(values, self.truth[0, : len(values)] > 0.5)

    def test_sixteen_bits_have_no_known_range(self, path):
        np.save(path, (4095 * self.truth).astype("u2"))
        data = Arrays(path=str(path))
        assert data.spec.value_range is None
        assert any("value_range" in choice.chosen for choice in data.inferred_options)
        assert data.windows("train").batch(torch.tensor([0])).values.max() > 4000

    def test_clips_of_predrnn(self, tmp_path):
        first = 20 * np.arange(12)
        clips = np.stack([np.stack([first + k, np.full(12, 10)], 1) for k in (0, 10)])
        frames = (self.truth.reshape(-1, 1, 24, 24)).astype(np.float32)
        np.savez(tmp_path / "a.npz", clips=clips, dims=[[1, 24, 24]], input_raw_data=frames)
        found = open_sequences(tmp_path / "a.npz").sequences
        assert found.lengths == [20] * 12
        np.testing.assert_array_equal(frames_of(tmp_path / "a.npz"), frames[60:80])

    def test_objects_are_refused_with_a_way_out(self, tmp_path):
        objects = np.empty(3, object)
        objects[:] = list(self.truth[:3])
        np.savez(tmp_path / "a.npz", frames=objects)
        with pytest.raises(InputError, match=r"frames holds Python objects.*\.npy file of one"):
            Arrays(path=str(tmp_path / "a.npz"))

    def test_matlab_is_told_by_its_content(self, tmp_path):
        path = tmp_path / "ns.mat"
        with h5py.File(path, "w", userblock_size=512) as content:
            content["u"] = self.truth.transpose(1, 2, 3, 0)
            content["a"], content["t"] = np.zeros((24, 24, 12)), np.arange(20.0)
        np.testing.assert_array_equal(frames_of(path)[:, 0], self.truth[3])
        assert inspect_path(path).kind.endswith("ns.mat: HDF5")
        old = tmp_path / "old.mat"
        old.write_bytes(b"MATLAB 5.0 MAT-file" + bytes(200))
        with pytest.raises(FileError, match=r"-v7\.3"):
            Arrays(path=str(old))

    def test_groups_and_numbered_arrays_are_sequences(self, tmp_path):
        with h5py.File(tmp_path / "a.h5", "w") as content:
            for number, values in enumerate(self.truth):
                group = content.create_group(f"{number:04}")
                group["data"] = np.stack([values[: 15 + number % 3]] * 2, axis=-1)
                group["grid/x"] = np.arange(24.0)
        found = open_sequences(tmp_path / "a.h5")
        assert (found.dataset, found.sequences.axes) == ("*/data", "tyxc")
        assert found.sequences.lengths == [15, 16, 17] * 4
        for number in range(12):
            found.sequences.read(number, 0, 1)
        assert len({id(array.handle) for array in found.sequences.arrays}) == 1  # one open file
        np.testing.assert_array_equal(frames_of(tmp_path / "a.h5", 4)[:, 1], self.truth[4, :16])
        np.savez(tmp_path / "b.npz", *self.truth)
        np.testing.assert_array_equal(frames_of(tmp_path / "b.npz", 10)[:, 0], self.truth[10])
        assert f"'{found.dataset}'" in inspect_path(tmp_path / "a.h5").text

    def test_a_folder_a_pattern_and_a_list(self, tmp_path):
        folder = tmp_path / "runs [old]"
        folder.mkdir()
        for number, values in enumerate(self.truth):
            np.save(folder / f"run{number}.npy", values)
        (folder / "notes.txt").write_text("notes")
        listed = [str(folder / f"run{number}.npy") for number in range(12)]
        for path in (str(folder), f"{folder}/*.npy", listed):
            data = Arrays(path=path, context=3, horizon=4)
            assert data.opened.sequences.axes == "tyx"
            np.testing.assert_array_equal(frames_of(path, 10)[:, 0], self.truth[10])
            assert [len(data.parts[split]) for split in SPLITS] == [10, 1, 1]
        assert "12 sequence(s) of 20 frames" in inspect_path(folder).text

    def test_tensors_of_pytorch(self, tmp_path):
        torch.save({"x": torch.from_numpy(self.truth), "t": torch.zeros(3)}, tmp_path / "a.pt")
        np.testing.assert_array_equal(frames_of(tmp_path / "a.pt")[:, 0], self.truth[3])
        torch.save({"x": torch.nn.Linear(1, 1)}, tmp_path / "b.pt")
        with pytest.raises(CorruptionError, match="cannot be read as tensors"):
            open_sequences(tmp_path / "b.pt")


def acting_file(path, **changes):
    """Five sequences of eight frames, with actions and states of an agent."""
    generator = np.random.default_rng(3)
    arrays = {
        "frames": generator.random((5, 8, 1, 6, 6), np.float32),
        "actions": generator.normal(size=(5, 7, 2)).astype("f4"),
        "agent_states": generator.normal(size=(5, 8, 3)).astype("f4"),
    } | changes
    np.savez(path, **{name: array for name, array in arrays.items() if array is not None})
    return arrays


def test_actions_beside_the_frames_are_those_of_each_window(tmp_path):
    path = tmp_path / "a.npz"
    arrays = acting_file(path)
    data = Arrays(path=str(path), context=2, horizon=3, axes="ntcyx", actions=True)
    assert (data.spec.actions, data.spec.agent_states) == (2, 3)
    windows = data.windows("train")
    batch = windows.batch(torch.tensor([1, 6]))
    for row, (sequence, start) in enumerate(windows.starts[[1, 6]]):
        steps = slice(start, start + 4)
        assert torch.equal(batch.actions[row], torch.from_numpy(arrays["actions"][sequence, steps]))
        states = arrays["agent_states"][sequence, start : start + 5]
        assert torch.equal(batch.agent_states[row], torch.from_numpy(states))
    plain = Arrays(path=str(path), context=2, horizon=3, axes="ntcyx")
    assert (plain.spec.actions, plain.windows("train").digest) == (0, windows.digest)
    assert plain.windows("train").batch(torch.tensor([0])).actions is None


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"actions": None}, "no array named actions"),
        ({"actions": np.zeros((5, 6, 2))}, r"8 frames .* at least 7 finite actions, got \(6, 2\)"),
        ({"actions": np.full((5, 7, 2), np.nan)}, "at least 7 finite actions"),
        ({"agent_states": np.zeros((4, 8, 3))}, r"each of 5 sequence\(s\), got \(4, 8, 3\)"),
    ],
)
def test_actions_that_do_not_fit_are_refused(tmp_path, changes, said):
    acting_file(tmp_path / "a.npz", **changes)
    with pytest.raises(InputError, match=said):
        Arrays(path=str(tmp_path / "a.npz"), context=2, horizon=3, axes="ntcyx", actions=True)

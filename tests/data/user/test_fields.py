"""A scientist's own fields: what is read is what is there, split before it is cut."""

import numpy as np
import pytest
import torch
import xarray
from helpers.labelled_fields import PACKED, sea_surface, write_field

from statecast.data.loading import training_batches
from statecast.data.user.field_splits import window_lengths
from statecast.data.user.fields import Fields
from statecast.errors import CorruptionError, FileError, InputError

LENGTHS = {"context": 3, "horizon": 4, "test_horizon": 5}


def fields(path, **options):
    return Fields(path=path, **(LENGTHS | {"anomaly": "none", "split_gap": 0} | options))


@pytest.fixture
def sea(tmp_path):
    return write_field(tmp_path / "sst.nc", sea_surface())


def window(data, split="train", index=0):
    return data.windows(split).batch(torch.tensor([index]))


@pytest.mark.parametrize(
    ("name", "options"),
    [("a.nc", {}), ("a.nc", {"engine": "h5netcdf"}), ("a.zarr", {}), ("packed.nc", {})],
)
@pytest.mark.parametrize("storage", ["memory", "files", "cache"])
def test_windows_hold_what_the_file_holds(tmp_path, cache, name, options, storage):
    dataset = sea_surface(island=True)
    encoding = PACKED if name == "packed.nc" else {}
    write_field(tmp_path / name, dataset, encoding=encoding)
    data = fields(str(tmp_path / name), storage=storage, **options)
    values = dataset["sst"].values.astype(np.float32)
    batch = window(data, index=5)
    np.testing.assert_allclose(batch.values[0, :, 0], values[5:12], atol=6e-4)
    np.testing.assert_array_equal(batch.mask[0, :, 0], ~np.isnan(values[5:12]))
    # 60 frames: 42 for training, 9 for validation, 9 for tests.
    batch = window(data, "test")
    np.testing.assert_allclose(batch.values[0, :, 0], values[51:59], atol=6e-4)
    assert [len(data.windows(s)) for s in ("train", "validation", "test")] == [36, 3, 2]


def test_storage_and_workers_change_nothing(sea, cache):
    digests, drawn = [], []
    for storage, workers in (("memory", 0), ("files", 1), ("cache", 0)):
        windows = fields(sea, storage=storage, anomaly="mean").windows("train")
        batches = training_batches(windows, range(2), batch_size=4, seed=1, loader_workers=workers)
        drawn.append(torch.cat([batch.values for batch in batches]))
        digests.append(windows.digest)
    assert len(set(digests)) == 1
    assert torch.equal(drawn[0], drawn[1])
    assert torch.equal(drawn[0], drawn[2])


def test_several_variables_are_channels_in_the_order_asked_for(tmp_path):
    dataset = sea_surface()
    dataset["chl"] = (dataset["sst"] * 2).transpose("lon", "time", "lat").assign_attrs(units="mg")
    path = write_field(tmp_path / "two.nc", dataset)
    data = fields(path, variables="chl, sst")
    assert data.spec.channels == ("chl", "sst")
    assert data.spec.unit == "mg, degC"
    batch = window(data)
    torch.testing.assert_close(batch.values[:, :, 0], 2 * batch.values[:, :, 1])
    with pytest.raises(InputError, match=r"fields in time are \['sst', 'chl'\]"):
        fields(path)


def test_stations_are_points(tmp_path):
    values = np.random.default_rng(0).random((40, 5))
    dataset = xarray.Dataset(
        {"level": (("time", "station"), values)},
        coords={"time": np.arange(40.0), "station": list("abcde")},
    )
    data = fields(write_field(tmp_path / "s.nc", dataset), horizon=2, test_horizon=2)
    assert data.spec.space == (5,)
    np.testing.assert_allclose(window(data).values[0, :, 0], values[:5], rtol=1e-6)


def test_regions_and_coarser_grids(tmp_path):
    dataset = sea_surface(height=8, width=12, island=True)
    path = write_field(tmp_path / "a.nc", dataset)
    lat, lon = dataset.lat.values, dataset.lon.values
    data = fields(path, crop={"lat": (-20, 20)}, coarsen=2)
    rows = (lat >= -20) & (lat <= 20)
    expected = dataset["sst"].values[:, rows]
    shape = (60, rows.sum() // 2, 2, 6, 2)
    with np.errstate(all="ignore"):
        expected = np.nanmean(expected.reshape(shape), axis=(2, 4))
    np.testing.assert_allclose(window(data).values[0, :, 0], expected[:7], rtol=1e-5)
    grid = data.preparation.grid
    np.testing.assert_allclose(grid["lat"], lat[rows].reshape(-1, 2).mean(axis=1))
    np.testing.assert_allclose(grid["lon"], lon.reshape(-1, 2).mean(axis=1))


def test_one_level_is_selected_and_old_files_are_read(tmp_path):
    shallow, deep = sea_surface(seed=1), sea_surface(seed=2)
    dataset = xarray.concat([shallow, deep], dim="depth").assign_coords(depth=[0.5, 10.0])
    path = str(tmp_path / "deep.nc")
    dataset.to_netcdf(path, format="NETCDF3_CLASSIC")
    with pytest.raises(InputError, match=r"--data\.crop"):
        fields(path, variables="sst")
    data = fields(path, crop={"depth": (5, 20)})
    np.testing.assert_allclose(window(data).values[0, :, 0], deep["sst"].values[:7], rtol=1e-6)


def test_odd_sizes_are_grown_by_unknown_points(tmp_path):
    dataset = sea_surface(height=45, width=72)
    data = fields(write_field(tmp_path / "a.nc", dataset))
    assert data.spec.space == (48, 80)  # for the dcgan codec, which suits the size
    batch = window(data)
    assert bool(batch.mask[..., :45, :72].all())
    assert not bool(batch.mask[..., 45:, :].any() or batch.mask[..., 72:].any())
    assert fields(write_field(tmp_path / "b.nc", sea_surface())).spec.space == (6, 9)


def test_climatology_is_fitted_on_training_frames_alone(tmp_path):
    dataset = sea_surface()
    changed = dataset.copy(deep=True)
    changed["sst"][42:] += 100  # validation and tests
    found = []
    for name, made in (("a.nc", dataset), ("b.nc", changed)):
        data = fields(write_field(tmp_path / name, made), anomaly="mean")
        found.append(data.preparation.climatology.coefficients)
    np.testing.assert_array_equal(*found)
    mean = dataset["sst"].values[:42].mean(axis=0)
    np.testing.assert_allclose(found[0][0, 0], mean, rtol=1e-5)
    batch = window(data)
    np.testing.assert_allclose(batch.values[0, 0, 0], changed["sst"].values[0] - mean, atol=1e-4)


def test_choices_are_said_and_a_recipe_with_them_is_the_same_data(tmp_path):
    path = write_field(tmp_path / "a.nc", sea_surface(frames=900, step="1D"))
    data = Fields(path=path)
    chosen = {c.option: c.value for c in data.inferred_options if c.option}
    assert chosen["context"] == 8
    assert chosen["horizon"] == 12
    assert chosen["anomaly"] == "seasonal"  # of 630 days
    again = Fields(path=path, **chosen)
    assert not [c for c in again.inferred_options if c.option]
    assert again.card == data.card
    assert again.windows("test").digest == data.windows("test").digest


@pytest.mark.parametrize(
    ("frames", "trained", "anomaly"),
    [(520, 364, "mean"), (521, 365, "seasonal"), (1036, 726, "seasonal")],
)
def test_a_year_of_training_tells_seasons_and_less_is_said(tmp_path, frames, trained, anomaly):
    path = write_field(tmp_path / "a.nc", sea_surface(frames=frames, step="1D"))
    data = Fields(path=path, split_gap=0)
    assert data.parts["train"] == [(0, 0, trained)]
    assert data.anomaly == anomaly
    said = {c.what: c.chosen for c in data.inferred_options}["anomaly"]
    assert ("too few for seasons" in said) == (anomaly == "mean")


@pytest.mark.parametrize("frames", [6, 7, 15, 40])
def test_short_series_work_as_far_as_they_can(tmp_path, frames):
    data = Fields(path=write_field(tmp_path / "a.nc", sea_surface(frames=frames)))
    for split in ("train", "validation", "test"):
        assert len(data.windows(split)) >= 1
    assert len(data.windows("train").training_batch(0, 8, seed=1)) == 8


@pytest.mark.parametrize(
    ("options", "gap", "ends"),
    [
        ({"split_gap": 2}, 2, [(0, 40), (42, 50), (52, 60)]),
        ({}, 3, [(0, 38), (41, 49), (52, 60)]),  # as many frames as are observed
        ({"test_horizon": 6}, 1, [(0, 40), (41, 50), (51, 60)]),  # as many as leave room
    ],
)
def test_a_gap_keeps_splits_apart_and_is_said(sea, options, gap, ends):
    data = Fields(path=sea, anomaly="none", **LENGTHS | options)
    assert [data.parts[split][0][1:] for split in ("train", "validation", "test")] == ends
    assert data.card["split_gap"] == gap
    said = {c.option: (c.chosen, c.value) for c in data.inferred_options}
    expected = (f"{gap} frames between splits belong to none", gap)
    assert said.get("split_gap", expected) == expected
    assert ("split_gap" in said) != ("split_gap" in options)


def test_files_that_go_on_from_one_another_are_one_series(tmp_path):
    dataset = sea_surface()
    for number, part in enumerate((slice(40, 60), slice(0, 1), slice(1, 40))):
        write_field(tmp_path / f"{number}.nc", dataset.isel(time=part))
    data = fields(str(tmp_path / "*.nc"))
    whole = fields(write_field(tmp_path / "whole.nc", dataset))
    assert data.files.lengths == [60]
    for split in ("train", "validation", "test"):
        assert data.windows(split).digest == whole.windows(split).digest


def test_zones_are_sequences_and_can_be_split_by_file(tmp_path):
    paths = []
    for zone in range(5):
        made = sea_surface(frames=20, seed=zone)
        made = made.assign_coords(lat=("lat", made.lat.values + zone, made.lat.attrs))
        paths.append(write_field(tmp_path / f"zone{zone}.nc", made))
    data = fields(tuple(paths), split="file", split_fractions=(0.6, 0.2, 0.2))
    assert [p for p, _, _ in data.parts["test"]] == [4]
    assert len(data.windows("train")) == 3 * 14
    np.testing.assert_allclose(
        window(data, "test").values[0, :, 0], sea_surface(20, seed=4)["sst"].values[:8], rtol=1e-6
    )
    assert data.preparation.grid == {}
    with pytest.raises(InputError, match="one place"):
        fields(tuple(paths), anomaly="mean", split="file")
    with pytest.raises(InputError, match="coordinates differ"):
        fields(tuple(paths), joining="time", split="file")


def test_missing_days_become_unknown_frames(tmp_path):
    dataset = sea_surface().isel(time=[*range(10), *range(12, 60)])
    path = write_field(tmp_path / "a.nc", dataset)
    with pytest.raises(InputError, match=r"2001-01-10 to 2001-01-13"):
        fields(path)
    data = fields(path, uneven_times="fill", storage="files")
    assert np.isnan(data.store.read(0, 10, 12)).all()
    accepted = fields(path, uneven_times="accept")
    assert accepted.preparation.step is None  # nor need later data be even
    assert accepted.files.lengths == [58]
    batch = window(data, index=6)  # frames 6 … 12
    assert batch.mask[0].flatten(1).all(dim=1).tolist() == [True] * 4 + [False] * 2 + [True]
    np.testing.assert_allclose(batch.values[0, 6, 0], sea_surface()["sst"].values[12], rtol=1e-6)


def test_averages_over_time_are_of_known_values(tmp_path):
    dataset = sea_surface(frames=240, step="6h")
    dataset["sst"][1, 0, 0] = np.nan
    data = fields(write_field(tmp_path / "a.nc", dataset), time_step="1D")
    values = dataset["sst"].values.reshape(60, 4, 6, 9)
    np.testing.assert_allclose(
        window(data).values[0, :, 0], np.nanmean(values, axis=1)[:7], rtol=1e-5
    )


def test_unsorted_times_are_sorted_if_asked(tmp_path):
    dataset = sea_surface()
    order = np.random.default_rng(0).permutation(60)
    path = write_field(tmp_path / "a.nc", dataset.isel(time=order))
    with pytest.raises(InputError, match="sort: true"):
        fields(path)
    np.testing.assert_allclose(
        window(fields(path, sort=True)).values[0, :, 0], dataset["sst"].values[:7], rtol=1e-6
    )


# What is refused, and what the error says.


def refused(tmp_path, dataset, message, *, error=InputError, read=False, **options):
    path = write_field(tmp_path / f"bad-{len(list(tmp_path.iterdir()))}.nc", dataset)

    def opened():
        return window(fields(path, **options)) if read else fields(path, **options)

    with pytest.raises(error, match=message):
        opened()
    return path


def test_what_is_missing_is_named_with_what_is_there(tmp_path):
    refused(tmp_path, sea_surface(), r"variables \['sst'\], but not 'sss'", variables="sss")
    refused(tmp_path, sea_surface(), "not 'latitude'", y="latitude", x="lon")
    refused(tmp_path, sea_surface(), "not 'depth', which should be cropped", crop={"depth": (0, 1)})
    refused(tmp_path, sea_surface(), "from 0 to 40: nothing lies", crop={"lon": (50, 60)})
    refused(tmp_path, sea_surface(), "lower end first", crop={"lon": (60, 50)})
    refused(tmp_path, sea_surface(), "no engine 'grib'", engine="grib")
    with pytest.raises(InputError, match=r"--data\.path"):
        Fields()


def test_series_that_are_too_short_are_refused(tmp_path):
    refused(tmp_path, sea_surface(frames=5), "5 frames; to be split in time it needs at least 6")
    refused(tmp_path, sea_surface(frames=20), "part has 3 frames, too few", context=4)
    refused(tmp_path, sea_surface(), "at least 1 frame, got 0", context=0)
    refused(tmp_path, sea_surface(), "at least 3 sequences, got 1", split="file")
    refused(tmp_path, sea_surface(), "add up to 1", split_fractions=(0.5, 0.2, 0.2))
    refused(tmp_path, sea_surface(), "at least a year", anomaly="seasonal")


def test_frames_without_any_value_are_refused_unless_kept(tmp_path):
    dataset = sea_surface()
    dataset["sst"][7] = np.nan
    path = refused(tmp_path, dataset, r"no known value of sst in 1 frame.*frame 7", read=True)
    batch = window(fields(path, missing_frames="keep"), index=4)
    assert not batch.mask[0, 3].any()
    dataset["sst"][7] = np.inf
    refused(tmp_path, dataset, "infinite values, first in frame 7", read=True)


def in_kelvin(dataset):
    dataset["sst"].attrs["units"] = "K"
    return dataset


def test_mixed_grids_name_the_file(tmp_path):
    one = write_field(tmp_path / "one.nc", sea_surface())
    for name, other, message in (
        ("grid.nc", sea_surface(width=10), r"\(6, 10\) points.*one grid"),
        ("names.nc", sea_surface().rename(sst="sss"), "not 'sst'"),
        ("units.nc", in_kelvin(sea_surface()), "unit 'K'"),
        ("step.nc", sea_surface(step="2D", start="2005-01-01"), "2 days apart"),
    ):
        path = write_field(tmp_path / name, other)
        with pytest.raises(InputError, match=message) as caught:
            fields((one, path), variables="sst")
        assert name in str(caught.value)


def test_damaged_files_are_named(tmp_path, sea):
    from pathlib import Path

    content = Path(sea).read_bytes()
    for name, part in (("cut.nc", content[: len(content) // 2]), ("text.nc", b"hello, field")):
        (tmp_path / name).write_bytes(part)
        with pytest.raises(CorruptionError, match=name):
            window(fields(str(tmp_path / name)))
    (tmp_path / "folder").mkdir()
    with pytest.raises(FileError, match="not a Zarr store"):
        fields(str(tmp_path / "folder"))
    with pytest.raises(FileError, match="no file"):
        fields(str(tmp_path / "none.nc"))
    with pytest.raises(FileError, match="No file matches"):
        fields(str(tmp_path / "none*.nc"))


@pytest.mark.parametrize("version", [2, 3])
def test_a_missing_chunk_is_found(tmp_path, version):
    import zarr

    dataset = sea_surface(island=True)
    dataset["sst"][:, :3, :4] = np.nan  # a chunk of land, which is not stored at any time
    path = tmp_path / "a.zarr"
    dataset.to_zarr(
        path, zarr_format=version, consolidated=False,
        encoding={"sst": {"chunks": (10, 3, 4)}},
    )  # fmt: skip
    assert window(fields(str(path))).mask.any()
    separator = zarr.open_group(path, mode="r")["sst"]
    assert separator.nchunks_initialized < separator.nchunks
    names = ("2.1.1",) if version == 2 else ("c", "2", "1", "1")
    path.joinpath("sst", *names).unlink()
    with pytest.raises(CorruptionError, match=r"first at \(2, 1, 1\)"):
        fields(str(path))
    assert window(fields(str(path), missing_frames="keep"), index=20).mask.any()


def test_short_series_leave_several_starts_to_tests():
    def lengths(frames):
        gap, part = 2, frames // 7
        ends = np.cumsum([5 * part, gap, part, gap, part])
        parts = {
            "train": [(0, 0, ends[0])],
            "validation": [(0, ends[1], ends[2])],
            "test": [(0, ends[3], ends[4])],
        }
        return part, window_lengths(
            parts, context=None, horizon=None, validation_horizon=None, test_horizon=None
        )

    for frames in (56, 250, 2000):
        part, found = lengths(frames)
        starts = part - found.context - found.test_horizon + 1
        assert starts >= found.test_horizon >= found.horizon
    assert found.test_horizon == 2 * found.horizon  # where there is room

"""TaxiBJ from HDF5: whole days, runs of days, scale, and windows that no two splits share."""

import numpy as np
import pytest
import torch
from helpers.fake_benchmark_files import taxi_folder, taxi_year, write_taxi

from statecast.data.benchmarks.taxibj import TaxiBJ
from statecast.data.prepare import prepare
from statecast.errors import CorruptionError, FileError, InputError

YEARS = (13, 14, 15, 16)


@pytest.fixture
def source(tmp_path, cache):
    return taxi_folder(tmp_path / "source")


def kept(year):
    """Flows of the days that are whole: the first three of four."""
    return np.maximum(taxi_year(year, (1, 2, 4, 5))[1][: 3 * 48], 0).astype(np.float32)


def test_whole_days_are_kept_in_runs_and_negative_flows_are_zero(source):
    store = prepare("taxibj", source).store
    assert [(one.name, one.frames) for one in store.sequences][:3] == [
        ("BJ13/2013-07-01", 96), ("BJ13/2013-07-04", 48), ("BJ14/2014-07-01", 96),
    ]  # fmt: skip
    np.testing.assert_array_equal(store.frames, np.concatenate([kept(year) for year in YEARS]))
    assert store.frames.min() == 0
    assert {c["what"]: c["found"] for c in store.notes["counts"]} == {
        "slots": 4 * 189, "complete days": 12,
    }  # fmt: skip


def test_a_day_that_lacks_a_slot_in_its_middle_is_left_out(source):
    dates, flows = taxi_year(14, (1, 2, 3))
    write_taxi(source, 14, np.delete(dates, 60), np.delete(flows, 60, axis=0))
    store = prepare("taxibj", source).store
    assert [one.name for one in store.sequences if one.name.startswith("BJ14")] == [
        "BJ14/2014-07-01", "BJ14/2014-07-03",
    ]  # fmt: skip


def test_windows_lie_within_runs_and_the_last_are_for_tests(source):
    prepare("taxibj", source)
    data = TaxiBJ(test_windows=45)
    parts = {split: data.parts[split] for split in ("train", "validation", "test")}
    everyone = [(run, first) for run in range(8) for first in range((96, 48)[run % 2] - 7)]
    assert [tuple(start) for start in parts["test"]] == everyone[-45:]  # 41 of one run, 4 before
    frames = {}
    firsts = [one.first for one in data.store.sequences]
    for split, starts in parts.items():
        frames[split] = {firsts[run] + first + i for run, first in starts for i in range(8)}
    assert not frames["train"] & frames["validation"]
    assert not frames["train"] & frames["test"]
    assert not frames["validation"] & frames["test"]
    assert max(frames["train"]) < min(frames["validation"]) < min(frames["test"])


def test_flows_are_scaled_by_their_extremes_before_the_tests(source):
    dates, flows = taxi_year(16, (1, 2, 4))
    flows[-1] = 5000.0  # in the tests, so it must not count
    write_taxi(source, 16, dates, flows)
    prepare("taxibj", source)
    data = TaxiBJ(test_windows=20)
    before = data.store.frames[: 12 * 48 - 27]  # 20 windows of 8 frames
    assert data.scale == (before.min(), before.max())
    windows = data.windows("test")
    batch = windows.batch(torch.tensor([19])).values[0]
    low, high = data.scale
    expected = (np.maximum(flows[-8:], 0) - low) / (high - low)
    torch.testing.assert_close(batch, torch.from_numpy(expected).float())
    assert batch[-1].min() > 4  # later flows may exceed the scale


def test_the_paper_runs_backward_and_needs_a_frame_after_the_window(source):
    prepare("taxibj", source)
    forward, backward = TaxiBJ(test_windows=20), TaxiBJ(test_windows=20, protocol="paper")
    one = forward.windows("test").batch(torch.tensor([18])).values[0]
    other = backward.windows("test").batch(torch.tensor([19])).values[0]
    low, high = forward.scale
    assert backward.scale == (backward.store.frames[:-20].min(), backward.store.frames[:-20].max())
    paper_low, paper_high = backward.scale
    flows = one * (high - low) + low
    torch.testing.assert_close(other.flip(0) * (paper_high - paper_low) + paper_low, flows)
    assert tuple(backward.parts["test"][-1]) == (7, 39)
    # Training goes up to the tests, and shares frames with them.
    assert tuple(backward.parts["validation"][-1]) == (7, 19)
    assert tuple(backward.parts["test"][0]) == (7, 20)


def test_too_few_windows_are_refused(source):
    prepare("taxibj", source)
    with pytest.raises(InputError, match="520 windows are too few for 1344 test windows"):
        TaxiBJ().windows("test")
    with pytest.raises(InputError, match="520 windows are too few for 519"):
        TaxiBJ(test_windows=519).windows("train")


def test_flows_without_a_scale_are_refused(source):
    for year in YEARS:
        dates, flows = taxi_year(year, (1, 2))
        write_taxi(source, year, dates, 0 * flows + 7)
    prepare("taxibj", source)
    with pytest.raises(InputError, match="cannot be scaled"):
        TaxiBJ(test_windows=6).windows("test")


def test_missing_and_broken_files_are_refused_by_name(source):
    path = source / "BJ14_M32x32_T30_InOut.h5"
    path.write_bytes(b"no HDF5")
    with pytest.raises(CorruptionError, match=r"BJ14_M32x32_T30_InOut.h5 cannot be read as HDF5"):
        prepare("taxibj", source)
    path.unlink()
    with pytest.raises(FileError, match=r"lacks BJ14_M32x32_T30_InOut.h5: expected BJ13_"):
        prepare("taxibj", source)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda dates, flows: (dates, flows[:, :, :16]), r"got float64 \(96, 2, 16, 32\)"),
        (lambda dates, flows: (dates[:-1], flows), "and 95 dates"),
        (lambda dates, flows: (dates, flows * np.nan), "NaN or infinite"),
        (lambda dates, flows: (np.full(96, b"yesterday."), flows), "'yesterday.'"),
        (lambda dates, flows: (dates[:40], flows[:40]), "no day with all 48 slots"),
    ],
)
def test_contents_that_do_not_fit_are_refused(source, change, said):
    write_taxi(source, 15, *change(*taxi_year(15, (1, 2))))
    with pytest.raises(InputError, match=said):
        prepare("taxibj", source)


def test_a_file_without_dates_is_refused(source):
    import h5py

    with h5py.File(source / "BJ13_M32x32_T30_InOut.h5", "w") as file:
        file["data"] = np.zeros((48, 2, 32, 32))
    with pytest.raises(InputError, match="lacks date; it should hold data and date"):
        prepare("taxibj", source)

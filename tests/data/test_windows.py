"""Windows of stored sequences, and batches of training steps."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from torch.utils.data import ConcatDataset, DataLoader, Subset

from statecast.data.base import collate_batches
from statecast.data.loading import ordered_batches, training_batches
from statecast.data.windows import FirstFrames, SequenceWindows, all_starts
from statecast.errors import InputError
from statecast.frames import Batch


def windows(length=5):
    sequences = np.arange(4 * 9, dtype=np.float32).reshape(4, 9, 1, 1)
    starts = all_starts(range(1, 3), 9, length)
    latents = {"number": np.arange(4)}
    return SequenceWindows(
        sequences, starts, context=2, length=length, channels=("u",), latents=latents
    )


def test_every_window_of_the_chosen_sequences_is_there_once():
    found = windows()
    assert len(found) == 2 * 5
    batch = found.batch(torch.arange(10))
    first = batch.values[:, 0, 0, 0].tolist()
    assert first == [9, 10, 11, 12, 13, 18, 19, 20, 21, 22]
    torch.testing.assert_close(batch.values.diff(dim=1), torch.ones(10, 4, 1, 1))
    assert batch.latents["number"].tolist() == [1] * 5 + [2] * 5
    assert batch.context.values.shape[1] == 2


def test_windows_feed_a_loader_of_pytorch():
    found = windows()
    expected = found.batch(torch.arange(10))
    several = ConcatDataset([Subset(found, range(4)), Subset(found, range(4, 10))])
    for data in (found, several, Subset(found, range(10))):
        first, second, last = DataLoader(data, batch_size=4)
        assert [len(batch) for batch in (first, second, last)] == [4, 4, 2]
        joined = torch.cat([batch.values for batch in (first, second, last)])
        assert torch.equal(joined, expected.values)
        assert torch.equal(second.latents["number"], expected.latents["number"][4:8])
        assert (len(first.context), first.context.channels) == (2, ("u",))
    assert [float(one.values[0, 0]) for one in found] == expected.values[:, 0].flatten().tolist()


def test_a_loader_keeps_what_is_unknown():
    pair = [Batch.of(torch.full((1, 3, 1, 2), float(i)), 1) for i in range(2)]
    gap = torch.ones(1, 3, 1, 2, dtype=torch.bool)
    gap[0, 2, 0, 1] = False
    pair[1] = Batch.of(pair[1].values.masked_fill(~gap, torch.nan), 1, mask=gap)
    joined = collate_batches(pair)
    assert joined.mask.sum() == 11
    assert not joined.target.known[1, 1, 0, 1]


def test_an_epoch_shows_every_window_once_and_epochs_differ():
    found = windows()
    epochs = []
    for epoch in range(2):
        batches = [found.training_batch(5 * epoch + step, 2, seed=3) for step in range(5)]
        epochs.append([v for b in batches for v in b.values[:, 0, 0, 0].tolist()])
    assert sorted(epochs[0]) == sorted(epochs[1]) == [9, 10, 11, 12, 13, 18, 19, 20, 21, 22]
    assert epochs[0] != epochs[1]
    orders = {tuple(found.training_indices(0, 10, seed=seed).tolist()) for seed in range(5)}
    assert len(orders) == 5


@pytest.mark.parametrize("workers", [0, 2])
def test_going_on_from_a_step_gives_the_batches_of_a_run_never_stopped(workers):
    whole = list(training_batches(windows(), range(12), batch_size=3, seed=1))
    rest = training_batches(windows(), range(7, 12), batch_size=3, seed=1, loader_workers=workers)
    for one, other in zip(whole[7:], rest, strict=True):
        assert torch.equal(one.values, other.values)


def test_ordered_batches_cover_all_windows_in_order():
    parts = list(ordered_batches(windows(), 4))
    assert [first for first, _ in parts] == [0, 4, 8]
    values = torch.cat([batch.values for _, batch in parts])
    assert torch.equal(values, windows().batch(torch.arange(10)).values)
    parts = ordered_batches(windows(), 2, count=3)
    some = [batch.values[:, 0, 0, 0].tolist() for _, batch in parts]
    assert some == [[9, 12], [19]]  # evenly spaced, so that no sequence stands for all


@pytest.mark.parametrize(("sequence", "same"), [(0, True), (1, False), (2, False), (3, True)])
def test_a_digest_tells_of_the_sequences_that_windows_are_cut_from(sequence, same):
    found = windows()
    found.sequences = found.sequences.copy()
    found.sequences[sequence, 8] += 1
    assert (found.digest == windows().digest) == same
    assert windows(length=6).digest != windows().digest


def test_the_first_frames_of_a_target_are_its_first_frames():
    whole, short = windows(length=6), FirstFrames(windows(length=6), 1)
    numbers = torch.arange(8)
    one, other = whole.batch(numbers), short.batch(numbers)
    assert len(short) == len(whole) == 8
    assert torch.equal(other.context.values, one.context.values)
    assert torch.equal(other.target.values, one.target.values[:, :1])
    assert other.target.times.tolist() == [1.0]
    assert len({whole.digest, short.digest, FirstFrames(whole, 2).digest}) == 3
    known = one.target.values > 14
    masked = replace(one.target, values=one.target.values.where(known, torch.nan), mask=known)
    assert torch.equal(masked.first(2).mask, known[:, :2])
    with pytest.raises(InputError, match="at least 1 frame, got 0"):
        FirstFrames(whole, 0)


def test_windows_longer_than_the_sequences_are_refused():
    with pytest.raises(InputError, match="no windows of 10 frames"):
        windows(length=10)
    with pytest.raises(InputError, match="no windows of 5 frames"):
        SequenceWindows(
            np.zeros((1, 9, 1, 1)), np.array([[0, 5], [0, 0]]), context=2, length=5, channels=("u",)
        )
    with pytest.raises(InputError, match="at least 11 windows"):
        windows().training_batch(0, 11, seed=1)

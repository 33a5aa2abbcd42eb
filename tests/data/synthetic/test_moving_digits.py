"""Moving digits: drawn as a slow twin draws them, reproducible, disjoint, with their latents."""

import numpy as np
import pytest
import torch

from statecast.data.base import SPLITS
from statecast.data.synthetic.moving_digits import MovingDigits
from statecast.data.synthetic.moving_mnist_file import write_test_set
from statecast.data.synthetic.rendering import render
from statecast.errors import CorruptionError, FileError, InputError


def small(**options):
    return MovingDigits(**({"test_videos": 20, "validation_videos": 12} | options))


def slow_render(images, positions, size):
    """Object by object, with room for sums beyond 255."""
    length, sequences, objects = positions.shape[:3]
    frames = np.zeros((sequences, length, size, size), int)
    side = images.shape[-1]
    for s in range(sequences):
        for t in range(length):
            for o in range(objects):
                x, y = (round(float(v)) for v in positions[t, s, o])
                frames[s, t, y : y + side, x : x + side] += images[s, o]
    return frames.clip(0, 255).astype(np.uint8)


def test_rendering_equals_a_slow_twin():
    rng = np.random.default_rng(0)
    images = rng.integers(0, 256, (4, 3, 10, 10), dtype=np.uint8)
    positions = rng.uniform(0, 14, (6, 4, 3, 2))
    positions[0] = 0.5  # halves are rounded to even by both
    found = render(images, positions, 24)
    np.testing.assert_array_equal(found, slow_render(images, positions, 24))


def test_frames_show_the_digits_where_the_latents_say():
    data = small(digits=1)
    windows = data.windows("test")
    batch = windows.batch(torch.arange(5))
    assert batch.values.shape == (5, 25, 1, 64, 64)
    assert 0 <= batch.values.min() <= batch.values.max() == 1
    images = data.windows("test").glyphs
    for window in range(5):
        for time in (0, 7, 24):
            x, y = batch.latents["position"][window, time, 0].round().int().tolist()
            seen = batch.values[window, time, 0, y : y + 28, x : x + 28]
            same = (images.images == seen.mul(255).round().to(torch.uint8).numpy()).all((1, 2))
            assert images.labels[same].tolist() == [batch.latents["label"][window, 0]]


def test_every_test_digit_is_used_once_before_any_a_second_time():
    data = small(test_videos=134)  # 268 of 269 digits
    chosen = data.windows("test")._chosen
    assert len(set(chosen.flatten().tolist())) == 268


def test_horizons_and_sizes_are_those_asked_for():
    data = small(frame_size=32, context=3, horizon=2, test_horizon=9, validation_horizon=4)
    assert data.spec.frame_shape == (1, 32, 32)
    lengths = [data.windows(split).batch(torch.arange(2)).values.shape[1] for split in SPLITS]
    assert lengths == [5, 7, 12]


def test_published_layout_round_trip(tmp_path):
    windows = small().windows("test")
    path = write_test_set(windows, tmp_path / "test.npz")
    with np.load(path) as content:
        assert content["sequences"].shape == (25, 20, 64, 64)
        assert content["sequences"].dtype == np.uint8
        assert content["latents"].shape == (25, 20, 2, 4)
        assert int(content["digits"]) == 2
    stored = small(test_file=str(path)).windows("test")
    rows = torch.tensor([4, 19])
    one, other = windows.batch(rows), stored.batch(rows)
    assert torch.equal(one.values, other.values)
    for name, value in one.latents.items():
        torch.testing.assert_close(other.latents[name], value, msg=name)


def test_broken_test_files_are_refused(tmp_path):
    with pytest.raises(FileError, match="There is no test set"):
        small(test_file=str(tmp_path / "none.npz")).windows("test")
    path = write_test_set(small().windows("test"), tmp_path / "test.npz")
    with pytest.raises(InputError, match="25 frames"):
        small(test_file=str(path), test_horizon=21).windows("test")
    path.write_bytes(path.read_bytes()[:1000])
    with pytest.raises(CorruptionError, match=r"test\.npz"):
        small(test_file=str(path)).windows("test")
    np.savez(tmp_path / "other.npz", a=np.zeros(3))
    with pytest.raises(CorruptionError, match="sequences"):
        small(test_file=str(tmp_path / "other.npz")).windows("test")

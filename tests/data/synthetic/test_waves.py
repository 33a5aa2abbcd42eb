"""Waves: published frames, symmetry, splits, both protocols, a cache that notices damage."""

from pathlib import Path

import numpy as np
import pytest
import torch

from statecast.data.base import SPLITS
from statecast.data.cache.entries import ARRAY_NAME
from statecast.data.synthetic.waves import WaveEquation, observed_pixels
from statecast.data.synthetic.waves_simulation import WaveParameters, draw_parameters, simulate
from statecast.errors import CorruptionError, InputError

GOLDEN = Path(__file__).parents[2] / "golden" / "wave_sequence.npz"


@pytest.fixture
def cache(tmp_path, monkeypatch):
    monkeypatch.setenv("STATECAST_CACHE", str(tmp_path))
    return tmp_path


def solved(source, speed, frames=300):
    parameters = WaveParameters(np.asarray(source), np.asarray(speed))
    return torch.cat(list(simulate(parameters, frames=frames)))


def test_frames_equal_the_published_ones():
    golden = np.load(GOLDEN)
    frames = solved([golden["source_0"]], [golden["speed_0"]])[0].numpy()
    size = golden["max_0"] - golden["min_0"]
    error = np.abs(frames[golden["frame_indices"]] - golden["frames_0"]).max()
    assert error < 1e-5 * size
    assert abs(frames.min() - golden["min_0"]) < 1e-5 * size
    assert abs(frames.max() - golden["max_0"]) < 1e-5 * size


def test_the_rim_stays_at_rest_and_the_pattern_is_symmetric():
    frames = solved([10.0], [350.0], frames=120)[0]
    rim = torch.ones(64, 64, dtype=torch.bool)
    rim[2:-2, 2:-2] = False
    assert frames[:, rim].abs().max() == 0
    # Centred on pixel (32, 32) of 64: rows and columns are alike. Mirrored rows are not, because
    # there is one pixel more on one side.
    torch.testing.assert_close(frames, frames.transpose(1, 2), atol=1e-9, rtol=1e-4)
    early = frames[:40, 1:, 1:]
    torch.testing.assert_close(early, early.flip(1), atol=1e-9, rtol=1e-4)


def test_displacement_is_linear_in_the_source():
    one, two = solved([1.0, 2.0], [350.0, 350.0], frames=60)
    torch.testing.assert_close(2 * one, two, atol=1e-10, rtol=1e-4)


def test_solving_together_equals_solving_alone():
    parameters = draw_parameters(12, 1)
    together = solved(*parameters, frames=30)
    alone = solved([parameters.source[11]], [parameters.speed[11]], frames=30)
    torch.testing.assert_close(together[11:], alone, atol=1e-12, rtol=1e-5)


def test_parameters_are_the_published_draws():
    generator = np.random.RandomState(42)
    parameters = draw_parameters(3, 42)
    for source, speed in zip(*parameters, strict=True):
        assert source == generator.uniform(1, 30)
        assert speed == generator.uniform(300, 400)


def test_splits_share_no_sequence_and_windows_are_counted():
    data = WaveEquation()
    parts = data.parts
    assert [len(parts[split]) for split in SPLITS] == [216, 24, 60]
    assert sorted(i for part in parts.values() for i in part) == list(range(300))
    counts = [len(data.starts(split)) for split in SPLITS]
    assert counts == [216 * 126, 24 * 126, 60 * 106]
    for split in SPLITS:
        assert set(data.starts(split)[:, 0]) == set(parts[split])


def test_the_paper_protocol_has_the_published_windows():
    data = WaveEquation(protocol="paper")
    train, test = data.starts("train"), data.starts("test")
    assert len(train) == 240 * 40
    assert len(set(train[:, 0])) == 77
    assert len(test) == 60 * 20
    assert len(set(test[:, 0])) == 12
    k = 5000  # as the published code finds a window
    assert train[k].tolist() == [k // 126, k % 126]
    assert not set(train[:, 0]) & set(data.starts("validation")[:, 0])


def test_windows_are_cut_from_scaled_sequences(cache):
    data = WaveEquation(sequences=10, points=7)
    windows = data.windows("test")
    batch = windows.batch(torch.tensor([3, 110]))
    assert batch.values.shape == (2, 45, 1, 7)
    parameters = draw_parameters(10, 42)
    frames = solved(*parameters)
    rows, columns = observed_pixels(7)
    for window, (sequence, start) in enumerate([(8, 3), (9, 4)]):
        low, high = frames[sequence].min(), frames[sequence].max()
        scaled = ((frames[sequence] - low) / (high - low))[::2][start : start + 45]
        torch.testing.assert_close(batch.values[window, :, 0], scaled[:, rows, columns])
        assert batch.latents["speed"][window] == np.float32(parameters.speed[sequence])


def test_the_cache_gives_the_same_and_notices_one_changed_byte(cache):
    first = WaveEquation(sequences=10, points=5).windows("test")
    again = WaveEquation(sequences=10, points=5).windows("test")
    assert first.digest == again.digest
    (folder,) = cache.iterdir()  # one entry, and nothing left over
    content = bytearray((folder / ARRAY_NAME).read_bytes())
    content[-7] ^= 1
    (folder / ARRAY_NAME).write_bytes(content)
    with pytest.raises(CorruptionError, match=f"Delete {folder}"):
        WaveEquation(sequences=10, points=5).windows("test")


@pytest.mark.parametrize(
    "options",
    [{"test_horizon": 146}, {"test_horizon": 60, "protocol": "paper"}, {"context": 0},
     {"sequences": 9}, {"points": 0}],
)  # fmt: skip
def test_options_that_do_not_fit_are_refused(options):
    with pytest.raises(InputError):
        WaveEquation(**options)

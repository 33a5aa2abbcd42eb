"""Waves: published frames, symmetry, splits, both protocols, a cache that notices damage."""

from pathlib import Path

import numpy as np
import pytest
import torch

from statecast.data.base import SPLITS
from statecast.data.synthetic.waves import RANGE, WaveEquation, observed_pixels
from statecast.data.synthetic.waves_simulation import (
    SOURCE_RANGE,
    SPEED_RANGE,
    WaveParameters,
    draw_parameters,
    simulate,
)

GOLDEN = Path(__file__).parents[2] / "golden" / "wave_sequence.npz"


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


@pytest.mark.parametrize("speed", [310.0, 390.0])
def test_frames_of_any_speed_equal_a_slow_twin(speed):
    second = np.zeros((64, 64))
    for i in range(2, 62):
        second[i, i - 2 : i + 3] = np.array([-1, 16, -30, 16, -1]) / 12
    offset = np.arange(64) - 32
    source = 7.0 * (offset[:, None] ** 2 + offset**2 < 25)

    def rate(time, state):
        w, v = state
        return np.array([v, speed**2 * (second @ w + w @ second.T) + source * np.exp(-20 * time)])

    state, h, frames = np.zeros((2, 64, 64)), 0.001, []
    for t in h * np.arange(50):
        frames.append(state[0])
        k1 = rate(t, state)
        k2 = rate(t + h / 2, state + h / 2 * k1)
        k3 = rate(t + h / 2, state + h / 2 * k2)
        state = state + h / 6 * (k1 + 2 * k2 + 2 * k3 + rate(t + h, state + h * k3))
    error = np.abs(solved([7.0], [speed], frames=50)[0].numpy() - np.array(frames)).max()
    assert error < 1e-5 * np.abs(frames).max()


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


def test_no_sequence_leaves_the_range_that_frames_are_scaled_by():
    frames = solved([SOURCE_RANGE[1]] * 3, [SPEED_RANGE[0], 350.0, SPEED_RANGE[1]])
    assert RANGE[0] <= frames.min() <= 0.99 * RANGE[0]
    assert RANGE[1] >= frames.max() >= 0.99 * RANGE[1]


@pytest.mark.parametrize(
    ("options", "scale"),
    [({}, "range"), ({"scale": "sequence"}, "sequence"), ({"protocol": "paper"}, "sequence"),
     ({"protocol": "paper", "scale": "range"}, "range")],
)  # fmt: skip
def test_the_scale_looks_into_the_future_only_as_published(options, scale):
    assert WaveEquation(**options).card["scale"] == scale


@pytest.mark.parametrize("scale", ["range", "sequence"])
def test_windows_are_cut_from_scaled_sequences(cache, scale):
    data = WaveEquation(sequences=10, points=7, scale=scale)
    windows = data.windows("test")
    batch = windows.batch(torch.tensor([3, 110]))
    assert batch.values.shape == (2, 45, 1, 7)
    parameters = draw_parameters(10, 42)
    frames = solved(*parameters)
    rows, columns = observed_pixels(7)
    for window, (sequence, start) in enumerate([(8, 3), (9, 4)]):
        ends = frames[sequence].min(), frames[sequence].max()
        low, high = RANGE if scale == "range" else ends
        scaled = ((frames[sequence] - low) / (high - low))[::2][start : start + 45]
        torch.testing.assert_close(batch.values[window, :, 0], scaled[:, rows, columns])
        assert batch.latents["speed"][window] == np.float32(parameters.speed[sequence])

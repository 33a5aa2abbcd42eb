"""Scheduled sampling and patches."""

import math

import pytest
import torch
from helpers.seeds import seeded

from statecast.models.scheduled_sampling import (
    TrueFrames,
    draw_true_counts,
    draw_true_frames,
    inverse_sigmoid_sampling,
    linear_rise,
    reverse_scheduled_sampling,
    scheduled_sampling,
)
from statecast.nn.patches import fold_patches, unfold_patches


def test_a_weight_rises_linearly_or_jumps():
    assert [linear_rise(step, start=2, end=6) for step in (0, 2, 3, 6, 9)] == [0, 0, 0.25, 1, 1]
    assert [linear_rise(step, start=4, end=4) for step in (0, 3, 4)] == [0, 0, 1]


def test_the_published_schedule():
    """As published: from 1, less 0.00002 before each iteration up to the 50,000th; then 0."""
    expected = 1.0
    for iteration in range(1, 60_001):
        expected = expected - 0.00002 if iteration < 50_000 else 0.0
        found = scheduled_sampling(iteration - 1, end=50_000)
        assert found.context == 1.0
        assert math.isclose(found.horizon, expected, abs_tol=1e-9)


@pytest.mark.parametrize(
    ("iteration", "context", "horizon"),
    [
        (1, 0.5, 0.5),
        (24_999, 0.5, 0.5),
        (25_000, 0.5, 0.5),
        (27_500, 1 - 0.5 * math.exp(-1), 0.45),
        (37_500, 1 - 0.5 * math.exp(-5), 0.25),
        (50_000, 1.0, 0.0),
        (80_000, 1.0, 0.0),
    ],
)
def test_the_published_reverse_schedule(iteration, context, horizon):
    found = reverse_scheduled_sampling(iteration - 1, start=25_000, end=50_000, decay=2500.0)
    assert found == pytest.approx((context, horizon), abs=1e-12)


def test_true_frames_are_as_frequent_as_asked():
    found = draw_true_frames(
        TrueFrames(0.8, 0.3), windows=20_000, context=3, horizon=2, generator=seeded(1)
    )
    assert found.shape == (20_000, 3)
    torch.testing.assert_close(
        found.float().mean(dim=0), torch.tensor([0.8, 0.8, 0.3]), atol=0.01, rtol=0
    )


def test_certain_frames_are_certain():
    found = draw_true_frames(
        TrueFrames(1.0, 0.0), windows=1000, context=4, horizon=3, generator=seeded(1)
    )
    assert torch.equal(found, torch.tensor([[True] * 3 + [False] * 2]).expand(1000, 5))


def test_channels_of_a_patch_lie_row_by_row_with_those_of_a_pixel_together():
    frame = torch.arange(2 * 4 * 6.0).view(2, 4, 6)
    patches = fold_patches(frame, 2)
    assert patches.shape == (8, 2, 3)
    y, x = 1, 2  # of a patch
    expected = [
        frame[c, 2 * y + i, 2 * x + j] for i in range(2) for j in range(2) for c in range(2)
    ]
    assert torch.equal(patches[:, y, x], torch.stack(expected))


def test_patches_unfold_to_what_was_folded():
    frames = torch.rand(2, 3, 2, 6, 9, generator=seeded(1))
    assert torch.equal(unfold_patches(fold_patches(frames, 3), 3), frames)


def test_the_inverse_sigmoid_of_any_step():
    for step in (0, 900, 6122, 12_345):
        expected = 900 / (900 + math.exp(step / 900))
        assert inverse_sigmoid_sampling(step, decay=900.0).horizon == pytest.approx(expected)
    assert inverse_sigmoid_sampling(10**7, decay=900.0) == (1.0, 0.0)


def test_counts_of_true_frames_are_those_asked_for_and_windows_are_drawn():
    found = [
        draw_true_counts(
            TrueFrames(1.0, 0.4), windows=5, context=2, horizon=3, generator=seeded(seed)
        )
        for seed in range(40)
    ]
    assert all(drawn.sum(dim=0).tolist() == [5, 2, 2] for drawn in found)
    share = torch.stack(found).float().mean(dim=0)
    torch.testing.assert_close(share[:, 1:], torch.full((5, 2), 0.4), atol=0.25, rtol=0)

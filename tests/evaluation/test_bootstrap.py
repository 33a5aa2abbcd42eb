"""Intervals and p-values against known answers; windows of one sequence are resampled together."""

import math

import pytest
import torch

from statecast.evaluation.bootstrap import bootstrap, holm
from statecast.metrics.base import half_widths


def identity(mean):
    return mean


def normal(*shape, seed=1):
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(shape, generator=generator, dtype=torch.float64)


def interval(scores, sequences=None, statistic=identity, **options):
    known = ~scores.isnan()
    sequences = torch.arange(len(scores)) if sequences is None else sequences
    return bootstrap(statistic, scores, known, sequences, **options)


def test_the_interval_of_a_mean_is_that_of_its_standard_error():
    scores = normal(400, 3)
    found = interval(scores, draws=8_000)
    error = scores.std(dim=0) / 20
    torch.testing.assert_close(found.value, scores.mean(dim=0))
    torch.testing.assert_close(found.high - found.low, 2 * 1.96 * error, rtol=0.03, atol=0.0)
    torch.testing.assert_close(half_widths(scores, ~scores.isnan()), 1.96 * error)


@pytest.mark.parametrize("groups", [10, 40])
def test_intervals_cover_the_truth_as_often_as_they_say(groups):
    # 400 experiments side by side: sequences of 3 windows that share most of their error.
    shared = normal(groups, 1, 400).expand(groups, 3, 400)
    scores = 2.0 + (shared + 0.3 * normal(groups, 3, 400, seed=2)).reshape(-1, 400)
    sequences = torch.arange(groups).repeat_interleave(3)
    found = interval(scores, sequences)
    covered = ((found.low < 2.0) & (found.high > 2.0)).double().mean()
    assert 0.9 < covered < 0.975
    # Windows taken for independent would be too sure of themselves.
    alone = interval(scores)
    assert ((alone.low < 2.0) & (alone.high > 2.0)).double().mean() < 0.8


def test_p_values_are_uniform_where_nothing_differs():
    found = interval(normal(50, 2000), draws=999)
    for level in (0.05, 0.2, 0.5):
        assert (found.p_value < level).double().mean() == pytest.approx(level, abs=0.035)


def test_windows_that_are_repeated_in_their_sequences_say_nothing_new():
    scores = normal(30, 2)
    once = interval(scores)
    repeated, sequences = scores.repeat_interleave(5, dim=0), torch.arange(30).repeat_interleave(5)
    again = interval(repeated, sequences)
    for one, other in zip(once, again, strict=True):
        torch.testing.assert_close(one, other)
    known = torch.ones_like(repeated, dtype=torch.bool)
    torch.testing.assert_close(
        half_widths(repeated, known, sequences), half_widths(scores, known[:30])
    )
    shrunk = half_widths(repeated, known) / half_widths(scores, known[:30])
    torch.testing.assert_close(shrunk, torch.full((2,), 5**-0.5).double(), rtol=0.02, atol=0.0)


def test_unknown_windows_count_nowhere():
    scores = normal(40, 1)
    sequences = torch.arange(20).repeat_interleave(2)
    holes = scores.clone()
    holes[1::2] = torch.nan
    whole, known = interval(scores[::2]), interval(holes, sequences)
    for one, other in zip(whole, known, strict=True):
        torch.testing.assert_close(one, other)


def test_too_few_sequences_say_nothing():
    found = interval(normal(70, 1), torch.arange(7).repeat_interleave(10))
    assert math.isfinite(found.value)
    assert all(map(math.isnan, (found.low, found.high, found.p_value)))


def test_the_same_seed_draws_the_same_and_another_differs():
    scores = normal(20, 1)
    assert interval(scores, seed=3).low == interval(scores, seed=3).low
    assert interval(scores, seed=3).low != interval(scores, seed=4).low


def test_holm_corrects_the_example_of_the_books():
    # Ordered .005, .01, .03, .04: times 4, 3, 2, 1, and never smaller than the one before.
    assert holm([0.01, 0.04, 0.03, 0.005]) == pytest.approx([0.03, 0.06, 0.06, 0.02])
    assert holm([0.6, 0.9]) == [1.0, 1.0]
    assert holm([]) == []
    corrected = holm([0.02, math.nan, 0.5])
    assert corrected[0] == pytest.approx(0.04)  # of two that can be tested
    assert math.isnan(corrected[1])

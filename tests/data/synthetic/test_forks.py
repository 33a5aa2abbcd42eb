"""Forks: which way the ball goes follows the probability that its brightness tells."""

import pytest
import torch

from statecast.data.base import window_generators
from statecast.data.synthetic.forks import RADIUS, Forks
from statecast.metrics.ensemble import crps

EVERY = torch.arange(400)


@pytest.fixture(scope="module")
def windows():
    return Forks(test_videos=400, horizon=8, test_horizon=8, frame_size=20).windows("test")


def test_the_ball_goes_right_as_often_as_it_should(windows):
    latents = windows.batch(EVERY).latents
    probability, right = latents["probability"], latents["side"][:, 0].float()
    for chosen in (probability < 0.5, probability >= 0.5):
        expected, spread = probability[chosen], (probability * (1 - probability))[chosen]
        error = spread.sum().sqrt() / chosen.sum()
        assert abs(right[chosen].mean() - expected.mean()) < 4 * error
    assert float(probability.min()) < 0.15
    assert float(probability.max()) > 0.85


def test_the_brightness_that_frames_show_tells_the_probability(windows):
    batch = windows.batch(EVERY)
    shown = batch.context.values.flatten(1).amax(dim=1)
    torch.testing.assert_close(
        windows.source.probability(shown), batch.latents["probability"], atol=1e-5, rtol=0
    )


def test_nothing_before_the_fork_tells_the_side(windows):
    """Turned over, a context is the same one: only what comes after it is not."""
    batch = windows.batch(EVERY)
    torch.testing.assert_close(batch.context.values.flip(-1), batch.context.values)
    assert bool((batch.target.values.flip(-1) - batch.target.values).abs().amax() > 0.3)


def test_frames_show_the_ball_where_it_is(windows):
    batch = windows.batch(EVERY)
    place = torch.arange(20.0)
    ink = batch.values[:, :, 0]
    x = (ink.sum(dim=2) @ place) / ink.sum(dim=(2, 3))
    y = (ink.sum(dim=3) @ place) / ink.sum(dim=(2, 3))
    found = torch.stack([x, y], dim=2)
    torch.testing.assert_close(found, batch.latents["position"][:, :, 0], atol=0.1, rtol=0)
    assert float(batch.latents["position"].min()) > RADIUS * 20 - 1


def test_modes_are_read_from_frames(windows):
    batch = windows.batch(EVERY)
    assert torch.equal(windows.modes_of(batch.target.values), batch.latents["side"][:, 0])


def test_one_of_the_exact_futures_is_what_came(windows):
    batch, futures = windows.batch(EVERY), windows.futures(EVERY)
    side = batch.latents["side"][:, 0]
    torch.testing.assert_close(futures[side, EVERY], batch.target.values)
    assert torch.equal(windows.modes_of(futures), torch.tensor([[0], [1]]).expand(2, 400))


def test_samples_of_the_exact_law_have_its_probabilities_and_its_crps(windows):
    few = torch.arange(6)
    streams = window_generators(few, 1)
    forecast = windows.exact_forecast(few, samples=2000, generator=streams)
    shares = windows.modes_of(forecast.samples).float().mean(dim=0)
    probability = windows.mode_probabilities(few)[:, 1]
    assert bool(((shares - probability).abs() < 4 * 0.5 / 2000**0.5).all())
    # The mean score over outcomes: half the mean distance of two draws.
    futures = windows.futures(few)
    scores = [crps(forecast.samples, future).flatten(2).mean(dim=2) for future in futures]
    mean = probability[:, None] * scores[1] + (1 - probability[:, None]) * scores[0]
    torch.testing.assert_close(mean, windows.expected_crps(few), atol=2e-3, rtol=0.05)

"""Oscillators: their law in closed form, and the exact answer from pixels seen irregularly."""

import math

import pytest
import torch

from statecast.data.base import window_generators
from statecast.data.synthetic.oscillators import Oscillators
from statecast.metrics.ensemble import crps

EVERY = torch.arange(300)


@pytest.fixture(scope="module")
def windows():
    return Oscillators(test_videos=300, context=6, test_horizon=5, frame_size=6).windows("test")


def test_the_law_of_states_stays_the_stationary_one():
    source = Oscillators(modes=3)
    transition, noise, stationary = source.dynamics
    torch.testing.assert_close(
        transition @ stationary.covariance @ transition.T + noise, stationary.covariance
    )
    assert stationary.covariance.diagonal()[:3].tolist() == [1.0] * 3


def test_without_noise_a_mode_swings_with_its_period_and_fades():
    source = Oscillators(modes=1, period=10.0, damping=0.02)
    transition = torch.linalg.matrix_power(source.dynamics.transition, 20)
    eigenvalue = torch.linalg.eigvals(transition)[0]
    assert math.isclose(float(eigenvalue.abs()), math.exp(-0.01 * 20), rel_tol=1e-9)
    damped = math.sqrt((2 * math.pi / 10) ** 2 - 0.01**2)
    turned = math.remainder(20 * damped, 2 * math.pi)
    assert math.isclose(abs(float(eigenvalue.angle())), abs(turned), abs_tol=1e-9)


def test_autocovariances_are_those_of_the_dynamics(windows):
    position = windows.batch(EVERY).latents["position"].double()
    transition = windows.source.dynamics.transition
    for lag in (0, 1, 4):
        products = position[:, lag:] * position[:, : position.shape[1] - lag]
        expected = torch.linalg.matrix_power(transition, lag).diagonal()[:2]
        average = products.mean(dim=1)
        error = 4 * average.std(dim=0) / len(EVERY) ** 0.5
        assert bool(((average.mean(dim=0) - expected).abs() < error).all())


def test_the_exact_answer_is_conditioning_in_the_joint_gaussian_of_all_pixels(windows):
    source, count = windows.source, 3
    batch = windows.batch(torch.arange(count))
    mean, std = windows.exact_moments(torch.arange(count))
    transition, _, stationary = source.dynamics
    length, pixels = windows.length, source.frame_size**2
    patterns = source.patterns.T
    blocks = []
    for one in range(length):
        row = []
        for two in range(length):
            power = torch.linalg.matrix_power(transition, abs(one - two))
            moved = power @ stationary.covariance
            covariance = (moved if one >= two else moved.T)[: source.modes, : source.modes]
            row.append(patterns @ covariance @ patterns.T)
        blocks.append(torch.cat(row, dim=1))
    joint = torch.cat(blocks) + source.pixel_noise**2 * torch.eye(length * pixels).double()
    after = slice(source.context * pixels, None)
    for index in range(count):
        known = batch.context.known[index].flatten()
        before = torch.arange(source.context * pixels)[known]
        values = batch.context.values[index].flatten()[known].double()
        gain = torch.linalg.solve(joint[before][:, before], joint[before][:, after]).T
        expected = (gain @ values).view(-1, 1, source.frame_size, source.frame_size)
        torch.testing.assert_close(mean[index], expected.float(), atol=1e-5, rtol=1e-4)
        rest = joint[after, after] - gain @ joint[before][:, after]
        deviation = rest.diagonal().sqrt().view(expected.shape)
        torch.testing.assert_close(std[index], deviation.float(), atol=1e-5, rtol=1e-4)


def test_what_comes_lies_where_the_exact_law_says(windows):
    batch, (mean, std) = windows.batch(EVERY), windows.exact_moments(EVERY)
    scaled = ((batch.target.values - mean) / std).square().flatten(1).mean(dim=1)
    assert abs(scaled.mean() - 1) < 4 * scaled.std() / len(EVERY) ** 0.5


def test_samples_of_the_exact_law_have_its_moments_and_its_crps(windows):
    few, samples = torch.arange(2), 1500
    forecast = windows.exact_forecast(few, samples=samples, generator=window_generators(few, 1))
    mean, std = windows.exact_moments(few)
    assert bool(((forecast.mean - mean).abs() < 5 * std / samples**0.5).all())
    torch.testing.assert_close(forecast.std, std, rtol=0.1, atol=0)
    # Draws of the law against each other: the score that it has on average.
    mean_score = sum(crps(forecast.samples[40:440], one) for one in forecast.samples[:40]) / 40
    expected = windows.expected_crps(few)
    torch.testing.assert_close(mean_score.flatten(2).mean(dim=2), expected, rtol=0.2, atol=0)


def test_frames_are_missing_at_random_between_the_ends_of_the_context():
    source = Oscillators(missing=0.5, frame_size=6)
    for split in ("train", "test"):
        windows = source.windows(split)
        batch = (
            windows.training_batch(0, 200, seed=1)
            if split == "train"
            else windows.batch(torch.arange(200))
        )
        known = batch.mask.flatten(2).any(dim=2)
        assert bool(known[:, [0, source.context - 1]].all())
        inside = known[:, 1 : source.context - 1].float().mean()
        assert abs(inside - 0.5) < 4 * 0.5 / 1600**0.5
        assert bool(known[:, source.context :].all()) == (split == "test")


def test_missing_frames_leave_the_future_less_certain():
    found = [
        Oscillators(missing=missing, frame_size=6, test_videos=50)
        .windows("test")
        .expected_crps(torch.arange(50))
        .mean(dim=0)
        for missing in (0.0, 0.8)
    ]
    assert bool((found[1] > found[0]).all())
    assert bool((found[0].diff()[:5] > 0).all())

"""Diagonal Gaussians, against torch.distributions."""

import torch
from torch.distributions import Normal, kl_divergence

from statecast.nn.gaussian import DiagonalGaussian, negative_log_density


def gaussian(seed):
    output = torch.randn(5, 8, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
    return DiagonalGaussian.from_output(output)


def test_divergence_equals_that_of_torch():
    left, right = gaussian(1), gaussian(2)
    expected = kl_divergence(Normal(*left), Normal(*right)).sum(dim=-1)
    torch.testing.assert_close(left.divergence(right), expected, atol=1e-6, rtol=1e-6)


def test_divergence_from_standard_equals_that_of_torch():
    left = gaussian(3)
    standard = Normal(torch.zeros_like(left.mean), torch.ones_like(left.std))
    expected = kl_divergence(Normal(*left), standard).sum(dim=-1)
    torch.testing.assert_close(left.divergence_from_standard(), expected)


def test_log_density_equals_that_of_torch():
    left, values = gaussian(4), gaussian(5).mean
    expected = Normal(*left).log_prob(values).sum(dim=-1)
    torch.testing.assert_close(left.log_density(values), expected)


def test_negative_log_density_includes_the_constant():
    values, mean = torch.tensor([0.3, -1.0]), torch.tensor([0.1, 2.0])
    expected = -Normal(mean, torch.tensor(0.71)).log_prob(values)
    torch.testing.assert_close(negative_log_density(values, mean, 0.71), expected)


def test_draws_have_the_mean_and_deviation_asked_for():
    asked = DiagonalGaussian(torch.tensor([2.0, -1.0]), torch.tensor([0.5, 3.0]))
    drawn = asked.draw(torch.Generator().manual_seed(0), 40_000)
    torch.testing.assert_close(drawn.mean(dim=0), asked.mean, atol=0.06, rtol=0)
    torch.testing.assert_close(drawn.std(dim=0), asked.std, atol=0.06, rtol=0)

"""Finite differences: exact on polynomials, fourth order on a sine, zero at the rim."""

import math

import torch

from statecast.data.synthetic.stencils import laplacian, second_derivative


def test_second_derivative_is_exact_for_polynomials_of_degree_five():
    x = torch.linspace(-1, 1, 21, dtype=torch.float64)
    spacing = 0.1
    values = 1 + 2 * x - 3 * x**2 + x**3 - x**4 + 2 * x**5
    expected = -6 + 6 * x - 12 * x**2 + 40 * x**3
    found = second_derivative(values, 0, spacing=spacing)
    torch.testing.assert_close(found[2:-2], expected[2:-2], atol=1e-10, rtol=1e-10)
    assert torch.equal(found[[0, 1, -2, -1]], torch.zeros(4, dtype=torch.float64))


def test_error_shrinks_with_the_fourth_power_of_the_spacing():
    errors = []
    for points in (21, 41):
        x = torch.linspace(0, 2, points, dtype=torch.float64)
        found = second_derivative(x.sin(), 0, spacing=2 / (points - 1))
        errors.append(float((found + x.sin())[4:-4].abs().max()))
    assert abs(math.log2(errors[0] / errors[1]) - 4) < 0.2


def test_laplacian_sums_both_axes_of_every_member_of_a_batch():
    y, x = torch.meshgrid(torch.arange(9.0), torch.arange(11.0), indexing="ij")
    values = torch.stack([x**2 + 3 * y**2, x * y])
    found = laplacian(values)[:, 2:-2, 2:-2]
    torch.testing.assert_close(found[0], torch.full((5, 7), 8.0), atol=1e-4, rtol=0)
    torch.testing.assert_close(found[1], torch.zeros(5, 7), atol=1e-4, rtol=0)

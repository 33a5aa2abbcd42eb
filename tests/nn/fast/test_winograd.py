"""Winograd convolutions: exact in fractions, a convolution in float32, and its own transpose."""

from itertools import product

import pytest
import torch
from torch.nn.functional import conv2d, conv_transpose2d

from statecast.nn.fast import switches as fast_paths
from statecast.nn.fast import winograd
from statecast.nn.fast.winograd_matrices import winograd_matrices

CASES = [  # transposed, maps, in, out, height, width, kernel, stride
    (False, 17, 64, 72, 32, 16, 4, 2),  # backward alone
    (False, 17, 128, 128, 32, 16, 4, 2),
    (True, 20, 64, 80, 8, 16, 4, 2),
    (True, 17, 128, 136, 8, 16, 4, 2),
    (False, 20, 64, 80, 16, 16, 3, 1),
    (True, 33, 72, 64, 16, 8, 3, 1),
    (False, 80, 64, 64, 12, 4, 4, 2),  # tiles of 2×2
]


def data(case):
    transposed, many, before, after, height, width, kernel, stride = case
    generator = torch.Generator().manual_seed(1)
    maps = torch.randn(many, before, height, width, generator=generator, dtype=torch.float64)
    pair = (before, after) if transposed else (after, before)
    weight = torch.randn(*pair, kernel, kernel, generator=generator, dtype=torch.float64)
    return maps, weight, stride, conv_transpose2d if transposed else conv2d


def with_gradients(function, maps, weight):
    maps, weight = maps.requires_grad_(), weight.requires_grad_()
    made = function(maps, weight)
    generator = torch.Generator().manual_seed(2)
    toward = torch.randn(made.shape, generator=generator, dtype=torch.float64).to(made.dtype)
    return made.detach(), *torch.autograd.grad(made, (maps, weight), toward)


@pytest.mark.parametrize("case", CASES)
@pytest.mark.parametrize(
    ("dtype", "tolerance"), [(torch.float64, 1e-11), (torch.float32, 1e-4)], ids=str
)
def test_values_and_gradients_are_those_of_a_convolution(case, dtype, tolerance):
    maps, weight, stride, direct = data(case)
    geometry = {"stride": (stride, stride), "padding": (1, 1), "transposed": case[0]}
    assert winograd.suits(maps.to(dtype), weight.to(dtype), **geometry)
    expected = with_gradients(lambda m, w: direct(m, w, None, stride, 1), maps, weight)
    found = with_gradients(
        lambda m, w: winograd.convolve(m, w, stride, transposed=case[0]),
        maps.detach().to(dtype), weight.detach().to(dtype),
    )  # fmt: skip
    for ours, theirs in zip(found, expected, strict=True):
        spread = float(theirs.std())
        torch.testing.assert_close(ours.double(), theirs, rtol=0, atol=tolerance * spread)


@pytest.mark.parametrize(("tile", "taps"), list(product(winograd.TILES, (2, 3))))
def test_a_tile_takes_fewer_products_for_the_same_outputs(tile, taps):
    size = tile + taps - 1
    matrices = winograd_matrices(tile, taps, torch.float64)
    generator = torch.Generator().manual_seed(1)
    inputs = torch.randn(1, 1, size, size, generator=generator, dtype=torch.float64)
    kernel = torch.randn(1, 1, taps, taps, generator=generator, dtype=torch.float64)
    products = (matrices.taps @ kernel.flatten()) * (matrices.inputs @ inputs.flatten())
    found = (matrices.outputs @ products).view(tile, tile)
    torch.testing.assert_close(found, conv2d(inputs, kernel)[0, 0], rtol=0, atol=1e-13)
    assert len(products) == size**2 < (tile * taps) ** 2


@pytest.mark.parametrize("stride", [1, 2])
def test_the_transposed_convolution_is_the_transpose(stride):
    generator = torch.Generator().manual_seed(3)
    kernel = 2 + stride
    weight = torch.randn(64, 64, kernel + stride - 1, kernel + stride - 1, generator=generator)
    weight = weight[:, :, : 3 if stride == 1 else 4, : 3 if stride == 1 else 4]
    fine = torch.randn(8, 64, 8 * stride, 8 * stride, generator=generator)
    coarse = torch.randn(8, 64, 8, 8, generator=generator)
    there = (winograd.convolve(fine, weight, stride, transposed=False) * coarse).sum()
    back = (winograd.convolve(coarse, weight, stride, transposed=True) * fine).sum()
    torch.testing.assert_close(there, back, rtol=1e-3, atol=1e-4 * fine.numel() ** 0.5)


def test_nan_stays_visible_and_in_its_own_map():
    generator = torch.Generator().manual_seed(4)
    maps = torch.randn(8, 64, 16, 16, generator=generator)
    maps[3, 5, 7, 7] = torch.nan
    weight = torch.randn(64, 64, 3, 3, generator=generator)
    made = winograd.convolve(maps, weight, 1, transposed=False)
    assert made[3, :, 6:9, 6:9].isnan().all()
    assert not made[[0, 1, 2, 4, 5, 6, 7]].isnan().any()


def test_a_map_does_not_depend_on_what_is_convolved_beside_it():
    generator = torch.Generator().manual_seed(5)
    maps = torch.randn(70, 64, 8, 8, generator=generator)
    weight = torch.randn(64, 64, 3, 3, generator=generator)
    together = winograd.convolve(maps, weight, 1, transposed=False)
    alone = winograd.convolve(maps[41:42], weight, 1, transposed=False)
    torch.testing.assert_close(together[41:42], alone)


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"maps": torch.zeros(64, 32, 16, 16), "weight": torch.zeros(64, 32, 3, 3)}, "narrow"),
        ({"maps": torch.zeros(64, 64, 15, 16)}, "an odd side"),
        ({"maps": torch.zeros(1, 64, 8, 8)}, "few tiles"),
        ({"maps": torch.zeros(64, 64, 16, 16).bfloat16()}, "half precision"),
        ({"stride": (2, 2)}, "stride"),
        ({"padding": (0, 0)}, "padding"),
    ],
)  # fmt: skip
def test_what_does_not_suit_is_left_to_the_library(change, reason):
    usual = {"maps": torch.zeros(64, 64, 16, 16), "weight": torch.zeros(64, 64, 3, 3),
             "stride": (1, 1), "padding": (1, 1), "transposed": False}  # fmt: skip
    ask = lambda options: winograd.suits(**options)  # noqa: E731
    assert ask(usual)
    assert not ask(usual | change), reason
    with fast_paths.without("winograd"):
        assert not ask(usual)
    with torch.autocast("cpu", torch.bfloat16):
        assert not ask(usual)

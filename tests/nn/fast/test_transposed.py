"""Transposed convolutions as convolutions of the coarse map."""

import pytest
import torch

from statecast.nn.fast import switches as fast_paths
from statecast.nn.fast.transposed import UpsamplingConvolution


@pytest.mark.parametrize(
    ("kernel", "stride", "cut"),
    [(3, 2, 0), (3, 2, 1), (4, 2, 1), (5, 2, 2), (6, 2, 2), (2, 2, 0), (5, 3, 1), (3, 1, 1)],
)
def test_it_is_a_transposed_convolution_and_so_are_its_gradients(kernel, stride, cut):
    generator = torch.Generator().manual_seed(0)
    layer = UpsamplingConvolution(3, 4, kernel, stride=stride, cut=cut).double()
    maps = torch.rand(2, 3, 4, 5, dtype=torch.float64, generator=generator)
    places = torch.rand(2, 4, 4 * stride, 5 * stride, dtype=torch.float64, generator=generator)
    found = []
    for names in ((), ("transposed_as_convolution",)):
        inputs = maps.clone().requires_grad_()
        layer.zero_grad()
        with fast_paths.without(*names):
            outputs = layer(inputs)
            (outputs * places).sum().backward()
        gradients = [inputs.grad, *(weight.grad.clone() for weight in layer.parameters())]
        found.append([outputs.detach(), *gradients])
    assert found[0][0].shape == places.shape
    for ours, plain in zip(*found, strict=True):
        torch.testing.assert_close(ours, plain, rtol=1e-10, atol=1e-10)

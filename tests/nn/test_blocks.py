"""Blocks: a convolution over shared and separate channels is one convolution over both."""

import pytest
import torch
from torch import nn

from statecast.nn.blocks import ConvolutionUnit, initialise_uniform, mlp


@pytest.mark.parametrize("shared_first", [False, True])
@pytest.mark.parametrize("kind", [nn.Conv2d, nn.ConvTranspose2d])
def test_shared_channels_are_convolved_once_and_added(kind, shared_first):
    generator = torch.Generator().manual_seed(0)
    each = torch.randn(6, 3, 8, 8, generator=generator)
    shared = torch.randn(2, 5, 8, 8, generator=generator)
    unit = ConvolutionUnit(kind(8, 4, 4, 2, 1)).eval()
    repeated = shared.repeat_interleave(3, dim=0)
    joined = torch.cat([repeated, each] if shared_first else [each, repeated], dim=1)
    split = unit(each, shared, shared_first=shared_first)
    torch.testing.assert_close(split, unit(joined), atol=1e-6, rtol=1e-5)


def test_gradients_of_a_split_convolution_are_those_of_the_joined_one():
    generator = torch.Generator().manual_seed(0)
    each = torch.randn(4, 3, 8, 8, generator=generator, requires_grad=True)
    shared = torch.randn(2, 5, 8, 8, generator=generator, requires_grad=True)
    unit = ConvolutionUnit(nn.Conv2d(8, 4, 3, 1, 1)).double()
    each, shared = each.double(), shared.double()
    weight = unit.convolution.weight

    split = torch.autograd.grad(unit(each, shared).square().sum(), [each, shared, weight])
    joined = torch.cat([each, shared.repeat_interleave(2, dim=0)], dim=1)
    whole = torch.autograd.grad(unit(joined).square().sum(), [each, shared, weight])
    torch.testing.assert_close(split, whole)


def test_multilayer_has_as_many_linear_layers_as_asked_and_no_final_rectifier():
    layers = mlp(3, 7, 2, layers=4)
    assert [type(m) for m in layers] == [nn.Linear, nn.ReLU] * 3 + [nn.Linear]
    assert layers[0].in_features == 3
    assert layers[-1].out_features == 2


def test_uniform_weights_come_from_the_generator_alone():
    def draw(seed):
        module = nn.ModuleList([nn.Linear(4, 3), nn.LSTM(3, 2), nn.GRUCell(2, 2)])
        initialise_uniform(module, torch.Generator().manual_seed(seed))
        return torch.cat([p.detach().flatten() for p in module.parameters()])

    assert torch.equal(draw(1), draw(1))
    assert not torch.equal(draw(1), draw(2))
    assert draw(1).abs().max() <= 1 / 2**0.5  # 1/√n of the narrowest layer

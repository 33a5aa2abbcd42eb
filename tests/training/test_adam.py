"""Adam with epsilon inside the root: the published steps of MIM."""

import torch
from helpers.recurrent_twin import Golden
from torch import nn

from statecast.training.adam import InnerEpsilonAdam


def test_two_published_steps():
    golden = Golden("mim_original")
    weight = nn.Parameter(torch.from_numpy(golden.arrays["predrnn/back_to_pixel/kernel"]).clone())
    optimizer = InnerEpsilonAdam([weight], lr=1e-3, betas=(0.95, 0.9995))
    for number in (1, 2):
        weight.grad = golden[f"adam_grad_{number}"]
        optimizer.step()
        torch.testing.assert_close(
            weight.detach(), golden[f"adam_after_{number}"], atol=0, rtol=2e-7
        )


def test_steps_on_large_gradients_are_those_of_adam():
    generator = torch.Generator().manual_seed(1)
    start = torch.randn(5, generator=generator)
    one, other = nn.Parameter(start.clone()), nn.Parameter(start.clone())
    ours = InnerEpsilonAdam([one], lr=0.01)
    theirs = torch.optim.Adam([other], lr=0.01)
    for _ in range(4):
        one.grad = other.grad = 100 * torch.randn(5, generator=generator)
        ours.step()
        theirs.step()
    torch.testing.assert_close(one, other)

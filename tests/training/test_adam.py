"""Adam with epsilon inside the root: the published steps of MIM; and with weight decay."""

import pytest
import torch
from helpers.recurrent_twin import Golden
from helpers.small_models import build_points
from helpers.toy_data import Pendulum
from torch import arange, nn

from statecast.errors import InputError
from statecast.training.adam import InnerEpsilonAdam
from statecast.training.loop import Trainer
from statecast.training.options import TrainingOptions


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


def test_weight_decay_reaches_every_weight(tmp_path):
    """Adam's first step is the learning rate times the sign of gradient and decay together."""
    data = Pendulum()
    model = build_points("separable", data.spec)
    options = TrainingOptions(
        steps=1, batch_size=4, learning_rate=1e-3, weight_decay=1e6, validate_every=0, device="cpu"
    )
    before = {name: weight.detach().clone() for name, weight in model.named_parameters()}
    Trainer(model, data, tmp_path, options).training_step(data.windows("train").batch(arange(4)))
    for name, weight in model.named_parameters():
        large = before[name].abs() > 1e-4
        expected = before[name] - 1e-3 * before[name].sign()
        torch.testing.assert_close(weight.detach()[large], expected[large], rtol=0, atol=1e-5)


def test_weight_decay_that_makes_no_sense():
    with pytest.raises(InputError, match="weight_decay must be a number from 0 up, got -1"):
        TrainingOptions(weight_decay=-1.0)
    with pytest.raises(InputError, match="adam_epsilon_inside_root: false"):
        TrainingOptions(weight_decay=1e-4, adam_epsilon_inside_root=True)

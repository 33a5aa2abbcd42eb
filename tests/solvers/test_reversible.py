"""Reversible steps: golden states, the way back, gradients without the path."""

import pytest
import torch
from helpers.golden import tensors_of

from statecast.solvers.reversible import Pair, reversible_heun, reversible_path


def problem():
    expected = tensors_of("continuous_time", "reversible")
    weight, bias, scale = expected["W"], expected["b"], expected["g"]
    length, increments = float(expected["step"]), expected["increments"]

    def increment(y, index, sign=1.0):
        drift, diffusion = torch.tanh(y @ weight.T + bias), scale * torch.cos(y)
        return sign * (length * drift + diffusion * increments[index])

    return expected, increment


def test_steps_are_golden_and_lead_back():
    expected, increment = problem()
    states = expected["reversible_heun_states"]
    pair = Pair(states[0], states[0])
    for index in range(40):
        pair = reversible_heun(lambda y, index=index: increment(y, index), pair)
        torch.testing.assert_close(pair.state, states[index + 1], atol=1e-12, rtol=0)
    torch.testing.assert_close(
        pair.shadow, expected["reversible_heun_auxiliary_end"], atol=1e-12, rtol=0
    )
    for index in reversed(range(40)):
        pair = reversible_heun(lambda y, index=index: increment(y, index, -1.0), pair)
        torch.testing.assert_close(pair.state, states[index], atol=1e-12, rtol=0)
    assert float((pair.state - states[0]).abs().max()) < 1e-12


def test_with_another_noise_the_way_back_leads_elsewhere():
    expected, increment = problem()
    states = expected["reversible_heun_states"]
    pair = Pair(states[-1], expected["reversible_heun_auxiliary_end"])
    for index in range(40):  # the increments in the wrong order
        pair = reversible_heun(lambda y, index=index: increment(y, index, -1.0), pair)
    assert float((pair.state - states[0]).abs().max()) > 0.1


@pytest.mark.parametrize("count", [1, 7])
def test_gradients_without_the_path_are_those_of_back_propagation(count):
    generator = torch.Generator().manual_seed(1)
    net = torch.nn.Sequential(
        torch.nn.Linear(5, 6), torch.nn.Tanh(), torch.nn.Linear(6, 3)
    ).double()
    start = torch.randn(4, 3, generator=generator, dtype=torch.float64, requires_grad=True)
    raw = torch.randn(4, 2, generator=generator, dtype=torch.float64, requires_grad=True)
    weights = torch.randn(count, 2, 4, 3, generator=generator, dtype=torch.float64)
    weights[:-1:2] = 0

    def gradients(stored):
        noise = raw.square()

        def step(pair, number, back):
            def increment(y):
                sign = -0.3 if back else 0.3
                return sign * (1 + number) * net(torch.cat([y, noise], dim=-1))

            return torch.stack(reversible_heun(increment, Pair(*pair)))

        pair = torch.stack([start, start])
        if stored:
            states = []
            for number in range(count):
                pair = step(pair, number, False)
                states.append(pair)
            path = torch.stack(states)
        else:
            path = reversible_path(step, pair, count, [*net.parameters(), noise])
        inputs = [start, raw, *net.parameters()]
        return path.detach(), torch.autograd.grad((weights * path).sum(), inputs)

    (one, expected), (other, found) = gradients(True), gradients(False)
    assert torch.equal(one, other)
    for a, b in zip(expected, found, strict=True):
        assert a.norm() > 0
        torch.testing.assert_close(a, b, atol=1e-10, rtol=1e-10)

"""One-step methods: their declared orders on exact solutions, and an independent solver."""

import math

import pytest
import torch

from statecast.errors import InputError
from statecast.solvers.steppers import STEPPERS, trajectory


def oscillator(time, state):
    """y'' = −y + cos 2t as a system; autonomous and driven parts both matter."""
    return torch.stack([state[1], -state[0] + math.cos(2 * time)])


def exact(time):
    return 4 / 3 * math.cos(time) - math.cos(2 * time) / 3  # from y = 1, y' = 0


@pytest.mark.parametrize("name", STEPPERS)
def test_error_shrinks_at_the_declared_order(name):
    start = torch.tensor([1.0, 0.0], dtype=torch.float64)
    errors = []
    for substeps in (20, 40):
        *_, last = trajectory(oscillator, start, [0.0, 2.0], stepper=name, substeps=substeps)
        errors.append(abs(float(last[0]) - exact(2.0)))
    assert math.log2(errors[0] / errors[1]) == pytest.approx(STEPPERS[name].order, abs=0.25)


def test_states_agree_with_an_independent_solver():
    from torchdiffeq import odeint

    times = torch.linspace(0, 3, 7, dtype=torch.float64)
    start = torch.tensor([1.0, 0.0], dtype=torch.float64)
    expected = odeint(lambda t, y: oscillator(float(t), y), start, times, rtol=1e-10, atol=1e-12)
    found = list(trajectory(oscillator, start, times.tolist(), substeps=50))
    torch.testing.assert_close(torch.stack(found), expected, atol=1e-8, rtol=1e-8)


def test_gradients_flow_through_a_trajectory():
    rate = torch.tensor(0.7, dtype=torch.float64, requires_grad=True)
    start = torch.ones(1, dtype=torch.float64)
    *_, last = trajectory(lambda t, y: -rate * y, start, [0.0, 1.0], substeps=40)
    last.sum().backward()
    assert float(rate.grad) == pytest.approx(-math.exp(-0.7), abs=1e-6)


def test_bad_arguments_are_refused():
    with pytest.raises(InputError, match="'leapfrog'"):
        list(trajectory(oscillator, torch.ones(2), [0.0, 1.0], stepper="leapfrog"))
    with pytest.raises(InputError, match="at least 1 substep"):
        list(trajectory(oscillator, torch.ones(2), [0.0, 1.0], substeps=0))

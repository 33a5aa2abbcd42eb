"""Adaptive integration of dy/dt = f(y), by torchdiffeq."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from jaxtyping import Float
from torch import Tensor

from statecast.errors import ConvergenceError, require

MESSAGES = ("underflow", "max_num_steps", "non-finite")  # in the assertions of torchdiffeq


def dormand_prince(
    velocity: Callable[[Tensor], Tensor],
    state: Float[Tensor, "*shape"],
    times: Sequence[float],
    *,
    relative_tolerance: float,
    absolute_tolerance: float,
    maximum_steps: int,
) -> list[Float[Tensor, "*shape"]]:
    """States at increasing times after 0, by the method of Dormand and Prince of order 5.

    All sequences of a batch share their steps. Gradients flow back through the steps taken, so
    memory grows with their number.

    Args:
        velocity: f, autonomous.
        state: state at time 0.
        times: requested times, above 0.
        relative_tolerance: largest local error relative to the state.
        absolute_tolerance: largest local error in units of the state.
        maximum_steps: most steps between two requested times.

    Errors:
        MissingExtraError: torchdiffeq is not installed.
        ConvergenceError: the tolerances cannot be met in these steps, or the state is not finite.
    """
    require("torchdiffeq", "adaptive", "integrate with the solver dopri5")
    differentiated = torch.is_grad_enabled()
    try:
        # torchdiffeq has an autograd function, which inference mode refuses, and makes tensors on
        # import that later gradients must pass.
        with torch.inference_mode(False), torch.set_grad_enabled(differentiated):
            from torchdiffeq import odeint

            clock = torch.tensor([0.0, *times], dtype=torch.float64, device=state.device)
            path = odeint(
                lambda _, y: velocity(y).to(y.dtype),
                state.clone() if state.is_inference() else state,
                clock,
                rtol=relative_tolerance,
                atol=absolute_tolerance,
                method="dopri5",
                options={"max_num_steps": maximum_steps},
            )
    except AssertionError as error:
        reason = str(error).split(":")[0]
        if not any(message in reason for message in MESSAGES):
            raise
        raise ConvergenceError(
            f"The solver dopri5 failed within a frame interval ({reason}). Loosen its tolerances, "
            f"now {relative_tolerance:g} and {absolute_tolerance:g}, or use a solver with fixed "
            "steps, such as rk4."
        ) from error
    return list(path[1:])

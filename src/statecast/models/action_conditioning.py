"""ActionFeedback: forecasts of frames under the actions of an agent, with the agent's states."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Iterator
from typing import NamedTuple, TypeVar

import torch
from jaxtyping import Bool, Float
from torch import Tensor, nn

from statecast.errors import InputError
from statecast.frames import Batch, Frames, FrameSpec
from statecast.models.frame_feedback import FrameFeedback
from statecast.nn.noise import Noise

S = TypeVar("S")
STATE_WEIGHT = 1e-4  # weight of the error of predicted states, as published


class Conditions(NamedTuple):
    """Inputs of the frame network at each step in addition to the frame."""

    seen: Float[Tensor, "row step condition"]  # action, then state of the agent
    predicted: Float[Tensor, "row step agent_state"] | None  # after each step; None without states


class AgentDynamics(nn.Module):
    r"""States of an agent, predicted from its actions by a linear layer.

    $$\hat s_{t+1} = W (a_t, \tilde s_t) + b$$

    where s̃ is the true state of frames whose state is seen, and ŝ otherwise.

    Args:
        actions: numbers in an action.
        agent_states: numbers in a state; 0 if only actions are known.
        held: whether gradients are stopped between the states and what the frame network sees.
    """

    def __init__(self, actions: int, agent_states: int, *, held: bool = False) -> None:
        super().__init__()
        self.held = held
        self.linear = nn.Linear(actions + agent_states, agent_states) if agent_states else None

    def forward(
        self,
        actions: Float[Tensor, "row step action"],
        states: Float[Tensor, "row time agent_state"] | None,
        true_states: Bool[Tensor, "row input"],
    ) -> Conditions:
        """Conditions of each step, and the predicted states.

        Args:
            actions: of each step.
            states: true states of the first frame and of the frames that `true_states` covers.
            true_states: whether the true state is seen, from the second frame on; on later frames
                than these, the predicted state is.
        """
        if self.linear is None or states is None:
            return Conditions(actions, None)
        seen, predicted = [], []
        state = states[:, 0]
        for step, action in enumerate(actions.unbind(1)):
            if 0 < step <= true_states.shape[1]:
                state = torch.where(true_states[:, step - 1, None], states[:, step], state)
            seen.append(torch.cat([action, state.detach() if self.held else state], dim=1))
            with torch.autocast(action.device.type, enabled=False):  # states need all digits
                state = self.linear(torch.cat([action, state], dim=1))
            predicted.append(state)
        return Conditions(torch.stack(seen, dim=1), torch.stack(predicted, dim=1))


class ActionFeedback(FrameFeedback[S]):
    """A model that feeds frames back, and sees the actions of an agent if the data have them.

    Its `dynamics` are an `AgentDynamics`, or None where the spec has no actions.
    """

    takes_actions = True
    dynamics: AgentDynamics | None

    @staticmethod
    def dynamics_of(spec: FrameSpec, *, held: bool = False) -> AgentDynamics | None:
        """The dynamics of the agent; None if the frames come without actions."""
        if not spec.actions:
            return None
        return AgentDynamics(spec.actions, spec.agent_states, held=held)

    @abstractmethod
    def observe(
        self,
        context: Float[Tensor, "batch time channel *space"],
        *,
        noise: Noise,
        conditions: Float[Tensor, "batch step condition"] | None = None,
    ) -> tuple[Float[Tensor, "row channel *space"], S]:
        """As in `FrameFeedback`; the state carries the `conditions` of each step."""

    def frames_after(
        self, context: Frames, content_from: Frames | None, *, noise: Noise
    ) -> Iterator[Float[Tensor, "row channel *space"]]:
        found = self.conditions(context, self.states_seen(context))
        frame, state = self.observe(
            self.conditioning(context, content_from),
            noise=noise,
            conditions=None if found is None else found.seen,
        )
        return self.continue_from(frame, state, noise=noise)

    def states_seen(self, context: Frames | Batch) -> Bool[Tensor, "batch input"]:
        """Whether the true state of each observed frame after the first is seen in a forecast."""
        return torch.ones(
            len(context.values), len(context) - 1, dtype=torch.bool, device=context.values.device
        )

    def conditions(
        self, frames: Frames | Batch, true_states: Bool[Tensor, "batch input"]
    ) -> Conditions | None:
        """Conditions of each step; None for data without actions.

        Errors:
            InputError: the frames lack actions or states of the agent.
        """
        if self.dynamics is None:
            return None
        actions, states = frames.actions, frames.agent_states
        if actions is None or (self.dynamics.linear is not None and states is None):
            raise InputError(
                f"This {type(self).__name__} needs frames with actions"
                f"{'' if self.dynamics.linear is None else ' and agent_states'}, got none."
            )
        found: Conditions = self.dynamics(actions, states, true_states)
        return found


def state_error(
    conditions: Conditions | None, batch: Batch, *, first: int = 1
) -> dict[str, Float[Tensor, ""]]:
    """Mean squared error of predicted states, as a loss term; no term without states.

    Args:
        conditions: of the steps of the batch.
        batch: windows with the true states.
        first: index of the first frame that counts.
    """
    states = batch.agent_states
    if conditions is None or conditions.predicted is None or states is None:
        return {}
    errors = conditions.predicted[:, first - 1 :] - states[:, first:]
    return {"agent_states": errors.square().mean()}

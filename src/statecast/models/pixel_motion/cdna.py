"""CDNA: deterministic video prediction by moving pixels."""

from __future__ import annotations

import torch
from jaxtyping import Bool
from torch import Tensor

from statecast.frames import Batch, FrameSpec
from statecast.models.action_conditioning import STATE_WEIGHT, state_error
from statecast.models.base import Losses, known_mean
from statecast.models.pixel_motion.cell import CellOptions
from statecast.models.pixel_motion.forecaster import PixelMotion
from statecast.nn.codecs.base import Output
from statecast.nn.normaliser import Normalisation, Normaliser
from statecast.nn.pixel_motion import Motion

WIDTHS = (32, 32, 64, 64, 128, 64, 32)  # channels of the convolutional LSTMs, as published


class CDNA(PixelMotion):
    r"""Physical interaction through video prediction (Finn et al., 2016).

    $$\hat x_{t+1} = m_0 \odot x_t + m_1 \odot s_t + \sum_k m_{k+1} \odot (K_k * x_t)$$

    Masks m, a frame s and kernels K come from a recurrent network that has seen x₁ … x_t.
    Forecasts are deterministic, and feed frames back. If the data have actions, the network sees
    the action and the agent's state beside its smallest maps, see `AgentDynamics`.

    Reference: https://arxiv.org/abs/1605.07157.

    `published` follows the published code in three ways. Full-size features, the frame s before
    its sigmoid and the masks before their softmax are rectified. One more kernel is computed but
    not used. True frames are chosen by count, see `draw_true_counts`.

    Args:
        spec: shape, channels and units of the frames; the sides must be divisible by 8.
        motion: `cdna` (kernels of the whole frame), `dna` (a kernel for each pixel) or `stp`
            (affine maps).
        transformations: number of kernels or affine maps; `dna` has one.
        kernel_size: odd side of the kernels.
        width: channels of the first convolution.
        lstm_widths: channels of the seven convolutional LSTMs.
        sampling_decay: decay k of scheduled sampling, in steps, see `inverse_sigmoid_sampling`.
        agent_state_weight: weight of the squared error of predicted states of an agent.
        published: whether to follow the published code, see above.
        output: function of the frame s: `sigmoid` for frames in [0, 1], `identity` for unbounded
            ones; by default, the one that fits the normalised data.
        normalise: `auto`, `none`, `range` or `standard`, see `Normaliser`.
        generator: source of the initial weights.
    """

    def __init__(
        self,
        spec: FrameSpec,
        *,
        motion: Motion = "cdna",
        transformations: int = 9,
        kernel_size: int = 5,
        width: int = 32,
        lstm_widths: tuple[int, ...] = WIDTHS,
        sampling_decay: float = 900.0,
        agent_state_weight: float = STATE_WEIGHT,
        published: bool = False,
        output: Output | None = None,
        normalise: Normalisation = "auto",
        generator: torch.Generator | None = None,
    ) -> None:
        options = CellOptions(
            motion=motion,
            transformations=transformations,
            kernel_size=kernel_size,
            width=width,
            lstm_widths=lstm_widths,
            latent_channels=0,
            condition_size=spec.actions + spec.agent_states,
            rectified=published,
            spare_kernel=published,
            output=output or Normaliser(spec, normalise).fitting_output,
        )
        super().__init__(
            spec,
            options=options,
            sampling_decay=sampling_decay,
            published=published,
            normalise=normalise,
        )
        self.agent_state_weight = agent_state_weight
        self.initialise(generator)

    def loss(
        self, batch: Batch, *, step: int = 0, generator: torch.Generator | None = None
    ) -> Losses:
        r"""Mean squared error of target frames, with true frames drawn by the schedule.

        $$\overline{(\hat x_t - x_t)^2} + w_s\, \overline{(\hat s_t - s_t)^2}$$

        The second term applies to data with states of an agent.
        """
        true_frames = self.draw_true_frames(
            step, len(batch), len(batch.target), len(batch.context), generator
        )
        return self.loss_given(batch, true_frames)

    def loss_given(self, batch: Batch, true_frames: Bool[Tensor, "batch input"]) -> Losses:
        """The loss with these true frames as inputs, see `predict_window`."""
        frames = self.inputs(batch)
        conditions = self.conditions(batch, self.states_seen(batch))
        seen = None if conditions is None else conditions.seen
        predicted = self.predict_window(frames, true_frames.to(frames.device), None, seen)
        errors = (predicted[:, len(batch.context) - 1 :] - self.inputs(batch.target)).square()
        reconstruction = known_mean(errors, batch.target.mask)
        states = state_error(conditions, batch, first=len(batch.context))
        total = reconstruction + self.agent_state_weight * sum(states.values())
        return {"total": total, "reconstruction": reconstruction, **states}

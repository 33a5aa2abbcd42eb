"""PixelMotion: the cell, roll-out and scheduled sampling that CDNA and SV2P share."""

from __future__ import annotations

from typing import NamedTuple

import torch
from jaxtyping import Bool, Float
from torch import Tensor, nn

from statecast.errors import InputError
from statecast.frames import Batch, Frames, FrameSpec
from statecast.models.action_conditioning import ActionFeedback
from statecast.models.pixel_motion.cell import CellOptions, MotionCell, States, repeated
from statecast.models.scheduled_sampling import (
    draw_true_counts,
    draw_true_frames,
    inverse_sigmoid_sampling,
)
from statecast.nn.conv_lstm import ConvLSTMState
from statecast.nn.noise import Noise
from statecast.nn.normaliser import Normalisation
from statecast.nn.same_padding import initialise_xavier

CHANNELS_LAST_WIDTH = 32


class MotionState(NamedTuple):
    """State of a `PixelMotion` after a frame, for each row."""

    lstms: States
    latent: Float[Tensor, "row latent y x"] | None  # of the whole sequence; None if there is none
    conditions: Float[Tensor, "row step condition"] | None = None  # of later steps


class PixelMotion(ActionFeedback[MotionState]):
    """A forecaster that moves the pixels of each frame to give the next.

    Args:
        spec: shape, channels and units of the frames; the sides must be divisible by 8.
        options: options of the cell.
        sampling_decay: decay k of `inverse_sigmoid_sampling`.
        published: whether training chooses true frames by count, see `draw_true_counts`.
        normalise: see `Normaliser`.

    Errors:
        InputError: frames are points, or a side is not divisible by 8.
    """

    def __init__(
        self,
        spec: FrameSpec,
        *,
        options: CellOptions,
        sampling_decay: float,
        published: bool,
        normalise: Normalisation,
    ) -> None:
        super().__init__(spec, normalise=normalise)
        if sampling_decay <= 0:
            raise InputError(f"sampling_decay must be positive, got {sampling_decay}.")
        self.sampling_decay, self.published = sampling_decay, published
        self.cell = MotionCell(spec.frame_shape, options)
        # With few channels, gates in channels-last format are slow to split.
        self.channels_last = min(options.lstm_widths) >= CHANNELS_LAST_WIDTH
        self.dynamics = self.dynamics_of(spec)

    def initialise(self, generator: torch.Generator | None) -> None:
        """Draw the initial weights; affine maps start near the identity."""
        initialise_xavier(self, generator)
        if isinstance(self.cell.affine, nn.Linear):
            nn.init.normal_(self.cell.affine.weight, std=0.01, generator=generator)

    # Forecasting

    def draw_latent(self, like: Tensor, noise: Noise) -> Tensor | None:
        """A draw of a step's latent from its prior; None if the model has no latent."""
        return None

    def draw_sequence_latent(self, like: Tensor, noise: Noise) -> Tensor | None:
        """A draw of the latent of all steps from its prior; None if each step has its own."""
        return None

    def states_seen(self, context: Frames | Batch) -> Bool[Tensor, "batch input"]:
        """No states after the first are seen: as published, the cell sees predicted ones."""
        values = context.values
        return torch.empty(len(values), 0, dtype=torch.bool, device=values.device)

    def observe(
        self,
        context: Float[Tensor, "batch time channel y x"],
        *,
        noise: Noise,
        conditions: Float[Tensor, "batch step condition"] | None = None,
    ) -> tuple[Float[Tensor, "row channel y x"], MotionState]:
        latent = self.draw_sequence_latent(context, noise)
        given = None if conditions is None else noise.rows(conditions)
        state = MotionState(self.start, latent, given)
        following, state = self.step_through(context, state, noise=noise)
        rows = len(following)  # until here, rows share states of layers before the latent
        lstms = tuple(
            ConvLSTMState(repeated(each.hidden, rows), repeated(each.cell, rows))
            for each in state.lstms
            if each is not None
        )
        return following, state._replace(lstms=lstms)

    @property
    def start(self) -> States:
        """The states at the start of a sequence."""
        return (None,) * len(self.cell.lstms)

    def step(
        self, frame: Float[Tensor, "row channel y x"], state: MotionState, *, noise: Noise
    ) -> tuple[Float[Tensor, "row channel y x"], MotionState]:
        latent = self.draw_latent(frame, noise) if state.latent is None else state.latent
        now, later = None, state.conditions
        if later is not None:
            now, later = later[:, 0], later[:, 1:]
        following, lstms = self.cell(frame, state.lstms, latent, now)
        return following, state._replace(lstms=lstms, conditions=later)

    # Training

    def draw_true_frames(
        self, step: int, windows: int, horizon: int, context: int, generator: torch.Generator | None
    ) -> Bool[Tensor, "batch input"]:
        """Whether each input of a training window after the first is true, by the schedule."""
        draw = draw_true_counts if self.published else draw_true_frames
        return draw(
            inverse_sigmoid_sampling(step, decay=self.sampling_decay),
            windows=windows,
            context=context,
            horizon=horizon,
            generator=generator,
        )

    def predict_window(
        self,
        frames: Float[Tensor, "batch time channel y x"],
        true_frames: Bool[Tensor, "batch input"],
        latents: Float[Tensor, "batch step latent small_y small_x"] | None = None,
        conditions: Float[Tensor, "batch step condition"] | None = None,
    ) -> Float[Tensor, "batch predicted channel y x"]:
        """Predictions of all frames but the first.

        Args:
            frames: a training window, in the units of the model.
            true_frames: whether each input, from the second frame to the last but one, is the
                true frame or its prediction.
            latents: latent of each step.
            conditions: conditions of each step.
        """
        states = self.start
        predicted: list[Tensor] = []
        for index, frame in enumerate(frames[:, :-1].unbind(1)):
            if index > 0:
                chosen = true_frames[:, index - 1].view(-1, 1, 1, 1)
                frame = torch.where(chosen, frame, predicted[-1])  # noqa: PLW2901
            latent = None if latents is None else latents[:, index]
            now = None if conditions is None else conditions[:, index]
            following, states = self.cell(frame, states, latent, now)
            predicted.append(following)
        return torch.stack(predicted, dim=1)

"""PatchRNN: patches, scheduled sampling, roll-out and loss of ConvLSTM, PredRNN and MIM."""

from __future__ import annotations

from abc import abstractmethod
from typing import Generic, Literal, TypeVar

import torch
from jaxtyping import Bool, Float
from torch import Tensor, nn

from statecast.errors import InputError
from statecast.frames import Batch, FrameSpec
from statecast.models.base import Losses, Update, known_mean
from statecast.models.frame_feedback import FrameFeedback
from statecast.models.scheduled_sampling import (
    TrueFrames,
    draw_true_frames,
    reverse_scheduled_sampling,
    scheduled_sampling,
)
from statecast.nn.noise import Noise
from statecast.nn.normaliser import Normalisation
from statecast.nn.patches import fold_patches, unfold_patches
from statecast.nn.st_lstm import Gates, Norm

State = TypeVar("State")
Sampling = Literal["scheduled", "reverse"]


class PatchRNN(FrameFeedback[State | None], Generic[State]):
    """A stack of convolutional LSTM cells that reads a frame in patches and predicts the next.

    Training runs through context and target; the loss counts all predicted frames, including those
    of the context. Inputs are true frames or predictions, see `scheduled_sampling` and
    `reverse_scheduled_sampling`. Gradients flow through predictions.

    Args:
        spec: shape, channels and units of the frames; comes from the data.
        patch: side of the square patches, a divisor of both sides of a frame.
        layers: number of cells.
        width: channels of every state.
        bias: whether the output convolution has a bias.
        sampling: `scheduled` or `reverse`.
        sampling_start: step at which the probabilities of `reverse` begin to change.
        sampling_end: step from which every frame after the context is a prediction.
        sampling_decay: steps in which the probability that `reverse` replaces a context frame falls
            by a factor of e.
        reversed_clip: whether each update is followed by one on the clip reversed in time, with
            the same draws of true frames and the same optimiser.
        normalise: see `Normaliser`.
    """

    def __init__(
        self,
        spec: FrameSpec,
        *,
        patch: int,
        layers: int,
        width: int,
        bias: bool,
        sampling: Sampling,
        sampling_start: int,
        sampling_end: int,
        sampling_decay: float,
        reversed_clip: bool,
        normalise: Normalisation,
    ) -> None:
        super().__init__(spec, normalise=normalise)
        if len(spec.space) != 2:
            raise InputError(
                f"{type(self).__name__} needs images or maps, got (channel, *space) = "
                f"{spec.frame_shape}. Points suit the model srvp; for stations, train fields-srvp."
            )
        if patch < 1 or any(side % patch for side in spec.space):
            raise InputError(
                f"{type(self).__name__} needs images whose sides are multiples of the patch, "
                f"{patch}, got (channel, *space) = {spec.frame_shape}. Choose another model.patch."
            )
        if layers < 1 or width < 1:
            raise InputError(f"layers and width must be at least 1, got {layers} and {width}.")
        start = sampling_start if sampling == "reverse" else 0
        if not 0 <= start < sampling_end or sampling_decay <= 0:
            raise InputError(
                "Sampling needs a sampling_end after 0 and sampling_start, and a positive "
                f"sampling_decay, got {sampling_end}, {sampling_start} and {sampling_decay}."
            )
        self.patch, self.width, self.reversed_clip = patch, width, reversed_clip
        self.sampling, self.sampling_start = sampling, sampling_start
        self.sampling_end, self.sampling_decay = sampling_end, sampling_decay
        self.patch_channels = patch**2 * len(spec.channels)
        self.output = nn.Conv2d(width, self.patch_channels, 1, bias=bias)

    def gates(self, *, kernel: int, bias: bool, norm: Norm) -> Gates:
        """Settings of gates on the grid of patches."""
        height, width = self.spec.space
        grid = (height // self.patch, width // self.patch)
        return Gates(kernel=kernel, grid=grid, bias=bias, norm=norm)

    def zeros(
        self, patches: Float[Tensor, "batch patch_channel y x"]
    ) -> Float[Tensor, "batch width y x"]:
        """A state of zeros for these patches."""
        return patches.new_zeros(len(patches), self.width, *patches.shape[-2:])

    @abstractmethod
    def advance(
        self, patches: Float[Tensor, "batch patch_channel y x"], state: State | None
    ) -> tuple[Float[Tensor, "batch patch_channel y x"], State]:
        """The next frame, in patches, and the next state; the state is None at the first frame."""

    # Forecasting

    def observe(
        self, context: Float[Tensor, "batch time channel y x"], *, noise: Noise
    ) -> tuple[Float[Tensor, "row channel y x"], State | None]:
        return self.step_through(noise.rows(context), None, noise=noise)

    def step(
        self, frame: Float[Tensor, "row channel y x"], state: State | None, *, noise: Noise
    ) -> tuple[Float[Tensor, "row channel y x"], State | None]:
        patches, state = self.advance(fold_patches(frame, self.patch), state)
        return unfold_patches(patches, self.patch), state

    # Training

    def true_frame_probabilities(self, step: int) -> TrueFrames:
        """Probabilities of the schedule at an optimiser step."""
        if self.sampling == "scheduled":
            return scheduled_sampling(step, end=self.sampling_end)
        return reverse_scheduled_sampling(
            step, start=self.sampling_start, end=self.sampling_end, decay=self.sampling_decay
        )

    @property
    def updates(self) -> tuple[Update, ...]:
        backwards = (Update("reversed", shares="model"),) if self.reversed_clip else ()
        return (Update("model"), *backwards)

    def update_loss(
        self, name: str, batch: Batch, *, step: int = 0, generator: torch.Generator | None = None
    ) -> Losses:
        loss = self.reversed_loss if name == "reversed" else self.loss
        return loss(batch, step=step, generator=generator)

    def loss(
        self, batch: Batch, *, step: int = 0, generator: torch.Generator | None = None
    ) -> Losses:
        """The loss with true frames drawn by the schedule; see `loss_given`."""
        true_frames = draw_true_frames(
            self.true_frame_probabilities(step),
            windows=len(batch),
            context=len(batch.context),
            horizon=len(batch.target),
            generator=generator,
        )
        return self.loss_given(batch, true_frames)

    def reversed_loss(
        self, batch: Batch, *, step: int = 0, generator: torch.Generator | None = None
    ) -> Losses:
        """The loss of the windows reversed in time; the same seed draws the same true frames."""
        return self.loss(reversed_in_time(batch), step=step, generator=generator)

    def loss_given(self, batch: Batch, true_frames: Bool[Tensor, "batch input"]) -> Losses:
        """Mean squared error of all frames but the first, over known values.

        Args:
            batch: context and target.
            true_frames: whether each input, from the second frame to the last but one, is the
                true frame or its prediction.
        """
        patches = fold_patches(self.inputs(batch), self.patch)
        predicted, states = self.predict_window(patches, true_frames.to(patches.device))
        mask = None if batch.mask is None else fold_patches(batch.mask[:, 1:], self.patch)
        return self.terms((predicted - patches[:, 1:]).square(), mask, states)

    def terms(
        self,
        squares: Float[Tensor, "batch predicted patch_channel y x"],
        mask: Bool[Tensor, "batch predicted patch_channel y x"] | None,
        states: list[State],
    ) -> Losses:
        """Named terms of the loss, from squared errors, the mask of known values, and states."""
        mse = known_mean(squares, mask)
        return {"total": mse, "mse": mse}

    def predict_window(
        self,
        patches: Float[Tensor, "batch time patch_channel y x"],
        true_frames: Bool[Tensor, "batch input"],
    ) -> tuple[Float[Tensor, "batch predicted patch_channel y x"], list[State]]:
        """Predictions of all frames but the first, and the state that each was made from."""
        predicted: list[Tensor] = []
        states: list[State] = []
        state: State | None = None
        for index, frame in enumerate(patches[:, :-1].unbind(dim=1)):
            inputs = frame
            if index > 0:
                chosen = true_frames[:, index - 1].view(-1, 1, 1, 1)
                inputs = torch.where(chosen, frame, predicted[-1])
            output, state = self.advance(inputs, state)
            predicted.append(output)
            states.append(state)
        return torch.stack(predicted, dim=1), states


def reversed_in_time(batch: Batch) -> Batch:
    """The windows of a batch reversed in time, with contexts and targets of the same lengths."""
    mask = None if batch.mask is None else batch.mask.flip(1)
    return Batch.of(
        batch.values.flip(1), len(batch.context), channels=batch.context.channels, mask=mask
    )

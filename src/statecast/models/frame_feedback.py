"""FrameFeedback: forecasters that compute each frame from the frame before it."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Iterator
from itertools import islice
from typing import Generic, TypeVar

import torch
from jaxtyping import Float
from torch import Tensor

from statecast.frames import Frames
from statecast.models.base import Forecaster
from statecast.nn.noise import Noise
from statecast.solvers.solvers import SolverName

S = TypeVar("S")


class FrameFeedback(Forecaster, Generic[S]):
    """A model that reads its own forecast frames to forecast the next ones.

    A forecast calls `observe` on the context, which gives the first frame, then `step` for each
    further frame. Only the output grows with the horizon. All samples of all sequences are rows
    of one batch, see `Noise`. Frames are in the units of the model. A state is a tuple of tensors
    that `step` never changes in place.
    """

    @abstractmethod
    def observe(
        self, context: Float[Tensor, "batch time channel *space"], *, noise: Noise
    ) -> tuple[Float[Tensor, "row channel *space"], S]:
        """First forecast frame of each row, and the state after it.

        A model that treats observed frames like its own repeats the context by `noise.rows` and
        calls `step_through`.
        """

    @abstractmethod
    def step(
        self, frame: Float[Tensor, "row channel *space"], state: S, *, noise: Noise
    ) -> tuple[Float[Tensor, "row channel *space"], S]:
        """The frame that follows `frame`, and the state after it."""

    def step_through(
        self, frames: Float[Tensor, "row time channel *space"], state: S, *, noise: Noise
    ) -> tuple[Float[Tensor, "row channel *space"], S]:
        """Step from each of `frames`; return the frame after the last one, and the state."""
        following = frames[:, 0]
        for frame in frames.unbind(1):
            following, state = self.step(frame, state, noise=noise)
        return following, state

    def roll_out(
        self, context: Float[Tensor, "batch time channel *space"], *, noise: Noise
    ) -> Iterator[Float[Tensor, "row channel *space"]]:
        """Endless iterator over the frames that follow a context, each computed on demand."""
        frame, state = self.observe(context, noise=noise)
        yield from self.continue_from(frame, state, noise=noise)

    def continue_from(
        self, frame: Float[Tensor, "row channel *space"], state: S, *, noise: Noise
    ) -> Iterator[Float[Tensor, "row channel *space"]]:
        """Endless iterator over the first forecast frame and those that follow it."""
        while True:
            yield frame
            frame, state = self.step(frame, state, noise=noise)

    def frames_after(
        self, context: Frames, content_from: Frames | None, *, noise: Noise
    ) -> Iterator[Float[Tensor, "row channel *space"]]:
        """Endless iterator over the frames of a forecast."""
        return self.roll_out(self.conditioning(context, content_from), noise=noise)

    def conditioning(
        self, context: Frames, content_from: Frames | None
    ) -> Float[Tensor, "batch time channel *space"]:
        """Frames that a forecast is conditioned on, in the units of the model.

        A model with content gives them the content of `content_from` and the motion of `context`.
        """
        return self.inputs(context)

    def predict(
        self,
        context: Frames,
        times: Float[Tensor, " time"],
        *,
        samples: int,
        substeps: int | None,
        solver: SolverName | None,
        content_from: Frames | None,
        generator: torch.Generator | None,
    ) -> Float[Tensor, "sample batch time channel *space"]:
        leads = [int(time) for time in times.tolist()]
        values, batch = context.values, len(context.values)
        with torch.inference_mode(False):  # saves a copy in `forecast`
            forecast = values.new_empty(samples, batch, len(leads), *values.shape[2:])
        noise = Noise(samples, batch, generator)
        frames = self.frames_after(context, content_from, noise=noise)
        place = {lead: index for index, lead in enumerate(leads)}
        for lead, frame in enumerate(islice(frames, leads[-1]), start=1):
            if lead in place:
                folded = self.normaliser.restore(frame, axis=1).unflatten(0, (batch, samples))
                forecast[:, :, place[lead]] = folded.transpose(0, 1)
        return forecast

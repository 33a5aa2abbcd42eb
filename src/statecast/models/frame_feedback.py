"""FrameFeedback: forecasters whose every frame is computed from the frame before it."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Iterator
from itertools import islice
from typing import Generic, TypeVar

import torch
from jaxtyping import Float
from torch import Tensor

from statecast.errors import InputError
from statecast.frames import Frames
from statecast.models.base import Forecaster, shortened
from statecast.models.latents import TIME_TOLERANCE
from statecast.nn.noise import Noise
from statecast.solvers.solvers import SolverName

S = TypeVar("S")


class FrameFeedback(Forecaster, Generic[S]):
    """A model that reads its own forecast frames to forecast the next ones.

    A forecast is one `observe` of the context, which gives the first frame, then one `step` per
    further frame: linear time, and memory that grows with the horizon by the output alone.
    All samples of all sequences are the rows of one batch, see `Noise`. Frames are in the units of
    the model. A state is a tuple of tensors that `step` never changes in place.
    """

    @abstractmethod
    def observe(
        self, context: Float[Tensor, "batch time channel *space"], *, noise: Noise
    ) -> tuple[Float[Tensor, "row channel *space"], S]:
        """First forecast frame of each row, and the state after it.

        A model that treats observed frames as it treats its own repeats the context with
        `noise.rows`, and calls `step_through`.
        """

    @abstractmethod
    def step(
        self, frame: Float[Tensor, "row channel *space"], state: S, *, noise: Noise
    ) -> tuple[Float[Tensor, "row channel *space"], S]:
        """The frame that follows `frame`, and the state after it."""

    def step_through(
        self, frames: Float[Tensor, "row time channel *space"], state: S, *, noise: Noise
    ) -> tuple[Float[Tensor, "row channel *space"], S]:
        """The frame that follows the last of `frames`, and the state, by a step from each."""
        following = frames[:, 0]
        for frame in frames.unbind(1):
            following, state = self.step(frame, state, noise=noise)
        return following, state

    def roll_out(
        self, context: Float[Tensor, "batch time channel *space"], *, noise: Noise
    ) -> Iterator[Float[Tensor, "row channel *space"]]:
        """The frames that follow a context, without end; each is computed when asked for."""
        frame, state = self.observe(context, noise=noise)
        yield from self.continue_from(frame, state, noise=noise)

    def continue_from(
        self, frame: Float[Tensor, "row channel *space"], state: S, *, noise: Noise
    ) -> Iterator[Float[Tensor, "row channel *space"]]:
        """The first forecast frame, and those that follow it, without end."""
        while True:
            yield frame
            frame, state = self.step(frame, state, noise=noise)

    def frames_after(
        self, context: Frames, content_from: Frames | None, *, noise: Noise
    ) -> Iterator[Float[Tensor, "row channel *space"]]:
        """The roll-out that a forecast takes its frames from."""
        return self.roll_out(self.conditioning(context, content_from), noise=noise)

    def conditioning(
        self, context: Frames, content_from: Frames | None
    ) -> Float[Tensor, "batch time channel *space"]:
        """Frames that a forecast follows, in the units of the model.

        A model with content shows that of `content_from` in them, moving as the context does.
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
        leads = whole_leads(times)
        values, batch = context.values, len(context.values)
        with torch.inference_mode(False):  # so that it need not be copied
            forecast = values.new_empty(samples, batch, len(leads), *values.shape[2:])
        noise = Noise(samples, batch, generator)
        frames = self.frames_after(context, content_from, noise=noise)
        place = {lead: index for index, lead in enumerate(leads)}
        for lead, frame in enumerate(islice(frames, leads[-1]), start=1):
            if lead in place:
                folded = self.normaliser.restore(frame, axis=1).unflatten(0, (batch, samples))
                forecast[:, :, place[lead]] = folded.transpose(0, 1)
        return forecast


def whole_leads(times: Float[Tensor, " time"]) -> list[int]:
    """Increasing lead times as whole numbers of frames.

    Errors:
        InputError: a time between frames or before the first forecast frame, or two of one frame.
    """
    leads = times.round()
    if bool(((times - leads).abs() > TIME_TOLERANCE).any()):
        raise InputError("This transition knows whole frames only: ask for whole `times`.")
    if float(leads[0]) < 1:
        raise InputError(
            "This model goes back to time 1 at most (0 is the last observed frame), got a time of "
            f"{float(leads[0]):g}."
        )
    if bool((leads.diff() < 1).any()):
        raise InputError(f"Times must increase, got {shortened(times)}.")
    return [int(lead) for lead in leads.tolist()]

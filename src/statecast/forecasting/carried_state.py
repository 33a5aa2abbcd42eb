"""CarriedState: the state of a model that follows a growing source, updated frame by frame."""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

from statecast.data.base import seeded_generator
from statecast.forecasting.inputs import Observed
from statecast.forecasting.predictor import Predictor
from statecast.frames import Forecast, Frames
from statecast.models.latents import TIME_TOLERANCE
from statecast.models.online import OnlineForecaster

LOGGER = logging.getLogger(__name__)


class CarriedState:
    """The state of a model that has seen all frames of a source since the first update.

    The first update takes the last frames, as many as a context has. Each later update adds the
    new frames. If the source does not continue the frames seen before, the state starts again.

    Args:
        predictor: a predictor for which `why_no_state` returns None.
        samples: futures to draw.
        seed: seed of the samples.
    """

    def __init__(self, predictor: Predictor, *, samples: int, seed: int) -> None:
        assert isinstance(predictor.model, OnlineForecaster)
        self.predictor, self.model = predictor, predictor.model
        self.samples, self.seed = samples, seed
        self.state: Any = None
        self.seen: Observed | None = None

    def update(self, read: Callable[[int | None], Observed]) -> Frames:
        """Update the state with the new frames of the source; return its current context.

        Args:
            read: returns the last N frames of the source, or those of a context for None.
        """
        now = read(None)
        count = len(now.frames)
        new = self.new_frames(now)
        if new is not None and new >= count:  # read back to a frame that was seen
            now = read(new + 1)
            new = self.new_frames(now)
        whole = self.predictor.context(now.frames)
        if new is None or new > len(now.frames):  # the source may have grown in between
            if self.seen is not None:
                LOGGER.warning(
                    "The source does not continue the frames seen before. The state starts again "
                    "from the last frames."
                )
            generator = seeded_generator(self.seed)
            self.state = self.model.filter(
                last_of(whole, count), samples=self.samples, generator=generator
            )
        elif new > 0:
            self.state = self.model.filter(last_of(whole, new), self.state)
        context = last_of(now.frames, count)
        self.seen = now._replace(frames=context)
        return context

    def new_frames(self, now: Observed) -> int | None:
        """Number of frames since the last update; None if the source does not continue from it."""
        if self.seen is None or len(self.seen.ends) != len(now.ends):
            return None
        gaps = {end - before for end, before in zip(now.ends, self.seen.ends, strict=True)}
        new = round(min(gaps))
        if new < 0 or max(abs(gap - new) for gap in gaps) > TIME_TOLERANCE:
            return None
        before, after = self.seen.frames.values, now.frames.values
        shared = min(before.shape[1], after.shape[1] - new)
        if shared <= 0:
            return new
        stop = after.shape[1] - new
        known, found = before[:, -shared:], after[:, stop - shared : stop]
        same = (known == found) | (known.isnan() & found.isnan())
        return new if bool(same.all()) else None

    def forecast(
        self, context: Frames, horizon: int | None, times: Sequence[float] | None
    ) -> Forecast:
        """Samples of the frames that follow, with the labels of their context."""
        generator = None if self.model.draws_in_filter else seeded_generator(self.seed)
        forecast = self.model.forecast_from(
            self.state, horizon, times=times, samples=self.samples, generator=generator
        )
        return self.predictor.restored(forecast, context)


def last_of(frames: Frames, count: int) -> Frames:
    """The last `count` frames of each sequence, with their labels."""
    if count == len(frames):
        return frames
    labels = frames.coordinates
    kept = None if labels is None else replace(labels, times=labels.times[-count:])
    return replace(frames.at(slice(-count, None)), coordinates=kept)


def why_no_state(
    predictor: Predictor, *, steps: bool = False, times: Sequence[float] | None = None
) -> str | None:
    """Why forecasts of a growing source cannot carry a state; None if they can.

    Args:
        predictor: the model.
        steps: whether forecasts use another solver or another number of its steps.
        times: the times to forecast, if given.
    """
    model = predictor.model
    if not isinstance(model, OnlineForecaster):
        return f"{model.title} has no state that one more frame can update"
    if model.why_no_state is not None:
        return model.why_no_state.rstrip(".")
    if steps:
        return "A state can only be carried with the steps of the model's own solver"
    if times is not None and min(times) <= 0:
        return "A state can only forecast times after the last frame"
    return None

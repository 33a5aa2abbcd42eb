"""Observed fields that verify forecasts, cut into windows at the starts of the forecasts."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import cached_property
from typing import Any

import numpy as np

from statecast.data.base import DataSource, Split, Windows
from statecast.data.user.field_climatology import Part, climatology_of, tells_seasons
from statecast.data.user.field_files import FieldFiles
from statecast.data.user.field_splits import window_starts
from statecast.data.user.field_windows import FieldStore, FieldWindows, usual_storage
from statecast.data.user.fields import common_unit
from statecast.data.windows import ChosenLeads
from statecast.errors import InputError
from statecast.frames import FrameSpec
from statecast.io.fields.climatology import Anomaly
from statecast.io.fields.preprocessing import Preparation
from statecast.io.fields.time_steps import text_of

Array = np.ndarray[Any, np.dtype[Any]]


class VerifyingFields(DataSource):
    """One series of observed fields; its test windows begin where forecasts do.

    The frames of a reference period, if there is one, are the training split. All frames are then
    anomalies from its climatology: seasonal if it covers a year, else the mean.

    Args:
        files: the series.
        places: number of the last observed frame of each start.
        leads: increasing lead times of the forecasts, in frames.
        context: frames observed before a start, which baselines see.
        reference_period: first frame, and frame after the last; None if there is no such period.
        origin: facts about the forecasts, for the card.
    """

    def __init__(
        self,
        files: FieldFiles,
        places: Array,
        *,
        leads: tuple[int, ...],
        context: int = 1,
        reference_period: tuple[int, int] | None = None,
        origin: Mapping[str, Any],
    ) -> None:
        self.files, self.places, self.leads, self.context = files, places, leads, context
        self.field, self.origin = files.opened[0], dict(origin)
        self.training: Sequence[Part] = []
        if reference_period is not None:
            self.training = [(0, *reference_period)]

    @property
    def length(self) -> int:
        """Frames from the first observed one to the last forecast."""
        return self.context + self.leads[-1]

    @property
    def spec(self) -> FrameSpec:
        return FrameSpec(
            channels=self.field.channels,
            space=self.field.space,
            context=self.context,
            horizon=self.leads[-1],
            unit=common_unit(self.field.units),
        )

    @property
    def has_training_windows(self) -> bool:
        return bool(self.training)

    def windows(self, split: Split) -> Windows:
        if split == "test":
            first = self.places - self.context + 1
            starts = np.stack([np.zeros_like(first), first], axis=1)
            whole = self.cut(starts)
            every = self.leads == tuple(range(1, self.leads[-1] + 1))
            return whole if every else ChosenLeads(whole, self.leads)
        if not self.has_training_windows:
            raise InputError(
                "There is no reference period: the observations begin with the first start. Name "
                "one, or give earlier frames."
            )
        return self.cut(window_starts(self.training, self.length, 1))

    def cut(self, starts: Array) -> FieldWindows:
        """Windows of all lead times."""
        return FieldWindows(
            self.store, starts, context=self.context, length=self.length,
            channels=self.field.channels,
        )  # fmt: skip

    @property
    def anomaly(self) -> Anomaly:
        """The climatology that is subtracted."""
        if not self.training:
            return "none"
        return "seasonal" if tells_seasons(self.files, self.training) else "mean"

    @cached_property
    def preparation(self) -> Preparation:
        space = self.field.space
        return Preparation(
            options=self.files.options,
            space=space,
            padded=space,
            channels=self.field.channels,
            units=self.field.units,
            step=self.files.step,
            climatology=climatology_of(self.files, self.training, self.anomaly),
        )

    @cached_property
    def store(self) -> FieldStore:
        """Frames: in memory if they are small, else read when they are needed."""
        shape = (len(self.field.channels), *self.field.space)
        storage = usual_storage(len(self.files.times[0]), shape)
        return FieldStore(self.files, self.preparation, storage, self.card)

    @property
    def card(self) -> dict[str, Any]:
        times = self.files.times[0]
        period = [[text_of(times[a]), text_of(times[b - 1])] for _, a, b in self.training]
        return {
            "name": "verifying_fields",
            "files": [path.name for path in self.files.paths],
            "channels": list(self.field.channels),
            "space": list(self.field.space),
            "step": str(self.files.step),
            "starts": [text_of(times[self.places[0]]), text_of(times[self.places[-1]])],
            "reference_period": period[0] if period else None,
            "anomaly": self.anomaly,
            **self.origin,
        }

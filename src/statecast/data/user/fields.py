"""A scientist's own fields: NetCDF files and Zarr stores, one or several variables, any grid."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from functools import cached_property
from typing import Any, Literal

from statecast.data.base import SPLITS, DataSource, InferredOption, Split, Windows
from statecast.data.user.field_climatology import (
    climatology_of,
    daily_waves,
    is_coarse,
    tells_seasons,
    years_of,
)
from statecast.data.user.field_files import FieldFiles, Joining
from statecast.data.user.field_splits import (
    Lengths,
    Parts,
    SplitBy,
    split_sequences,
    window_lengths,
    window_starts,
    with_usual_gap,
)
from statecast.data.user.field_windows import FieldStore, FieldWindows, Storage, usual_storage
from statecast.errors import InputError
from statecast.frames import FrameSpec
from statecast.io.fields.climatology import Anomaly
from statecast.io.fields.kinds import files_of
from statecast.io.fields.preprocessing import Preparation
from statecast.io.fields.regions import dimension_of
from statecast.io.fields.source import FieldOptions, Gaps
from statecast.io.fields.time_axis import Duplicates, Uneven
from statecast.io.fields.time_steps import text_of
from statecast.io.paths import is_remote, shown_path
from statecast.nn.codecs.build import multiple_for

LARGE_SIDE = 256  # points; beyond, training on a laptop is slow
VERSION = 2  # changes when the same options give other frames


class Fields(DataSource):
    """Gridded fields or stations from NetCDF or Zarr, with their own units and gaps.

    If a climatology is subtracted, frames are anomalies in the unit of the data. Missing values
    are unknown: NaN, with a mask.

    Args:
        path: a file or Zarr store, a folder of files, a pattern such as `zones/*.nc`, or a list of
            them; or, if fsspec is installed, the address of a file or Zarr store.
        variables: names, one per channel; by default the only one that has frames.
        group: name of the group to read, if a file or store has several.
        time: name of the dimension of time; by default recognised by CF attributes, or its name.
        y: name of the first dimension of space.
        x: name of the second dimension of space; for stations, set `x` alone.
        sequences: name of a dimension whose values are separate sequences, such as members.
        channels: name of a dimension whose values are separate channels, such as levels.
        crop: range of each named coordinate to keep, such as `{lat: [30, 45]}`, ends included; of
            time, dates: `{time: [2010-01-01, 2019-12-31]}`.
        coarsen: average blocks of N points along each dimension of space.
        time_units: units of times, if the file does not state them, such as
            `seconds since 1970-01-01`, or `datenum`, as MATLAB counts days.
        time_step: average frames over steps of this length, such as `1D` or `1M` (month).
        uneven_times: `refuse` uneven times; `fill` gaps with unknown frames; or `accept` the
            times as if they were even.
        sort: put frames in order of time.
        duplicates: `refuse` several frames of one time; or take the `first`, the `last`, or their
            `mean`.
        missing: values that mark missing data, such as -9999; [] if there are none, although a
            value looks like one. By default, what the file declares.
        missing_frames: `refuse` frames without a known value, and Zarr stores with missing
            chunks, or `keep` them as unknown.
        joining: `sequences` makes each file a sequence, such as a zone of the ocean; `time` joins
            files that follow one another in time; `auto` joins them if they do.
        split: `time` splits every sequence in time; `file` gives whole sequences to each split.
        split_fractions: of training, validation and test frames (or files), in this order.
        split_gap: frames left out between splits in time; by default as many as are observed, or
            fewer if windows would not fit.
        context: frames observed; by default, like the other lengths, chosen to fit the data.
        horizon: frames forecast in training.
        test_horizon: frames forecast in tests; by default up to twice as many as in training.
        validation_horizon: frames forecast in validation.
        window_stride: frames between the starts of windows.
        anomaly: what to subtract at each point: its `mean` in training; `seasonal`, its mean and
            two waves of the year; or `none`. The first two include waves of the day if frames are
            at most 8 hours apart. `auto` is seasonal after at least a year of training, else mean,
            and none if files lie in different places.
        multiple: add unknown points until the sides are multiples of this number; by default, as
            SRVP's codec for the grid needs.
        storage: `memory`, `cache` (a prepared file in the cache folder), `files` (read each
            window when it is asked for); `auto`: memory up to 512 MiB, else files.
        engine: engine of xarray, such as `h5netcdf`; by default xarray chooses.
    """

    def __init__(
        self,
        *,
        path: tuple[str, ...] | str | None = None,
        variables: tuple[str, ...] | str | None = None,
        group: str | None = None,
        time: str | None = None,
        y: str | None = None,
        x: str | None = None,
        sequences: str | None = None,
        channels: str | None = None,
        crop: dict[str, tuple[float | str, float | str]] | None = None,
        coarsen: int = 1,
        time_units: str | None = None,
        time_step: str | None = None,
        uneven_times: Uneven = "refuse",
        sort: bool = False,
        duplicates: Duplicates = "refuse",
        missing: tuple[float, ...] | float | None = None,
        missing_frames: Gaps = "refuse",
        joining: Joining = "auto",
        split: SplitBy = "time",
        split_fractions: tuple[float, float, float] = (0.7, 0.15, 0.15),
        split_gap: int | None = None,
        context: int | None = None,
        horizon: int | None = None,
        test_horizon: int | None = None,
        validation_horizon: int | None = None,
        window_stride: int = 1,
        anomaly: Literal["auto"] | Anomaly = "auto",
        multiple: int | None = None,
        storage: Storage = "auto",
        engine: str | None = None,
    ) -> None:
        if not path:
            raise InputError("Which data? Name a file: --data.path my.nc.")
        if window_stride < 1 or (multiple is not None and multiple < 1):
            raise InputError(
                "window_stride and multiple must be at least 1, got "
                f"{window_stride} and {multiple}."
            )
        names = variables.split(",") if isinstance(variables, str) else list(variables or ())
        stands_for_none = (missing,) if isinstance(missing, int | float) else missing
        options = FieldOptions(
            variables=tuple(name.strip() for name in names), group=group, time=time, y=y, x=x,
            sequences=sequences, channels=channels,
            crop={name: (low, high) for name, (low, high) in (crop or {}).items()},
            coarsen=coarsen, time_units=time_units, uneven_times=uneven_times,
            time_step=time_step, sort=sort, duplicates=duplicates, missing_frames=missing_frames,
            missing=None if stands_for_none is None else tuple(stands_for_none),
        )  # fmt: skip
        self.asked = {
            "variables": variables, "context": context, "horizon": horizon, "anomaly": anomaly,
            "test_horizon": test_horizon, "validation_horizon": validation_horizon,
            "multiple": multiple, "storage": storage, "split_gap": split_gap,
        }  # fmt: skip
        self.files = FieldFiles(
            files_of(path if isinstance(path, str) else list(path)), options,
            joining=joining, engine=engine,
        )  # fmt: skip
        self.field = self.files.opened[0]
        self.split, self.window_stride = split, window_stride

        def cut(gap: int) -> tuple[int, Parts, Lengths]:
            parts = split_sequences(self.files.lengths, split, split_fractions, gap)
            return gap, parts, window_lengths(
                parts, context=context, horizon=horizon,
                validation_horizon=validation_horizon, test_horizon=test_horizon,
            )  # fmt: skip

        if split_gap is None and split == "time":
            found = with_usual_gap(cut, lambda made: made[2].context)
        else:
            found = cut(split_gap or 0)
        self.split_gap, self.parts, self.lengths = found
        self.anomaly = self.check_anomaly(anomaly)
        self.multiple = multiple_for(self.field.space) if multiple is None else multiple
        self.storage = storage
        if storage == "auto":
            self.storage = usual_storage(
                sum(self.files.lengths), (len(self.channels), *self.padded)
            )

    @property
    def channels(self) -> tuple[str, ...]:
        """Names of the variables."""
        return self.field.channels

    @property
    def units(self) -> tuple[str, ...]:
        """Unit of each channel, empty if the file states none."""
        return self.field.units

    @property
    def padded(self) -> tuple[int, ...]:
        """Points along each dimension of space, including those added."""
        return tuple(-(-size // self.multiple) * self.multiple for size in self.field.space)

    @property
    def spec(self) -> FrameSpec:
        return FrameSpec(
            channels=self.channels,
            space=self.padded,
            context=self.lengths.context,
            horizon=self.lengths.horizon,
            unit=common_unit(self.field.units),
        )

    def windows(self, split: Split) -> Windows:
        length = self.lengths.context + self.lengths.horizon_of(split)
        return FieldWindows(
            self.store,
            window_starts(self.parts[split], length, self.window_stride),
            context=self.lengths.context,
            length=length,
            channels=self.channels,
        )

    def check_anomaly(self, anomaly: Literal["auto"] | Anomaly) -> Anomaly:
        """The climatology to subtract.

        Errors:
            InputError: the data do not allow it.
        """
        if anomaly == "auto":
            if not self.files.one_place:
                return "none"
            return "seasonal" if self.tells_seasons else "mean"
        if anomaly != "none" and not self.files.one_place:
            raise InputError(
                f"anomaly: {anomaly} needs files of one place, but the coordinates of these files "
                "differ. Set anomaly: none."
            )
        if anomaly == "seasonal" and is_coarse(self.files.step):
            raise InputError(
                f"Frames {self.files.step} apart are too far apart for seasons. Set anomaly: mean "
                "or none."
            )
        if anomaly == "seasonal" and not self.tells_seasons:
            raise InputError(
                "Seasons need dates and at least a year of training, got "
                f"{years_of(self.files, self.parts['train']):.2g} years. Set anomaly: mean or none."
            )
        return anomaly

    @property
    def tells_seasons(self) -> bool:
        """Whether training frames cover a year, densely enough to resolve its waves."""
        return tells_seasons(self.files, self.parts["train"])

    @cached_property
    def preparation(self) -> Preparation:
        options = asdict(self.files.options) | {"variables": self.field.first.variables}
        dated = self.files.times[0].dtype.kind in "MO"
        time = ("time", self.field.axes.time) if dated else ()  # cropped for training alone
        options["crop"] = {n: ends for n, ends in options["crop"].items() if n not in time}
        grid = self.field.first.grid if self.files.one_place else {}
        return Preparation(
            options=FieldOptions(**options),
            space=self.field.space,
            channels=self.channels,
            padded=self.padded,
            units=self.field.units,
            step=None if self.files.options.uneven_times == "accept" else self.files.step,
            grid=grid,
            climatology=climatology_of(self.files, self.parts["train"], self.anomaly),
        )

    @cached_property
    def store(self) -> FieldStore:
        """Prepared frames."""
        assert self.storage != "auto"
        identity = self.card | {"stamps": [stamp(path) for path in self.files.paths]}
        return FieldStore(self.files, self.preparation, self.storage, identity)

    @property
    def card(self) -> dict[str, Any]:
        times = self.files.times
        options = {k: v for k, v in asdict(self.files.options).items() if k != "crop"}
        crop = {name: list(ends) for name, ends in self.files.options.crop.items()}
        return {
            "name": "fields",
            "files": [path.name for path in self.files.paths],
            **options,
            "variables": list(self.field.first.variables),
            "crop": crop,
            "units": list(self.field.units),
            "space": list(self.field.space),
            "padded": list(self.padded),
            "step": str(self.files.step),
            "splits": {
                split: [[i, text_of(times[i][a]), text_of(times[i][b - 1])] for i, a, b in part]
                for split, part in self.parts.items()
            },
            **self.lengths._asdict(),
            "split_gap": self.split_gap,
            "window_stride": self.window_stride,
            "anomaly": self.anomaly,
            "version": VERSION,
            "licence": self.files_say("license", "licence"),
            "source": self.files_say("title", "source", "institution"),
        }

    @property
    def cropped(self) -> set[str | None]:
        """Dimensions that are cropped to a region."""
        source = self.field.first.source
        return {dimension_of(source, name) for name in self.files.options.crop}

    @property
    def series(self) -> str:
        """The cycles that the anomaly leaves out, or why they stay, for messages."""
        step = self.files.step
        if step.unit == "numbers":
            return "; times are not dates, so seasons are unknown"
        waves = daily_waves(self.files, self.anomaly)
        daily = f"; with {'a wave' if waves == 1 else f'{waves} waves'} of the day" if waves else ""
        if is_coarse(self.files.step):
            return f"; frames {step} apart have no seasons"
        if not self.tells_seasons:
            years = years_of(self.files, self.parts["train"])
            return f"{daily}; {years:.2g} years of training are too few for seasons, which stay"
        return daily

    def files_say(self, *names: str) -> str:
        """The first of these attributes that the first file has."""
        attributes = self.field.first.source.attrs
        found = [str(attributes[name]) for name in names if attributes.get(name)]
        return found[0] if found else "not stated in the file"

    @property
    def inferred_options(self) -> Sequence[InferredOption]:
        field, lengths, found = self.field, self.lengths, []
        sizes = "×".join(map(str, field.space))

        def choose(what: str, chosen: str, option: str | None = None, value: Any = None) -> None:
            if option is None or self.asked[option] in (None, "auto"):
                found.append(InferredOption(what, chosen, option, value))

        names = list(field.first.variables)
        choose("variables", ", ".join(self.channels), "variables", names)
        by_order = ", by their order alone: set y and x if that is wrong"
        dims = f"time is {field.axes.time}, space is {', '.join(field.axes.space)}"
        choose("dimensions", dims + (by_order if field.axes.by_order else ""))
        joined = f" from {len(self.files.paths)} files" if len(self.files.paths) > 1 else ""
        frames = f"{sum(self.files.lengths)}, {self.files.step} apart, {self.files.span}"
        sequences = len(self.files.lengths)
        choose("frames", frames + (f", {sequences} sequences" if sequences > 1 else "") + joined)
        for name in (n for n in field.axes.space if n in field.variables and n in self.cropped):
            values = field.variables[name].values
            ends = f"{values[0]:g} to {values[-1]:g}" if values.dtype.kind in "fiu" else "cropped"
            choose("region", f"{name} {ends}, {len(values)} points")
        for note in field.notes:
            choose("note", note)
        counts = {split: sum(b - a for _, a, b in self.parts[split]) for split in SPLITS}
        shown = ", ".join(f"{count} {split}" for split, count in counts.items())
        choose("splits", f"{shown} frames, by {self.split}")
        if self.split == "time":
            between = f"{self.split_gap} frames between splits belong to none"
            choose("split_gap", between, "split_gap", self.split_gap)
        for name, value in lengths._asdict().items():
            choose(name, f"{value} frames", name, value)
        what = f"{ANOMALIES[self.anomaly]}{self.series}"
        choose("anomaly", what, "anomaly", self.anomaly)
        grown = "×".join(map(str, self.padded))
        added = f", padded to {grown} with unknown points" if self.padded != field.space else ""
        option = ("multiple", self.multiple) if self.asked["multiple"] is None else ()
        found.append(InferredOption("grid", f"{sizes}{added}", *option))
        if max(field.space) > LARGE_SIDE and len(field.space) == 2:
            choose("advice", f"{sizes} is large: crop, or --data.coarsen 2, to train faster")
        choose("normaliser", "mean 0 and standard deviation 1 in training (normalise: auto)")
        choose("storage", str(self.storage), "storage", self.storage)
        return found


ANOMALIES = {
    "none": "none, values are as they are",
    "mean": "mean of each point, from training frames alone, is subtracted",
    "seasonal": "seasonal: mean and two waves of the year of each point, from training frames "
    "alone, are subtracted",
}


def common_unit(units: Sequence[str]) -> str:
    """The unit of all channels; if they differ, the unit of each, separated by commas."""
    named = [unit or "1" for unit in units]
    return named[0] if len(set(named)) == 1 else ", ".join(named)


def stamp(path: Any) -> list[Any]:
    """Fingerprint of a file or store: the names, sizes and dates of its files."""
    if is_remote(path):
        return [shown_path(path)]
    files = sorted(p for p in path.rglob("*") if p.is_file()) if path.is_dir() else [path]
    return [[str(p), p.stat().st_size, p.stat().st_mtime_ns] for p in files]

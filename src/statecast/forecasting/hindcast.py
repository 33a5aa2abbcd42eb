"""hindcast: forecasts from many starts of a series, in one resumable Zarr store."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch

from statecast.checks import LONGEST, typed
from statecast.data.base import window_generators
from statecast.distributed import all_gather, rank, run_on_main, world_size
from statecast.errors import FileError, InputError, require
from statecast.forecasting.inputs import opened_series, reading_options
from statecast.forecasting.predictor import Predictor
from statecast.frames import Frames
from statecast.io.atomic_files import atomic_path
from statecast.io.fields.coordinates import Coordinates
from statecast.io.fields.field import Field, within
from statecast.io.fields.forecast_archive import CONTEXT
from statecast.io.fields.forecast_layout import Layout, history_line, names_of
from statecast.io.fields.kinds import labelled_files
from statecast.io.fields.time_steps import continued, parse_step, text_of
from statecast.models.latents import fingerprint_of

Array = np.ndarray[Any, np.dtype[Any]]

WRITTEN = "written"  # variable that marks the starts that are done
REQUEST = "hindcast"  # attribute that describes the hindcast
FORMAT: Literal[2] = 2  # Zarr format that all readers support
CHUNK_BYTES = 1 << 26  # largest size of one chunk of samples


@dataclass(frozen=True, kw_only=True)
class Hindcast:
    """Forecasts from many starts of one series of labelled fields.

    Attributes:
        predictor: the trained model.
        source: NetCDF files and Zarr stores that form one series.
        start: first start, as a date such as `2015-01-01`; None for the earliest possible one.
        end: last start; None for the last frame of the series.
        every: number of frames from one start to the next, or a duration such as `5D`.
        horizon: number of frames to forecast from each start.
        samples: futures per start.
        seed: seed of the samples; those of a start depend only on it and on the start's date.
        reading: options for reading the series that replace those of training.
    """

    predictor: Predictor
    source: tuple[str, ...]
    start: str | None = None
    end: str | None = None
    every: int | str = 1
    horizon: int
    samples: int = 1
    seed: int = 1
    reading: Mapping[str, Any] = field(default_factory=dict)

    def series(self) -> Field:
        """The opened series; its frames are read when they are needed.

        Errors:
            FileError, InputError: the series cannot be read, or does not fit the model.
        """
        files = labelled_files(list(self.source))
        if not files:
            raise FileError(
                f"A hindcast takes NetCDF files or Zarr stores with dates, got {self.source[0]}."
            )
        options = reading_options(self.reading)
        datasets, origin = opened_series(files, self.predictor, options)
        found = self.predictor.preparation.open(datasets, origin, reading=options)
        if found.first.members > 1:
            raise InputError(
                f"{found.origin} holds {found.first.members} sequences; a hindcast takes one."
            )
        return found

    def starts(self, series: Field) -> Array:
        """Numbers of the frames after which forecasts start.

        Errors:
            InputError: the series or the dates leave no start.
        """
        context = self.predictor.spec.context
        numbers = np.arange(context - 1, len(series))
        if len(numbers) == 0:
            raise InputError(
                f"{series.origin} has no start: it holds {len(series)} frames, but a context needs "
                f"{context}."
            )
        times = series.frames.times[numbers]
        if self.start is not None or self.end is not None:
            first, last = text_of(times[0]), text_of(times[-1])
            asked = (self.start or first, self.end or last)
            try:
                numbers = numbers[within(times, asked, series.origin)]
            except InputError as error:
                raise InputError(
                    f"{series.origin} has no start from {asked[0]} to {asked[1]}; its starts run "
                    f"from {first} to {last}. Give dates such as 2001-01-31."
                ) from error
        return numbers[:: self.frames_between(series)]

    def frames_between(self, series: Field) -> int:
        """Number of frames from one start to the next.

        Errors:
            InputError: it is not a whole number of at least 1.
        """
        between: float = 1.0
        if isinstance(self.every, int):
            between = self.every
        else:
            wanted, step = parse_step(self.every), series.frames.step
            between = wanted.size / step.size if wanted.unit == step.unit else 0.5
        if between < 1 or between != round(between):
            raise InputError(
                f"Starts must lie a whole number of frames apart, got every {self.every}; frames "
                f"are {series.frames.step} apart."
            )
        return round(between)

    def description(self, series: Field, starts: Array) -> dict[str, Any]:
        """Everything that determines the forecasts, as JSON values."""
        times = "\n".join(text_of(series.frames.times[number]) for number in starts)
        return {
            "model": fingerprint_of(self.predictor.model),
            "starts": hashlib.sha256(times.encode()).hexdigest(),
            "horizon": self.horizon,
            "samples": self.samples,
            "seed": self.seed,
            "channels": list(series.channels),
            "reading": json.dumps(dict(self.reading), sort_keys=True, default=str),
        }


@typed
def write_hindcast(
    hindcast: Hindcast, output: str | Path, *, batch_size: int = 8, dask: str | None = None
) -> Path:
    """Forecast from every start into one Zarr store, start by start.

    Its variables have the dimensions (init_time, realization, lead_time, *space) and the standard
    names of the CF conventions. If the store exists, only the missing starts are written. The
    numbers do not depend on interruptions, on the batch size, or on the number of processes, which
    share the starts.

    Args:
        hindcast: the starts, the model and the series.
        output: path of the store, `.zarr`.
        batch_size: number of starts at once.
        dask: address of a Dask scheduler whose workers do the work; they must see the same files.

    Returns:
        The path of the store.

    Errors:
        InputError: the store holds another hindcast, or the series does not fit the model.
        FileError: the series cannot be read, or the store cannot be written.
        MissingExtraError: Dask is not installed.
    """
    output = Path(output)
    if output.suffix != ".zarr":
        raise FileError(f"The output of a hindcast must be a .zarr store, got {output.name!r}.")
    if not 1 <= hindcast.horizon <= LONGEST or min(hindcast.samples, batch_size) < 1:
        raise InputError(
            "horizon, samples and batch_size must be at least 1, got "
            f"{hindcast.horizon}, {hindcast.samples} and {batch_size}."
        )
    require("zarr", "fields", "write hindcasts")
    series = hindcast.series()
    starts = hindcast.starts(series)
    run_on_main(lambda: prepare_store(hindcast, series, starts, output))
    pending = np.flatnonzero(~written(output))
    blocks = [pending[at : at + batch_size] for at in range(0, len(pending), batch_size)]
    if dask is None:
        for block in blocks[rank() :: world_size()]:
            write_block(hindcast, output, starts, block)
    else:
        write_on_cluster(dask, hindcast, output, starts, blocks)
    all_gather(None)  # waits until all processes have written
    run_on_main(lambda: consolidate(output))
    return output


def write_on_cluster(
    address: str, hindcast: Hindcast, output: Path, starts: Array, blocks: Sequence[Array]
) -> None:
    """Let the workers of a Dask cluster write the blocks; each receives the model once."""
    require("distributed", "cluster", "share a hindcast between the workers of a Dask cluster")
    from distributed import Client

    with Client(address) as client:
        sent = client.scatter(hindcast, broadcast=True)
        place = output.absolute()
        futures = [
            client.submit(write_block, sent, place, starts, block, pure=False, retries=2)
            for block in blocks
        ]
        client.gather(futures)


def write_block(hindcast: Hindcast, output: Path, starts: Array, block: Array) -> None:
    """Forecast from the starts at the given positions, and write the forecasts."""
    import zarr

    series = hindcast.series()
    group = zarr.open_group(output, mode="a")
    for place, samples in zip(block, forecasts(hindcast, series, starts[block]), strict=True):
        for channel, name in enumerate(series.channels):
            array: Any = group[name]
            array[int(place)] = samples[:, :, channel]
        flags: Any = group[WRITTEN]
        flags[int(place)] = 1


def forecasts(hindcast: Hindcast, series: Field, numbers: Array) -> Iterator[Array]:
    """The forecast from each start, (sample, time, channel, *space), in the units of the data."""
    predictor = hindcast.predictor
    preparation, count = predictor.preparation, predictor.spec.context
    labels: list[Coordinates] = []
    prepared = []
    for number in map(int, numbers):
        values = series.read(number + 1 - count, number + 1)
        known = np.asarray(~np.isnan(values).all(axis=0))
        labels.append(
            series.coordinates(number + 1 - count, number + 1, None if known.all() else known)
        )
        prepared.append(preparation.prepare(values, labels[-1].times))
    context = torch.from_numpy(np.stack(prepared))
    mask = ~context.isnan()
    frames = Frames(
        values=context,
        times=torch.arange(1.0 - count, 1.0),
        channels=predictor.spec.channels,
        mask=None if bool(mask.all()) else mask,
    )
    forecast = predictor.model.forecast(
        frames,
        hindcast.horizon,
        samples=hindcast.samples,
        generator=window_generators(dates_of(labels), hindcast.seed),
    )
    for row, coordinates in enumerate(labels):
        own = preparation.restore(
            forecast.samples[:, row : row + 1].cpu(), coordinates, forecast.times
        )
        yield own[:, 0].numpy()


def dates_of(labels: Sequence[Coordinates]) -> torch.Tensor:
    """A seed for each start, from its last observed date."""
    digests = [hashlib.sha256(text_of(one.times[-1]).encode()).digest() for one in labels]
    return torch.tensor([int.from_bytes(digest[:7], "big") for digest in digests])


def prepare_store(hindcast: Hindcast, series: Field, starts: Array, output: Path) -> None:
    """Create the store, or check that an existing one holds the same hindcast.

    Errors:
        InputError: it holds another hindcast.
        FileError: it is not a hindcast.
    """
    asked = hindcast.description(series, starts)
    if not output.exists():
        with atomic_path(output, also=(RuntimeError, ValueError)) as place:
            create_store(hindcast, series, starts, place, asked)
        return
    found = request_of(output)
    different = [name for name, value in asked.items() if found.get(name) != value]
    if different:
        raise InputError(
            f"{output} holds a hindcast with different {', '.join(different)}. Choose another "
            "output, or remove the store."
        )


def request_of(output: Path) -> dict[str, Any]:
    """The description of the hindcast in a store.

    Errors:
        FileError: it is not a hindcast.
    """
    import zarr

    try:
        found: dict[str, Any] = json.loads(str(zarr.open_group(output, mode="r").attrs[REQUEST]))
    except (OSError, KeyError, ValueError) as error:
        raise FileError(
            f"{output} exists but is not a hindcast. Choose another output, or remove it."
        ) from error
    return found


def create_store(
    hindcast: Hindcast, series: Field, starts: Array, place: Path, asked: Mapping[str, Any]
) -> None:
    """Write coordinates and attributes, and create empty variables for the forecasts."""
    import zarr

    first = int(starts[0])
    times = series.frames.times[starts]
    leads = tuple(float(lead) for lead in range(1, hindcast.horizon + 1))
    shape = (hindcast.samples, 1, hindcast.horizon, len(series.channels), *series.space)
    layout = Layout(
        channels=series.channels,
        shape=shape,
        lead_times=leads,
        coordinates=series.coordinates(first, first + 1),
        model=f"{hindcast.predictor.model.title} {asked['model']}",
        history=history_line(
            f"hindcast of {names_of(hindcast.source)}", samples=hindcast.samples, seed=hindcast.seed
        ),
    )
    skeleton = layout.skeleton()
    initial, valid = (skeleton[name].attrs for name in ("init_time", "valid_time"))
    skeleton = skeleton.drop_vars(["init_time", "valid_time"])
    reached = np.stack([continued(time, series.frames.step, leads) for time in times])
    skeleton = skeleton.assign_coords(
        init_time=("init_time", times, initial),
        valid_time=(("init_time", "lead_time"), reached, valid),
    )
    skeleton.attrs[REQUEST] = json.dumps(asked)
    skeleton.attrs[CONTEXT] = hindcast.predictor.spec.context
    skeleton.to_zarr(place, mode="w", zarr_format=FORMAT, consolidated=False)
    group = zarr.open_group(place, mode="a")
    for name, planned in layout.variables().items():
        dims = ("init_time", *planned.dims)
        sizes = (len(starts), *(layout.sizes[dim] for dim in planned.dims))
        group.create_array(
            name, shape=sizes, chunks=chunks_of(sizes), dtype="f4", fill_value=np.float32(np.nan),
            attributes={"_ARRAY_DIMENSIONS": list(dims), **planned.attributes},
            config={"write_empty_chunks": True},
        )  # fmt: skip
    meaning = {"long_name": "whether the forecasts from this start are written"}
    group.create_array(
        WRITTEN, shape=(len(starts),), chunks=(1,), dtype="i1", fill_value=0,
        attributes={"_ARRAY_DIMENSIONS": ["init_time"], **meaning},
    )  # fmt: skip


def chunks_of(sizes: Sequence[int]) -> tuple[int, ...]:
    """One start in each chunk, and as many of its samples as a chunk may hold."""
    frames = int(np.prod(sizes[2:])) * 4
    return (1, max(1, min(sizes[1], CHUNK_BYTES // frames)), *sizes[2:])


def written(output: Path) -> Array:
    """Whether each start of a store is written."""
    import zarr

    flags: Any = zarr.open_group(output, mode="r")[WRITTEN]
    return np.asarray(flags[:]).astype(bool)


def consolidate(output: Path) -> None:
    """Consolidate the metadata of a store, so that it opens fast."""
    import zarr

    zarr.consolidate_metadata(output, zarr_format=FORMAT)

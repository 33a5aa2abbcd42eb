"""Labelled forecasts written to NetCDF or Zarr in parts; the file appears whole or not at all."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any

import numpy as np

from statecast.errors import FileError, InputError, require
from statecast.io.atomic_files import atomic_path
from statecast.io.fields.forecast_layout import Layout, statistics_of
from statecast.io.fields.kinds import NETCDF, ZARR, ZARR_FILES

Array = np.ndarray[Any, np.dtype[Any]]
Region = tuple[slice | int, ...]


class Sink(ABC):
    """A file being written: arrays are created once, then written and read in parts."""

    @abstractmethod
    def create(
        self, name: str, dims: tuple[str, ...], layout: Layout, attributes: dict[str, Any]
    ) -> None:
        """Make room for a float32 variable."""

    @abstractmethod
    def array(self, name: str) -> Any:
        """A variable, to be indexed and assigned to."""

    @abstractmethod
    def close(self) -> None:
        """Write what is left."""


class NetCDFSink(Sink):
    """A NetCDF-4 file, compressed without loss; every block has a checksum."""

    def __init__(self, path: Path, layout: Layout) -> None:
        import netCDF4

        skeleton = layout.skeleton()
        # CF conventions: coordinates have no missing values.
        without = {str(name): {"_FillValue": None} for name in skeleton.coords}
        skeleton.to_netcdf(path, engine="netcdf4", encoding=without)
        self.file = netCDF4.Dataset(path, "a")
        for name, size in layout.sizes.items():
            if name not in self.file.dimensions:
                self.file.createDimension(name, size)

    def create(
        self, name: str, dims: tuple[str, ...], layout: Layout, attributes: dict[str, Any]
    ) -> None:
        variable = self.file.createVariable(
            name, "f4", dims, fill_value=np.float32(np.nan), zlib=True, complevel=1, shuffle=True,
            fletcher32=True, chunksizes=chunks(dims, layout),
        )  # fmt: skip
        variable.setncatts(attributes)

    def array(self, name: str) -> Any:
        return self.file[name]

    def close(self) -> None:
        if self.file.isopen():
            self.file.close()


class ZarrSink(Sink):
    """A Zarr store of format 2, which all readers know, with consolidated metadata."""

    def __init__(self, path: Path, layout: Layout) -> None:
        import zarr

        layout.skeleton().to_zarr(path, mode="w", zarr_format=2, consolidated=False)
        self.path, self.group = path, zarr.open_group(path, mode="a")

    def create(
        self, name: str, dims: tuple[str, ...], layout: Layout, attributes: dict[str, Any]
    ) -> None:
        shape = tuple(layout.sizes[dim] for dim in dims)
        named = {"_ARRAY_DIMENSIONS": list(dims), **attributes}
        self.group.create_array(
            name, shape=shape, chunks=chunks(dims, layout), dtype="f4", attributes=named,
            fill_value=np.float32(np.nan), config={"write_empty_chunks": True},
        )  # fmt: skip

    def array(self, name: str) -> Any:
        return self.group[name]

    def close(self) -> None:
        import zarr

        zarr.consolidate_metadata(self.path, zarr_format=2)


SINKS: dict[str, Callable[[Path, Layout], Sink]] = {
    **dict.fromkeys(NETCDF, NetCDFSink),
    ZARR: ZarrSink,
}


def chunks(dims: tuple[str, ...], layout: Layout) -> tuple[int, ...]:
    """Shape of chunks that hold one frame of one sample each."""
    whole = {*layout.space, "quantile"}
    return tuple(layout.sizes[dim] if dim in whole else 1 for dim in dims)


def write_labelled(path: str | Path, layout: Layout, parts: Iterable[Array]) -> Path:
    """Write a forecast to `.nc` or `.zarr`; one part of the samples is in memory at a time.

    Args:
        path: file or store to write; an older one is replaced when the new one is complete.
        layout: variables and coordinates of the whole forecast.
        parts: consecutive samples (sample, batch, time, channel, *space).

    Errors:
        FileError: it cannot be written.
        MissingExtraError: a package is not installed.
    """
    path = Path(path)
    make = SINKS.get(path.suffix)
    if make is None:
        raise FileError(f"Labelled forecasts are written as {', '.join(SINKS)}, got {path.name!r}.")
    require("xarray", "fields", "write labelled forecasts")
    package = "zarr" if path.suffix == ZARR else "netCDF4"
    require(package, "fields", f"write {path.suffix} files")
    if path.is_dir() and not any((path / name).is_file() for name in ZARR_FILES):
        raise FileError(f"Cannot write {path}: it is a folder, not a Zarr store to replace.")
    failures: list[Exception] = []
    try:
        with atomic_path(path, also=(RuntimeError, ValueError)) as place:
            sink = make(place, layout)
            try:
                fill(sink, layout, watched(parts, failures))
            except BaseException:
                close_quietly(sink)
                raise
            sink.close()
    except FileError:
        if failures:  # drawing failed, and not writing
            raise failures[0] from None
        raise
    return path


def watched(parts: Iterable[Array], failures: list[Exception]) -> Iterator[Array]:
    """Yield the parts; note an error in drawing one, to tell it from errors in writing."""
    try:
        yield from parts
    except Exception as error:
        failures.append(error)
        raise


def close_quietly(sink: Sink) -> None:
    """Close a sink after a failed write, whose error should be reported."""
    try:
        sink.close()
    except (OSError, RuntimeError):
        return


def fill(sink: Sink, layout: Layout, parts: Iterable[Array]) -> None:
    """Write samples part by part, then their statistics, one lead time after another."""
    plan = layout.variables()
    for name, planned in plan.items():
        sink.create(name, planned.dims, layout, dict(planned.attributes))
    start = 0
    for part in parts:
        for name, planned in plan.items():
            if planned.statistic == "samples":
                values = part[:, :, :, planned.channel]
                values = values if layout.batched else values[:, 0]
                target = sink.array(name)
                for index, sample in enumerate(values):
                    target[start + index] = sample
        start += len(part)
    if start != layout.shape[0]:
        raise InputError(f"{layout.shape[0]} samples were to be written, got {start}.")
    for name, planned in plan.items():
        if planned.statistic != "samples":
            source = sink.array(layout.channels[planned.channel])
            target = sink.array(name)
            for time in range(layout.shape[2]):
                whole: Region = (slice(None),) if layout.batched else ()
                where = (*whole, slice(time, time + 1))
                read = np.ma.filled(source[(slice(None), *where)], np.nan)
                read = read if layout.batched else read[:, None]
                found = statistics_of(read, planned.statistic, layout.quantiles)
                target[where] = found if layout.batched else found[0]

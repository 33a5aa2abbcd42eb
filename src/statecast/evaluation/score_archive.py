"""score_archive: score stored forecasts from many starts against observations."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import fields
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor

from statecast.checks import typed
from statecast.data.user.field_files import FieldFiles
from statecast.data.user.verifying_fields import VerifyingFields
from statecast.errors import InputError
from statecast.evaluation.evaluate import evaluate
from statecast.evaluation.evaluation import Evaluation
from statecast.frames import Batch, Forecast, Frames, FrameSpec
from statecast.io.fields.field import within
from statecast.io.fields.forecast_archive import ForecastArchive, places_of
from statecast.io.fields.kinds import files_of
from statecast.io.fields.preprocessing import plain_options
from statecast.io.fields.source import FieldOptions
from statecast.io.fields.time_steps import text_of
from statecast.models.base import Forecaster, Losses
from statecast.solvers.solvers import SolverName

Array = np.ndarray[Any, np.dtype[Any]]

METRICS = ("mse", "rmse", "mae", "fair_mse", "bias", "crps", "spread_skill", "acc")
BASELINES = ("persistence", "damped_persistence", "climatology")


class Starts(NamedTuple):
    """Starts of an archive that the observations can score."""

    stored: Array  # position of each start in the archive
    places: Array  # number of its last observed frame
    left_out: list[str]  # how many other starts are skipped, and why


class StoredForecasts(Forecaster):
    """A forecaster that reads its forecasts from an archive, window by window.

    Args:
        spec: shape, channels and units of the frames.
        archive: the forecasts.
        data: the observations; forecasts become anomalies from the same climatology.
        stored: position in the archive of each window's start.
        leads: positions of the lead times to score.
    """

    def __init__(
        self,
        spec: FrameSpec,
        archive: ForecastArchive,
        data: VerifyingFields,
        stored: Array,
        leads: Array,
    ) -> None:
        super().__init__(spec, normalise="none")
        self.archive, self.data, self.stored, self.leads = archive, data, stored, leads
        labels = data.files.coordinates(0, 0, 1)
        self.arrays = archive.fitted(spec.channels, spec.space, labels)

    @property
    def stochastic(self) -> bool:  # type: ignore[override]
        """Whether the archive holds several samples for each start."""
        return self.archive.samples > 1

    def forecast_windows(
        self,
        numbers: Tensor,
        batch: Batch,
        *,
        samples: int = 1,
        substeps: int | None = None,
        solver: SolverName | None = None,
        generator: torch.Generator | None = None,
    ) -> Forecast:
        found = [torch.from_numpy(self.read(int(number)))[:samples] for number in numbers]
        return Forecast(
            samples=torch.stack(found, dim=1),
            times=batch.target.times,
            channels=self.spec.channels,
        )

    def read(self, number: int) -> Array:
        """Forecasts of a window, (sample, lead, channel, *space), prepared as the observations are.

        Errors:
            InputError: the archive holds no value for this start.
        """
        values = self.archive.read(self.arrays, int(self.stored[number]))[:, self.leads]
        if np.isnan(values).all():
            start = text_of(self.archive.starts[self.stored[number]])
            raise InputError(
                f"{self.archive.path} holds no value for the start {start}; it may not be written "
                "yet. Write it, or choose other starts with --start and --end."
            )
        frames = self.data.places[number] + np.asarray(self.data.leads)
        times = self.data.files.times[0][frames]
        return np.stack([self.data.preparation.prepare(sample, times) for sample in values])

    def loss(
        self, batch: Batch, *, step: int = 0, generator: torch.Generator | None = None
    ) -> Losses:
        raise InputError("Stored forecasts cannot be trained.")

    def predict(
        self,
        context: Frames,
        times: Tensor,
        *,
        samples: int,
        substeps: int | None,
        solver: SolverName | None,
        content_from: Frames | None,
        generator: torch.Generator | None,
    ) -> Tensor:
        raise InputError("Stored forecasts exist for their own starts only.")


@typed
def score_archive(
    archive: str | Path,
    truth: str | Path | tuple[str, ...],
    *,
    name: str | None = None,
    start: str | None = None,
    end: str | None = None,
    reference_period: tuple[str, str] | None = None,
    context: int | None = None,
    reading: Mapping[str, Any] | None = None,
    metrics: tuple[str, ...] = METRICS,
    baselines: tuple[str, ...] = BASELINES,
    batch_size: int = 16,
    thresholds: tuple[float, ...] = (),
    regions: dict[str, dict[str, tuple[float, float]]] | None = None,
    seasons: bool = False,
    area_weights: bool = False,
    max_memory_gib: float = 2.0,
    seed: int = 1,
) -> Evaluation:
    """Score the forecasts of an archive against observations, as `evaluate` scores a model.

    A start is scored if the observations include its date and all its lead times; a warning says
    how many starts are skipped. Forecasts are read one start at a time, and memory is bounded as
    in `evaluate`, whatever the size of the archive.

    Args:
        archive: Zarr store or NetCDF file of forecasts, see `ForecastArchive`.
        truth: NetCDF files or Zarr stores that hold one series of observations, as `data.path`
            takes them.
        name: name of the forecasts in the result; by default that of the archive.
        start: first start to score, as a date; by default the first one in the archive.
        end: last start to score; by default the last one in the archive.
        reference_period: first and last date that climatology and baselines are fitted on; by
            default all frames before the first start's context, if there are enough. Scores are
            those of anomalies from that climatology, which matters only to thresholds.
        context: number of frames up to a start that baselines see; by default as many as the
            model of a statecast hindcast saw, and 1 for other archives.
        reading: options for reading the observations, as in `FieldOptions`, such as
            `{"coarsen": 2}`; `variables` defaults to those of the archive.
        metrics: names of metrics; see `evaluate`, also for the options below.
        baselines: baselines to score beside the forecasts.
        batch_size: largest number of starts at once.
        thresholds: thresholds of the Brier score.
        regions: coordinate bounds by region.
        seasons: whether to score seasons separately.
        area_weights: whether averages over points are weighted by area.
        max_memory_gib: memory that forecasts and their scores may take at once; one start is
            always read whole.
        seed: seed of the bootstrap, and of the windows that baselines are fitted on.

    Returns:
        The scores. Without a reference period, baselines and metrics that need one are named in
        `not_computed`.

    Errors:
        InputError: dates, coordinates, variables or units do not fit, or as `evaluate`.
        FileError, CorruptionError: a file cannot be read.
    """
    stored = ForecastArchive(archive)
    files = opened_truth(truth, stored, dict(reading or {}))
    leads = stored.leads(files.step)
    ahead = np.flatnonzero(leads > 0)
    if not len(ahead) or not (np.diff(leads[ahead]) > 0).all():
        raise InputError(f"{stored.path} needs increasing lead times, got {leads.tolist()[:8]}.")
    if context is not None and context < 1:
        raise InputError(f"Baselines see at least 1 frame, got context={context}.")
    context = context or stored.context or 1
    chosen = scorable(stored, files, start, end, context=context, longest=int(leads[-1]))
    data = VerifyingFields(
        files,
        chosen.places,
        leads=tuple(leads[ahead].tolist()),
        context=context,
        reference_period=period(
            files, reference_period, int(chosen.places[0]) - context + 1, context + int(leads[-1])
        ),
        origin={"forecasts": stored.path.name, "number_of_starts": len(chosen.places)},
    )
    found = evaluate(
        StoredForecasts(data.spec, stored, data, chosen.stored, ahead),
        data,
        name=name or stored.path.stem,
        samples=stored.samples,
        metrics=metrics,
        baselines=baselines,
        batch_size=batch_size,
        thresholds=thresholds,
        regions=regions,
        seasons=seasons,
        area_weights=area_weights,
        max_memory_gib=max_memory_gib,
        seed=seed,
    )
    if len(ahead) < len(leads):
        chosen.left_out.append("Lead times of zero or less are not scored.")
    found.warnings[:0] = chosen.left_out
    return found


def opened_truth(
    truth: str | Path | Sequence[str], archive: ForecastArchive, reading: dict[str, Any]
) -> FieldFiles:
    """The observed fields, opened as one series.

    Errors:
        InputError: an option is unknown, or the files hold several series.
    """
    engine = reading.pop("engine", None)
    known = [option.name for option in fields(FieldOptions)]
    for option in reading:
        if option not in known:
            raise InputError(
                f"The options for reading observations are {', '.join(known)}; got {option!r}."
            )
    variables = reading.pop("variables", archive.variables)
    names = variables.split(",") if isinstance(variables, str) else variables
    options = FieldOptions(**plain_options(reading | {"variables": tuple(names)}))
    paths = files_of(truth if isinstance(truth, str | Path) else list(truth))
    files = FieldFiles(paths, options, joining="auto", engine=engine)
    if len(files.lengths) > 1:
        raise InputError(
            f"Forecasts are scored against one sequence of observations, got {len(files.lengths)}."
        )
    return files


def scorable(
    archive: ForecastArchive,
    files: FieldFiles,
    start: str | None,
    end: str | None,
    *,
    context: int,
    longest: int,
) -> Starts:
    """The starts that can be scored.

    Args:
        archive: the forecasts.
        files: the observations.
        start: first start, as a date.
        end: last start, as a date.
        context: number of frames that must be observed up to a start.
        longest: longest lead time, in frames.

    Errors:
        InputError: no start can be scored.
    """
    times, starts = files.times[0], archive.starts
    limits = (start or text_of(starts.min()), end or text_of(starts.max()))
    asked = start is not None or end is not None
    kept = within(starts, limits if asked else None, str(archive.path))
    places = places_of(starts[kept], times, str(archive.path))
    known = places >= 0
    whole = known & (places >= context - 1) & (places + longest < len(times))
    reasons = (
        (~known, "the observations lack their dates"),
        (
            known & ~whole,
            f"the observations lack some of the {context} frames before or {longest} after",
        ),
    )
    left_out = [
        f"{int(out.sum())} of {len(kept)} starts are not scored: {reason}."
        for out, reason in reasons
        if out.any()
    ]
    if not whole.any():
        raise InputError(
            f"No start can be scored. {archive.path} has starts from {text_of(starts[0])} to "
            f"{text_of(starts[-1])}, and the observations run from {text_of(times[0])} to "
            f"{text_of(times[-1])}. {' '.join(left_out)}"
        )
    order = np.argsort(places[whole], kind="stable")
    return Starts(kept[whole][order], places[whole][order], left_out)


def period(
    files: FieldFiles, asked: tuple[str, str] | None, before: int, fewest: int
) -> tuple[int, int] | None:
    """First frame of the reference period and the frame after its last; None if there is none.

    Args:
        files: the observations.
        asked: first and last date; None for the default.
        before: number of frames before the first start's context, which are the default.
        fewest: number of frames of a window, which the default needs at least.

    Errors:
        InputError: the period holds no frame.
    """
    if asked is None:
        return (0, before) if before >= fewest else None
    found = within(files.times[0], asked, "The reference period")
    return int(found[0]), int(found[-1]) + 1

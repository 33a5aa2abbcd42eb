"""forecast_file: from a file of observed frames to a file of forecasts."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from statecast.checks import typed
from statecast.errors import InputError
from statecast.forecasting.carried_state import CarriedState
from statecast.forecasting.inputs import read_context, read_observed, source_rate
from statecast.forecasting.outputs import MOVING, ForecastRequest, Picture, writer_of
from statecast.forecasting.predictor import Predictor, far_from_training, fewer_than_trained
from statecast.frames import Frames
from statecast.io.fields.forecast_layout import names_of
from statecast.io.paths import existing_paths, is_remote
from statecast.solvers.solvers import SolverName

QUANTILES = (0.1, 0.5, 0.9)  # written to labelled files by default


class Written(NamedTuple):
    """A forecast that was written."""

    path: Path
    shape: tuple[int, ...]  # (sample, batch, time, channel, *space)
    warnings: tuple[str, ...] = ()  # reasons to doubt the forecast


@typed
def forecast_file(
    predictor: Predictor,
    source: str | Path | Sequence[str],
    output: str | Path,
    *,
    horizon: int | None = None,
    times: Sequence[float] | None = None,
    samples: int = 1,
    context: int | None = None,
    substeps: int | None = None,
    solver: SolverName | None = None,
    quantiles: Sequence[float] = QUANTILES,
    seed: int = 1,
    picture: Picture = "mosaic",
    reading: Mapping[str, Any] | None = None,
    carried: CarriedState | None = None,
    target: Frames | None = None,
) -> Written:
    """Forecast the frames that follow those of a file, and write them to another.

    Args:
        predictor: the trained model, as `statecast.load` returns it, or `Predictor(model)`.
        source: what `data.path` takes; its content tells the kind.
            An array is (time, channel, *space), with or without an axis of sequences in front, and
            without the channel axis if there is one channel. Bytes are images of 256 levels if the
            model's range is [0, 1]. A model with actions reads `actions` (step, number) and
            `agent_states` (time, number) from the same file; both begin with the first frame, and
            actions extend through the horizon.
            NetCDF files and Zarr stores must be one series with the variables of training.
            Videos and folders of images are prepared as in training.
        output: `.npz` (samples, times, channels); an animation, `.gif`, `.webp` or `.mp4`; a
            picture, `.png`, `.pdf` or `.svg`; or `.nc`, `.zarr`: samples, mean, standard deviation
            and quantiles, with the coordinates of `source`. The last two are written in parts, so
            that memory does not limit the number of samples.
        horizon: number of frames to forecast; by default as in training.
        times: times to forecast instead of `horizon`, increasing, in frame intervals after the
            last observed frame. They may be fractions, and below 0 if the model's steps are
            reversible.
        samples: futures to draw.
        context: number of last frames of the file to use; by default as in training.
        substeps: solver steps per frame; by default the model's own number.
        solver: solver of the transition's differential equation; by default the model's own.
        quantiles: probabilities of the quantiles in `.nc` and `.zarr`.
        seed: seed of the samples.
        picture: content of pictures. Animations show a `mosaic` of observed frames, mean and
            samples, all of them as differences from the climatology (`anomaly`, of fields), or
            only the forecast frames of the `mean` or of one `sample`, at the frame rate of a
            source video. `.png`, `.pdf` and `.svg` can also show the `motion` of PKnl, as
            arrows, and the `objects` of DDPAE.
        reading: options for reading the source that replace those of training, such as
            `{"uneven_times": "fill"}`; see `statecast.forecasting.inputs.read_context`.
        carried: state after earlier updates, with the same samples and seed. It is updated with
            the new frames of the source, and the forecast continues from it.
        target: the frames that followed, in the model's units, to draw beside the forecast.

    Errors:
        FileError: a file cannot be read or written, or has an unknown ending.
        InputError: the frames do not fit the model, or `output` is part of `source`.
    """
    output = Path(output)
    write = writer_of(output)
    check_apart(output, source)
    if carried is None:
        frames = read_context(source, predictor, context, reading=reading)
    else:
        frames = carried.update(
            lambda new: read_observed(source, predictor, new or context, reading=reading)
        )
    request = ForecastRequest(
        predictor,
        frames,
        horizon=horizon,
        times=None if times is None else tuple(times),
        samples=samples,
        substeps=substeps,
        solver=solver,
        seed=seed,
        quantiles=tuple(quantiles),
        picture=picture,
        carried=carried,
        rate=source_rate(source, predictor, reading) if output.suffix.lower() in MOVING else None,
        target=target,
        origin=names_of(named(source)),
    )
    shape = request.shape  # draws the first samples, which refuses frames that do not fit
    warnings = far_from_training(predictor.model, frames)
    if context is None and carried is None:
        warnings += fewer_than_trained(predictor.model, frames)
    write(request, output)
    if samples > 1 and not predictor.model.stochastic:
        warnings = [f"The model is deterministic: its {samples} samples are equal.", *warnings]
    return Written(output, shape, tuple(warnings))


def check_apart(output: Path, source: str | Path | Sequence[str]) -> None:
    """Raise `InputError` if a forecast would overwrite its own observations."""
    here = [item for item in named(source) if not is_remote(item)]
    written = output.resolve()
    for path in (found.resolve() for found in existing_paths(here)):
        if written == path or written in path.parents:
            raise InputError(
                f"{output} holds the observations. Choose another output for the forecast."
            )


def named(source: str | Path | Sequence[str]) -> Sequence[str | Path]:
    """Every file, folder or pattern of a source."""
    return [source] if isinstance(source, str | Path) else source

"""forecast: from a file of observed frames to a file of forecasts."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from statecast.checks import typed
from statecast.forecasting.inputs import read_context
from statecast.forecasting.outputs import ForecastRequest, writer_of
from statecast.forecasting.predictor import Predictor
from statecast.solvers.solvers import SolverName

QUANTILES = (0.1, 0.5, 0.9)  # written to labelled files unless others are asked for


class Written(NamedTuple):
    """A forecast that was written."""

    path: Path
    shape: tuple[int, ...]  # (sample, batch, time, channel, *space)


@typed
def forecast_file(
    predictor: Predictor,
    source: str | Path,
    output: str | Path,
    *,
    horizon: int | None = None,
    samples: int = 1,
    context: int | None = None,
    substeps: int | None = None,
    solver: SolverName | None = None,
    quantiles: Sequence[float] = QUANTILES,
    seed: int = 1,
) -> Written:
    """Forecast the frames that follow those of a file, and write them to another.

    Args:
        predictor: the trained model, as `statecast.load` returns it; `Predictor(model)` of any
            other.
        source: `.npy`, `.npz` or HDF5 array (time, channel, *space), with a leading batch axis or
            without, and without the channel axis where there is one channel; bytes are taken as
            images of 256 levels where the model's range is [0, 1]. Or a NetCDF file or Zarr store
            with the variables that the model was trained on. Or a video or a folder of images,
            whose last frames are cropped and sized as in training.
        output: `.npz` (samples, times, channels); an animation, `.gif`, `.webp` or `.mp4`; a
            picture, `.png`, `.pdf` or `.svg`; or `.nc`, `.zarr`: samples, mean, standard deviation
            and quantiles, with the coordinates of `source`, written part by part, so that memory
            does not limit the number of samples.
        horizon: frames to forecast; by default as many as in training.
        samples: futures to draw.
        context: last frames of the file to use; by default as many as in training.
        substeps: steps of the solver per frame; by default the model's own.
        solver: of the transition's differential equation; by default the model's own.
        quantiles: probabilities of the quantiles in `.nc` and `.zarr`.
        seed: of the samples.

    Errors:
        FileError: a file cannot be read or written, or has an unknown ending.
        InputError: the frames do not fit the model.
    """
    output = Path(output)
    write = writer_of(output)
    frames = read_context(source, predictor, context)
    request = ForecastRequest(
        predictor,
        frames,
        horizon=horizon,
        samples=samples,
        substeps=substeps,
        solver=solver,
        seed=seed,
        quantiles=tuple(quantiles),
    )
    write(request, output)
    return Written(output, request.shape)

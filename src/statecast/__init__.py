"""statecast: forecast videos and gridded fields with state-based neural models.

A few observed frames (the context) give a content code, which stays, and a latent state, which
moves. A transition carries the latent forward, frame by frame or in between, and a decoder turns
both into frames:

    import statecast

    model = statecast.load("digits")            # or a run folder of your own
    context = statecast.example("digits").context                # (batch, time, channel, *space)
    forecast = model.forecast(context, horizon=20, samples=50)
    forecast.mean, forecast.std, forecast.quantile(0.9), forecast.samples

Contents: `MODELS`, `DATASETS`, `METRICS` by name; `train`, `evaluate`, `forecast_file`;
`create_run`, `open_run`, and `load`, which returns a `Predictor`; `example`; `load_official`,
`import_official`, `export_official`; the records `Frames`, `Batch`, `Forecast`, `FrameSpec`,
`Latents`; `content_swap`, `interpolate` and the rest of
`latent_space`. The command `statecast --help` offers the same.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

from statecast.version import __version__

if TYPE_CHECKING:
    from statecast.data import DATASETS
    from statecast.errors import StatecastError
    from statecast.evaluation.evaluate import evaluate
    from statecast.forecasting.forecast_file import forecast_file
    from statecast.forecasting.predictor import Predictor
    from statecast.frames import Batch, Forecast, Frames, FrameSpec
    from statecast.metrics import METRICS
    from statecast.models import MODELS
    from statecast.models.base import Forecaster, Update
    from statecast.models.latent_space import content_swap, interpolate
    from statecast.models.latents import Latents
    from statecast.models.separable import Separable
    from statecast.models.srvp import SRVP
    from statecast.models.state_space import StateSpaceForecaster
    from statecast.runs.create import create_run
    from statecast.runs.load import load
    from statecast.runs.official.export_run import export_official
    from statecast.runs.official.import_run import import_official
    from statecast.runs.official.loading import load_official
    from statecast.runs.run import open_run
    from statecast.runs.trained.loading import example
    from statecast.training.options import TrainingOptions
    from statecast.training.train import train

# Where each public name comes from. Nothing is imported before it is used: torch alone takes
# longer to import than a command line may take to answer.
_HOMES = {
    "DATASETS": "data",
    "METRICS": "metrics",
    "MODELS": "models",
    "SRVP": "models.srvp",
    "Batch": "frames",
    "Forecast": "frames",
    "Forecaster": "models.base",
    "FrameSpec": "frames",
    "Frames": "frames",
    "Latents": "models.latents",
    "Predictor": "forecasting.predictor",
    "Separable": "models.separable",
    "StateSpaceForecaster": "models.state_space",
    "StatecastError": "errors",
    "create_run": "runs.create",
    "evaluate": "evaluation.evaluate",
    "example": "runs.trained.loading",
    "content_swap": "models.latent_space",
    "export_official": "runs.official.export_run",
    "forecast_file": "forecasting.forecast_file",
    "import_official": "runs.official.import_run",
    "interpolate": "models.latent_space",
    "load": "runs.load",
    "load_official": "runs.official.loading",
    "open_run": "runs.run",
    "TrainingOptions": "training.options",
    "Update": "models.base",
    "train": "training.train",
}

__all__ = [
    "DATASETS",
    "METRICS",
    "MODELS",
    "SRVP",
    "Batch",
    "Forecast",
    "Forecaster",
    "FrameSpec",
    "Frames",
    "Latents",
    "Predictor",
    "Separable",
    "StateSpaceForecaster",
    "StatecastError",
    "TrainingOptions",
    "Update",
    "__version__",
    "content_swap",
    "create_run",
    "evaluate",
    "example",
    "export_official",
    "forecast_file",
    "import_official",
    "interpolate",
    "load",
    "load_official",
    "open_run",
    "train",
]


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module 'statecast' has no attribute {name!r}")
    return getattr(import_module(f"statecast.{_HOMES[name]}"), name)


def __dir__() -> list[str]:
    return __all__

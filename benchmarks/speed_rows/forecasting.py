"""Forecasts, their scores, and best of N: models of published configurations, random weights."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any, NamedTuple

import torch
from plain import scores, separable, srvp
from plain.descent import own_copy
from torch import Tensor, nn

from speed_rows.base import SEED, Case, Settings, model_of, relative
from speed_rows.training import separable_options
from statecast.data.base import Windows, seeded_generator, window_generators
from statecast.evaluation.scoring import score_windows
from statecast.frames import Batch, Forecast
from statecast.models.base import Forecaster
from statecast.models.separable import Separable
from statecast.models.srvp import SRVP
from statecast.nn.random import standard_normal
from statecast.runs.recipes.resolve import read_recipe
from statecast.training.precision import autocast

SCORED = ("psnr", "ssim")
# Samples for best of N: as published on a GPU, fewer on a processor, where a row takes a minute.
SAMPLES = {"cpu": 10, "cuda": 100}
FRAMES = {"cpu": 10, "cuda": None}
WINDOWS = {"cpu": 1, "cuda": 4}
OTHER_WINDOWS = {"cpu": 4, "cuda": 128}  # of models that are not stochastic


class Setting(NamedTuple):
    """A model, what it forecasts, and how many futures."""

    model: Forecaster
    batch: Batch  # on the CPU
    samples: int

    @property
    def horizon(self) -> int:
        """Frames forecast."""
        return len(self.batch.target)

    @property
    def device(self) -> torch.device:
        """Where the model is."""
        return next(self.model.parameters()).device

    def forecast(self, precision: str) -> Forecast:
        """Our forecast, whose frames are float32 whatever they were computed at."""
        streams = window_generators(torch.arange(len(self.batch)), SEED)
        with autocast(precision, self.device):
            found = self.model.forecast(
                self.batch.context, self.horizon, samples=self.samples, generator=streams
            )
        return replace(found, samples=found.samples.float())


class Fixed(Windows):
    """The windows of one batch."""

    def __init__(self, content: Batch) -> None:
        self.content = content

    def __len__(self) -> int:
        return len(self.content)

    def batch(self, indices: Tensor) -> Batch:
        first, last = int(indices[0]), int(indices[-1])
        return self.content.select(slice(first, last + 1))

    @property
    def digest(self) -> str:
        return "fixed"


class Scored(nn.Module):
    """A stand-in for a model in `score_windows`, with forecasts that are made another way."""

    stochastic = True

    def __init__(self, model: Forecaster, make: Callable[[], Forecast]) -> None:
        super().__init__()
        self.spec, self.make = model.spec, make
        self.register_buffer("place", torch.zeros((), device=next(model.parameters()).device))

    def forecast_windows(
        self,
        numbers: Tensor,
        batch: Batch,
        *,
        samples: int,
        substeps: int | None,
        solver: str | None,
        generator: torch.Generator,
    ) -> Forecast:
        """The forecast of all windows, which are asked for at once."""
        return self.make()


def setting_of(
    recipe: str, settings: Settings, *, samples: int, frames: int, windows: int
) -> Setting:
    """The model of a recipe with weights as of a trained one, and random windows."""
    model = lively(model_of(recipe, settings)).eval()
    spec = model.spec
    values = torch.rand(
        windows, spec.context + frames, *spec.frame_shape, generator=seeded_generator(2)
    )
    return Setting(model, Batch.of(values, spec.context, channels=spec.channels), samples)


def lively(model: Forecaster) -> Forecaster:
    """Weights that keep the size of what passes a codec or a layer, statistics not 0 and 1.

    So frames move with the latent, as those of a trained model do.
    """
    generator, kinds = seeded_generator(3), nn.Conv2d | nn.ConvTranspose2d
    with torch.no_grad():
        for name, layer in model.named_modules():
            if isinstance(layer, kinds):
                draw(layer.weight, 0.0, (9 * layer.in_channels) ** -0.5, generator)
            elif isinstance(layer, nn.Linear) and ("coder" in name or is_faint(layer)):
                draw(layer.weight, 0.0, (2 / layer.in_features) ** 0.5, generator)
        for name, values in model.named_buffers():
            if name.endswith("running_var"):
                draw(values, 1.0, 0.1, generator)
            elif name.endswith("running_mean"):
                draw(values, 0.0, 0.1, generator)
    return model


def is_faint(layer: nn.Linear) -> bool:
    """Whether hardly anything passes a layer with its initial weights."""
    return float(layer.weight.std()) < 0.25 * layer.in_features**-0.5


def draw(values: Tensor, mean: float, std: float, generator: torch.Generator) -> None:
    """Normal values, the same on every device."""
    values.copy_(mean + std * torch.randn(values.shape, generator=generator))


def noise_of(setting: Setting) -> srvp.Noise:
    """The values that our forecast draws, in its order."""
    model, windows = setting.model, len(setting.batch)
    assert isinstance(model, SRVP)
    assert model.posterior is not None
    latent, noise = model.initial[-1].out_features // 2, model.posterior.out_features // 2
    streams, like = window_generators(torch.arange(windows), SEED), next(model.parameters())

    def normal(*shape: int) -> Tensor:
        return standard_normal((setting.samples, windows, *shape), like, streams)

    initial, observed = normal(latent), normal(len(setting.batch.context) - 1, noise)
    future = [normal(noise) for _ in range(setting.horizon)]
    return srvp.Noise(initial, observed, torch.stack(future, dim=2))


def plain_forecast(setting: Setting) -> Any:
    """A call that gives the samples (sample, batch, time, channel, *space) of plain code."""
    model, context = setting.model, setting.batch.context.values
    weights = own_copy(model.state_dict())
    if isinstance(model, SRVP):
        noise = noise_of(setting)
        options = srvp.Options(model.skips, model.inference_frames, model.substeps)
        return lambda: srvp.forecast(weights, context.to(setting.device), noise, options)
    assert isinstance(model, Separable)
    own, horizon = separable_options(model), setting.horizon
    return lambda: separable.forecast(weights, context.to(setting.device), horizon, own)[None]


def forecast(recipe: str, settings: Settings) -> Case:
    """Futures of a few windows."""
    return case_of(many(recipe, settings), settings)


def latency(recipe: str, settings: Settings) -> Case:
    """One future of one window, as long as in the paper's tests."""
    frames = settings.frames or test_horizon(recipe)
    return case_of(setting_of(recipe, settings, samples=1, frames=frames, windows=1), settings)


def case_of(setting: Setting, settings: Settings) -> Case:
    """Our forecast and the plain one."""
    return Case(
        ours=lambda: setting.forecast(settings.precision),
        plain=plain_forecast(setting),
        sizes=sizes_of(setting),
        difference=lambda ours, plain: float((ours.samples - plain).abs().max()),
        precision=settings.precision,
    )


def best_of_n(recipe: str, settings: Settings) -> Case:
    """Futures of windows and the PSNR and SSIM of the best of them."""
    setting = many(recipe, settings)
    made = plain_forecast(setting)
    target = setting.batch.target.values.to(settings.device)
    model = Scored(setting.model, lambda: setting.forecast(settings.precision))
    return Case(
        ours=lambda: scores_of(model, setting),
        plain=lambda: scores.best_of_n(made(), target),
        sizes=sizes_of(setting),
        difference=furthest,
        precision=settings.precision,
    )


def scoring(recipe: str, settings: Settings) -> Case:
    """PSNR and SSIM of the best of the futures that there are already."""
    setting = many(recipe, settings)
    found = setting.forecast("float32")
    target = setting.batch.target.values.to(settings.device)
    return Case(
        ours=lambda: scores_of(Scored(setting.model, lambda: found), setting),
        plain=lambda: scores.best_of_n(found.samples, target),
        sizes=sizes_of(setting),
        difference=furthest,
    )


def scores_of(model: Any, setting: Setting) -> dict[str, float]:
    """The best sample of each window by our metrics."""
    count = len(setting.batch)
    found = score_windows(
        model, Fixed(setting.batch), metrics=SCORED, samples=setting.samples, batch_size=count,
        max_memory_gib=64.0, seed=SEED,
    )  # fmt: skip
    return {name: found.of(name, "best").value for name in SCORED}


def furthest(ours: dict[str, float], plain: dict[str, float]) -> float:
    """The largest relative difference of scores."""
    return max(relative(ours[name], plain[name]) for name in plain)


def many(recipe: str, settings: Settings) -> Setting:
    """Sizes of best of N: those of the paper's tests on a GPU, smaller elsewhere."""
    place = "cuda" if settings.on_gpu else "cpu"
    stochastic = read_recipe(recipe)["evaluate"]["samples"] > 1
    return setting_of(
        recipe,
        settings,
        samples=(settings.samples or SAMPLES[place]) if stochastic else 1,
        frames=settings.frames or (FRAMES[place] if stochastic else None) or test_horizon(recipe),
        windows=settings.windows or (WINDOWS if stochastic else OTHER_WINDOWS)[place],
    )


def test_horizon(recipe: str) -> int:
    """Frames forecast in the paper's tests."""
    horizon: int = read_recipe(recipe)["data"]["test_horizon"]
    return horizon


def sizes_of(setting: Setting) -> str:
    """Sizes for people."""
    return f"{setting.samples} × {setting.horizon} frames, {len(setting.batch)} window(s)"

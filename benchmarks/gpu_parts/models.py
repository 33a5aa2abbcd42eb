"""Parts of `gpu.py` about one process: parity, steps, best of 100, memory, compiling."""

from __future__ import annotations

import statistics
import time
from dataclasses import replace
from functools import partial
from typing import NamedTuple

import torch
from measuring.footprint import added_by
from measuring.peaks import operations
from measuring.table import amount, share
from speed_rows.base import SEED, Settings
from speed_rows.forecasting import (
    Scored,
    Setting,
    scores_of,
    setting_of,
    sizes_of,
    test_horizon,
)

from gpu_parts import recipes
from gpu_parts.recipes import Run
from gpu_parts.table import Table
from statecast.data.base import window_generators
from statecast.frames import Batch
from statecast.training.loop import Trainer
from statecast.training.precision import autocast, has_bf16

SECONDS = 2.0  # of the timed steps of a recipe
WARM, STEPS = 2, 20  # steps before the clock runs, and at most while it does
TOLERANCES = {"float32": 2e-3, "bf16": 5e-2}  # of losses and gradients, relative
BEST = ("srvp-digits-stochastic", "srvp-kth")
FLAT = ("srvp-kth", "svg-kth", "phydnet-digits", "predrnn-digits", "sv2p-kth", "savp-kth")
COMPILED = ("srvp-kth", "srvp-digits-stochastic", "separable-digits")
HORIZONS = (20, 200)


class Found(NamedTuple):
    """Loss and norm of the gradient."""

    loss: float
    norm: float


def parity(run: Run) -> Table:
    """Losses and gradients of small models against those of the processor at float32."""
    table = Table(("recipe", "precision", "loss off by", "gradient off by", "agrees"))
    processor = Settings(device=torch.device("cpu"))
    for name in run.each(recipes.small(), table.left_out):
        expected = differentiated(name, processor)
        for precision, tolerance in TOLERANCES.items():
            if precision == "bf16" and not has_bf16(run.settings.device):
                continue  # such processors do not have every layer in it
            found = differentiated(name, replace(run.settings, precision=precision))
            off = [abs(a - b) / abs(b) for a, b in zip(found, expected, strict=True)]
            verdict = "yes" if max(off) < tolerance else "**no**"
            table.rows.append((name, precision, *(f"{each:.1e}" for each in off), verdict))
    return table


def differentiated(recipe: str, settings: Settings) -> Found:
    """The first step of a recipe, its last update."""
    trainer, batch = recipes.trainer_for(recipe, settings, batch=4)
    values = trainer.training_step(batch)
    loss = next(value for name, value in values.items() if name.endswith("total"))
    norm = next(value for name, value in values.items() if name.endswith("gradient_norm"))
    return Found(loss, norm)


def steps(run: Run) -> Table:
    """Training steps of published recipes, at their batch or the largest half that fits."""
    table = Table(("recipe", "batch", "frames", "step", "of peak", "memory"))
    for name in run.each(recipes.published(), table.left_out):
        trainer, batch, held = warmed(name, run)
        counted, _ = operations(lambda step=trainer, data=batch: step.training_step(data))
        seconds = step_seconds(run, trainer, batch)
        windows = f"{len(batch)} of {trainer.options.batch_size}"
        frames = str(batch.values.shape[1])
        reached = share(counted / seconds, run.peak)
        table.rows.append((name, windows, frames, amount(seconds, "s"), reached, amount(held, "B")))
        del trainer, batch
    return table


def warmed(recipe: str, run: Run) -> tuple[Trainer, Batch, int]:
    """A trainer whose first steps are done, and what they added to memory at most."""
    held = 0

    def work(trainer: Trainer, batch: Batch) -> None:
        nonlocal held
        calls = 1 if run.quick else WARM
        held = added_by(lambda: trainer.training_step(batch), run.settings.device, calls=calls)

    trainer, batch = recipes.fitting(recipe, run.settings, work)
    return trainer, batch, held


def step_seconds(run: Run, trainer: Trainer, batch: Batch) -> float:
    """Median of a few steps."""
    found: list[float] = []
    while len(found) < (1 if run.quick else STEPS) and sum(found) < SECONDS:
        found.append(run.clock.seconds(lambda: trainer.training_step(batch)))
    return statistics.median(found)


def best_of_100(run: Run) -> Table:
    """Futures of a window, and PSNR and SSIM of the best of them."""
    table = Table(("recipe", "sizes", "time", "memory"))
    samples, frames = (2, 2) if run.quick else (100, None)
    for name in run.each(list(BEST), table.left_out):
        setting = setting_of(
            name, run.settings, samples=samples, frames=frames or test_horizon(name), windows=1
        )
        model = Scored(setting.model, lambda one=setting: one.forecast(run.settings.precision))
        call = partial(scores_of, model, setting)
        held = added_by(call, run.settings.device, calls=1)
        seconds = run.clock.seconds(call)
        sizes = sizes_of(setting)
        table.rows.append((name, sizes, amount(seconds, "s"), amount(held, "B")))
    return table


def memory(run: Run) -> Table:
    """Memory that a forecast of a window adds to that of the frames returned."""
    horizons = tuple(each // 10 for each in HORIZONS) if run.quick else HORIZONS
    table = Table(("recipe", *(f"{each} frames" for each in horizons), "grows"))
    for name in run.each(list(FLAT), table.left_out):
        setting = setting_of(name, run.settings, samples=1, frames=horizons[-1], windows=1)
        held = []
        for horizon in horizons:
            returned = horizon * setting.batch.target.values[:, 0].nbytes
            call = partial(forecast, setting, horizon, run.settings.precision)
            held.append(added_by(call, run.settings.device, calls=1) - returned)
        grows = f"{held[-1] / max(held[0], 1):.2f} times"
        table.rows.append((name, *(amount(max(each, 0), "B") for each in held), grows))
    return table


def forecast(setting: Setting, horizon: int, precision: str) -> None:
    """A forecast of one future."""
    streams = window_generators(torch.arange(len(setting.batch)), SEED)
    with autocast(precision, setting.device):
        setting.model.forecast(setting.batch.context, horizon, generator=streams)


def compiled(run: Run) -> Table:
    """Training steps without and with `train.compile`."""
    table = Table(("recipe", "step", "compiled", "gain", "first step"))
    for name in run.each(list(COMPILED), table.left_out):
        seconds, first = [], 0.0
        for both in (False, True):
            trainer, batch = recipes.trainer_for(name, run.settings, compiled=both)
            started = time.perf_counter()
            trainer.training_step(batch)
            first = time.perf_counter() - started
            seconds.append(step_seconds(run, trainer, batch))
        gain = f"{seconds[0] / seconds[1]:.2f}"
        table.rows.append(
            (name, *(amount(each, "s") for each in seconds), gain, amount(first, "s"))
        )
    return table

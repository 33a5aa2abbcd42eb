"""Training steps of published configurations: forward, backward, Adam."""

from __future__ import annotations

from collections.abc import Callable

import torch
from measuring.trainer import trainer_of
from plain import separable, srvp_training
from plain.descent import Descent, own_copy
from plain.layers import Weights
from torch import Tensor

from speed_rows.base import SEED, Case, Settings, model_of, relative
from statecast.data.base import seeded_generator
from statecast.frames import Batch
from statecast.models.base import Forecaster
from statecast.models.separable import Separable
from statecast.models.srvp import SRVP
from statecast.nn.random import standard_normal, uniform
from statecast.runs.recipes.resolve import read_recipe
from statecast.training.loop import NOISE

ON_CPU = {  # windows of a step, so that a table takes minutes
    "srvp-digits-stochastic": 8,
    "srvp-kth": 1,
    "separable-wave-100": 128,
    "separable-wave": 32,
    "separable-digits": 8,
}


def build(recipe: str, settings: Settings) -> Case:
    """A step of our trainer and a plain one, on the same weights, frames and random numbers."""
    train = read_recipe(recipe)["train"]
    size = settings.batch or (train["batch_size"] if settings.on_gpu else ON_CPU[recipe])
    model = model_of(recipe, settings)
    spec = model.spec
    values = torch.rand(size, spec.length, *spec.frame_shape, generator=seeded_generator(1))
    batch = Batch.of(values, spec.context, channels=spec.channels)
    rate, betas = train["learning_rate"], tuple(train.get("adam_betas", (0.9, 0.999)))
    descent = Descent(
        own_copy(model.state_dict()), [name for name, _ in model.named_parameters()], rate=rate,
        betas=betas,
    )  # fmt: skip
    loss = plain_loss(model, size)
    trainer = trainer_of(
        model, learning_rate=rate, adam_betas=betas, seed=SEED, precision=settings.precision,
        device=str(settings.device),
    )  # fmt: skip
    return Case(
        ours=lambda: trainer.training_step(batch)["total"],
        plain=lambda: descent.step(lambda weights: loss(weights, values.to(settings.device))),
        sizes=f"batch {size} of {train['batch_size']}, {spec.length} frames",
        difference=relative,
        precision=settings.precision,
    )


def plain_loss(model: Forecaster, batch: int) -> Callable[[Weights, Tensor], Tensor]:
    """The plain loss of a model, with the random numbers of its first training step."""
    generator = seeded_generator(SEED, NOISE, 0)
    if isinstance(model, SRVP):
        draws, options = srvp_draws(model, batch, generator), srvp_options(model)
        return lambda weights, frames: srvp_training.loss(weights, frames, draws, options)
    assert isinstance(model, Separable)
    windows = model.alignment_windows(model.spec.length)
    window = int(torch.randint(windows, (), generator=generator))
    own = separable_options(model)
    return lambda weights, frames: separable.loss(weights, frames, window, own)


def srvp_draws(model: SRVP, batch: int, generator: torch.Generator) -> srvp_training.Draws:
    """The values that our loss draws, in its order."""
    assert model.posterior is not None
    length, device = model.spec.length, next(model.parameters()).device
    latent, noise = model.initial[-1].out_features // 2, model.posterior.out_features // 2
    like = torch.empty(())
    initial = standard_normal((1, batch, latent), like, generator)[0]
    observed = standard_normal((1, batch, length - 1, noise), like, generator)[0]
    order = uniform((batch, length), like, generator).argsort(dim=1)
    skip = (uniform((batch,), like, generator) * length).long() if model.skips else None
    return srvp_training.Draws(
        initial.to(device),
        observed.to(device),
        order[:, : model.inference_frames].to(device),
        None if skip is None else skip.to(device),
    )


def srvp_options(model: SRVP) -> srvp_training.Options:
    """Options of a plain loss of SRVP besides the weights."""
    return srvp_training.Options(
        model.inference_frames,
        model.substeps,
        model.observation_std,
        model.kl_initial_weight,
        model.kl_noise_weight,
        model.step_norm_weight,
    )


def separable_options(model: Separable) -> separable.Options:
    """Options of plain code of Separable besides the weights."""
    return separable.Options(
        model.spec.context,
        model.decoder.mixing == "product",
        model.forecast_weight,
        model.alignment_weight,
        model.invariance_weight,
        model.prior_weight,
    )

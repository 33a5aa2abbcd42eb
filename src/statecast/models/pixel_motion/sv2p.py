"""SV2P: stochastic variational video prediction, CDNA with a latent per sequence or step."""

from __future__ import annotations

from typing import Literal, NamedTuple

import torch
from jaxtyping import Bool, Float
from torch import Tensor, nn
from torch.nn import functional

from statecast.errors import InputError
from statecast.frames import Batch, FrameSpec
from statecast.models.action_conditioning import STATE_WEIGHT, state_error
from statecast.models.base import Losses, known_mean
from statecast.models.pixel_motion.cdna import WIDTHS
from statecast.models.pixel_motion.cell import REDUCTION, CellOptions, layer_norm
from statecast.models.pixel_motion.forecaster import PixelMotion
from statecast.models.scheduled_sampling import linear_rise
from statecast.nn.codecs.base import Output
from statecast.nn.gaussian import DiagonalGaussian, widened
from statecast.nn.noise import Noise
from statecast.nn.normaliser import Normalisation, Normaliser
from statecast.nn.pixel_motion import Motion
from statecast.nn.same_padding import SameConv2d

TimeScale = Literal["sequence", "step"]
LOG_VARIANCE = -5.0  # smallest log-variance of the posterior, as published


class LatentTower(nn.Module):
    """The posterior of the latent, given all frames of a training window.

    Args:
        inputs: total channels of all frames.
        widths: channels of the three convolutions.
        latent_channels: channels of the latent.
    """

    def __init__(self, inputs: int, widths: tuple[int, int, int], latent_channels: int) -> None:
        super().__init__()
        one, two, three = widths
        sizes = ((inputs, one, 2), (one, two, 2), (two, three, 1))
        self.convolutions = nn.ModuleList(
            SameConv2d(before, after, 3, stride=stride, bias=False)
            for before, after, stride in sizes
        )
        self.norms = nn.ModuleList(layer_norm(width) for width in widths)
        self.mean = SameConv2d(three, latent_channels, 3, stride=2, bias=False)
        self.mean_norm = layer_norm(latent_channels)
        self.log_variance = SameConv2d(three, latent_channels, 3, stride=2, bias=False)
        self.log_variance_norm = layer_norm(latent_channels)

    def forward(self, frames: Float[Tensor, "batch time channel y x"]) -> DiagonalGaussian:
        """The distribution of the latent, (batch, y, x, latent)."""
        maps = frames.flatten(1, 2)
        for convolution, norm in zip(self.convolutions, self.norms, strict=True):
            maps = functional.relu(norm(convolution(maps)))
        mean = widened(self.mean_norm(self.mean(maps)))
        raised = functional.relu(widened(self.log_variance_norm(self.log_variance(maps))))
        std = torch.exp(0.5 * (raised + LOG_VARIANCE))
        return DiagonalGaussian(mean.movedim(1, -1), std.movedim(1, -1))


class Stage(NamedTuple):
    """A stage of training, which determines the loss."""

    posterior: bool  # whether latents come from the posterior instead of N(0, I)
    kl_weight: float


class SV2P(PixelMotion):
    r"""Stochastic variational video prediction (Babaeizadeh et al., 2018).

    $$z \sim N(0, I), \qquad \hat x_{t+1} = f(x_{1:t}, z), \qquad
    q(z | x_{1:T}) = N(\mu_\phi, \sigma_\phi^2)$$

    The cell is that of `CDNA`; the latent is a map with an eighth of the frame's sides, beside the
    smallest maps. Forecasts are samples, and feed frames back. Training has three stages: noise in
    place of latents; latents from the posterior; then also the divergence in the loss. If the data
    have actions, the cell sees them as in `CDNA`.

    Reference: https://arxiv.org/abs/1710.11252.

    `published` follows the published code in two ways. One more kernel is computed but not used.
    True frames are chosen by count, see `draw_true_counts`.

    Args:
        spec: shape, channels and units of the frames; the sides must be divisible by 8.
        latent: whether z is drawn once per `sequence`, or again at each `step`.
        latent_channels: channels of z.
        tower_widths: channels of the posterior's three convolutions.
        kl_weight: final weight of the divergence.
        posterior_start: step from which latents come from the posterior.
        kl_start: step from which the weight of the divergence rises.
        kl_end: step from which it has its final value.
        motion: `cdna` (kernels of the whole frame), `dna` (a kernel for each pixel) or `stp`
            (affine maps).
        transformations: number of kernels or affine maps; `dna` has one.
        kernel_size: odd side of the kernels.
        width: channels of the first convolution.
        lstm_widths: channels of the seven convolutional LSTMs.
        sampling_decay: decay k of scheduled sampling, in steps, see `inverse_sigmoid_sampling`.
        agent_state_weight: weight of the squared error of predicted states of an agent.
        published: whether to follow the published code, see above.
        output: function of the frame from scratch: `sigmoid` for frames in [0, 1], `identity` for
            unbounded ones; by default, the one that fits the normalised data.
        normalise: `auto`, `none`, `range` or `standard`, see `Normaliser`.
        generator: source of the initial weights.
    """

    stochastic = True

    def __init__(
        self,
        spec: FrameSpec,
        *,
        latent: TimeScale = "sequence",
        latent_channels: int = 1,
        tower_widths: tuple[int, int, int] = (32, 64, 64),
        kl_weight: float = 0.001,
        posterior_start: int = 50_000,
        kl_start: int = 100_000,
        kl_end: int = 120_000,
        motion: Motion = "cdna",
        transformations: int = 9,
        kernel_size: int = 5,
        width: int = 32,
        lstm_widths: tuple[int, ...] = WIDTHS,
        sampling_decay: float = 900.0,
        agent_state_weight: float = STATE_WEIGHT,
        published: bool = False,
        output: Output | None = None,
        normalise: Normalisation = "auto",
        generator: torch.Generator | None = None,
    ) -> None:
        options = CellOptions(
            motion=motion,
            transformations=transformations,
            kernel_size=kernel_size,
            width=width,
            lstm_widths=lstm_widths,
            latent_channels=latent_channels,
            condition_size=spec.actions + spec.agent_states,
            rectified=False,
            spare_kernel=published,
            output=output or Normaliser(spec, normalise).fitting_output,
        )
        super().__init__(
            spec,
            options=options,
            sampling_decay=sampling_decay,
            published=published,
            normalise=normalise,
        )
        if not 0 <= posterior_start <= kl_start <= kl_end:
            raise InputError(
                "Stages must follow each other: 0 ≤ posterior_start ≤ kl_start ≤ kl_end, got "
                f"{posterior_start}, {kl_start} and {kl_end}."
            )
        self.agent_state_weight = agent_state_weight
        self.per_step = latent == "step"
        self.latent_channels, self.kl_weight = latent_channels, kl_weight
        self.posterior_start, self.kl_start, self.kl_end = posterior_start, kl_start, kl_end
        height, width_ = spec.space
        self.latent_shape = (latent_channels, height // REDUCTION, width_ // REDUCTION)
        inputs = spec.length * len(spec.channels)
        self.tower = LatentTower(inputs, tower_widths, latent_channels)
        self.initialise(generator)

    # Forecasting

    def draw_sequence_latent(self, like: Tensor, noise: Noise) -> Tensor | None:
        return None if self.per_step else noise.draw(*self.latent_shape, like=widened(like))

    def draw_latent(self, like: Tensor, noise: Noise) -> Tensor | None:
        return noise.draw(*self.latent_shape, like=widened(like))

    # Training

    def stage_at(self, step: int) -> Stage:
        """The stage of a step, counted from 0."""
        rise = linear_rise(step, start=self.kl_start, end=self.kl_end)
        return Stage(step >= self.posterior_start, rise * self.kl_weight)

    def loss(
        self, batch: Batch, *, step: int = 0, generator: torch.Generator | None = None
    ) -> Losses:
        r"""Mean squared error of all frames but the first, and the divergence.

        $$\overline{(\hat x_t - x_t)^2} + w\, \overline{KL(q(z | x_{1:T}) \| N(0, I))}
        + w_s\, \overline{(\hat s_t - s_t)^2}$$

        The divergence is summed over channels of z, and averaged over its points and the batch.
        The schedule draws true frames; the weight w depends on the step. The last term applies to
        data with states of an agent.
        """
        length, shape = batch.values.shape[1], self.latent_shape
        true_frames = self.draw_true_frames(
            step, len(batch), len(batch.target), len(batch.context), generator
        )
        count = length - 1 if self.per_step else 1
        noise = Noise(1, len(batch), generator).draw(count, *shape, like=batch.context.values)
        return self.loss_given(batch, true_frames, noise, self.stage_at(step))

    def loss_given(
        self,
        batch: Batch,
        true_frames: Bool[Tensor, "batch input"],
        noise: Float[Tensor, "batch count latent y x"],
        stage: Stage,
    ) -> Losses:
        """The loss with these true frames as inputs, and this noise, for each step or for all.

        Errors:
            InputError: the windows differ in length from those that the model was built for.
        """
        frames = self.inputs(batch)
        conditions = self.conditions(batch, self.states_seen(batch))
        seen = None if conditions is None else conditions.seen
        predicted, posterior = self.infer(frames, true_frames.to(frames.device), noise, stage, seen)
        mask = None if batch.mask is None else batch.mask[:, 1:]
        terms = {
            "reconstruction": known_mean((predicted - frames[:, 1:]).square(), mask),
            "divergence": posterior.divergence_from_standard().mean(),
        }
        states = state_error(conditions, batch)
        total = terms["reconstruction"] + stage.kl_weight * terms["divergence"]
        total = total + self.agent_state_weight * sum(states.values())
        return {"total": total, **terms, **states}

    def infer(
        self,
        frames: Float[Tensor, "batch time channel y x"],
        true_frames: Bool[Tensor, "batch input"],
        noise: Float[Tensor, "batch count latent y x"],
        stage: Stage,
        conditions: Float[Tensor, "batch step condition"] | None = None,
    ) -> tuple[Float[Tensor, "batch predicted channel y x"], DiagonalGaussian]:
        """Predictions of all frames but the first, and the posterior of the latent."""
        length = frames.shape[1]
        if length != self.spec.length:
            raise InputError(
                "The posterior of SV2P needs windows of context and horizon together, "
                f"{self.spec.length} frames, got {length}."
            )
        posterior = self.tower(frames)
        latents = noise
        if stage.posterior:
            # The posterior sees the whole window, so it is the same at every step.
            mean, std = (part.movedim(-1, 1).unsqueeze(1) for part in posterior)
            latents = mean + std * noise
        latents = latents.expand(-1, length - 1, -1, -1, -1)
        return self.predict_window(frames, true_frames, latents, conditions), posterior

"""SAVP: stochastic adversarial video prediction."""

from __future__ import annotations

from typing import NamedTuple

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn

from statecast.errors import InputError
from statecast.frames import Batch, FrameSpec
from statecast.models.action_conditioning import (
    STATE_WEIGHT,
    ActionFeedback,
    Conditions,
    state_error,
)
from statecast.models.base import Losses, Update, known_mean
from statecast.models.savp.cell import LatentLSTM, SAVPCell, SAVPState
from statecast.models.savp.discriminator import (
    Judgement,
    SpectralWeight,
    VideoDiscriminator,
    feature_distance,
)
from statecast.models.savp.encoder import PairEncoder
from statecast.models.scheduled_sampling import (
    TrueFrames,
    draw_true_frames,
    inverse_sigmoid_sampling,
    linear_rise,
)
from statecast.nn.codecs.base import Output
from statecast.nn.gaussian import DiagonalGaussian, widened
from statecast.nn.noise import Noise
from statecast.nn.normaliser import Normalisation
from statecast.nn.random import standard_normal, uniform
from statecast.nn.same_padding import initialise_xavier

WEIGHT_STD = 0.02  # standard deviation of the initial weights, as published
LEAST_TRUE = 0.001  # probability below which no input is a true frame, as published
CALLS = 4  # calls of discriminators: posterior real, posterior fake, prior real, prior fake


class Draws(NamedTuple):
    """Random draws for one update of a training step."""

    posterior: Float[Tensor, "batch transition noise"]  # standard normal
    prior: Float[Tensor, "batch transition noise"]  # standard normal
    true_frames: tuple[Bool[Tensor, "batch input"], ...]  # for the pass of each
    starts: Int[Tensor, "batch call"]  # first frame of the clip of each call of a discriminator


class Generated(NamedTuple):
    """Generated frames x₂ … x_T of a training window."""

    posterior: Float[Tensor, "batch transition channel y x"]  # from latents that have seen them
    prior: Float[Tensor, "batch transition channel y x"]  # from latents that have not
    distribution: DiagonalGaussian | None  # of the posterior's latents; None without latents
    conditions: Conditions | None = None  # of the posterior's frames


class SAVP(ActionFeedback[SAVPState]):
    r"""Stochastic adversarial video prediction (Lee et al., 2018).

    $$z_t \sim N(0, I), \qquad \hat x_{t+1} = G(x_{1:t}, z_{1:t}), \qquad
    q(z_t | x_t, x_{t+1}) = N(\mu_\phi, \sigma_\phi^2)$$

    G moves pixels, see `SAVPCell`. Training generates each window twice, with latents from the
    posterior and from the prior. The first must be close to the window, and two discriminators
    learn to tell both from real clips. Each step updates the discriminators, then the generator.
    Forecasts are samples, feed frames back, and use latents from the posterior between observed
    frames.

    Reference: https://arxiv.org/abs/1804.01523.

    If the data have actions, each convolution sees the action and the agent's state beside the
    latent, and the posterior sees actions; see `AgentDynamics`. No gradient of frames reaches the
    states.

    A discriminator exists only if its weight or that of its features is not 0; without
    discriminators, this is a VAE. With a `noise_size` of 0 there is no latent.

    Args:
        spec: shape, channels and units of the frames. If the shorter side is below 64, sides must
            be divisible by 4; below 128 by 8, below 256 by 16, else by 32.
        width: channels of the generator's largest maps.
        encoder_width: channels of the posterior's first convolution.
        discriminator_width: channels of the discriminators' first convolutions.
        noise_size: size of z; 0 for a deterministic model.
        transformations: number of kernels that move pixels.
        kernel_size: odd side of the kernels.
        l1_weight: weight of absolute errors.
        l2_weight: weight of squared errors.
        kl_weight: final weight of the divergence.
        kl_start: step from which the weight of the divergence rises.
        kl_end: step from which it has its final value.
        gan_weight: weight of the discriminator of frames from the prior.
        vae_gan_weight: weight of the discriminator of frames from the posterior.
        gan_feature_weight: weight of the feature distance in the former discriminator.
        vae_gan_feature_weight: weight of the feature distance in the latter.
        agent_state_weight: weight of the squared error of predicted states of an agent.
        clip_length: frames that discriminators see; at most all but the first.
        sampling_decay: decay k of scheduled sampling, in steps, see `inverse_sigmoid_sampling`.
        norm_epsilon: constant added to the variance by instance normalisation. Unlike the published
            code, the published weights were trained with 1.001e-5.
        output: function of the image from scratch: `sigmoid` for frames in [0, 1], `identity` for
            unbounded ones; by default, the one that fits the normalised data.
        normalise: `auto`, `none`, `range` or `standard`, see `Normaliser`.
        generator: source of the initial weights.
    """

    stochastic = True
    channels_last = False  # instance normalisation of such maps is slow on CPUs

    def __init__(
        self,
        spec: FrameSpec,
        *,
        width: int = 32,
        encoder_width: int = 64,
        discriminator_width: int = 32,
        noise_size: int = 8,
        transformations: int = 4,
        kernel_size: int = 5,
        l1_weight: float = 100.0,
        l2_weight: float = 0.0,
        kl_weight: float = 1.0,
        kl_start: int = 50_000,
        kl_end: int = 100_000,
        gan_weight: float = 0.1,
        vae_gan_weight: float = 0.1,
        gan_feature_weight: float = 0.0,
        vae_gan_feature_weight: float = 10.0,
        agent_state_weight: float = STATE_WEIGHT,
        clip_length: int = 10,
        sampling_decay: float = 900.0,
        norm_epsilon: float = 1e-6,
        output: Output | None = None,
        normalise: Normalisation = "auto",
        generator: torch.Generator | None = None,
    ) -> None:
        super().__init__(spec, normalise=normalise)
        if noise_size < 0 or transformations < 1 or kernel_size % 2 == 0 or sampling_decay <= 0:
            raise InputError(
                "SAVP needs a noise_size of at least 0, at least 1 transformation, an odd "
                f"kernel_size and a positive sampling_decay, got {noise_size}, {transformations}, "
                f"{kernel_size} and {sampling_decay}."
            )
        if not 0 <= kl_start <= kl_end:
            raise InputError(
                f"kl_start must be at least 0 and kl_end no smaller, got {kl_start} and {kl_end}."
            )
        self.stochastic = noise_size > 0
        self.noise_size, self.sampling_decay = noise_size, sampling_decay
        self.kl_weight, self.kl_start, self.kl_end = kl_weight, kl_start, kl_end
        self.weights = {
            "l1": l1_weight,
            "l2": l2_weight,
            "gan": gan_weight,
            "vae_gan": vae_gan_weight,
            "gan_features": gan_feature_weight,
            "vae_gan_features": vae_gan_feature_weight,
            "agent_states": agent_state_weight,
        }
        self.clip_length = min(clip_length, spec.length - 1)
        self.cell = SAVPCell(
            spec.frame_shape,
            width=width,
            noise_size=noise_size,
            condition_size=spec.actions + spec.agent_states,
            transformations=transformations,
            kernel_size=kernel_size,
            output=output or self.normaliser.fitting_output,
            epsilon=norm_epsilon,
        )
        channels = len(spec.channels)
        self.encoder = None
        if noise_size:
            self.encoder = PairEncoder(
                channels, spec.actions, encoder_width, noise_size, norm_epsilon
            )
        self.dynamics = self.dynamics_of(spec, held=True)
        self.discriminators = nn.ModuleDict(
            {
                name: VideoDiscriminator(spec.frame_shape, self.clip_length, discriminator_width)
                for name in ("vae_gan", "gan")
                if self.weights[name] or self.weights[f"{name}_features"]
            }
        )
        self.initialise(generator)

    def initialise(self, generator: torch.Generator | None) -> None:
        """Draw weights from N(0, 0.02²), truncated at two standard deviations, as published."""
        for layer in self.modules():
            if isinstance(layer, nn.Conv2d | nn.Linear | SpectralWeight):
                bound = 2 * WEIGHT_STD
                nn.init.trunc_normal_(
                    layer.weight, std=WEIGHT_STD, a=-bound, b=bound, generator=generator
                )
                if layer.bias is not None:
                    nn.init.zeros_(layer.bias)
            if isinstance(layer, SpectralWeight):
                nn.init.trunc_normal_(layer.u, generator=generator)
        for layer in self.modules():
            if isinstance(layer, LatentLSTM):
                initialise_xavier(layer, generator)

    # Forecasting

    def observe(
        self,
        context: Float[Tensor, "batch time channel y x"],
        *,
        noise: Noise,
        conditions: Float[Tensor, "batch step condition"] | None = None,
    ) -> tuple[Float[Tensor, "row channel y x"], SAVPState]:
        rows = noise.rows(context)
        given = None if conditions is None else noise.rows(conditions)
        state = self.cell.start(rows[:, 0], given)
        latents: list[Tensor | None] = [None] * (context.shape[1] - 1)
        if self.encoder is not None and latents:
            distribution = self.encoder(context, conditions)
            drawn = noise.draw(len(latents), self.noise_size, like=distribution.mean)
            chosen = noise.rows(distribution.mean) + noise.rows(distribution.std) * drawn
            latents = list(chosen.unbind(1))
        for frame, latent in zip(rows.unbind(1), latents, strict=False):
            _, state = self.cell(frame, latent, state)
        return self.step(rows[:, -1], state, noise=noise)

    def step(
        self, frame: Float[Tensor, "row channel y x"], state: SAVPState, *, noise: Noise
    ) -> tuple[Float[Tensor, "row channel y x"], SAVPState]:
        latent = noise.draw(self.noise_size, like=widened(frame)) if self.noise_size else None
        following, state = self.cell(frame, latent, state)
        return following, state

    # Training

    @property
    def updates(self) -> tuple[Update, ...]:
        """The discriminators, then the generator; without discriminators, all weights at once."""
        if not self.discriminators:
            return (Update("model"),)
        return (
            Update("discriminator", ("discriminators.",)),
            Update("generator", ("cell.", "encoder.", "dynamics.")),
        )

    def update_loss(
        self, name: str, batch: Batch, *, step: int = 0, generator: torch.Generator | None = None
    ) -> Losses:
        """The loss of the discriminators or of the generator, each with draws of its own."""
        frames = self.inputs(batch)
        draws = self.draw(batch, step, generator)
        if name != "discriminator":
            generated = self.generate(batch, draws)
            return self.generator_terms(batch, generated, draws, step)
        with torch.no_grad():
            generated = self.generate(batch, draws)
        terms = self.discriminator_terms(frames, generated, draws)
        if self.training:
            for discriminator in self.discriminators.values():
                assert isinstance(discriminator, VideoDiscriminator)
                discriminator.advance()
        return terms

    def loss(
        self, batch: Batch, *, step: int = 0, generator: torch.Generator | None = None
    ) -> Losses:
        """The losses of the generator and of the discriminators, with the same draws.

        Training minimises each by its own weights, see `update_loss`; `total` is their sum.
        """
        frames, draws = self.inputs(batch), self.draw(batch, step, generator)
        generated = self.generate(batch, draws)
        terms = self.generator_terms(batch, generated, draws, step)
        if not self.discriminators:
            return terms
        others = self.discriminator_terms(frames, generated, draws)
        named = {f"discriminator_{name}": value for name, value in others.items()}
        return terms | named | {"total": terms["total"] + others["total"]}

    def draw(self, batch: Batch, step: int, generator: torch.Generator | None) -> Draws:
        """Random draws of an update."""
        windows, transitions = len(batch), batch.values.shape[1] - 1
        like = batch.context.values
        # Draw even if the last axis is empty, which takes one number from each generator.
        shape = (1, windows, transitions, self.noise_size)
        posterior, prior = (standard_normal(shape, like, generator)[0] for _ in range(2))
        probability = inverse_sigmoid_sampling(step, decay=self.sampling_decay).horizon
        if probability < LEAST_TRUE:
            probability = 0.0
        passes = tuple(
            draw_true_frames(
                TrueFrames(1.0, probability),
                windows=windows,
                context=len(batch.context),
                horizon=len(batch.target),
                generator=generator,
            ).to(like.device)
            for _ in range(2)
        )
        places = transitions - self.clip_length + 1
        starts = (uniform((windows, CALLS), like, generator) * places).long()
        return Draws(posterior, prior, passes, starts)

    def generate(self, batch: Batch, draws: Draws) -> Generated:
        """A training window, generated with latents from the posterior, and from the prior.

        Between observed frames, both passes use latents from the posterior. Without a discriminator
        of frames from the prior, the second pass is the first one.
        """
        frames, context = self.inputs(batch), len(batch.context)
        seen = [self.conditions(batch, flags) for flags in draws.true_frames]
        distribution = None
        latents: list[Tensor | None] = [None]
        if self.encoder is not None:
            distribution = self.encoder(frames, None if seen[0] is None else seen[0].seen)
            posterior = distribution.at(draws.posterior)
            prior = torch.cat([posterior[:, : context - 1], draws.prior[:, context - 1 :]], dim=1)
            latents = [posterior, prior] if "gan" in self.discriminators else [posterior]
        count = len(latents)
        flags = torch.cat(draws.true_frames[:count])
        known = [latent for latent in latents if latent is not None]
        joined = torch.cat(known) if known else None
        given = [each.seen for each in seen[:count] if each is not None]
        passes = self.predict_window(
            frames.repeat(count, 1, 1, 1, 1), flags, joined, torch.cat(given) if given else None
        )
        parts = passes.unflatten(0, (count, -1))
        return Generated(parts[0], parts[-1], distribution, seen[0])

    def predict_window(
        self,
        frames: Float[Tensor, "row time channel y x"],
        true_frames: Bool[Tensor, "row input"],
        latents: Float[Tensor, "row transition noise"] | None,
        conditions: Float[Tensor, "row transition condition"] | None = None,
    ) -> Float[Tensor, "row transition channel y x"]:
        """All frames but the first, each from the true frame before it or its prediction."""
        state = self.cell.start(frames[:, 0], conditions)
        predicted: list[Tensor] = []
        for index, frame in enumerate(frames[:, :-1].unbind(1)):
            if index > 0:
                chosen = true_frames[:, index - 1].view(-1, 1, 1, 1)
                frame = torch.where(chosen, frame, predicted[-1])  # noqa: PLW2901
            latent = None if latents is None else latents[:, index]
            following, state = self.cell(frame, latent, state)
            predicted.append(following)
        return torch.stack(predicted, dim=1)

    def kl_weight_at(self, step: int) -> float:
        """Weight of the divergence at a step, counted from 0."""
        return self.kl_weight * linear_rise(step, start=self.kl_start, end=self.kl_end)

    def generator_terms(
        self, batch: Batch, generated: Generated, draws: Draws, step: int
    ) -> Losses:
        r"""Unweighted terms of the generator's loss, and their weighted total.

        $$w_1 \overline{|\hat x^q - x|} + w_2 \overline{(\hat x^q - x)^2} + w_{kl} \overline{KL}
        + \sum_D w_D \overline{(D(\hat x) - 1)^2} + \sum_D w_{F} d_D(\hat x, x)
        + w_s \overline{(\hat s - s)^2}$$
        """
        frames = self.inputs(batch)
        errors = generated.posterior - frames[:, 1:]
        mask = None if batch.mask is None else batch.mask[:, 1:]
        terms = {"l1": known_mean(errors.abs(), mask), "l2": known_mean(errors.square(), mask)}
        terms |= state_error(generated.conditions, batch)
        weights = dict(self.weights)
        if generated.distribution is not None:
            terms["divergence"] = generated.distribution.divergence_from_standard().mean()
            weights["divergence"] = self.kl_weight_at(step)
        for name in self.discriminators:
            real, fake = self.judge(name, frames, generated, draws)
            terms[name] = (fake.logits - 1).square().mean()
            terms[f"{name}_features"] = feature_distance(fake, real)
        total = torch.stack([weights[name] * term for name, term in terms.items()]).sum()
        return {"total": total, **terms}

    def discriminator_terms(
        self, frames: Float[Tensor, "batch time channel y x"], generated: Generated, draws: Draws
    ) -> Losses:
        r"""Terms $\overline{(D(x) - 1)^2} + \overline{D(\hat x)^2}$ and their weighted total."""
        held = Generated(generated.posterior.detach(), generated.prior.detach(), None)
        terms = {}
        for name in self.discriminators:
            real, fake = self.judge(name, frames, held, draws)
            terms[name] = (real.logits - 1).square().mean() + fake.logits.square().mean()
        total = torch.stack([self.weights[name] * term for name, term in terms.items()]).sum()
        return {"total": total, **terms}

    def judge(
        self, name: str, frames: Tensor, generated: Generated, draws: Draws
    ) -> tuple[Judgement, Judgement]:
        """A discriminator's output for real and generated clips, each with its own start."""
        made = generated.posterior if name == "vae_gan" else generated.prior
        first = 0 if name == "vae_gan" else 2
        clips = [
            cut(whole, draws.starts[:, first + index], self.clip_length)
            for index, whole in enumerate((frames[:, 1:], made))
        ]
        both: Judgement = self.discriminators[name](torch.cat(clips))
        logits = both.logits.chunk(2)
        features = [part.chunk(2) for part in both.features]
        real, fake = (Judgement(logits[i], [part[i] for part in features]) for i in (0, 1))
        return real, fake


def cut(
    frames: Float[Tensor, "batch time channel y x"], starts: Int[Tensor, " batch"], length: int
) -> Float[Tensor, "batch clip channel y x"]:
    """Clips of a length, each from its own start."""
    times = starts.unsqueeze(1) + torch.arange(length, device=starts.device)
    return frames[torch.arange(len(frames), device=starts.device).unsqueeze(1), times]

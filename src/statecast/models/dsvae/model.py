"""DSVAE: a disentangled sequential auto-encoder with a prior for content and for motion."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Literal, NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor, nn

from statecast.checks import typed
from statecast.errors import InputError
from statecast.frames import Batch, FrameSpec
from statecast.models.base import Losses, collapse_warning, known_part
from statecast.models.dsvae.networks import (
    ContentPosterior,
    FactorisedPosterior,
    FrameDecoder,
    FrameEncoder,
    FullPosterior,
    MotionPrior,
)
from statecast.models.latents import Latents, check_own
from statecast.models.roll_out import State
from statecast.models.state_space import StateSpaceForecaster
from statecast.nn.blocks import initialise_uniform
from statecast.nn.codecs.base import Content, Output
from statecast.nn.gaussian import DiagonalGaussian, widened
from statecast.nn.noise import Noise
from statecast.nn.normaliser import Normalisation
from statecast.nn.random import standard_normal
from statecast.solvers.interval_noise import Interval
from statecast.solvers.reversible import Followed
from statecast.solvers.solvers import Solver

Posterior = Literal["factorised", "full"]
PUBLISHED_STD = math.sqrt(0.5)  # of a pixel; gives squared errors weight 1


class Inference(NamedTuple):
    """Latents of a video, and the Gaussians they were drawn from."""

    content: Float[Tensor, "batch content"]
    motion: Float[Tensor, "batch time motion"]
    decoded: Float[Tensor, "batch time channel y x"]
    content_posterior: DiagonalGaussian  # (batch, content)
    posterior: DiagonalGaussian  # of the motion, (batch, time, motion)
    prior: DiagonalGaussian  # of the motion, of the same shape


class DSVAE(StateSpaceForecaster):
    r"""Disentangled sequential auto-encoder (Li and Mandt, 2018).

    $$f \sim N(0, I), \quad z_t \sim N(\mu(h_t), \sigma(h_t)^2 I), \quad
    h_t = \mathrm{LSTM}(z_{t-1}, h_{t-1}), \quad x_t \sim N(D(z_t, f), \nu I)$$

    A video has one content f and a motion z for each frame. Both have a prior, so a video can get
    new motion (`draw_motion`) and new content (`draw_content`), or those of another video. A
    forecast continues z by its prior; its content is the mean of $q(f | x)$.

    Reference: https://arxiv.org/abs/1803.02991.

    `published` follows the only public code in four ways. In training, the prior runs on its own
    draws, unrelated to the video's z, so that it does not learn to continue a video. The content is
    inferred from the target too. The mean and log-variance of $q(f | x)$ pass a leaky rectifier.
    Batch normalisation starts with shifts of 1 instead of 0, and also normalises decoded frames.

    Args:
        spec: shape, channels and units of the frames; comes from the data.
        posterior: posterior of the motion: `factorised`, from each frame only, or `full`, from the
            whole video and its content.
        width: channels of every convolution.
        code_size: size of the code of a frame; the layer before it has twice as many units.
        content_size: size of the content f.
        motion_size: size of the motion z.
        hidden: units of the LSTMs and of the layers between code and motion.
        observation_std: standard deviation √ν of a pixel around the decoded frame, for frames in
            [−1, 1]; by default the published one.
        kl_content_weight: weight of the divergence of f.
        kl_motion_weight: weight of the divergence of z.
        published: whether to follow the published code, see above.
        output: `sigmoid` for frames in [0, 1], `identity` for unbounded ones; by default, the one
            that fits the normalised data.
        normalise: `auto`, `none`, `range` or `standard`, see `Normaliser`.
        generator: source of the initial weights.
    """

    stochastic = True
    reconstructs = True
    solvers = ()

    def __init__(
        self,
        spec: FrameSpec,
        *,
        posterior: Posterior = "factorised",
        width: int = 256,
        code_size: int = 2048,
        content_size: int = 256,
        motion_size: int = 32,
        hidden: int = 512,
        observation_std: float = PUBLISHED_STD,
        kl_content_weight: float = 1.0,
        kl_motion_weight: float = 1.0,
        published: bool = False,
        output: Output | None = None,
        normalise: Normalisation = "auto",
        generator: torch.Generator | None = None,
    ) -> None:
        super().__init__(spec, normalise=normalise)
        if observation_std <= 0:
            raise InputError(f"observation_std must be positive, got {observation_std}.")
        self.published, self.observation_std = published, observation_std
        self.content_size, self.motion_size, self.hidden = content_size, motion_size, hidden
        self.kl_content_weight, self.kl_motion_weight = kl_content_weight, kl_motion_weight
        self.bounded = (output or self.normaliser.fitting_output) == "sigmoid"
        self.largest_map = width * math.prod(spec.space)
        shape = spec.frame_shape
        self.encoder = FrameEncoder(shape, code_size, width=width)
        self.content_posterior = ContentPosterior(
            code_size, content_size, hidden, rectify=published
        )
        self.motion_posterior = (
            FactorisedPosterior(code_size, motion_size, hidden)
            if posterior == "factorised"
            else FullPosterior(code_size, content_size, motion_size, hidden)
        )
        self.prior = MotionPrior(motion_size, hidden)
        self.decoder = FrameDecoder(
            shape, motion_size + content_size, width=width, hidden=2 * code_size,
            bounded=self.bounded, normalise_frames=published,
        )  # fmt: skip
        self.initialise(generator)

    def initialise(self, generator: torch.Generator | None) -> None:
        """Draw all weights: recurrent ones uniform, others N(0, 2 / inputs)."""
        initialise_uniform(self, generator)
        for layer in self.modules():
            if isinstance(layer, nn.BatchNorm2d) and self.published:
                nn.init.ones_(layer.bias)
            elif isinstance(layer, nn.Conv2d | nn.ConvTranspose2d | nn.Linear):
                inputs = layer.weight[0].numel()  # PyTorch's fan-in
                nn.init.kaiming_normal_(layer.weight, nonlinearity="relu", generator=generator)
                assert layer.bias is not None
                bound = 1 / math.sqrt(inputs)
                nn.init.uniform_(layer.bias, -bound, bound, generator=generator)

    # Training

    def loss(
        self, batch: Batch, *, step: int = 0, generator: torch.Generator | None = None
    ) -> Losses:
        r"""Negative evidence lower bound per video, without constants.

        $$\frac{1}{2\nu} \sum_t \|\hat x_t - x_t\|^2 + \beta_f KL(q(f) \| N(0, I))
        + \beta_z \sum_t KL(q(z_t) \| p(z_t | z_{<t}))$$

        The error is summed over known values. In evaluation mode, f and z are means.
        """
        noise = Noise(1, len(batch), generator)
        frames = self.scaled(self.inputs(batch))
        return self.loss_of(batch, self.infer(frames, len(batch.context), noise=noise))

    def loss_of(self, batch: Batch, inferred: Inference) -> Losses:
        """The terms of the loss, from the latents inferred from a batch."""
        errors = (inferred.decoded - self.scaled(self.inputs(batch))).square()
        divergence = inferred.posterior.divergence(inferred.prior)
        squares = known_part(errors, batch.mask).flatten(1).sum(dim=1).mean()
        terms = {
            "reconstruction": squares / (2 * self.observation_std**2),
            "divergence_content": inferred.content_posterior.divergence_from_standard().mean(),
            "divergence_motion": divergence.sum(dim=1).mean(),
        }
        total = (
            terms["reconstruction"]
            + self.kl_content_weight * terms["divergence_content"]
            + self.kl_motion_weight * terms["divergence_motion"]
        )
        return {"total": total, **terms}

    def infer(
        self, frames: Float[Tensor, "batch time channel y x"], context: int, *, noise: Noise
    ) -> Inference:
        """Content and motion of whole videos, drawn in training, and their decoded frames.

        Args:
            frames: context and target, as from `scaled`.
            context: number of context frames, which give the content.
            noise: one draw per sequence of, in order, the prior's own z with `published`, f and z.
        """
        batch, length = frames.shape[:2]

        def draw(gaussian: DiagonalGaussian) -> Tensor:
            if not self.training:
                return gaussian.mean
            return gaussian.at(noise.draw(*gaussian.mean.shape[1:], like=gaussian.mean))

        prior = None
        if self.published:
            size, training = self.motion_size, self.training
            drawn = [noise.draw(size, like=frames) if training else None for _ in range(length)]
            prior = self.prior.free(batch, drawn, frames)
        codes = self.encode(frames)
        of_content = self.content_posterior(codes if self.published else codes[:, :context])
        content = draw(of_content)
        posterior = self.motion_posterior(codes, content)
        motion = draw(posterior)
        decoded = self.decode_codes(content, motion)
        prior = prior or self.prior.given(motion)
        return Inference(content, motion, decoded, of_content, posterior, prior)

    def diagnostics(
        self, batch: Batch, generator: torch.Generator | None = None
    ) -> dict[str, Tensor]:
        r"""Diagnostics of each window, with f and z at their means.

        - `divergence_content`: $KL(q(f) \| N(0, I))$;
        - `divergence_motion_per_frame`: $KL(q(z_t) \| p(z_t | z_{<t}))$, mean over frames;
        - `content`: posterior mean of f, and `motion`: distance of the posterior mean of z from the
          prior mean, in standard deviations of the prior; their active units are counted.
        """
        frames = self.scaled(self.inputs(batch))
        found = self.infer(frames, len(batch.context), noise=Noise(1, len(batch), generator))
        return {
            "divergence_content": found.content_posterior.divergence_from_standard(),
            "divergence_motion_per_frame": found.posterior.divergence(found.prior).mean(dim=1),
            "content": found.content_posterior.mean,
            "motion": (found.posterior.mean - found.prior.mean) / found.prior.std,
        }

    def training_warning(self, diagnosed: Mapping[str, float]) -> str | None:
        latents = [(name, f"the {name}", f"kl_{name}_weight") for name in ("content", "motion")]
        return collapse_warning(diagnosed, latents)

    # Inference

    def scaled(self, frames: Float[Tensor, "*shape"]) -> Float[Tensor, "*shape"]:
        """Frames in the units of the model, from [0, 1] to [−1, 1]; unbounded ones unchanged."""
        return 2 * frames - 1 if self.bounded else frames

    def encode(
        self, frames: Float[Tensor, "batch time channel y x"]
    ) -> Float[Tensor, "batch time code"]:
        """Code of each frame."""
        codes: Tensor = self.encoder(frames.flatten(0, 1))
        return widened(codes).unflatten(0, frames.shape[:2])

    def decode_codes(
        self, content: Float[Tensor, "batch content"], motion: Float[Tensor, "batch many motion"]
    ) -> Float[Tensor, "batch many channel y x"]:
        """Frames decoded from many z of each sequence, as from `scaled`."""
        repeated = content.unsqueeze(1).expand(-1, motion.shape[1], -1)
        codes = torch.cat([motion, repeated], dim=-1)
        return widened(self.decoder(codes.flatten(0, 1))).unflatten(0, motion.shape[:2])

    def content_of(self, context: Float[Tensor, "batch time channel y x"]) -> Content:
        return Content(self.content_posterior(self.encode(self.scaled(context))).mean)

    def observe(
        self,
        context: Float[Tensor, "batch time channel y x"],
        *,
        samples: int = 1,
        generator: torch.Generator | None = None,
    ) -> State:
        solver = self.choose_solver()
        path = self.infer_path(context, samples=samples, solver=solver, generator=generator)
        return State(path.content, path.states[:, :, -1].contiguous(), 0.0)

    def infer_path(
        self,
        observed: Float[Tensor, "batch time channel y x"],
        *,
        samples: int,
        solver: Solver,
        generator: torch.Generator | None,
    ) -> Latents:
        codes = self.encode(self.scaled(observed))
        content = self.content_posterior(codes).mean
        posterior = self.motion_posterior(codes, content)
        motion = posterior.draw(generator, samples)
        intervals = observed.shape[1] - 1
        path = self.roll_out(
            self.first_state(motion[:, :, 0]), (solver,) * intervals, noise=motion[:, :, 1:]
        )
        return Latents(
            content=Content(content),
            states=path.states,
            times=torch.arange(-float(intervals), 1.0),
            solvers=(solver,) * intervals,
            noise=path.noise,
            posterior=DiagonalGaussian(*(part[:, 1:] for part in posterior)),
            prior=self.noise_prior(path.states[:, :, :-1]),
        )

    def first_state(
        self, motion: Float[Tensor, "sample batch motion"]
    ) -> Float[Tensor, "sample batch latent"]:
        """The latent of a video whose first motion is this z."""
        rows = motion.flatten(0, 1)
        after = self.prior.advance(rows, self.prior.start(len(rows), rows))
        return torch.cat([rows, *after], dim=-1).unflatten(0, motion.shape[:2])

    @typed
    def draw_motion(self, latents: Latents, *, generator: torch.Generator | None = None) -> Latents:
        """The same content with new motion: a path of the same length, drawn from the prior.

        Args:
            latents: a path of this model.
            generator: source of the draws.

        Errors:
            InputError: latents of another model.
        """
        samples, batch = check_own(self, latents).states.shape[:2]
        with torch.no_grad():
            start = self.prior.start(samples * batch, latents.states)
            first = DiagonalGaussian(
                *(part.unflatten(0, (samples, batch)) for part in self.prior.head(start[0]))
            ).draw(generator)
            path = self.roll_out(self.first_state(first), latents.solvers, generator=generator)
        return replace(latents, **path._asdict(), initial=None, posterior=None)

    @typed
    def draw_content(
        self, latents: Latents, *, generator: torch.Generator | None = None
    ) -> Latents:
        """The same motion with new content, drawn from N(0, I) for each sequence.

        Args:
            latents: a path of this model.
            generator: source of the draws.

        Errors:
            InputError: latents of another model.
        """
        states = check_own(self, latents).states
        drawn = standard_normal((1, states.shape[1], self.content_size), states, generator)[0]
        return replace(latents, content=Content(drawn))

    # Forecasting

    def noise_prior(self, latent: Float[Tensor, "*batch latent"]) -> DiagonalGaussian | None:
        """Distribution of the next z, which acts as the noise."""
        hidden = latent[..., self.motion_size :][..., : self.hidden]
        prior: DiagonalGaussian = self.prior.head(hidden)
        return prior

    def step(
        self,
        latent: Followed,
        noise: Tensor | Interval | None,
        *,
        solver: Solver,
        fractions: Sequence[float],
    ) -> list[Followed]:
        """The latent one frame later: z, and the state of the prior that gives the next z."""
        assert isinstance(latent, Tensor)
        assert isinstance(noise, Tensor)
        memory = latent[..., self.motion_size :].flatten(0, -2)
        motion = noise.flatten(0, -2)
        after = self.prior.advance(motion, (memory[:, : self.hidden], memory[:, self.hidden :]))
        return [torch.cat([motion, *after], dim=-1).view_as(latent)]

    def dynamics_code(
        self, latent: Float[Tensor, "*batch latent"]
    ) -> Float[Tensor, "*batch motion"]:
        return latent[..., : self.motion_size]

    @property
    def largest_feature_map(self) -> int:
        return self.largest_map

    def decode(
        self, content: Content, latents: Float[Tensor, "batch many latent"]
    ) -> Float[Tensor, "batch many channel y x"]:
        """Frames of many z of each sequence; a latent begins with its z."""
        frames = self.decode_codes(content.code, self.dynamics_code(latents))
        return 0.5 * (frames + 1) if self.bounded else frames

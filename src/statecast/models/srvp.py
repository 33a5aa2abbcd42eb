"""SRVP: the stochastic latent residual model of videos."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn

from statecast.errors import InputError
from statecast.frames import Batch, Frames, FrameSpec
from statecast.models.base import Losses, collapse_warning, known_part
from statecast.models.frame_grid import grid_of_times, known_frames, spread, whole_frames
from statecast.models.latents import Latents
from statecast.models.roll_out import State
from statecast.models.srvp_gaps import GapNetwork, known_codes, observed_order, rows_of
from statecast.models.srvp_online import OnlineLatentProcess
from statecast.models.srvp_process import check_noise
from statecast.nn.blocks import initialise_normal, initialise_uniform, mlp
from statecast.nn.codecs.base import Content, DecoderOptions, Encoding, Output
from statecast.nn.codecs.build import Architecture, decoder_of, encoder_of
from statecast.nn.diffusive_noise import DiffusionName
from statecast.nn.gaussian import negative_log_density, widened
from statecast.nn.noise_models import NoiseName, RenewalName, noise_model_of
from statecast.nn.normaliser import Normalisation
from statecast.nn.random import uniform
from statecast.nn.transitions import TransitionName, transition_of
from statecast.solvers.solvers import ODE_SOLVERS, OdeSolverName, Solver

WEIGHT_STD = 0.02  # standard deviation of the codec's initial weights, as published


class SRVP(OnlineLatentProcess):
    r"""Stochastic latent residual video prediction.

    A latent y takes Euler steps of a differential equation with fresh noise z in each frame
    interval; a content code w is constant:

    $$y_1 \sim N(0, I), \quad z_{t+1} \sim N(\mu(y_t), \sigma(y_t)^2 I), \quad
    y_{t+1} = y_t + f(y_t, z_{t+1}), \quad x_t \sim N(g(y_t, w), \nu I)$$

    Training maximises an evidence lower bound, with the posteriors $q(y_1 | x_{1:k})$ and
    $q(z_t | x_{1:t})$.

    Reference: Franceschi et al. (2020), https://arxiv.org/abs/2002.09219.

    Args:
        spec: shape, channels and units of the frames; comes from the data.
        architecture: codec: `dcgan` or `vgg` for images, `resnet` for a ResNet-18 encoder with a
            DCGAN decoder, or `mlp` for points and small grids. `auto` chooses between `dcgan` and
            `mlp` by the grid; `mlp` is then 16 times as wide.
        skips: whether the decoder sees the encoder's maps of one observed frame.
        width: channels of the codec's first convolution; hidden units of an `mlp` codec.
        codec_layers: linear layers of an `mlp` codec.
        code_size: size of a frame's code.
        latent_size: size of the latent y.
        noise_size: size of the noise z.
        stochastic: whether there is noise z; without it, only y₁ is random.
        inference_frames: number of frames that y₁ and the content are inferred from; by default
            the whole context.
        inference_hidden: hidden units of the inference networks.
        content_size: size of the content code w.
        inference_layers: linear layers of q(y₁).
        transition: `residual` (as published), `coupling`, whose steps can be undone, `gru` or
            `mlp`, both in whole frames.
        transition_hidden: hidden units of the transition and of the noise's prior.
        transition_layers: linear layers of the transition and of the noise's prior.
        transition_gain: gain of the transition's orthogonal initial weights.
        solver: how the `residual` transition is integrated: `euler` (as published), `midpoint`,
            `heun`, `rk4`, `reversible_heun`, whose steps can be undone, or the adaptive `dopri5`.
            With `euler`, a `coupling` transition takes its own invertible steps.
        substeps: steps of the solver per frame; 1 for an adaptive solver.
        relative_tolerance: largest local error of `dopri5`, relative to the latent.
        absolute_tolerance: largest local error of `dopri5`, in units of the latent.
        noise: z in continuous time: `held` between renewals (as published), `white`, or
            `coloured`, with a correlation time.
        renewal: when held noise is renewed: at `frames` (as published), on a `grid` of times, at
            random times with a learned rate (`poisson`), or where the posterior departs from the
            prior (`adaptive`).
        renewal_interval: frame intervals between renewals on a grid.
        renewal_rate: initial value of the learned rate, in renewals per frame interval.
        largest_rate: upper bound of the learned rate, in renewals per frame interval.
        renewal_threshold: divergence in nats above which adaptive noise is renewed.
        correlation_time: correlation time of coloured noise, in frame intervals.
        diffusion: whether the scale σ of white noise depends on the `state`, which works with the
            solver `euler` only, or is `constant`.
        smallest_diffusion: constant added to σ of white and coloured noise.
        gap_input: whether frames may be missing, at uneven whole times. The posterior then sees
            the gaps; without gaps, it is the published one. By default, a missing frame counts as
            a frame of unknown values.
        observation_std: standard deviation √ν of a pixel around the decoded frame.
        kl_initial_weight: weight of the divergence of y₁.
        kl_noise_weight: weight of the divergence of z.
        step_norm_weight: weight of the summed norms of the increments of y, one per step of the
            solver; with an adaptive solver, one per frame interval.
        output: `sigmoid` for frames in [0, 1], `identity` for unbounded ones; by default, the one
            that fits the normalised data.
        normalise: `auto`, `none`, `range` or `standard`, see `Normaliser`.
        generator: source of the initial weights.
    """

    stochastic = True
    reconstructs = True

    def __init__(
        self,
        spec: FrameSpec,
        *,
        architecture: Architecture = "dcgan",
        skips: bool = False,
        width: int = 64,
        codec_layers: int = 3,
        code_size: int = 128,
        latent_size: int = 20,
        noise_size: int = 20,
        stochastic: bool = True,
        inference_frames: int | None = None,
        inference_hidden: int = 256,
        content_size: int = 256,
        inference_layers: int = 3,
        transition: TransitionName = "residual",
        transition_hidden: int = 512,
        transition_layers: int = 4,
        transition_gain: float = 1.41,
        solver: OdeSolverName = "euler",
        substeps: int = 1,
        relative_tolerance: float = 1e-5,
        absolute_tolerance: float = 1e-6,
        noise: NoiseName = "held",
        renewal: RenewalName = "frames",
        renewal_interval: float = 1.0,
        renewal_rate: float = 1.0,
        largest_rate: float = 4.0,
        renewal_threshold: float = 1.0,
        correlation_time: float = 1.0,
        diffusion: DiffusionName = "state",
        smallest_diffusion: float = 0.01,
        gap_input: bool = False,
        observation_std: float = 1.0,
        kl_initial_weight: float = 1.0,
        kl_noise_weight: float = 1.0,
        step_norm_weight: float = 1.0,
        output: Output | None = None,
        normalise: Normalisation = "auto",
        generator: torch.Generator | None = None,
    ) -> None:
        super().__init__(spec, normalise=normalise)
        self.skips = skips
        self.inference_frames = spec.context if inference_frames is None else inference_frames
        self.solver, self.substeps, self.observation_std = solver, substeps, observation_std
        self.tolerances = (relative_tolerance, absolute_tolerance)
        self.kl_initial_weight, self.kl_noise_weight = kl_initial_weight, kl_noise_weight
        self.step_norm_weight, self.transition_gain = step_norm_weight, transition_gain
        self._check_options(architecture)
        self.encoder = encoder_of(
            architecture,
            spec.frame_shape,
            code_size,
            width=width,
            layers=codec_layers,
            bias=False,
            head="tanh",
        )
        decoder_options = DecoderOptions(
            content_size=content_size,
            latent_size=latent_size,
            width=width,
            layers=codec_layers,
            bias=False,
            skips=skips,
            output=output or self.normaliser.fitting_output,
            mixing="concat",
        )
        self.decoder = decoder_of(architecture, spec.frame_shape, decoder_options)
        hidden = inference_hidden
        self.content_of_frame = nn.Sequential(nn.Linear(code_size, hidden), nn.ReLU())
        self.content_of_sum = nn.Sequential(nn.Linear(hidden, content_size), nn.Tanh())
        self.initial = mlp(
            code_size * self.inference_frames, hidden, 2 * latent_size, layers=inference_layers
        )
        self.noise_model = noise_model_of(
            noise,
            renewal,
            latent_size,
            noise_size,
            renewal_interval=renewal_interval,
            renewal_rate=renewal_rate,
            largest_rate=largest_rate,
            renewal_threshold=renewal_threshold,
            correlation_time=correlation_time,
            diffusion=diffusion,
            smallest_diffusion=smallest_diffusion,
        )
        self.latent_size = self.latent_width = latent_size
        sizes, enters = (2 * noise_size, 2 * noise_size), stochastic
        if self.noise_model is not None:
            check_noise(noise, renewal, transition, stochastic=stochastic)
            self.noise_from_keys, self.latent_width = True, latent_size + self.noise_model.carried
            sizes = self.noise_model.posterior_size, self.noise_model.prior_size
            enters = self.noise_model.enters_velocity
        self.transition = transition_of(
            transition,
            latent_size,
            noise_size if enters else 0,
            hidden=transition_hidden,
            layers=transition_layers,
        )
        self._set_solvers(transition)
        self.lstm, self.posterior, self.prior = None, None, None
        if stochastic:
            self.lstm = nn.LSTM(code_size, hidden, batch_first=True)
            self.posterior = nn.Linear(hidden, sizes[0])
            self.prior = mlp(latent_size, transition_hidden, sizes[1], layers=transition_layers)
        self.gap_input = self.takes_gaps = gap_input
        self.gaps = None
        self.initialise(generator)
        if gap_input:
            self.gaps = GapNetwork(code_size, hidden if stochastic else 0)
            initialise_uniform(self.gaps, generator)

    def _check_options(self, architecture: Architecture) -> None:
        if architecture == "maps":
            raise InputError(
                "SRVP needs codes that are vectors, and those of the maps codec are maps. Use "
                "architecture: dcgan, vgg or resnet, or the model separable."
            )
        if not 1 <= self.inference_frames <= self.spec.context:
            raise InputError(
                f"inference_frames must lie between 1 and the context, {self.spec.context}, got "
                f"{self.inference_frames}."
            )
        if self.observation_std <= 0:
            raise InputError(f"observation_std must be positive, got {self.observation_std}.")

    def _set_solvers(self, transition: TransitionName) -> None:
        self.solvers = ODE_SOLVERS if self.transition.continuous else ()
        if self.noise_model is not None:
            self.solvers = self.noise_model.solvers
        if not self.continuous and (self.substeps > 1 or self.solver != "euler"):
            raise InputError(
                f"The {transition} transition works in whole frames only, without a solver: leave "
                "`substeps` and `solver` out."
            )
        self.choose_solver(substeps=self.substeps)

    def initialise(self, generator: torch.Generator | None) -> None:
        """Draw all weights: codec N(0, 0.02²), transition orthogonal, others uniform."""
        initialise_uniform(self, generator)
        for codec in (self.encoder, self.decoder):
            initialise_normal(codec, WEIGHT_STD, generator)
        self.transition.initialise(self.transition_gain, generator)
        if self.noise_model is not None:
            self.noise_model.initialise(generator)

    @property
    def minimum_context(self) -> int:
        return self.inference_frames

    # Training

    def loss(
        self, batch: Batch, *, step: int = 0, generator: torch.Generator | None = None
    ) -> Losses:
        r"""Negative evidence lower bound with the residual penalty, per video.

        $$-\sum_t \ln N(x_t; \hat x_t, \nu) + \beta_y KL(q(y_1) \| N(0, I))
        + \beta_z \sum_t KL(q(z_t) \| p(z_t | y_{t-1})) + \lambda \sum \|\Delta t f\|_2$$

        The first sum runs over known values.
        """
        frames = self.inputs(batch)
        mask = self.mask_of(batch)
        codes = self.encode(frames)
        inferred = self.infer(codes.code, generator=generator)
        content = (
            self.training_content(codes, generator)
            if self.training
            else self.content_of_last_frames(codes)
        )
        decoded = self.decode(content, inferred.latents[0])
        target = frames.nan_to_num(nan=0.0) if self.gap_input else frames
        density = negative_log_density(target, widened(decoded), self.observation_std)
        zero = density.new_zeros(())
        terms = {
            "reconstruction": known_part(density, mask).flatten(1).sum(dim=1).mean(),
            "divergence_initial": inferred.initial.divergence_from_standard().mean(),
            "divergence_noise": zero,
            "residual": inferred.increments.norm(dim=-1).sum(dim=-1).mean(),
        }
        if inferred.divergence is not None:
            terms["divergence_noise"] = inferred.divergence.sum(dim=-1).mean()
        total = (
            terms["reconstruction"]
            + self.kl_initial_weight * terms["divergence_initial"]
            + self.kl_noise_weight * terms["divergence_noise"]
            + self.step_norm_weight * terms["residual"]
        )
        return {"total": total, **terms}

    def training_content(self, codes: Encoding, generator: torch.Generator | None) -> Content:
        """Content of random frames of each video, and skip maps of another random frame.

        Frames are drawn from the whole window, including the target, because content must not
        depend on time.
        """
        batch, length = codes.code.shape[:2]
        known = known_codes(codes.code)
        order, count = observed_order(known)
        drawn = uniform((batch, length), codes.code, generator) + (~known).to(codes.code)
        chosen = drawn.argsort(dim=1).gather(1, self.repeated(count))
        of_frames = rows_of(codes.code, chosen)
        if not self.skips:
            return self.pool_content(of_frames, ())
        frame = (uniform((batch,), codes.code, generator) * count).long()
        frame = order.gather(1, frame[:, None])
        return self.pool_content(
            of_frames, tuple(rows_of(skip, frame)[:, 0] for skip in codes.skips)
        )

    def repeated(self, count: Int[Tensor, " batch"]) -> Int[Tensor, "batch frame"]:
        """Indices of `inference_frames` frames out of `count`, repeated if there are fewer."""
        numbers = torch.arange(self.inference_frames, device=count.device)
        return numbers % count[:, None].clamp_min(1)

    def diagnostics(
        self, batch: Batch, generator: torch.Generator | None = None
    ) -> dict[str, Tensor]:
        r"""Diagnostics of each window, from the posterior of all its frames.

        - `divergence_initial`: $KL(q(y_1) \| N(0, I))$;
        - `divergence_noise_per_frame`: $KL(q(z_t) \| p(z_t | y_{t-1}))$, mean over frame intervals;
        - `noise_gap`: $|\mu_q - \mu_p| / \sigma_p$ of z, mean over units and intervals;
        - `residual_per_frame`: summed norms of the steps of an interval, mean over intervals;
        - `initial`, for y₁, and `noise`, for z: distance of the posterior mean from the prior mean,
          in standard deviations of the prior; their active units are counted. For a standard
          normal prior, these are the active units of Burda et al. (2016),
          https://arxiv.org/abs/1509.00519, section 5.2; a learned prior may vary with the data
          regardless of z.
        """
        frames = self.inputs(batch)
        inferred = self.infer(self.encode(frames).code, generator=generator)
        intervals = frames.shape[1] - 1
        found = {
            "divergence_initial": inferred.initial.divergence_from_standard(),
            "residual_per_frame": inferred.increments[0].norm(dim=-1).sum(dim=-1) / intervals,
            "initial": inferred.initial.mean,
        }
        if inferred.posterior and inferred.prior and inferred.divergence is not None:
            moved = (inferred.posterior.mean - inferred.prior.mean[0]) / inferred.prior.std[0]
            found["divergence_noise_per_frame"] = inferred.divergence[0].mean(dim=1)
            found["noise_gap"] = moved.abs().mean(dim=(1, 2))
            found["noise"] = moved
        return found

    def training_warning(self, diagnosed: Mapping[str, float]) -> str | None:
        latents = [("initial", "y₁", "kl_initial_weight"), ("noise", "z", "kl_noise_weight")]
        return collapse_warning(diagnosed, latents)

    # Inference

    def inputs(self, frames: Frames | Batch) -> Float[Tensor, "batch time channel *space"]:
        values = super().inputs(frames)
        if not self.gap_input:
            return values
        whole = whole_frames(frames) if isinstance(frames, Batch) else frames
        absent = ~known_frames(whole)[:, :, *[None] * (values.ndim - 2)]
        return spread(values.masked_fill(absent, torch.nan), grid_of_times(whole.times), torch.nan)

    def mask_of(self, batch: Batch) -> Bool[Tensor, "batch time channel *space"] | None:
        """Which of the `inputs` are known; None if all are."""
        if not self.gap_input:
            return batch.mask
        whole = whole_frames(batch)
        return spread(whole.known, grid_of_times(whole.times))

    def encode(self, frames: Float[Tensor, "batch time channel *space"]) -> Encoding:
        """Code and skip maps of each frame, (batch, time, …); NaN for missing frames."""
        many, shape = frames.flatten(0, 1), frames.shape[:2]
        absent = many.flatten(1)[:, 0].isnan() if self.gap_input else None
        if absent is None or not bool(absent.any()):
            code, skips = self.encoder(many)
        else:  # batch normalisation must see existing frames only
            code, skips = self.encoder(many[~absent])
            code, *rest = (scattered(part, ~absent) for part in (code, *skips))
            skips = tuple(rest)
        skips = tuple(skip.unflatten(0, shape) for skip in skips) if self.skips else ()
        return Encoding(widened(code).unflatten(0, shape), skips)

    def content_of_last_frames(self, codes: Encoding) -> Content:
        """Content of the last existing frames, and skip maps of the very last."""
        order, count = observed_order(known_codes(codes.code))
        last = (count[:, None] - 1).clamp_min(0)
        numbers = (last - self.repeated(count)).flip(1)
        chosen = rows_of(codes.code, order.gather(1, numbers))
        frame = order.gather(1, last)
        return self.pool_content(chosen, tuple(rows_of(skip, frame)[:, 0] for skip in codes.skips))

    def pool_content(
        self, codes: Float[Tensor, "batch frame code"], skips: tuple[Tensor, ...]
    ) -> Content:
        """Content of some frames, whatever their order."""
        return Content(self.content_of_sum(self.content_of_frame(codes).sum(dim=1)), skips)

    def content_of(self, context: Float[Tensor, "batch time channel *space"]) -> Content:
        if not self.gap_input:
            context = context[:, -self.inference_frames :]
        return self.content_of_last_frames(self.encode(context))

    # Forecasting

    def observe(
        self,
        context: Float[Tensor, "batch time channel *space"],
        *,
        samples: int = 1,
        generator: torch.Generator | None = None,
    ) -> State:
        codes = self.encode(context)
        inferred = self.infer(codes.code, samples=samples, generator=generator)
        return State(
            self.content_of_last_frames(codes),
            inferred.latents[:, :, -1].contiguous(),
            0.0,
            1.0 - context.shape[1],
        )

    def infer_path(
        self,
        observed: Float[Tensor, "batch time channel *space"],
        *,
        samples: int,
        solver: Solver,
        generator: torch.Generator | None,
    ) -> Latents:
        codes = self.encode(observed)
        inferred = self.infer(codes.code, samples=samples, solver=solver, generator=generator)
        length = observed.shape[1]
        return Latents(
            content=self.content_of_last_frames(codes),
            states=inferred.latents,
            times=torch.arange(1.0 - length, 1.0),
            solvers=(solver,) * (length - 1),
            noise=inferred.noise,
            initial=inferred.initial,
            posterior=inferred.posterior,
            prior=inferred.prior,
            evidence=inferred.evidence,
        )

    @property
    def largest_feature_map(self) -> int:
        return self.decoder.largest_feature_map

    def precompute_content(self, content: Content) -> Content:
        return self.decoder.precompute(content)

    def decode(
        self, content: Content, latents: Float[Tensor, "batch many latent"]
    ) -> Float[Tensor, "batch many channel *space"]:
        return self.decoder(content, latents[..., : self.latent_size])


def scattered(
    values: Float[Tensor, "some *size"], there: Bool[Tensor, " many"]
) -> Float[Tensor, "many *size"]:
    """Values at the places marked in `there`; NaN at the others."""
    found = values.new_full((len(there), *values.shape[1:]), torch.nan)
    return found.index_put((there,), values)

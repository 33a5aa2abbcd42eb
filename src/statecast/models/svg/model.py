"""SVG: stochastic video generation with a learned or a fixed prior."""

from __future__ import annotations

import sys
from contextlib import nullcontext
from typing import Literal, NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor

from statecast.errors import InputError
from statecast.frames import Batch, FrameSpec
from statecast.models.base import Losses, known_mean
from statecast.models.frame_feedback import FrameFeedback
from statecast.models.svg.codecs import Backbone, Maps, SkipDecoder, SkipEncoder, stacked, unfolded
from statecast.models.svg.recurrent import FramePredictor, GaussianLSTM
from statecast.models.svg.statistics import (
    batch_statistics,
    check_batch,
    precise_statistics,
    repeated_updates,
)
from statecast.nn.blocks import initialise_normal, initialise_uniform
from statecast.nn.codecs.base import Encoding, Output
from statecast.nn.gaussian import DiagonalGaussian, widened
from statecast.nn.noise import Noise
from statecast.nn.normaliser import Normalisation
from statecast.nn.recurrent import LSTMState

WEIGHT_STD = 0.02  # standard deviation of initial weights, except in LSTMs, as published


class SVGState(NamedTuple):
    """State of `SVG` after a frame, for each row."""

    predictor: LSTMState | None
    prior: LSTMState | None
    skips: Maps  # convolved, of the skip frame; one set per sequence, or per row


class Inference(NamedTuple):
    """Distributions and predictions of frames x₂ … x_T in training."""

    decoded: Float[Tensor, "batch time channel y x"]
    codes: Float[Tensor, "batch time code"]  # ĝ, from which frames are decoded
    posterior: DiagonalGaussian  # (batch, time, noise)
    prior: DiagonalGaussian | None  # None for the prior N(0, I)


class SVG(FrameFeedback[SVGState]):
    r"""Stochastic video generation (Denton and Fergus, 2018).

    $$h_t = \mathrm{Enc}(x_t), \quad z_t \sim N(\mu_\psi(h_{1:t-1}), \sigma_\psi^2), \quad
    \hat g_t = \mathrm{LSTM}_\theta(h_{1:t-1}, z_{2:t}), \quad
    \hat x_t = \mathrm{Dec}(\hat g_t, \text{skips})$$

    Each forecast frame is encoded again for the next one. In training, the encoder sees true
    frames, and z_t comes from a posterior that has seen x_t. Skip maps come from the last observed
    frame; inside the context, from the frame before.

    Reference: https://arxiv.org/abs/1802.07687.

    `published` follows the published code in four ways. Skip maps come from the last but one
    observed frame. In training, batch normalisation uses statistics of each time step separately;
    with a learned prior, each inner frame updates its running statistics twice. In forecasts with a
    learned prior, batch normalisation uses statistics of the batch, for each sample separately.
    With a fixed prior, z of observed frames is the posterior mean instead of a draw. Convolutions
    use the default memory format.

    Args:
        spec: shape, channels and units of the frames; comes from the data.
        backbone: `dcgan` (strided convolutions) or `vgg` (3×3 convolutions and pooling). Sides must
            be divisible by 16, or by 32 if both are 128 or more.
        prior: `learned` (SVG-LP), or `fixed` to N(0, I) (SVG-FP).
        width: channels of the first convolution.
        code_size: size of the code of a frame.
        noise_size: size of z.
        recurrent_size: units of each LSTM.
        predictor_layers: number of LSTMs in the frame predictor's stack.
        posterior_layers: the same for the posterior.
        prior_layers: the same for the prior.
        kl_weight: weight β of the divergences.
        skip_frame: `last`, or `previous` for skip maps of the frame before, observed or not, as
            with the published `last_frame_skip`.
        published: whether to follow the published code, see above.
        forecast_statistics: statistics of batch normalisation in forecasts: `running` ones of
            training, or those of the `batch`, which make sequences depend on each other; by
            default `batch` with `published` and a learned prior, else `running`.
        output: `sigmoid` for frames in [0, 1], `identity` for unbounded ones; by default, the one
            that fits the normalised data.
        normalise: `auto`, `none`, `range` or `standard`, see `Normaliser`.
        generator: source of the initial weights.
    """

    stochastic = True

    def __init__(
        self,
        spec: FrameSpec,
        *,
        backbone: Backbone = "dcgan",
        prior: Literal["learned", "fixed"] = "learned",
        width: int = 64,
        code_size: int = 128,
        noise_size: int = 10,
        recurrent_size: int = 256,
        predictor_layers: int = 2,
        posterior_layers: int = 1,
        prior_layers: int = 1,
        kl_weight: float = 1e-4,
        skip_frame: Literal["last", "previous"] = "last",
        published: bool = False,
        forecast_statistics: Literal["running", "batch"] | None = None,
        output: Output | None = None,
        normalise: Normalisation = "auto",
        generator: torch.Generator | None = None,
    ) -> None:
        super().__init__(spec, normalise=normalise)
        self.noise_size, self.kl_weight = noise_size, kl_weight
        self.skip_frame, self.published = skip_frame, published
        self.channels_last = not published  # see `precise_statistics`
        learned = prior == "learned"
        if forecast_statistics is None:
            forecast_statistics = "batch" if published and learned else "running"
        self.forecast_statistics = forecast_statistics
        if spec.context < self.minimum_context:
            raise InputError(
                "With published: true, skips come from the last but one observed frame: the "
                f"context must have at least 2 frames, got {spec.context}."
            )
        shape = spec.frame_shape
        self.encoder = SkipEncoder(shape, code_size, backbone=backbone, width=width)
        output = output or self.normaliser.fitting_output
        self.decoder = SkipDecoder(shape, code_size, backbone=backbone, width=width, output=output)
        self.predictor = FramePredictor(code_size, noise_size, recurrent_size, predictor_layers)
        self.posterior = GaussianLSTM(code_size, noise_size, recurrent_size, posterior_layers)
        self.prior = None
        if learned:
            self.prior = GaussianLSTM(code_size, noise_size, recurrent_size, prior_layers)
        initialise_uniform(self, generator)  # for LSTMs; the next line redraws the rest
        initialise_normal(self, WEIGHT_STD, generator)

    @property
    def minimum_context(self) -> int:
        return 2 if self.published and self.skip_frame == "last" else 1

    # Training

    def loss(
        self, batch: Batch, *, step: int = 0, generator: torch.Generator | None = None
    ) -> Losses:
        r"""Errors and divergences of all frames but the first.

        $$\sum_{t=2}^T \overline{(\hat x_t - x_t)^2}
        + \beta \sum_{t=2}^T KL(q(z_t | x_{2:t}) \| p(z_t | x_{1:t-1}))$$

        The mean is over known values and the batch; the divergence is summed over units of z.
        """
        noise = Noise(1, len(batch), generator)
        return self.loss_of(batch, self.infer(self.inputs(batch), len(batch.context), noise=noise))

    def loss_of(self, batch: Batch, inferred: Inference) -> Losses:
        """The terms of the loss, from the inference of a batch."""
        errors = (widened(inferred.decoded) - self.inputs(batch)[:, 1:]).square()
        mask = None if batch.mask is None else batch.mask[:, 1:]
        if inferred.prior is None:
            divergence = inferred.posterior.divergence_from_standard()
        else:
            divergence = inferred.posterior.divergence(inferred.prior)
        terms = {
            "reconstruction": errors.shape[1] * known_mean(errors, mask),
            "divergence": divergence.sum(dim=1).mean(),
        }
        total = terms["reconstruction"] + self.kl_weight * terms["divergence"]
        return {"total": total, **terms}

    def infer(
        self, frames: Float[Tensor, "batch time channel y x"], context: int, *, noise: Noise
    ) -> Inference:
        """Predict each frame but the first from true frames before it and the posterior's z.

        Args:
            frames: context and target, in the units of the model.
            context: number of context frames, which determines the skip frame.
            noise: source of one draw per sequence.
        """
        with precise_statistics(frames.device) if self.by_step else nullcontext():
            codes, skips = self.encode_window(frames)
            before, after = codes[:, :-1], codes[:, 1:]
            posterior, _ = self.posterior(after)
            drawn = noise.draw(after.shape[1], self.noise_size, like=posterior.mean)
            predicted, _ = self.predictor(before, posterior.mean + posterior.std * drawn)
            prior = None if self.prior is None else self.prior(before)[0]
            decoded = self.decode_window(skips, predicted, context)
        return Inference(decoded, predicted, posterior, prior)

    @property
    def by_step(self) -> bool:
        """Whether batch normalisation now uses statistics of each time step separately."""
        return self.published and self.training

    def encode_window(self, frames: Float[Tensor, "batch time channel y x"]) -> Encoding:
        """Code and skip maps of each frame of a training window, (batch, time, …)."""
        if not self.by_step:
            return unfolded(self.encoder(frames.flatten(0, 1)), frames.shape[:2])
        check_batch(frames)
        last = frames.shape[1] - 1
        encodings = []
        for time, frame in enumerate(frames.unbind(1)):
            # The published code encodes inner frames twice.
            times = 2 if self.prior is not None and 0 < time < last else 1
            with repeated_updates(self.encoder, times):
                encodings.append(self.encoder(frame))
        return stacked(encodings)

    def decode_window(
        self, skips: Maps, codes: Float[Tensor, "batch time code"], context: int
    ) -> Float[Tensor, "batch time channel y x"]:
        """Frames from codes, with skips of the frame before each, or of an earlier skip frame."""
        batch, length = codes.shape[:2]
        frozen = min(self.skip_index(context), length - 1)
        source = torch.arange(length, device=codes.device).clamp(max=frozen)
        convolved = self.decoder.convolve_skips(
            tuple(maps[:, : frozen + 1].flatten(0, 1) for maps in skips)
        )
        maps = tuple(part.unflatten(0, (batch, -1)) for part in convolved)
        decoded = []
        for steps in torch.arange(length).split(1 if self.by_step else length):
            of_steps = tuple(part[:, source[steps]].flatten(0, 1) for part in maps)
            frames = self.decoder(of_steps, codes[:, steps].flatten(0, 1).unsqueeze(1))
            decoded.append(frames.view(batch, len(steps), *frames.shape[2:]))
        return torch.cat(decoded, dim=1)

    def skip_index(self, context: int) -> int:
        """Index of the last frame that gives skip maps."""
        if self.skip_frame == "previous":
            return sys.maxsize
        return context - 2 if self.published else context - 1

    # Forecasting

    def observe(
        self, context: Float[Tensor, "batch time channel y x"], *, noise: Noise
    ) -> tuple[Float[Tensor, "row channel y x"], SVGState]:
        codes, skips = self.encode(context)
        index = min(self.skip_index(context.shape[1]), context.shape[1] - 1)
        maps = self.decoder.convolve_skips(tuple(part[:, index] for part in skips))
        state = SVGState(None, None, maps)
        before = noise.rows(codes[:, :-1])
        if before.shape[1]:
            posterior, _ = self.posterior(codes[:, 1:])
            latents = noise.rows(posterior.mean)
            if self.prior is not None or not self.published:
                drawn = noise.draw(*latents.shape[1:], like=latents)
                latents = latents + noise.rows(posterior.std) * drawn
            _, predictor = self.predictor(before, latents)
            prior = None if self.prior is None else self.prior(before)[1]
            state = SVGState(predictor, prior, maps)
        return self.forecast_next(noise.rows(codes[:, -1]), state, noise=noise)

    def step(
        self, frame: Float[Tensor, "row channel y x"], state: SVGState, *, noise: Noise
    ) -> tuple[Float[Tensor, "row channel y x"], SVGState]:
        codes, skips = self.encode(frame.unflatten(0, (noise.batch, noise.samples)))
        if self.skip_frame == "previous":
            maps = self.decoder.convolve_skips(tuple(part.flatten(0, 1) for part in skips))
            state = state._replace(skips=maps)
        return self.forecast_next(codes.flatten(0, 1), state, noise=noise)

    def forecast_next(
        self, codes: Float[Tensor, "row code"], state: SVGState, *, noise: Noise
    ) -> tuple[Float[Tensor, "row channel y x"], SVGState]:
        """The next frame and the state after it, with z drawn from its prior."""
        latents = noise.draw(self.noise_size, like=widened(codes))
        if self.prior is not None:
            prior, after = self.prior(codes.unsqueeze(1), state.prior)
            latents = prior.mean[:, 0] + prior.std[:, 0] * latents
            state = state._replace(prior=after)
        return self.forecast_with(codes, latents, state, noise=noise)

    def forecast_with(
        self,
        codes: Float[Tensor, "row code"],
        latents: Float[Tensor, "row noise"],
        state: SVGState,
        *,
        noise: Noise,
    ) -> tuple[Float[Tensor, "row channel y x"], SVGState]:
        """The next frame and the state after it, with this z."""
        predicted, predictor = self.predictor(
            codes.unsqueeze(1), latents.unsqueeze(1), state.predictor
        )
        frames = self.decode(state.skips, predicted.unflatten(0, (noise.batch, -1)).squeeze(2))
        return frames.flatten(0, 1), state._replace(predictor=predictor)

    def encode(self, frames: Float[Tensor, "batch many channel y x"]) -> Encoding:
        """Code and skip maps of each frame, (batch, many, …), over times or samples."""
        if self.forecast_statistics == "running":
            return unfolded(self.encoder(frames.flatten(0, 1)), frames.shape[:2])
        check_batch(frames)
        with batch_statistics(self.encoder, frames.device):
            return stacked([self.encoder(part) for part in frames.unbind(1)])

    def decode(
        self, skips: Maps, codes: Float[Tensor, "batch sample code"]
    ) -> Float[Tensor, "batch sample channel y x"]:
        """Frames from codes, with skip maps of each sequence or of each row."""
        batch, samples = codes.shape[:2]
        few = len(skips[0])
        if self.forecast_statistics == "running":
            folded = codes.reshape(few, -1, codes.shape[2])
            frames: Tensor = self.decoder(skips, folded)
            return frames.reshape(batch, samples, *frames.shape[2:])
        each = [part.unflatten(0, (batch, -1)).expand(-1, samples, -1, -1, -1) for part in skips]
        with batch_statistics(self.decoder, codes.device):
            parts = [
                self.decoder(tuple(part[:, sample] for part in each), codes[:, sample].unsqueeze(1))
                for sample in range(samples)
            ]
        return torch.cat(parts, dim=1)

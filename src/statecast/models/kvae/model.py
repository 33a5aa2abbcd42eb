"""KVAE: frame codes driven by a linear Gaussian state, filtered and smoothed exactly."""

from __future__ import annotations

from itertools import islice
from typing import Any, Literal, NamedTuple

import torch
from jaxtyping import Bool, Float
from torch import Tensor, nn

from statecast.checks import LONGEST, typed
from statecast.errors import InputError
from statecast.frames import Batch, Frames, FrameSpec
from statecast.models.base import Losses, evaluation_mode, known_part
from statecast.models.frame_grid import grid_of_times, known_frames, spread, whole_frames
from statecast.models.kvae.codecs import Architecture, CodeDecoder, CodeEncoder, initialise_glorot
from statecast.models.kvae.dynamics import ForecastStart, MixedDynamics, Path
from statecast.models.online import OnlineForecaster, check_rows
from statecast.nn.blocks import apply_in_parts
from statecast.nn.gaussian import negative_log_density
from statecast.nn.kalman import Moments
from statecast.nn.noise import Noise
from statecast.nn.normaliser import Normalisation
from statecast.nn.random import standard_normal
from statecast.solvers.solvers import SolverName

DECODED_ROWS = 256  # frames that a forecast decodes at once


class KVAEStates(NamedTuple):
    """States z and codes of consecutive frames, (batch, time, …), as Gaussians."""

    times: Float[Tensor, " time"]  # in frame intervals after the last observed frame
    filtered: Moments  # z given the frames up to each time
    smoothed: Moments  # z given all frames
    codes: Moments  # codes given all frames, including their noise


class KVAE(OnlineForecaster[Path]):
    r"""Kalman variational auto-encoder (Fraccaro, Kamronn, Paquet and Winther, 2017).

    $$z_{t+1} \sim N(A_t z_t, Q), \qquad a_t \sim N(C_t z_t, R), \qquad x_t \sim p(x_t | a_t)$$

    $$A_t = \sum_k \alpha_t^k A^k, \qquad C_{t+1} = \sum_k \alpha_t^k C^k, \qquad
    \alpha_t = \mathrm{softmax}(\mathrm{LSTM}(a_0, \ldots, a_t))$$

    Given codes a, states z are filtered and smoothed in closed form, even if frames are missing:
    α then uses the prediction of a missing code. A forecast draws z and a frame by frame. Times up
    to 0 give the context's own frames, including missing ones, from z given all of them.

    Reference: https://arxiv.org/abs/1710.05741.

    Args:
        spec: shape, channels and units of the frames; comes from the data.
        architecture: `convolutional` for images, or `mlp`.
        filters: channels of each convolution; sides must be divisible by 2 once for each.
        code_size: size of the code a.
        state_size: size of the state z.
        matrices: number of matrices A, and of matrices C; 1 needs no mixing network.
        mixing_hidden: units of the mixing network's LSTM.
        transition_variance: diagonal of Q.
        emission_variance: diagonal of R, and upper bound of the encoder's variances.
        initial_variance: variance of z at the first frame.
        reconstruction_weight: weight of the frames' log-density.
        estimator: estimator of the density of codes: `exact`, by one-step predictions, or
            `published`, a looser bound with z drawn independently at each time.
        forecast_from: `filtered` draws the last state given the context; `means`, as published,
            starts from the smoothed means, and mixes matrices by the codes that these give.
        likelihood: `bernoulli` for frames in [0, 1], `gaussian` for others; by default, the one
            that fits the normalised data.
        observation_std: standard deviation of a pixel around the decoded frame, if `gaussian`.
        normalise: `auto`, `none`, `range` or `standard`, see `Normaliser`.
        generator: source of the initial weights.

    Errors:
        InputError: sides are not divisible, a variance is not positive, or the likelihood does not
            fit the data.
    """

    stochastic = True
    takes_any_time = True  # those of the context as well; it refuses times between frames
    state_type = Path
    takes_gaps = True

    def __init__(
        self,
        spec: FrameSpec,
        *,
        architecture: Architecture = "convolutional",
        filters: tuple[int, ...] = (32, 32, 32),
        code_size: int = 2,
        state_size: int = 4,
        matrices: int = 3,
        mixing_hidden: int = 50,
        transition_variance: float = 0.08,
        emission_variance: float = 0.03,
        initial_variance: float = 20.0,
        reconstruction_weight: float = 0.3,
        estimator: Literal["exact", "published"] = "exact",
        forecast_from: ForecastStart = "filtered",
        likelihood: Literal["bernoulli", "gaussian"] | None = None,
        observation_std: float = 0.1**0.5,
        normalise: Normalisation = "auto",
        generator: torch.Generator | None = None,
    ) -> None:
        super().__init__(spec, normalise=normalise)
        bounded = self.normaliser.fitting_output == "sigmoid"
        self.likelihood = likelihood or ("bernoulli" if bounded else "gaussian")
        self.reconstruction_weight, self.observation_std = reconstruction_weight, observation_std
        self.estimator, self.forecast_start, self.code_size = estimator, forecast_from, code_size
        variances = (transition_variance, emission_variance, initial_variance, observation_std)
        if min(variances) <= 0 or not filters:
            raise InputError(
                "kvae needs positive variances and observation_std, and at least 1 convolution, "
                f"got {variances} and {len(filters)}."
            )
        if self.likelihood == "bernoulli" and not bounded:
            raise InputError(
                "likelihood: bernoulli needs frames in [0, 1]. Use gaussian, or normalise: range "
                "if the range of the data is known."
            )
        shape = spec.frame_shape
        self.encoder = CodeEncoder(
            shape,
            code_size,
            architecture=architecture,
            filters=filters,
            largest_variance=emission_variance,
        )
        self.decoder = CodeDecoder(shape, code_size, architecture=architecture, filters=filters)
        self.dynamics = MixedDynamics(
            code_size,
            state_size,
            matrices=matrices,
            mixing_hidden=mixing_hidden,
            transition_variance=transition_variance,
            emission_variance=emission_variance,
            initial_variance=initial_variance,
        )
        initialise_glorot(self, generator)
        self.dynamics.initialise(generator)

    # States

    @typed
    def infer_states(self, context: Frames | Any, horizon: int = 0) -> KVAEStates:
        """States and codes of observed frames and those after them, in closed form.

        For missing frames, and for `horizon` more after the last one, predicted codes mix the
        matrices. Given these matrices, moments are exact.

        Args:
            context: as for `forecast`; frames may be missing.
            horizon: number of frames after the last observed one.

        Errors:
            InputError: the context or the horizon does not fit.
        """
        if not 0 <= horizon <= LONGEST:
            raise InputError(f"The horizon must lie between 0 and {LONGEST} frames, got {horizon}.")
        frames = self.check_context(context).to(self.dynamics.initial_mean.device)
        with evaluation_mode(self) as model, torch.no_grad():
            codes, known, first = model.observed(frames)
            more = codes.new_zeros(len(codes), horizon, model.code_size)
            codes, known = torch.cat([codes, more], 1), torch.cat([known, more[..., 0] > 0], 1)
            path = model.dynamics.filter(codes, known)
            smoothed = path.smooth()
            return KVAEStates(
                times=torch.arange(float(first), first + codes.shape[1]),
                filtered=path.filtered,
                smoothed=smoothed,
                codes=smoothed.transform(path.emissions, model.dynamics.emission_noise),
            )

    def observed(
        self, frames: Frames
    ) -> tuple[Float[Tensor, "batch time code"], Bool[Tensor, "batch time"], int]:
        """Mean codes of consecutive frames, whether each is known, and the time of the first."""
        grid = grid_of_times(frames.times)
        codes = self.encoder(self.inputs(frames), 2).mean
        return spread(codes, grid), spread(known_frames(frames), grid), grid.first

    # Training

    def loss(
        self, batch: Batch, *, step: int = 0, generator: torch.Generator | None = None
    ) -> Losses:
        r"""Negative evidence lower bound per observed frame, with a weight w on the frame term.

        $$-\frac1n\Big(w \sum_t \ln p(x_t | a_t) - \sum_t \ln q(a_t | x_t) + \ln p(a)\Big)$$

        a is drawn from q; n is the number of observed frames, which the first two sums run over.
        """
        frames = whole_frames(batch)
        shape = (1, *frames.values.shape[:2])
        codes = standard_normal((*shape, self.code_size), batch.values, generator)[0]
        states = None
        if self.estimator == "published":
            length = grid_of_times(frames.times).length
            size = len(self.dynamics.initial_mean)
            states = standard_normal((*shape[:2], length, size), batch.values, generator)[0]
        return self.loss_of(frames, codes, states)

    def loss_of(
        self,
        frames: Frames,
        code_noise: Float[Tensor, "batch time code"],
        state_noise: Float[Tensor, "batch time state"] | None = None,
    ) -> Losses:
        """The terms of the loss, given standard normal values for codes and, if needed, for z."""
        inputs, known = self.inputs(frames), known_frames(frames)
        count = known.sum().clamp_min(1)
        encoded = self.encoder(inputs, 2)
        codes = encoded.at(code_noise)
        grid = grid_of_times(frames.times)
        with torch.autocast(codes.device.type, enabled=False):  # matrix factors need full precision
            prior = self.prior_terms(spread(codes, grid), spread(known, grid), state_noise)
        density = known_part(self.frame_density(codes, inputs), frames.mask)
        terms = {
            "reconstruction": -density.sum() / count,
            "posterior": encoded.log_density(codes)[known].sum() / count,
            **{name: -value / count for name, value in prior.items()},
        }
        rest = sum(value for name, value in terms.items() if name != "reconstruction")
        return {"total": self.reconstruction_weight * terms["reconstruction"] + rest, **terms}

    def frame_density(
        self,
        codes: Float[Tensor, "batch time code"],
        frames: Float[Tensor, "batch time channel *space"],
    ) -> Float[Tensor, "batch time channel *space"]:
        """Log-density of each value given the code."""
        decoded = self.decoder(codes)
        if self.likelihood == "bernoulli":
            return -nn.functional.binary_cross_entropy_with_logits(
                decoded, frames, reduction="none"
            )
        return -negative_log_density(frames, decoded, self.observation_std)

    def prior_terms(
        self,
        codes: Float[Tensor, "batch time code"],
        known: Bool[Tensor, "batch time"],
        noise: Float[Tensor, "batch time state"] | None = None,
    ) -> Losses:
        """Log-density of the codes of consecutive frames, or the terms of the published bound."""
        path = self.dynamics.filter(codes, known)
        if self.estimator == "exact":
            return {"codes": self.dynamics.log_density(path, codes)[known].sum()}
        assert noise is not None
        return self.dynamics.published_terms(path, codes, known, noise)

    # Forecasting

    def predict(
        self,
        context: Frames,
        times: Float[Tensor, " time"],
        *,
        samples: int,
        substeps: int | None,
        solver: SolverName | None,
        content_from: Frames | None,
        generator: torch.Generator | None,
    ) -> Float[Tensor, "sample batch time channel *space"]:
        codes, known, _ = self.observed(context)
        leads = leads_of(times, float(context.times[-1]))
        path = self.dynamics.filter(codes, known)
        return self.predict_path(path, leads, samples=samples, generator=generator)

    def predict_path(
        self, path: Path, leads: list[int], *, samples: int, generator: torch.Generator | None
    ) -> Float[Tensor, "sample batch time channel *space"]:
        """Frames at lead times: up to 0 those of the path, then those that follow it."""
        length = path.weights.shape[1]
        if leads[0] <= -length:
            raise InputError(
                f"This model goes back to its first frame at most, at time {1 - length}, got a "
                f"time of {leads[0]}."
            )
        if leads[0] > 0 and self.forecast_start == "filtered":
            path = path.end  # earlier frames are not asked for, and draws stay the same
        noise = Noise(samples, len(path.weights), generator)
        states = self.dynamics.draw_states(path, noise, self.forecast_start)
        codes, state = self.dynamics.draw_codes(path, states, noise, self.forecast_start)
        found = {lead: codes[:, lead - 1] for lead in leads if lead <= 0}
        later = self.dynamics.roll_out(states[:, -1], state, noise)
        found |= dict(enumerate(islice(later, max(leads[-1], 0)), start=1))
        frames = [self.decode(found[lead]) for lead in leads]
        return torch.stack(frames, dim=1).unflatten(0, (-1, samples)).transpose(0, 1)

    @property
    def why_no_state(self) -> str | None:
        means = self.forecast_start == "means"
        return "With forecast_from: means, a forecast needs its whole context." if means else None

    def filter_frames(self, frames: Frames, state: Path | None, dt: float) -> Path:
        codes, known, _ = self.observed(frames)
        if state is None:
            return self.dynamics.filter(codes, known).end
        check_rows(len(state.weights), len(codes))
        gap = grid_of_times(torch.tensor([0.0, dt])).length - 2  # missing frames between
        codes = torch.cat([codes.new_zeros(len(codes), gap, self.code_size), codes], dim=1)
        known = torch.cat([known.new_zeros(len(codes), gap), known], dim=1)
        return self.dynamics.filter(codes, known, state.following).end

    def predict_from(
        self,
        state: Path,
        times: Float[Tensor, " time"],
        *,
        samples: int,
        generator: torch.Generator | None,
    ) -> Float[Tensor, "sample batch time channel *space"]:
        leads = leads_of(times, 0.0)
        return self.predict_path(state, leads, samples=samples, generator=generator)

    def decode(self, codes: Float[Tensor, "row code"]) -> Float[Tensor, "row channel *space"]:
        """Mean frames of codes, in the units of the data."""
        frames = apply_in_parts(self.decoder, codes, DECODED_ROWS)
        frames = frames.sigmoid() if self.likelihood == "bernoulli" else frames
        return self.normaliser.restore(frames, axis=1)


def leads_of(times: Float[Tensor, " time"], last: float) -> list[int]:
    """Whole times as lead times after the last frame of a context.

    Errors:
        InputError: a time lies between frames, or two times fall on one frame.
    """
    wanted = grid_of_times(times)
    return [wanted.first + place - round(last) for place in wanted.places]

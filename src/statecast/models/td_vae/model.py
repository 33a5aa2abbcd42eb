"""TD-VAE: beliefs and states of a video, with jumps between any two times."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Literal, NamedTuple

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from statecast.errors import InputError
from statecast.frames import Batch, Frames, FrameSpec
from statecast.models.base import Losses, known_part
from statecast.models.frame_grid import known_frames, whole_frames
from statecast.models.latents import TIME_TOLERANCE
from statecast.models.online import OnlineForecaster, check_rows
from statecast.models.td_vae.layers import (
    Architecture,
    BeliefNetwork,
    Beliefs,
    BeliefState,
    FrameDecoder,
    FrameEncoder,
    Hierarchy,
)
from statecast.nn.blocks import apply_in_parts, initialise_normal, initialise_uniform
from statecast.nn.gaussian import DiagonalGaussian, negative_log_density
from statecast.nn.noise import Noise
from statecast.nn.normaliser import Normalisation
from statecast.nn.random import standard_normal, uniform
from statecast.solvers.solvers import SolverName

DECODED_ROWS = 256  # frames that a forecast decodes at once
WEIGHT_STD = 0.02  # standard deviation of initial weights of convolutional codecs


class Pairs(NamedTuple):
    """Two times of each sequence, as indices of frames, (pair, batch)."""

    first: Int[Tensor, "pair batch"]
    second: Int[Tensor, "pair batch"]


class Inference(NamedTuple):
    """Distributions of the states at two times, for each row (pair * batch)."""

    later: Float[Tensor, "row layer size"]  # z₂, drawn from the belief
    belief_later: DiagonalGaussian  # p_B(z₂ | b₂)
    smoothed: DiagonalGaussian  # q_S(z₁ | z₂, b₁)
    belief: DiagonalGaussian  # p_B(z₁ | b₁), at the drawn upper layers
    transition: DiagonalGaussian  # p_T(z₂ | z₁), at z₂
    decoded: Float[Tensor, "row channel *space"]  # of z₂, before the output function


class TDVAE(OnlineForecaster[BeliefState]):
    r"""Temporal difference variational auto-encoder (Gregor et al., 2019).

    $$b_t = \mathrm{LSTM}(x_1, \ldots, x_t), \qquad z_{t_2} \sim p_B(\cdot | b_{t_2}), \qquad
    z_{t_1} \sim q_S(\cdot | z_{t_2}, b_{t_1}), \qquad z_{t_2} \sim p_T(\cdot | z_{t_1})$$

    The state at one time predicts that at another, any number of frames later, in one step, without
    the frames in between. A forecast draws a state from the belief at the last observed frame, and
    jumps to each requested time, whole or not. Frames may be missing, at uneven gaps.

    Reference: https://arxiv.org/abs/1806.03107.

    Args:
        spec: shape, channels and units of the frames; comes from the data.
        architecture: `mlp` (as published), or the codecs `dcgan` and `vgg` for larger images.
        width: channels of a convolutional codec's first convolution.
        code_size: size of a frame's code.
        belief_size: size of each layer of the belief.
        latent_size: size of each layer of the state.
        layers: layers of belief and state.
        map_hidden: hidden units of each Gaussian map.
        decoder_hidden: hidden units of the `mlp` decoder.
        min_gap: fewest frames between the times of a training pair.
        max_gap: most frames between them; by default the horizon.
        pairs: number of pairs of times drawn from each training window.
        gap_input: whether networks see the gap that they bridge. Without it, as published, a
            jump covers a random number of frames in training, and counts as one in a forecast.
        longest_jump: most frames that a forecast covers in one jump; by default `max_gap`, or 1
            without `gap_input`.
        likelihood: `bernoulli` for frames in [0, 1], `gaussian` for others; by default, the one
            that fits the normalised data.
        observation_std: standard deviation of a pixel around the decoded frame, if `gaussian`.
        normalise: `auto`, `none`, `range` or `standard`, see `Normaliser`.
        generator: source of the initial weights.

    Errors:
        InputError: gaps do not fit the window, sides are not divisible, or the likelihood does not
            fit the data.
    """

    stochastic = True
    state_type = BeliefState
    takes_gaps = True

    def __init__(
        self,
        spec: FrameSpec,
        *,
        architecture: Architecture = "mlp",
        width: int = 32,
        code_size: int = 256,
        belief_size: int = 50,
        latent_size: int = 8,
        layers: int = 2,
        map_hidden: int = 50,
        decoder_hidden: int = 200,
        min_gap: int = 1,
        max_gap: int | None = None,
        pairs: int = 1,
        gap_input: bool = True,
        longest_jump: float | None = None,
        likelihood: Literal["bernoulli", "gaussian"] | None = None,
        observation_std: float = 0.3,
        normalise: Normalisation = "auto",
        generator: torch.Generator | None = None,
    ) -> None:
        super().__init__(spec, normalise=normalise)
        self.min_gap, self.max_gap = min_gap, spec.horizon if max_gap is None else max_gap
        self.pairs, self.gap_input, self.observation_std = pairs, gap_input, observation_std
        self.layers, self.latent_size = layers, latent_size
        if longest_jump is None:
            longest_jump = self.max_gap if gap_input else 1
        self.longest_jump = float(longest_jump)
        bounded = self.normaliser.fitting_output == "sigmoid"
        self.likelihood = likelihood or ("bernoulli" if bounded else "gaussian")
        self._check_options(bounded)
        self.takes_any_time = gap_input
        shape, told = spec.frame_shape, int(gap_input)
        state = layers * latent_size
        self.encoder = FrameEncoder(shape, code_size, architecture=architecture, width=width)
        self.belief_network = BeliefNetwork(
            code_size, belief_size, layers, time_unit=self.max_gap if gap_input else None
        )
        sizes = (map_hidden, latent_size, layers)
        self.belief = Hierarchy(belief_size, *sizes)
        self.smoothing = Hierarchy(state + belief_size + told, *sizes)
        self.transition = Hierarchy(state + told, *sizes)
        self.decoder = FrameDecoder(
            shape, state, decoder_hidden, architecture=architecture, width=width
        )
        initialise_uniform(self, generator)
        for codec in (self.encoder.codec, self.decoder.codec):
            if codec is not None:
                initialise_normal(codec, WEIGHT_STD, generator)

    def _check_options(self, bounded: bool) -> None:
        if not 1 <= self.min_gap <= self.max_gap < self.spec.length or self.pairs < 1:
            raise InputError(
                "td_vae needs 1 ≤ min_gap ≤ max_gap, fewer than the frames of a window, "
                f"{self.spec.length}, and at least 1 pair, got {self.min_gap}, {self.max_gap} and "
                f"{self.pairs}."
            )
        if self.longest_jump <= 0 or not (self.gap_input or self.longest_jump == 1):
            raise InputError(
                "longest_jump must be positive, and 1 without gap_input, got "
                f"{self.longest_jump:g}."
            )
        if self.observation_std <= 0:
            raise InputError(f"observation_std must be positive, got {self.observation_std}.")
        if self.likelihood == "bernoulli" and not bounded:
            raise InputError(
                "likelihood: bernoulli needs frames in [0, 1]. Use gaussian, or normalise: range "
                "if the range of the data is known."
            )

    # Beliefs and states

    def beliefs(self, frames: Frames, state: BeliefState | None = None, dt: float = 1.0) -> Beliefs:
        """Beliefs after each frame; missing frames do not change them.

        Args:
            frames: frames in the units of the data.
            state: the state after the frames before, if any.
            dt: time from the last frame before to the first of these, in frame intervals.
        """
        codes = self.encoder(self.inputs(frames))
        return self.belief_network(codes, known_frames(frames), frames.times, state, dt)

    def with_gap(
        self, conditions: Sequence[Float[Tensor, "row input"]], gap: Float[Tensor, " row"]
    ) -> list[Float[Tensor, "row input"]]:
        """Conditions of each layer, with the gap to bridge if networks see it."""
        if not self.gap_input:
            return list(conditions)
        told = (gap / self.max_gap).unsqueeze(1)
        return [torch.cat([condition, told], dim=1) for condition in conditions]

    def jump(
        self,
        state: Float[Tensor, "row layer size"],
        gap: Float[Tensor, " row"],
        standard: Float[Tensor, "row layer size"],
    ) -> Float[Tensor, "row layer size"]:
        """The state `gap` frames later, drawn from standard normal values."""
        conditions = self.with_gap([state.flatten(1)] * self.layers, gap)
        return self.transition.draw(conditions, standard)[0]

    # Training

    def loss(
        self, batch: Batch, *, step: int = 0, generator: torch.Generator | None = None
    ) -> Losses:
        r"""The bound for pairs of times, estimated by one draw.

        $$-\ln p(x_{t_2} | z_{t_2}) + KL(q_S(z_{t_1} | z_{t_2}, b_{t_1}) \| p_B(z_{t_1} | b_{t_1}))
        + \ln p_B(z_{t_2} | b_{t_2}) - \ln p_T(z_{t_2} | z_{t_1})$$

        Terms are means over pairs where the second frame was observed, and the first or any before
        it; the last of these then gives the first time of the pair.
        """
        frames = whole_frames(batch)
        pairs = self.draw_pairs(len(batch), len(frames), frames.values, generator)
        size = (self.pairs, len(batch), self.layers, self.latent_size)
        later, earlier = (standard_normal(size, batch.values, generator) for _ in range(2))
        return self.loss_of(frames, pairs, later.flatten(0, 1), earlier.flatten(0, 1))

    def draw_pairs(
        self, batch: int, length: int, like: Tensor, generator: torch.Generator | None
    ) -> Pairs:
        """Pairs of times; the first time and the gap are uniform."""
        if length <= self.max_gap:
            raise InputError(
                f"Windows of {length} frames are too short for a gap of {self.max_gap}. Lower "
                "max_gap, or lengthen context or horizon."
            )
        drawn = uniform((batch, self.pairs, 2), like, generator).transpose(0, 1)
        first = (drawn[..., 0] * (length - self.max_gap)).long()
        gap = self.min_gap + (drawn[..., 1] * (self.max_gap - self.min_gap + 1)).long()
        return Pairs(first, first + gap)

    def loss_of(
        self,
        frames: Frames,
        pairs: Pairs,
        later_noise: Float[Tensor, "row layer size"],
        earlier_noise: Float[Tensor, "row layer size"],
    ) -> Losses:
        """The terms of the loss, given pairs of times and standard normal values for z₂ and z₁."""
        inputs, known = self.inputs(frames), known_frames(frames)
        beliefs = self.beliefs(frames)
        found = self.infer(beliefs, frames.times, pairs, later_noise, earlier_noise)
        sequence = torch.arange(len(inputs), device=inputs.device).expand(pairs.first.shape)
        mask = None if frames.mask is None else frames.mask[sequence, pairs.second].flatten(0, 1)
        target = inputs[sequence, pairs.second].flatten(0, 1)
        error = known_part(self.frame_error(found.decoded, target), mask)
        later = found.belief_later.log_density(found.later) - found.transition.log_density(
            found.later
        )
        seen = known[sequence, pairs.second] & beliefs.known[sequence, pairs.first]
        weights = seen.flatten() / seen.sum().clamp_min(1)
        terms = {
            "reconstruction": (weights * error.flatten(1).sum(dim=1)).sum(),
            "divergence": (weights * found.smoothed.divergence(found.belief).sum(dim=1)).sum(),
            "state_log_ratio": (weights * later.sum(dim=1)).sum(),
        }
        return {
            "total": terms["reconstruction"] + terms["divergence"] + terms["state_log_ratio"],
            **terms,
        }

    def infer(
        self,
        beliefs: Beliefs,
        times: Float[Tensor, " time"],
        pairs: Pairs,
        later_noise: Float[Tensor, "row layer size"],
        earlier_noise: Float[Tensor, "row layer size"],
    ) -> Inference:
        """States at both times of each pair, and their distributions."""
        sequence = torch.arange(len(beliefs.values), device=pairs.first.device)
        sequence = sequence.expand(pairs.first.shape)
        first, second = (
            list(beliefs.values[sequence, index].flatten(0, 1).unbind(1)) for index in pairs
        )
        clock = times.to(beliefs.times)
        gap = (clock[pairs.second] - beliefs.times[sequence, pairs.first]).flatten()
        later, belief_later = self.belief.draw(second, later_noise)
        conditions = [torch.cat([later.flatten(1), belief], dim=1) for belief in first]
        earlier, smoothed = self.smoothing.draw(self.with_gap(conditions, gap), earlier_noise)
        moved = self.with_gap([earlier.flatten(1)] * self.layers, gap)
        return Inference(
            later=later,
            belief_later=belief_later,
            smoothed=smoothed,
            belief=self.belief.given(first, earlier),
            transition=self.transition.given(moved, later),
            decoded=self.decoder(later),
        )

    def frame_error(
        self, decoded: Float[Tensor, "row channel *space"], frames: Float[Tensor, "row *frame"]
    ) -> Float[Tensor, "row channel *space"]:
        """−ln p(x | z) of each value."""
        if self.likelihood == "bernoulli":
            return nn.functional.binary_cross_entropy_with_logits(decoded, frames, reduction="none")
        return negative_log_density(frames, decoded, self.observation_std)

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
        state = self.filter_frames(context, None, 1.0)
        return self.predict_from(state, times, samples=samples, generator=generator)

    def filter_frames(self, frames: Frames, state: BeliefState | None, dt: float) -> BeliefState:
        if state is not None:
            check_rows(len(state.since), len(frames.values))
        return self.beliefs(frames, state, dt).last

    def predict_from(
        self,
        state: BeliefState,
        times: Float[Tensor, " time"],
        *,
        samples: int,
        generator: torch.Generator | None,
    ) -> Float[Tensor, "sample batch time channel *space"]:
        leads = times.tolist()
        if leads[0] <= 0:
            raise InputError(
                "This model forecasts times after the last observed frame, at 0, got a time of "
                f"{leads[0]:g}."
            )
        noise = Noise(samples, len(state.since), generator)
        belief = noise.rows(state.value)
        standard = noise.draw(self.layers, self.latent_size, like=belief)
        latent, _ = self.belief.draw(list(belief.unbind(1)), standard)
        found = self.roll_out(latent, noise.rows(-state.since), leads, noise)
        frames = torch.stack([self.decode(latents) for latents in found], dim=1)
        return frames.unflatten(0, (-1, samples)).transpose(0, 1)

    def roll_out(
        self,
        state: Float[Tensor, "row layer size"],
        start: Float[Tensor, " row"],
        leads: Sequence[float],
        noise: Noise,
    ) -> list[Float[Tensor, "row layer size"]]:
        """States at increasing positive times; none depends on which others are requested.

        Each time up to `longest_jump` is one jump, all with the same noise, so that a sample's path
        is continuous. Later times start from the state at `longest_jump`, and so on.

        Args:
            state: state at the last observed frame, for each row.
            start: time of that frame, at most 0.
            leads: the times.
            noise: source of one draw per `longest_jump`.
        """
        found: list[Tensor] = []
        for block in range(math.ceil(leads[-1] / self.longest_jump - TIME_TOLERANCE)):
            end = (block + 1) * self.longest_jump
            standard = noise.draw(self.layers, self.latent_size, like=state)
            inside = [lead for lead in leads[len(found) :] if lead <= end + TIME_TOLERANCE]
            found += [self.jump(state, lead - start, standard) for lead in inside]
            if len(found) < len(leads):
                state = self.jump(state, end - start, standard)
                start = torch.full_like(start, end)
        return found

    def decode(self, state: Float[Tensor, "row layer size"]) -> Float[Tensor, "row channel *space"]:
        """Mean frames given states, in the units of the data."""
        frames = apply_in_parts(self.decoder, state, DECODED_ROWS)
        frames = frames.sigmoid() if self.likelihood == "bernoulli" else frames
        return self.normaliser.restore(frames, axis=1)

"""Dynamics of codes: a linear Gaussian state with matrices that are mixed for each frame."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Literal, NamedTuple

import torch
from jaxtyping import Bool, Float
from torch import Tensor, nn

from statecast.models.base import Losses
from statecast.models.kvae.codecs import Memory, Mixing
from statecast.models.online import shapes_of
from statecast.nn.kalman import Moments, apply, correct, draw_backwards, smooth
from statecast.nn.noise import Noise

MATRIX_STD = 0.05  # standard deviation of the initial emission matrices, as published
ForecastStart = Literal["filtered", "means"]


class DynamicsState(NamedTuple):
    """The prediction for a frame that has not been seen, for each row."""

    predicted: Moments  # of z at that frame
    weights: Float[Tensor, "row matrix"]  # of the emission matrices of that frame
    memory: Memory | None  # of the mixing network; None with a single matrix

    def rows(self, noise: Noise) -> DynamicsState:
        """The state of each sequence, for each of its samples."""
        memory = None if self.memory is None else Memory(*map(noise.rows, self.memory))
        return DynamicsState(
            Moments(*map(noise.rows, self.predicted)), noise.rows(self.weights), memory
        )


class Path(NamedTuple):
    """Filtered states of consecutive frames, (batch, time, …)."""

    predicted: Moments  # given the frames before
    filtered: Moments  # given the frame too
    transitions: Float[Tensor, "batch time state state"]  # to the next frame
    emissions: Float[Tensor, "batch time code state"]
    weights: Float[Tensor, "batch time matrix"]  # of the matrices of the transition after the frame
    following: DynamicsState  # state before the next frame

    def __repr__(self) -> str:
        return shapes_of(self)

    @property
    def end(self) -> Path:
        """The path of the last frame only."""
        predicted, filtered = (
            Moments(*(part[:, -1:] for part in moments))
            for moments in (self.predicted, self.filtered)
        )
        return Path(
            predicted,
            filtered,
            self.transitions[:, -1:],
            self.emissions[:, -1:],
            self.weights[:, -1:],
            self.following,
        )

    def smooth(self) -> Moments:
        """Moments of each state, given all codes."""
        return smooth(self.filtered, self.predicted, self.transitions[:, :-1]).moments


class MixedDynamics(nn.Module):
    """Transition and emission of the state, and the network that mixes them.

    Args:
        code_size: size of the code a.
        state_size: size of the state z.
        matrices: number of transition matrices, and of emission matrices.
        mixing_hidden: units of the mixing network's LSTM.
        transition_variance: diagonal of Q.
        emission_variance: diagonal of R.
        initial_variance: variance of z at the first frame.
    """

    initial_mean: Tensor
    initial_covariance: Tensor
    transition_noise: Tensor
    emission_noise: Tensor

    def __init__(
        self,
        code_size: int,
        state_size: int,
        *,
        matrices: int,
        mixing_hidden: int,
        transition_variance: float,
        emission_variance: float,
        initial_variance: float,
    ) -> None:
        super().__init__()
        self.mixing = Mixing(code_size, mixing_hidden, matrices) if matrices > 1 else None
        self.transition = nn.Parameter(torch.eye(state_size).repeat(matrices, 1, 1))
        self.emission = nn.Parameter(torch.empty(matrices, code_size, state_size))
        self.register_buffer("initial_mean", torch.zeros(state_size))
        self.register_buffer("initial_covariance", initial_variance * torch.eye(state_size))
        self.register_buffer("transition_noise", transition_variance * torch.eye(state_size))
        self.register_buffer("emission_noise", emission_variance * torch.eye(code_size))

    def initialise(self, generator: torch.Generator | None) -> None:
        """Draw the emission matrices; transitions are the identity."""
        nn.init.normal_(self.emission, std=MATRIX_STD, generator=generator)

    # Filter

    def initial(self, rows: int) -> DynamicsState:
        """The state before the first frame."""
        prior = Moments(
            self.initial_mean.expand(rows, -1), self.initial_covariance.expand(rows, -1, -1)
        )
        if self.mixing is None:
            return DynamicsState(prior, prior.mean.new_ones(rows, 1), None)
        weights, memory = self.mixing(self.mixing.first.expand(rows, -1), None)
        return DynamicsState(prior, weights, memory)

    def mix_next(self, codes: Float[Tensor, "row code"], state: DynamicsState) -> DynamicsState:
        """The state with the weights and the memory after a frame with this code."""
        if self.mixing is None:
            return state
        weights, memory = self.mixing(codes, state.memory)
        return state._replace(weights=weights, memory=memory)

    def filter_frame(
        self, code: Float[Tensor, "row code"], known: Bool[Tensor, " row"], state: DynamicsState
    ) -> tuple[Moments, DynamicsState]:
        """Moments of z given one more frame, and the state before the next one.

        Args:
            code: code of the frame; any value if the frame is missing.
            known: whether the frame was observed.
            state: the state before the frame.
        """
        emission = mixed(state.weights, self.emission)
        filtered = correct(
            state.predicted, code, known, emission=emission, noise=self.emission_noise
        )
        expected = apply(emission, state.predicted.mean)
        after = self.mix_next(torch.where(known[:, None], code, expected), state)
        transition = mixed(after.weights, self.transition)
        return filtered, after._replace(
            predicted=filtered.transform(transition, self.transition_noise)
        )

    def filter(
        self,
        codes: Float[Tensor, "batch time code"],
        known: Bool[Tensor, "batch time"],
        state: DynamicsState | None = None,
    ) -> Path:
        """Filtered states of consecutive frames, starting from `state` if given."""
        states, filtered = [self.initial(len(codes)) if state is None else state], []
        for code, seen in zip(codes.unbind(1), known.unbind(1), strict=True):
            moments, after = self.filter_frame(code, seen, states[-1])
            filtered.append(moments)
            states.append(after)
        weights = torch.stack([one.weights for one in states], dim=1)
        return Path(
            predicted=Moments.stack([one.predicted for one in states[:-1]], dim=1),
            filtered=Moments.stack(filtered, dim=1),
            transitions=mixed(weights[:, 1:], self.transition),
            emissions=mixed(weights[:, :-1], self.emission),
            weights=weights[:, 1:],
            following=states[-1],
        )

    # Density of codes

    def log_density(self, path: Path, codes: Float[Tensor, "batch time code"]) -> Tensor:
        """Log-density of each frame's code given those before, (batch, time)."""
        return path.predicted.transform(path.emissions, self.emission_noise).log_density(codes)

    def published_terms(
        self,
        path: Path,
        codes: Float[Tensor, "batch time code"],
        known: Bool[Tensor, "batch time"],
        noise: Float[Tensor, "batch time state"],
    ) -> Losses:
        r"""Terms of the published bound on ln p(a), with z drawn independently at each time.

        Given a, the z are dependent. Draws from their marginals loosen the bound by the
        divergence of the product of marginals from the joint distribution.
        """
        transitions, smoothed = path.transitions[:, :-1], path.smooth()
        states = smoothed.at(noise)
        steps = Moments(apply(transitions, states[:, :-1]), self.transition_noise)
        emitted = Moments(apply(path.emissions, states), self.emission_noise)
        initial = Moments(self.initial_mean, self.initial_covariance)
        return {
            "transition": steps.log_density(states[:, 1:]).sum(),
            "emission": emitted.log_density(codes)[known].sum(),
            "initial": initial.log_density(states[:, 0]).sum(),
            "entropy": -smoothed.log_density(states).sum(),
        }

    # Drawing

    def draw_states(
        self, path: Path, noise: Noise, start: ForecastStart
    ) -> Float[Tensor, "row time state"]:
        """States of a path for each row: joint draws, or smoothed means."""
        if start == "means":
            return noise.rows(path.smooth().mean)
        _, length, size = path.filtered.mean.shape
        last = noise.draw(
            1, size, like=path.filtered.mean
        )  # drawn first, so that the past does not change it
        past = noise.draw(length - 1, size, like=path.filtered.mean)
        filtered, predicted = (
            Moments(*map(noise.rows, moments)) for moments in (path.filtered, path.predicted)
        )
        transitions = noise.rows(path.transitions[:, :-1])
        standard = torch.cat([past, last], dim=1)
        return draw_backwards(filtered, predicted, transitions, self.transition_noise, standard)

    def draw_codes(
        self,
        path: Path,
        states: Float[Tensor, "row time state"],
        noise: Noise,
        start: ForecastStart,
    ) -> tuple[Float[Tensor, "row time code"], DynamicsState]:
        """Codes of a path's states, and the state that chooses the next matrices."""
        if start == "filtered":
            return self.emit(noise.rows(path.emissions), states, noise), path.following.rows(noise)
        state, codes = self.initial(len(states)), []
        for latent in states.unbind(1):
            codes.append(self.emit(mixed(state.weights, self.emission), latent, noise))
            state = self.mix_next(codes[-1], state)
        return torch.stack(codes, dim=1), state

    def roll_out(
        self, latent: Float[Tensor, "row state"], state: DynamicsState, noise: Noise
    ) -> Iterator[Float[Tensor, "row code"]]:
        """Endless iterator over the codes of the frames after a state z.

        Args:
            latent: z of the last frame, for each row.
            state: the state that chooses the next matrices; its prediction is unused.
            noise: source of two draws per frame, for z and for its code.
        """
        while True:
            moved = apply(mixed(state.weights, self.transition), latent)
            drawn = noise.draw(latent.shape[-1], like=moved)
            latent = Moments(moved, self.transition_noise).at(drawn)
            codes = self.emit(mixed(state.weights, self.emission), latent, noise)
            yield codes
            state = self.mix_next(codes, state)

    def emit(
        self,
        emissions: Float[Tensor, "row *time code state"],
        latents: Float[Tensor, "row *time state"],
        noise: Noise,
    ) -> Float[Tensor, "row *time code"]:
        """Draws of the codes of states."""
        means = apply(emissions, latents)
        return Moments(means, self.emission_noise).at(noise.draw(*means.shape[1:], like=means))


def mixed(
    weights: Float[Tensor, "*batch matrix"], matrices: Float[Tensor, "matrix rows columns"]
) -> Float[Tensor, "*batch rows columns"]:
    """Weighted sums of matrices."""
    return torch.einsum("...k,kij->...ij", weights, matrices)

"""Kalman filter and smoother for linear Gaussian states, with missing values."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple

import torch
from jaxtyping import Bool, Float
from torch import Tensor


class Moments(NamedTuple):
    """Mean and covariance of a Gaussian vector."""

    mean: Float[Tensor, "*batch size"]
    covariance: Float[Tensor, "*batch size size"]

    @classmethod
    def stack(cls, moments: Sequence[Moments], dim: int) -> Moments:
        """Stack moments along a new axis."""
        means, covariances = zip(*moments, strict=True)
        return cls(torch.stack(means, dim), torch.stack(covariances, dim))

    def at(self, standard: Float[Tensor, "*shape size"]) -> Float[Tensor, "*shape size"]:
        """The values that standard normal ones map to."""
        root = torch.linalg.cholesky(self.covariance)
        return self.mean + apply(root, standard)

    def transform(
        self, matrix: Float[Tensor, "*batch rows size"], noise: Float[Tensor, "rows rows"]
    ) -> Moments:
        """Moments of `matrix` times the vector, plus independent noise of covariance `noise`."""
        covariance = matrix @ self.covariance @ matrix.mT + noise
        return Moments(apply(matrix, self.mean), covariance)

    def log_density(self, values: Float[Tensor, "*batch size"]) -> Float[Tensor, "*batch"]:
        """Log-density at `values`."""
        root = torch.linalg.cholesky(self.covariance)
        whitened = torch.linalg.solve_triangular(
            root, (values - self.mean).unsqueeze(-1), upper=False
        ).squeeze(-1)
        determinant = root.diagonal(dim1=-2, dim2=-1).log().sum(dim=-1)
        constant = 0.5 * values.shape[-1] * math.log(2 * math.pi)
        return -0.5 * whitened.square().sum(dim=-1) - determinant - constant


class Smoothed(NamedTuple):
    """Moments given all values, and the gain of each backward step."""

    moments: Moments  # (batch, time, …)
    gains: Float[Tensor, "batch time-1 size size"]


def correct(
    state: Moments,
    value: Float[Tensor, "*batch value"],
    known: Bool[Tensor, "*batch"],
    *,
    emission: Float[Tensor, "*batch value size"],
    noise: Float[Tensor, "value value"],
) -> Moments:
    r"""Update of the filter by one value; no change where the value is missing.

    $$K = \Sigma C^T (C \Sigma C^T + R)^{-1}, \qquad \mu' = \mu + K (a - C \mu), \qquad
    \Sigma' = (I - K C) \Sigma (I - K C)^T + K R K^T$$

    The last form, Joseph's, stays symmetric and positive definite despite rounding.
    """
    expected = state.transform(emission, noise)
    gain = gain_of(emission @ state.covariance, expected.covariance)
    gain = torch.where(known[..., None, None], gain, 0.0)
    left = torch.eye(state.mean.shape[-1]).to(gain) - gain @ emission
    return Moments(
        state.mean + apply(gain, value - expected.mean),
        left @ state.covariance @ left.mT + gain @ noise @ gain.mT,
    )


def smooth(
    filtered: Moments, predicted: Moments, transitions: Float[Tensor, "batch time-1 size size"]
) -> Smoothed:
    r"""Moments of each state given all values (Rauch, Tung and Striebel, 1965).

    $$J_t = \Sigma_t A_t^T (\Sigma^-_{t+1})^{-1}, \qquad
    \mu^s_t = \mu_t + J_t (\mu^s_{t+1} - \mu^-_{t+1}), \qquad
    \Sigma^s_t = \Sigma_t + J_t (\Sigma^s_{t+1} - \Sigma^-_{t+1}) J_t^T$$

    The covariance of neighbours is $\mathrm{Cov}(z_t, z_{t+1}) = J_t \Sigma^s_{t+1}$.

    Args:
        filtered: moments given the values up to each time, (batch, time, …).
        predicted: moments given the values before each time.
        transitions: transition from each time to the next.
    """
    later = Moments(filtered.mean[:, -1], filtered.covariance[:, -1])
    found, gains = [later], []
    for time in reversed(range(transitions.shape[1])):
        covariance = filtered.covariance[:, time]
        before = Moments(predicted.mean[:, time + 1], predicted.covariance[:, time + 1])
        gain = gain_of(transitions[:, time] @ covariance, before.covariance)
        later = Moments(
            filtered.mean[:, time] + apply(gain, later.mean - before.mean),
            covariance + gain @ (later.covariance - before.covariance) @ gain.mT,
        )
        found.append(later)
        gains.append(gain)
    moments = Moments.stack(found[::-1], dim=1)
    return Smoothed(moments, torch.stack(gains[::-1], dim=1) if gains else transitions)


def draw_backwards(
    filtered: Moments,
    predicted: Moments,
    transitions: Float[Tensor, "batch time-1 size size"],
    noise: Float[Tensor, "size size"],
    standard: Float[Tensor, "batch time size"],
) -> Float[Tensor, "batch time size"]:
    r"""Draw whole paths given all values, from the last state backwards.

    $$z_t \mid z_{t+1} \sim N\big(\mu_t + J_t (z_{t+1} - \mu^-_{t+1}),
    (I - J_t A_t) \Sigma_t (I - J_t A_t)^T + J_t Q J_t^T\big)$$

    Args:
        filtered: moments given the values up to each time, (batch, time, …).
        predicted: moments given the values before each time.
        transitions: transition from each time to the next.
        noise: Q.
        standard: standard normal values, from which the paths are computed.
    """
    last = Moments(filtered.mean[:, -1], filtered.covariance[:, -1])
    path = [last.at(standard[:, -1])]
    for time in reversed(range(transitions.shape[1])):
        transition, covariance = transitions[:, time], filtered.covariance[:, time]
        gain = gain_of(transition @ covariance, predicted.covariance[:, time + 1])
        left = torch.eye(transition.shape[-1]).to(gain) - gain @ transition
        moved = apply(gain, path[-1] - predicted.mean[:, time + 1])
        rest = left @ covariance @ left.mT + gain @ noise @ gain.mT
        path.append(Moments(filtered.mean[:, time] + moved, rest).at(standard[:, time]))
    return torch.stack(path[::-1], dim=1)


def gain_of(
    cross: Float[Tensor, "*batch rows size"], covariance: Float[Tensor, "*batch rows rows"]
) -> Float[Tensor, "*batch size rows"]:
    """Coefficients of regression of one vector on another: crossᵀ covariance⁻¹."""
    return torch.cholesky_solve(cross, torch.linalg.cholesky(covariance)).mT


def apply(
    matrix: Float[Tensor, "*batch rows columns"], vector: Float[Tensor, "*batch columns"]
) -> Float[Tensor, "*batch rows"]:
    """A matrix times a vector."""
    return (matrix @ vector.unsqueeze(-1)).squeeze(-1)


def discretise(
    drift: Float[Tensor, "size size"], diffusion: Float[Tensor, "size size"], interval: float
) -> tuple[Float[Tensor, "size size"], Float[Tensor, "size size"]]:
    r"""Transition matrix and noise covariance of dz = F z dt + L dW over an interval.

    $$A = e^{F h}, \qquad Q = \int_0^h e^{F s} L L^T e^{F^T s} ds$$

    by one matrix exponential of twice the size: Van Loan (1978),
    https://doi.org/10.1109/TAC.1978.1101743.

    Args:
        drift: F.
        diffusion: L Lᵀ.
        interval: h.
    """
    size = len(drift)
    block = torch.cat(
        [
            torch.cat([-drift, diffusion], dim=1),
            torch.cat([torch.zeros_like(drift), drift.T], dim=1),
        ]
    )
    exponential = torch.linalg.matrix_exp(block * interval)
    transition = exponential[size:, size:].T
    return transition, transition @ exponential[:size, size:]

"""KeypointVRNN: a variational recurrent network of keypoint coordinates."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional

from statecast.nn.blocks import mlp
from statecast.nn.gaussian import DiagonalGaussian, widened

SMALLEST_STD = 1e-4  # added to each standard deviation, as published
DECODER_HIDDEN = 128  # hidden units of the decoder, as published


class Followed(NamedTuple):
    """Keypoints of a training window, as the network follows them."""

    coordinates: Float[Tensor, "batch time coordinate"]
    divergence: Float[Tensor, "batch observed"]  # of each observed step


def hard_sigmoid(values: Tensor) -> Tensor:
    """The straight line x/5 + 1/2, clipped to [0, 1]."""
    return (0.2 * values + 0.5).clamp(0, 1)


class HardGRU(nn.Module):
    r"""A gated recurrent unit with hard sigmoids as gates, as in Keras 1 and 2.

    $$u, r = \varsigma(W_{u,r} x + U_{u,r} h + b_{u,r}), \quad
    h' = u \odot h + (1 - u) \odot \tanh(W_c x + U_c (r \odot h) + b_c)$$

    Unlike in PyTorch, the reset gate r acts before the product with U.
    """

    def __init__(self, inputs: int, units: int) -> None:
        super().__init__()
        self.input = nn.Linear(inputs, 3 * units)
        self.recurrent = nn.Linear(units, 3 * units, bias=False)

    def forward(
        self, inputs: Float[Tensor, "*row input"], hidden: Float[Tensor, "*row unit"]
    ) -> Float[Tensor, "*row unit"]:
        """The hidden state after an input."""
        update_in, reset_in, candidate_in = self.input(inputs).chunk(3, dim=-1)
        update_by, reset_by, candidate_by = self.recurrent.weight.chunk(3)
        update = hard_sigmoid(update_in + functional.linear(hidden, update_by))
        reset = hard_sigmoid(reset_in + functional.linear(hidden, reset_by))
        candidate = torch.tanh(candidate_in + functional.linear(reset * hidden, candidate_by))
        return update * hidden + (1 - update) * candidate


class GaussianHead(nn.Module):
    """A hidden layer, then mean and standard deviation of a Gaussian."""

    def __init__(self, inputs: int, hidden: int, outputs: int) -> None:
        super().__init__()
        self.hidden = nn.Linear(inputs, hidden)
        self.mean = nn.Linear(hidden, outputs)
        self.std = nn.Linear(hidden, outputs)

    def forward(self, inputs: Float[Tensor, "*row input"]) -> DiagonalGaussian:
        """The Gaussian given an input."""
        features = functional.relu(self.hidden(inputs))
        std = functional.softplus(widened(self.std(features))) + SMALLEST_STD
        return DiagonalGaussian(widened(self.mean(features)), std)


class KeypointVRNN(nn.Module):
    r"""A variational recurrent network (Chung et al., 2015) of the coordinates o of keypoints.

    $$p(z_t) = N(m_p(h_{t-1}), s_p^2), \quad q(z_t) = N(m_q(h_{t-1}, o_t), s_q^2), \quad
    \hat o_t = \tanh(D(h_{t-1}, z_t)), \quad h_t = \mathrm{GRU}([\tilde o_t, z_t], h_{t-1})$$

    The feedback õ is the forecast ô; in training, it sometimes is the observed o.

    Args:
        coordinates: total numbers of all keypoints of a frame.
        units: units of the recurrent unit.
        prior_hidden: units before the prior.
        posterior_hidden: units before the posterior.
        latent_size: size of z.
    """

    def __init__(
        self,
        coordinates: int,
        *,
        units: int,
        prior_hidden: int,
        posterior_hidden: int,
        latent_size: int,
    ) -> None:
        super().__init__()
        self.units, self.latent_size = units, latent_size
        self.prior = GaussianHead(units, prior_hidden, latent_size)
        self.posterior = GaussianHead(units + coordinates, posterior_hidden, latent_size)
        self.decoder = mlp(units + latent_size, DECODER_HIDDEN, coordinates, layers=2)
        self.recurrent = HardGRU(coordinates + latent_size, units)

    def start(self, like: Float[Tensor, "row *rest"]) -> Float[Tensor, "row unit"]:
        """The hidden state before the first frame."""
        return torch.zeros(len(like), self.units, device=like.device)

    def decode(
        self, hidden: Float[Tensor, "*row unit"], latents: Float[Tensor, "*row latent"]
    ) -> Float[Tensor, "*row coordinate"]:
        """Coordinates in (−1, 1)."""
        return torch.tanh(widened(self.decoder(torch.cat([hidden, latents], dim=-1))))

    def advance(
        self,
        hidden: Float[Tensor, "row unit"],
        standard: Float[Tensor, "row latent"],
        observed: Float[Tensor, "row coordinate"] | None = None,
    ) -> tuple[Float[Tensor, "row coordinate"], Float[Tensor, "row unit"]]:
        """Coordinates of the next frame, and the state after it.

        Args:
            hidden: the state before the frame.
            standard: standard normal values, from which z is computed.
            observed: coordinates of the frame, to draw z from the posterior; by default, z comes
                from the prior.
        """
        if observed is None:
            gaussian = self.prior(hidden)
        else:
            gaussian = self.posterior(torch.cat([hidden, observed], dim=-1))
        latents = gaussian.at(standard)
        coordinates = self.decode(hidden, latents)
        return coordinates, self.recurrent(torch.cat([coordinates, latents], dim=-1), hidden)

    def follow(
        self,
        observed: Float[Tensor, "batch time coordinate"],
        context: int,
        standard: Float[Tensor, "candidate batch time latent"],
        true_inputs: Sequence[bool],
    ) -> Followed:
        """Follow the keypoints of a training window by the best of several candidates at each step.

        For each window, the candidate closest to the observed coordinates is kept and continued. In
        the context, z comes from the posterior; after it, from the prior, without gradients to the
        prior.

        Args:
            observed: coordinates of context and target.
            context: number of context frames.
            standard: standard normal values, from which candidates of z are computed.
            true_inputs: whether to feed back the observed coordinates, for each frame but the last.
        """
        hidden = self.start(observed)
        followed, divergences = [], []
        for time, truth in enumerate(observed.unbind(1)):
            prior = self.prior(hidden)
            if time < context:
                gaussian = self.posterior(torch.cat([hidden, truth], dim=-1))
                divergences.append(gaussian.divergence(prior))
            else:
                gaussian = DiagonalGaussian(prior.mean.detach(), prior.std.detach())
            latents = gaussian.at(standard[:, :, time])
            repeated = hidden.expand(len(latents), -1, -1)
            coordinates = self.decode(repeated, latents)
            best = (coordinates - truth).square().mean(dim=-1).argmin(dim=0)
            rows = torch.arange(len(best), device=best.device)
            chosen = coordinates[best, rows]
            followed.append(chosen)
            fed = truth if time < len(true_inputs) and true_inputs[time] else chosen
            hidden = self.recurrent(torch.cat([fed, latents[best, rows]], dim=-1), hidden)
        return Followed(torch.stack(followed, dim=1), torch.stack(divergences, dim=1))

"""Missing frames in SRVP: a posterior that sees gaps."""

from __future__ import annotations

from typing import NamedTuple

import torch
from jaxtyping import Bool, Float, Int, Shaped
from torch import Tensor, nn


class Evidence(NamedTuple):
    """Evidence of observed frames on the noise of each interval between consecutive frames."""

    parameters: Float[Tensor, "batch interval size"]  # parameters of the posterior
    unobserved: Bool[Tensor, "batch interval"]  # intervals with no later frame: prior only


class GapNetwork(nn.Module):
    r"""Parameters of a posterior, from codes of frames, some of them missing.

    The filter reads the existing codes in order, each with the gap d before it. The posterior of
    the noise in an interval depends on the next existing frame, i, and on p, the number of frames
    from the end of the interval to that frame:

    $$h_i = \mathrm{LSTM}(h_{i-1}, c_i + w \ln d_i), \qquad
    q(z_t) = N\big(\mathrm{linear}(h_i + \ln(1 + p)\tanh(A[h_i, \ln(1 + p)]))\big)$$

    Without gaps, d = 1 and p = 0, these are the published filter and posterior.

    Args:
        code_size: size of a frame's code.
        hidden: units of the filter; 0 for a model without noise.
    """

    def __init__(self, code_size: int, hidden: int) -> None:
        super().__init__()
        self.missing = nn.Parameter(torch.zeros(code_size))  # replaces a missing code
        if hidden:
            self.gap = nn.Linear(1, code_size, bias=False)
            self.place = nn.Linear(hidden + 1, hidden)

    def filled(self, codes: Float[Tensor, "batch time code"]) -> Float[Tensor, "batch time code"]:
        """Codes, with a learned code in place of those that are NaN."""
        return torch.where(codes.isnan(), self.missing, codes)

    def evidence(
        self, codes: Float[Tensor, "batch time code"], *, lstm: nn.LSTM, posterior: nn.Linear
    ) -> Evidence:
        """Parameters of the posterior of each interval.

        Args:
            codes: codes of consecutive frames; NaN for missing frames.
            lstm: SRVP's filter, which reads the existing codes.
            posterior: maps the filter's output to parameters.
        """
        known = known_codes(codes)
        order, count = observed_order(known)
        gaps = order.diff(dim=1, prepend=order.new_full((len(order), 1), -1)).clamp_min(1)
        seen = rows_of(codes, order).nan_to_num(nan=0.0)  # rows after the last are unused
        hidden = lstm(self.told(seen, gaps))[0]
        following = known.cumsum(dim=1)[:, :-1]  # rank of the next existing frame
        unobserved = following >= count[:, None]
        following = torch.minimum(following, (count[:, None] - 1).clamp_min(0))
        ends = torch.arange(1, codes.shape[1], device=codes.device)
        later = (order.gather(1, following) - ends).clamp_min(0)
        return Evidence(posterior(self.placed(rows_of(hidden, following), later)), unobserved)

    def told(
        self, codes: Float[Tensor, "batch frame code"], gaps: Shaped[Tensor, "batch frame"]
    ) -> Float[Tensor, "batch frame code"]:
        """Inputs of the filter: codes, with the gap before each in frame intervals."""
        return codes + self.gap(gaps.to(codes).log().unsqueeze(2))

    def placed(
        self, hidden: Float[Tensor, "batch interval hidden"], later: Int[Tensor, "batch interval"]
    ) -> Float[Tensor, "batch interval hidden"]:
        """The filter's output for intervals that end `later` frames before an existing frame."""
        distance = later.to(hidden).log1p().unsqueeze(2)
        return hidden + distance * self.place(torch.cat([hidden, distance], dim=2)).tanh()


def known_codes(codes: Float[Tensor, "batch time code"]) -> Bool[Tensor, "batch time"]:
    """Whether each code exists."""
    return ~codes[..., 0].isnan()


def observed_order(
    known: Bool[Tensor, "batch time"],
) -> tuple[Int[Tensor, "batch time"], Int[Tensor, " batch"]]:
    """Indices of frames, observed ones first and in order, and the number of observed ones."""
    return (~known).to(torch.uint8).argsort(dim=1, stable=True), known.sum(dim=1)


def rows_of(
    values: Float[Tensor, "batch time *size"], index: Int[Tensor, "batch chosen"]
) -> Float[Tensor, "batch chosen *size"]:
    """Values at some times of each sequence."""
    return values[torch.arange(len(values), device=values.device)[:, None], index]

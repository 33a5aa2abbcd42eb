"""Linear probes: ridge regression in closed form, with the penalty chosen on held-out samples."""

from __future__ import annotations

from typing import NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor

PENALTIES = tuple(10.0**power for power in range(-8, 4))  # relative to the number of samples
ROUNDING = 1e-9  # a column that varies by less, relative to its values, is a constant
HELD_OUT = 0.25  # last share of the samples, which choose the penalty


class LinearProbe(NamedTuple):
    """An affine map from codes to truths."""

    weight: Float[Tensor, "feature truth"]
    bias: Float[Tensor, " truth"]
    penalty: float  # relative to the number of samples

    def __call__(self, codes: Float[Tensor, "sample feature"]) -> Float[Tensor, "sample truth"]:
        """Estimates of the truths."""
        return codes.double() @ self.weight + self.bias


def fit_probe(
    codes: Float[Tensor, "sample feature"], truths: Float[Tensor, "sample truth"]
) -> LinearProbe:
    r"""Ridge regression of truths on codes, in float64.

    $$\min_W \frac1n \|Y - X W\|^2 + \lambda \|W\|^2$$

    The columns of X are centred and scaled to variance 1, those of Y are centred. $\lambda$ is
    the value in `PENALTIES` with the highest R² on the last quarter of the samples, after a fit to
    the others; the probe is then fitted to all samples. The last samples must be independent of
    the first, as when samples are ordered by sequence.
    """
    codes, truths = codes.double(), truths.double()
    kept = len(codes) - max(1, round(HELD_OUT * len(codes)))
    candidates = ridge(codes[:kept], truths[:kept], PENALTIES)
    spread = spread_of(truths)
    scale = torch.where(spread > 0, spread, 1.0)
    errors = [
        float(((probe(codes[kept:]) - truths[kept:]) / scale).square().mean())
        for probe in candidates
    ]
    best = min(range(len(errors)), key=errors.__getitem__)
    return ridge(codes, truths, PENALTIES[best : best + 1])[0]


def ridge(codes: Tensor, truths: Tensor, penalties: tuple[float, ...]) -> list[LinearProbe]:
    """Ridge regressions with several penalties, from one singular value decomposition."""
    mean, centre = codes.mean(dim=0), truths.mean(dim=0)
    spread = spread_of(codes)
    scale = torch.where(spread > 0, spread, 1.0)  # a constant unit is uninformative
    left, values, right = torch.linalg.svd((codes - mean) / scale, full_matrices=False)
    projected = left.T @ (truths - centre)
    probes = []
    for penalty in penalties:
        shrunk = values / (values.square() + penalty * len(codes))
        weight = (right.T @ (shrunk[:, None] * projected)) / scale[:, None]
        probes.append(LinearProbe(weight, centre - mean @ weight, penalty))
    return probes


def spread_of(values: Float[Tensor, "sample column"]) -> Float[Tensor, " column"]:
    """Standard deviation of each column; exactly 0 if it is only rounding."""
    spread = values.std(dim=0, correction=0)
    return torch.where(spread > ROUNDING * values.abs().amax(dim=0), spread, 0.0)


def explained(
    estimates: Float[Tensor, "sample truth"], truths: Float[Tensor, "sample truth"]
) -> Float[Tensor, " truth"]:
    r"""Share of the variance of each truth that estimates explain.

    $$R^2 = 1 - \frac{\sum_i (\hat y_i - y_i)^2}{\sum_i (y_i - \bar y)^2}$$

    It is 1 for exact estimates, 0 for the mean, negative for worse ones, and NaN if the truth is
    constant.
    """
    truths = truths.double()
    residual = (estimates - truths).square().sum(dim=0)
    total = len(truths) * spread_of(truths).square()
    return torch.where(total > 0, 1 - residual / total, torch.nan)

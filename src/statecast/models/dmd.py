"""DMD: a linear dynamical model of delay-embedded frames, fitted in closed form."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator

import torch
from jaxtyping import Float
from torch import Tensor

from statecast.errors import InputError
from statecast.frames import Batch, FrameSpec
from statecast.models.baselines import Baseline, check_repeatable
from statecast.models.incremental_svd import IncrementalBasis


class DMD(Baseline):
    r"""Dynamic mode decomposition: the best linear forecast, fitted without gradients.

    Frames are reduced to the leading principal directions U of the training frames; the next
    reduced frame is an affine function of the last d:

    $$r_t = U (v_t - \bar v), \qquad r_{t+1} = b + \sum_{i=0}^{d-1} A_i\, r_{t-i}, \qquad
    \hat v_t = \bar v + U^\top r_t$$

    A first pass over the training windows gives the directions, a second one A and b, by ridge
    regression. Each pass holds one batch and its sums in memory. Forecasts step through reduced
    states, never through decoded frames.

    References: Schmid (2010), https://doi.org/10.1017/S0022112010001217; delays: Arbabi and
    Mezić (2017), https://doi.org/10.1137/17M1125236.

    Args:
        spec: shape, channels and units of the frames; comes from the data.
        rank: principal directions to keep at most.
        energy: fraction of the variance to keep; directions beyond it are dropped.
        delays: number of last frames, d, that the next one depends on; by default the context.
        ridge: weight of the squared entries of A, relative to the mean variance of its inputs.
        generator: unused; every model accepts one.
    """

    takes_any_time = False
    takes_gaps = False

    mean: Tensor  # (pixel)
    basis: Tensor  # (rank, pixel); rows beyond the energy kept are 0
    map: Tensor  # (rank, delays · rank + 1); newest frame first, constant last
    fitted: Tensor

    def __init__(
        self,
        spec: FrameSpec,
        *,
        rank: int = 128,
        energy: float = 1.0,
        delays: int | None = None,
        ridge: float = 1e-8,
        generator: torch.Generator | None = None,
    ) -> None:
        super().__init__(spec, generator=generator)
        self.delays = spec.context if delays is None else delays
        if not 1 <= self.delays <= spec.context:
            raise InputError(
                f"delays must lie between 1 and the context, {spec.context}, got {self.delays}."
            )
        if rank < 1 or not 0 < energy <= 1 or ridge < 0:
            raise InputError(
                "dmd needs a rank of at least 1, an energy in (0, 1] and a ridge of at least 0, "
                f"got {rank}, {energy} and {ridge}."
            )
        pixels = math.prod(spec.frame_shape)
        self.rank, self.energy, self.ridge = min(rank, pixels), energy, ridge
        # In float64: a roll-out multiplies by the map once per frame.
        self.register_buffer("mean", torch.zeros(pixels, dtype=torch.float64))
        self.register_buffer("basis", torch.zeros(self.rank, pixels, dtype=torch.float64))
        columns = self.delays * self.rank + 1
        self.register_buffer("map", torch.zeros(self.rank, columns, dtype=torch.float64))
        self.register_buffer("fitted", torch.zeros((), dtype=torch.int64))

    @property
    def minimum_context(self) -> int:
        return self.delays

    @property
    def needs_statistics(self) -> bool:
        return True

    # Fitting

    def fit_statistics(self, batches: Iterable[Batch]) -> None:
        """Fit directions and map in two passes over the training windows.

        Errors:
            InputError: there are no windows, they allow only one pass, they are too short, or a
                value is not finite.
        """
        check_repeatable(batches, "dmd")
        found = IncrementalBasis(self.rank)
        for frames in self._flattened(batches):
            # Consecutive frames are similar, and cost grows with the square of the rows added.
            found.add(frames[:, :: self.delays].flatten(0, 1))
        if found.count == 0:
            raise InputError("dmd needs training windows, got none.")
        self.mean.copy_(found.mean)
        directions = found.directions[: found.rank_of(self.energy)]
        self.basis.zero_()[: len(directions)] = directions
        self.map.copy_(self._regression(batches))
        self.fitted.fill_(1)

    def _flattened(self, batches: Iterable[Batch]) -> Iterator[Float[Tensor, "batch time pixel"]]:
        for batch in batches:
            frames = batch.values.flatten(2).to(self.mean)
            if not bool(torch.isfinite(frames).all()):
                raise InputError("dmd needs training frames without NaN or infinities: fill gaps.")
            if frames.shape[1] <= self.delays:
                raise InputError(
                    f"dmd with {self.delays} delays needs windows of at least {self.delays + 1} "
                    f"frames, got {frames.shape[1]}."
                )
            yield frames

    def _regression(self, batches: Iterable[Batch]) -> Float[Tensor, "rank column"]:
        """Ridge regression of a reduced frame on the frames before it, from sums of products."""
        columns = self.map.shape[1]
        inputs = self.mean.new_zeros(columns, columns)
        products = self.mean.new_zeros(self.rank, columns)
        count = 0
        for frames in self._flattened(batches):
            reduced = self.reduce(frames)
            starts = range(self.delays - 1, reduced.shape[1] - 1)
            known = torch.cat([self.embed(reduced[:, : start + 1]) for start in starts])
            following = reduced[:, self.delays :].transpose(0, 1).flatten(0, 1)
            inputs += known.T @ known
            products += following.T @ known
            count += len(known)
        variance = inputs.diagonal()[:-1].mean() / count
        penalty = torch.full_like(inputs[0], self.ridge * float(variance) * count)
        penalty[-1] = 0  # no penalty on the constant
        values, vectors = torch.linalg.eigh(inputs + penalty.diag())
        # Delayed frames in few directions are collinear; directions they do not resolve get 0.
        known_well = values > columns * torch.finfo(values.dtype).eps * values[-1]
        inverse = torch.where(known_well, 1 / values, 0)
        return products @ (vectors * inverse) @ vectors.T

    # Forecasting

    def reduce(self, frames: Float[Tensor, "batch time pixel"]) -> Float[Tensor, "batch time rank"]:
        """Coordinates of frames in the principal directions."""
        return (frames.to(self.mean) - self.mean) @ self.basis.T

    def embed(self, reduced: Float[Tensor, "batch time rank"]) -> Float[Tensor, "batch column"]:
        """The last reduced frames side by side, newest first, and the constant 1."""
        newest_first = reduced[:, -self.delays :].flip(1).flatten(1)
        return torch.cat([newest_first, newest_first.new_ones(len(reduced), 1)], dim=1)

    def extrapolate(self, values: Tensor, times: Tensor) -> Tensor:
        if not bool(self.fitted):
            raise InputError("The dmd is not fitted yet: call fit_statistics, or train it.")
        reduced = self.reduce(values.flatten(2))[:, -self.delays :]
        path = []
        for _ in range(int(times[-1])):
            following = self.embed(reduced) @ self.map.T
            path.append(following)
            reduced = torch.cat([reduced, following.unsqueeze(1)], dim=1)[:, -self.delays :]
        wanted = torch.stack(path, dim=1)[:, times.long() - 1]
        decoded = self.mean + wanted @ self.basis
        return decoded.to(values.dtype).view(*decoded.shape[:2], *values.shape[2:])

"""Lagrangian persistence: the last observed map, carried on by the motion of the observed maps."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator
from typing import NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn import functional as F

from statecast.errors import InputError
from statecast.frames import Batch, FrameSpec
from statecast.models.baselines import Baseline, along_leads, check_repeatable, filled

SMALLEST_MAP = 8  # points along each dimension
COARSEST = 16  # points along a dimension of the coarsest map on which motion is sought
ITERATIONS = 2  # at each resolution
RIDGE = 0.003  # relative to the mean squared gradient
USUAL_WEIGHTS = (0.0, 20.0)  # of the usual motion, in pairs of frames; training windows choose
WIDER = 4  # neighbourhood in which the motion is judged, relative to that in which it is found
FITTED_WINDOWS = 128  # at most
LARGEST = 1 << 22  # values of contexts at once


class Equations(NamedTuple):
    """Normal equations of the motion at each point, summed over pairs of frames."""

    matrix: Float[Tensor, "batch 3 height width"]  # yy, yx, xx of the symmetric 2×2 matrix
    right: Float[Tensor, "batch 2 height width"]

    def plus(self, other: Equations, weight: float) -> Equations:
        return Equations(self.matrix + weight * other.matrix, self.right + weight * other.right)

    def solution(self) -> Float[Tensor, "batch 2 height width"]:
        """The motion (y, x) in points per frame; 0 where no map has a gradient."""
        yy, yx, xx = self.matrix.unbind(dim=1)
        size = (yy + xx).mean(dim=(-2, -1), keepdim=True)
        ridge = RIDGE * size + torch.finfo(size.dtype).tiny ** 0.5
        yy, xx = yy + ridge, xx + ridge
        y, x = self.right.unbind(dim=1)
        motion = torch.stack([xx * y - yx * x, yy * x - yx * y], dim=1)
        return motion / (yy * xx - yx.square()).unsqueeze(1)


class LagrangianPersistence(Baseline):
    r"""The last observed map, carried on by the motion of the observed maps.

    $$\hat x_{t+h}(p) = (1 - a_h g(p))\, x_t(p) + a_h g(p)\, x_t(q_h(p)), \qquad
    \frac{dq}{ds} = -v(q),\; q_0(p) = p$$

    v is the motion that carries each observed map into the next, in points per frame. It is the
    least-squares solution in a Gaussian neighbourhood of each point, refined from coarse maps to
    fine ones. Where the motion is much the same in all windows, the usual motion of training
    windows steadies it. g is 1, or how well the motion of the earlier maps predicts the last
    one around p, so that what stands still or flickers is copied (`trust`); 1 for contexts of two
    maps. Training windows choose the weight of the usual motion, which g is used, and the weight a
    of the carried map for each lead and channel. Maps keep still where they have no gradient; what
    would enter through an edge is the value at the edge.

    References: Lucas and Kanade (1981), for the motion; Germann and Zawadzki (2002),
    https://doi.org/10.1175/1520-0493(2002)130<2859:SDOTPO>2.0.CO;2, for the forecast.

    Args:
        spec: shape, channels and units of the frames; comes from the data.
        neighbourhood: standard deviation of the neighbourhood, in points.
        generator: unused; every model accepts one.

    Errors:
        InputError: frames are not maps of at least 8×8 points, or the neighbourhood is not
            positive.
    """

    takes_gaps = False  # a repeated map would look like one that does not move

    share: Tensor  # (lead, channel), the weight a
    scale: Tensor  # (channel), standard deviation of the values
    usual_matrix: Tensor  # (1, 3, height, width), per pair of frames
    usual_right: Tensor
    usual_motion: Tensor  # (1, 2, height, width)
    usual_weight: Tensor
    selective: Tensor  # 1 if maps are carried only as far as the motion is trusted
    fitted: Tensor

    def __init__(
        self,
        spec: FrameSpec,
        *,
        neighbourhood: float = 1.0,
        generator: torch.Generator | None = None,
    ) -> None:
        super().__init__(spec, generator=generator)
        if len(spec.space) != 2 or min(spec.space) < SMALLEST_MAP:
            raise InputError(
                "Lagrangian persistence carries maps: it needs frames of at least "
                f"{SMALLEST_MAP}×{SMALLEST_MAP} points, got {'×'.join(map(str, spec.space))}."
            )
        if not 0 < neighbourhood < math.inf:
            raise InputError(f"The neighbourhood must be positive, got {neighbourhood}.")
        self.neighbourhood = neighbourhood
        self.register_buffer("share", torch.ones(spec.horizon, len(spec.channels)))
        self.register_buffer("scale", torch.ones(len(spec.channels)))
        self.register_buffer("usual_matrix", torch.zeros(1, 3, *spec.space))
        self.register_buffer("usual_right", torch.zeros(1, 2, *spec.space))
        self.register_buffer("usual_motion", torch.zeros(1, 2, *spec.space))
        self.register_buffer("usual_weight", torch.zeros(()))
        self.register_buffer("selective", torch.zeros((), dtype=torch.int64))
        self.register_buffer("fitted", torch.zeros((), dtype=torch.int64))

    @property
    def minimum_context(self) -> int:
        return 2

    @property
    def needs_statistics(self) -> bool:
        return True

    # Fitting

    def fit_statistics(self, batches: Iterable[Batch]) -> None:
        """Fit the usual motion and both weights in several passes over the training windows.

        Errors:
            InputError: there are no windows, or they allow only one pass.
        """
        check_repeatable(batches, "lagrangian_persistence")
        batches = FirstWindows(batches, FITTED_WINDOWS)
        self._fit_scale(batches)
        self._fit_usual_motion(batches)
        found: list[tuple[float, float, bool, Tensor]] = []
        for weight in USUAL_WEIGHTS:
            self.usual_weight.fill_(weight)
            for selective, (error, share) in enumerate(self._fitted_shares(batches)):
                found.append((error, weight, bool(selective), share))
        _, weight, selective, share = min(found, key=lambda each: each[0])
        self.usual_weight.fill_(weight)
        self.selective.fill_(selective)
        self.share.copy_(share)
        self.fitted.fill_(1)

    def _fit_scale(self, batches: Iterable[Batch]) -> None:
        sums = torch.zeros(3, len(self.scale), dtype=torch.float64)
        for batch in batches:
            known = batch.context.known.transpose(0, 2).flatten(1)
            values = batch.context.values.transpose(0, 2).flatten(1).double().masked_fill(~known, 0)
            sums += torch.stack([known.sum(1), values.sum(1), values.square().sum(1)]).cpu()
        if not bool((sums[0] > 0).any()):
            raise InputError("Lagrangian persistence needs training windows, got none.")
        count = sums[0].clamp_min(1)
        std = (sums[2] / count - (sums[1] / count).square()).clamp_min(0).sqrt()
        self.scale.copy_(torch.where(std > 0, std, 1))

    def _fit_usual_motion(self, batches: Iterable[Batch]) -> None:
        self.usual_motion.zero_()
        for _ in range(ITERATIONS):
            found = Equations(*map(torch.zeros_like, self._usual))
            pairs = 0
            for part in (part for batch in batches for part in in_parts(filled(batch.context))):
                maps = part / self._scale
                motion = self.usual_motion.expand(len(maps), -1, -1, -1)
                new = equations(maps, motion, self.neighbourhood)
                summed = Equations(*(part.sum(dim=0, keepdim=True) for part in new))
                found, pairs = found.plus(summed, 1), pairs + len(maps) * (maps.shape[1] - 1)
            self.usual_matrix.copy_(found.matrix / pairs)
            self.usual_right.copy_(found.right / pairs)
            self.usual_motion.copy_(self._usual.solution())

    def _fitted_shares(self, batches: Iterable[Batch]) -> list[tuple[float, Tensor]]:
        """The least relative squared error and its weights a (lead, channel), for either g."""
        sums = torch.zeros(2, 3, *self.share.shape, dtype=torch.float64)
        for batch in batches:
            context = filled(batch.context)
            times = torch.arange(1.0, len(self.share) + 1, device=context.device)
            target = batch.target.first(len(self.share))
            both = target.known & batch.context.known[:, -1:]
            came = (target.values - context[:, -1:]).double().masked_fill(~both, 0)
            change, trust = self.changes(context, times, judged=True)
            for selective, moved in enumerate((change, change * trust)):
                known = moved.double().masked_fill(~both, 0)
                parts = (known * came, known.square(), came.square())
                sums[selective] += torch.stack([p.flatten(3).sum(dim=(0, 3)) for p in parts]).cpu()
        return [least_error(*each) for each in sums]

    @property
    def _scale(self) -> Tensor:
        return self.scale.view(-1, 1, 1)

    @property
    def _usual(self) -> Equations:
        return Equations(self.usual_matrix, self.usual_right)

    # Forecasting

    def extrapolate(self, values: Tensor, times: Tensor) -> Tensor:
        if not bool(self.fitted):
            raise InputError("The motion is not fitted yet: call fit_statistics, or train it.")
        if not bool((times > 0).any()):
            return values[:, -1:].expand(-1, len(times), *values.shape[2:])
        weight = along_leads(self.share, times)[..., None, None].to(values)
        change, trust = self.changes(values, times, judged=bool(self.selective))
        return values[:, -1:] + weight * trust * change

    def changes(
        self,
        values: Float[Tensor, "batch context channel height width"],
        times: Tensor,
        *,
        judged: bool,
    ) -> tuple[
        Float[Tensor, "batch time channel height width"], Float[Tensor, "batch 1 1 height width"]
    ]:
        """How the carried map differs from the last one at lead times, and g: 1 unless judged."""
        changes, trusts = [], []
        for part in in_parts(values):
            motion = self.motion(part)
            changes.append(carry(part[:, -1], motion, times) - part[:, -1:])
            one = torch.ones_like(motion[:, None, :1])
            trusts.append(self.trust(part) if judged and part.shape[1] > 2 else one)
        return torch.cat(changes), torch.cat(trusts)

    def trust(
        self, values: Float[Tensor, "batch context channel height width"]
    ) -> Float[Tensor, "batch 1 1 height width"]:
        """How well the motion of the earlier maps predicts the last one around each point.

        The slope of the change that came regressed on the one that this motion forecast, without
        an intercept, in a Gaussian neighbourhood, within [0, 1]: 1 where the motion is right,
        whatever noise comes with the last map, and 0 where the forecast has nothing to do with
        what came. Values that fill gaps count as observed.
        """
        motion = self.motion(values[:, :-1])
        before, last = (values[:, place] / self._scale for place in (-2, -1))
        forecast = carry(before, motion, motion.new_ones(1))[:, 0] - before
        parts = (forecast * (last - before), forecast.square())
        sums = torch.stack([part.sum(dim=1) for part in parts], dim=1)
        sums = smoothed(sums, WIDER * self.neighbourhood).unsqueeze(2)
        return (sums[:, :1] / sums[:, 1:].clamp_min(1e-30)).clamp(0, 1)

    def motion(
        self, values: Float[Tensor, "batch context channel height width"]
    ) -> Float[Tensor, "batch 2 height width"]:
        """The motion (y, x) of each context, in points per frame."""
        maps, weight = values / self._scale, float(self.usual_weight)
        if weight:
            motion = self.usual_motion.expand(len(maps), -1, -1, -1)
            for _ in range(ITERATIONS):
                found = equations(maps, motion, self.neighbourhood)
                motion = limited(found.plus(self._usual, weight).solution())
            return motion
        pyramid = [maps]
        while min(pyramid[-1].shape[-2:]) >= 2 * COARSEST:
            pyramid.append(halved(pyramid[-1]))
        motion = maps.new_zeros(len(maps), 2, *pyramid[-1].shape[-2:])
        for maps in reversed(pyramid):
            if motion.shape[-2:] != maps.shape[-2:]:
                motion = 2 * F.interpolate(
                    motion, size=maps.shape[-2:], mode="bilinear", align_corners=False
                )
            for _ in range(ITERATIONS):
                motion = limited(equations(maps, motion, self.neighbourhood).solution())
        return motion


class FirstWindows:
    """The first of the windows in batches, which can be iterated over again.

    Args:
        batches: the batches.
        count: windows at most.
    """

    def __init__(self, batches: Iterable[Batch], count: int) -> None:
        self.batches, self.count = batches, count

    def __iter__(self) -> Iterator[Batch]:
        taken = 0
        for batch in self.batches:
            if taken >= self.count:
                return
            yield batch.select(slice(self.count - taken))
            taken += len(batch)


def in_parts(
    values: Float[Tensor, "batch context channel height width"],
) -> tuple[Tensor, ...]:
    """A batch in parts of as many windows as bounded memory takes."""
    return values.split(max(1, LARGEST // values[0].numel()))


def equations(
    maps: Float[Tensor, "batch time channel height width"],
    motion: Float[Tensor, "batch 2 height width"],
    neighbourhood: float,
) -> Equations:
    """Linear equations of the motion that carries each map into the next.

    Each pair of maps is compared half way: the earlier one half a step back along `motion`, the
    later one half a step on. The equations are linear around `motion`.
    """
    pairs = maps.shape[1] - 1
    half = motion.repeat_interleave(pairs, dim=0) / 2
    points = points_of(maps)
    earlier = sampled(maps[:, :-1].flatten(0, 1), points - half)
    later = sampled(maps[:, 1:].flatten(0, 1), points + half)
    dy, dx = gradient((earlier + later) / 2)
    rest = earlier - later + 2 * (dy * half[:, :1] + dx * half[:, 1:])
    parts = (dy * dy, dy * dx, dx * dx, dy * rest, dx * rest)
    local = torch.stack([part.sum(dim=1) for part in parts], dim=1)
    local = smoothed(local.unflatten(0, (-1, pairs)).sum(dim=1), neighbourhood)
    return Equations(local[:, :3], local[:, 3:])


def least_error(
    products: Float[Tensor, "lead channel"],
    squares: Float[Tensor, "lead channel"],
    total: Float[Tensor, "lead channel"],
) -> tuple[float, Tensor]:
    """The mean relative error of the best weights of a change, and these weights in [0, 1].

    Args:
        products: sums of the forecast change times the observed one.
        squares: sums of the squared forecast change.
        total: sums of the squared observed change.
    """
    weights = (products / squares.clamp_min(1e-300)).clamp(0, 1)
    error = total - 2 * weights * products + weights.square() * squares
    return float((error / total.clamp_min(1e-300)).mean()), weights


def carry(
    last: Float[Tensor, "batch channel height width"],
    motion: Float[Tensor, "batch 2 height width"],
    times: Float[Tensor, " time"],
) -> Float[Tensor, "batch time channel height width"]:
    """A map at increasing lead times, carried by a steady motion: the midpoint rule, once a frame.

    Lead times below 0 give the map itself.
    """

    def after(places: Tensor, step: float) -> Tensor:
        halfway = places - step / 2 * sampled(motion, places, "bilinear")
        return places - step * sampled(motion, halfway, "bilinear")

    places, frames = points_of(last).expand(len(last), -1, -1, -1), 0
    found = []
    for time in times.clamp_min(0).tolist():
        while frames + 1 <= time:
            places, frames = after(places, 1.0), frames + 1
        found.append(sampled(last, after(places, time - frames) if time > frames else places))
    return torch.stack(found, dim=1)


def points_of(maps: Float[Tensor, "*any height width"]) -> Float[Tensor, "2 height width"]:
    """The place (y, x) of each point of a map."""
    rows, columns = (torch.arange(size).to(maps) for size in maps.shape[-2:])
    return torch.stack(torch.meshgrid(rows, columns, indexing="ij"))


def sampled(
    maps: Float[Tensor, "batch channel height width"],
    places: Float[Tensor, "batch 2 height width"],
    mode: str = "bicubic",
) -> Float[Tensor, "batch channel height width"]:
    """Maps at places (y, x) between their points; beyond an edge, the value at the edge."""
    height, width = maps.shape[-2:]
    size = places.new_tensor([width - 1, height - 1])
    grid = places.flip(1).movedim(1, -1) * (2 / size) - 1
    return F.grid_sample(maps, grid, mode=mode, padding_mode="border", align_corners=True)


def gradient(maps: Float[Tensor, "batch channel height width"]) -> tuple[Tensor, Tensor]:
    """Central differences along y and x; halved at the edges."""
    padded = F.pad(maps, (1, 1, 1, 1), mode="replicate")
    dy = (padded[..., 2:, 1:-1] - padded[..., :-2, 1:-1]) / 2
    dx = (padded[..., 1:-1, 2:] - padded[..., 1:-1, :-2]) / 2
    return dy, dx


def smoothed(
    maps: Float[Tensor, "batch channel height width"], std: float
) -> Float[Tensor, "batch channel height width"]:
    """Maps in Gaussian neighbourhoods of each point; nothing lies beyond the edges."""
    reach = math.ceil(3 * std)
    kernel = torch.exp(-((torch.arange(-reach, reach + 1) / std) ** 2) / 2)
    kernel = (kernel / kernel.sum()).to(maps)
    rows = maps.flatten(0, 1).unsqueeze(1)
    rows = F.conv2d(rows, kernel.view(1, 1, -1, 1), padding=(reach, 0))
    return F.conv2d(rows, kernel.view(1, 1, 1, -1), padding=(0, reach)).view_as(maps)


def halved(
    maps: Float[Tensor, "batch time channel height width"],
) -> Float[Tensor, "batch time channel half_height half_width"]:
    """Maps of half the resolution."""
    return F.avg_pool2d(maps.flatten(0, 1), 2).unflatten(0, maps.shape[:2])


def limited(motion: Float[Tensor, "batch 2 height width"]) -> Float[Tensor, "batch 2 height width"]:
    """Motion of at most a quarter of the map per frame."""
    largest = min(motion.shape[-2:]) / 4
    return motion.clamp(-largest, largest)

"""PKnl: a motion field, estimated from the last frames, moves the last one."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import islice
from typing import Any, Literal, NamedTuple

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from statecast.checks import LONGEST, typed
from statecast.errors import InputError
from statecast.frames import Batch, Frames, FrameSpec
from statecast.models.base import Losses, evaluation_mode
from statecast.models.frame_feedback import FrameFeedback
from statecast.models.pknl.estimator import MotionEstimator, Upsampling, initialise_near_zero
from statecast.models.pknl.motion import MotionField, grid_shape
from statecast.nn.codecs.base import grid_of
from statecast.nn.gaussian import widened
from statecast.nn.noise import Noise
from statecast.nn.normaliser import Normalisation
from statecast.nn.warping import (
    Padding,
    pixel_positions,
    sampling_grid,
    warp_bilinear,
    warp_gaussian,
)

Version = Literal[2018, 2019]
Divergence = Literal["published", "corrected"]
LEAK = {2018: 0.1, 2019: 0.0}  # negative slope of the rectifiers


class Moved(NamedTuple):
    """A forecast frame, and the motion that leads to it."""

    frame: Float[Tensor, "row channel y x"]
    motion: Float[Tensor, "row 2 y x"]  # in halves of a side, to the right and down


class PKnl(FrameFeedback[Tensor]):
    r"""Advection by a motion that a convolutional network estimates from the last frames.

    $$w_t = E_\theta(x_{t-k+1}, \ldots, x_t), \qquad \hat x_{t+1}(p) = x_t(p - w_t(p))$$

    Later frames follow from the model's own. Values between pixels are interpolated, or come from a
    Gaussian kernel, which solves $\partial_t x + w \cdot \nabla x = D \nabla^2 x$. All channels
    move together. Forecasts are deterministic; k is the context length of the data.

    Reference: de Bézenac et al. (2018), https://arxiv.org/abs/1711.07970.

    Args:
        spec: shape, channels and units of the frames; the sides must be divisible by 2^`levels`.
        version: version of the published code: 2019, with rectifiers; or 2018, with leaky
            rectifiers, and biases after upsampling.
        warp: `bilinear`, as in the published code, or `gaussian`, as in the paper.
        diffusion: D of the Gaussian kernel, in pixel² per frame interval.
        padding: values that move in from outside: `zeros` in normalised frames, as published, or
            the values at the `border`.
        divergence: divergence term of the loss: `published`, with both differences along one
            axis, or `corrected`.
        smoothness_weight: weight of the squared differences of the motion.
        divergence_weight: weight of the squared divergence.
        magnitude_weight: weight of the squared motion; the published one is negative, a reward.
        width: channels of the estimator's first convolution.
        levels: number of times the estimator halves the sides.
        batch_norm: whether the estimator has batch normalisation.
        upsampling: how the estimator doubles the sides: `bilinear`, `nearest` or `transposed`
            convolutions.
        align_upsampling: whether bilinear upsampling keeps the outermost pixels in place; by
            default as in PyTorch at the time of the version: yes in 2018, no in 2019.
        align_sampling: the same for the bilinear warp; PyTorch did so at both times. Without it, a
            motion of 0 stretches the frame.
        normalise: `auto`, `none`, `range` or `standard`, see `Normaliser`.
        generator: source of the initial weights.

    Errors:
        InputError: frames are points, a side is not divisible by 2^`levels`, or a number does not
            fit.
    """

    def __init__(
        self,
        spec: FrameSpec,
        *,
        version: Version = 2019,
        warp: Literal["bilinear", "gaussian"] = "bilinear",
        diffusion: float = 0.5,
        padding: Padding = "zeros",
        divergence: Divergence = "corrected",
        smoothness_weight: float = 0.4,
        divergence_weight: float = 1.0,
        magnitude_weight: float = -0.003,
        width: int = 64,
        levels: int = 5,
        batch_norm: bool = True,
        upsampling: Upsampling = "bilinear",
        align_upsampling: bool | None = None,
        align_sampling: bool = True,
        normalise: Normalisation = "auto",
        generator: torch.Generator | None = None,
    ) -> None:
        super().__init__(spec, normalise=normalise)
        if levels < 1 or diffusion <= 0:
            raise InputError(
                "pknl needs `levels` of at least 1 and a positive `diffusion`, got "
                f"{levels} and {diffusion}."
            )
        grid_of(spec.frame_shape, 2**levels, "pknl")
        self.warp, self.diffusion, self.padding = warp, diffusion, padding
        self.divergence, self.align_sampling = divergence, align_sampling
        self.weights = {
            "photometric": 1.0,
            "smoothness": smoothness_weight,
            "divergence": divergence_weight,
            "magnitude": magnitude_weight,
        }
        self.estimator = MotionEstimator(
            spec.context * len(spec.channels),
            width=width,
            levels=levels,
            leak=LEAK[version],
            batch_norm=batch_norm,
            upsampling=upsampling,
            align_corners=version == 2018 if align_upsampling is None else align_upsampling,
            upsampling_bias=version == 2018,
        )
        initialise_near_zero(self.estimator, generator)

    @property
    def minimum_context(self) -> int:
        return self.spec.context

    # One step, and forecasting

    def move(self, window: Float[Tensor, "row time channel y x"]) -> Moved:
        """The frame that follows a window of context length, and its motion."""
        motion = widened(self.estimator(window.flatten(1, 2)))
        last = widened(window[:, -1])
        if self.warp == "gaussian":
            frame = warp_gaussian(last, motion, self.diffusion, padding=self.padding)
        else:
            frame = warp_bilinear(
                last, motion, padding=self.padding, align_corners=self.align_sampling
            )
        return Moved(frame, motion)

    def moves(self, context: Float[Tensor, "row time channel y x"]) -> Iterator[Moved]:
        """Endless iterator over the frames that follow a context, and the motion to each."""
        window = context[:, -self.spec.context :]
        while True:
            moved = self.move(window)
            yield moved
            window = following(window, moved.frame)

    def observe(
        self, context: Float[Tensor, "batch time channel y x"], *, noise: Noise
    ) -> tuple[Float[Tensor, "row channel y x"], Tensor]:
        window = noise.rows(context[:, -self.spec.context :])
        return self.move(window).frame, window

    def step(
        self, frame: Float[Tensor, "row channel y x"], state: Tensor, *, noise: Noise
    ) -> tuple[Float[Tensor, "row channel y x"], Tensor]:
        window = following(state, frame)
        return self.move(window).frame, window

    @typed
    def motion(self, context: Frames | Any, horizon: int | None = None) -> MotionField:
        """The motion to each frame of a forecast, in pixels per frame interval.

        Args:
            context: as for `forecast`; with labels, such as those of `Predictor.context`, the
                motion also has a velocity in metres per second.
            horizon: number of frames; by default that of training.

        Errors:
            InputError: a shape, channel count, length or option does not fit.
        """
        frames = self.check_context(context).to(next(self.buffers()).device)
        count = self.spec.horizon if horizon is None else horizon
        if not 1 <= count <= LONGEST:
            raise InputError(f"A motion needs a horizon of 1 to {LONGEST} frames, got {count}.")
        with evaluation_mode(self) as model, torch.no_grad():
            moves = islice(model.moves(model.inputs(frames)), count)
            pixels = torch.stack([model.in_pixels(moved.motion) for moved in moves], dim=1)
        known = frames.known.any(dim=1).any(dim=1)[:, None, None]
        pixels = pixels.masked_fill(~known, torch.nan)
        labels = frames.coordinates
        if labels is not None:  # drop points that were added to make sides divisible
            height, width = grid_shape(labels, frames.space)
            pixels = pixels[..., :height, :width]
        times = torch.arange(1.0, count + 1.0)
        return MotionField(pixels=pixels, times=times, coordinates=labels)

    def in_pixels(self, motion: Float[Tensor, "row 2 y x"]) -> Float[Tensor, "row 2 y x"]:
        """Motion in pixels, from halves of a side."""
        aligned = self.align_sampling or self.warp == "gaussian"
        rest = pixel_positions(sampling_grid(torch.zeros_like(motion)), align_corners=True)
        places = pixel_positions(sampling_grid(motion), align_corners=aligned)
        return (rest - places).movedim(-1, 1)

    # Training

    def loss(
        self, batch: Batch, *, step: int = 0, generator: torch.Generator | None = None
    ) -> Losses:
        r"""Squared errors of the forecast, and three terms of its motion, means over time.

        $$\overline{(\hat x - x)^2} + \lambda_s \big(\overline{(\partial_x w)^2}
        + \overline{(\partial_y w)^2}\big) + \lambda_d \overline{(\nabla \cdot w)^2}
        + \lambda_m \overline{\|w\|^2}$$

        Bars are means over known values. Each forecast frame is computed from the model's own.
        Motions are in halves of a side.
        """
        terms = self.loss_terms(
            self.inputs(batch.context), self.inputs(batch.target), batch.target.mask
        ).mean(dim=1)
        named = dict(zip(self.weights, terms, strict=True))
        total = sum(
            (self.weights[name] * term for name, term in named.items()), terms.new_zeros(())
        )
        return {"total": total, **named}

    def loss_terms(
        self,
        context: Float[Tensor, "batch time channel y x"],
        target: Float[Tensor, "batch horizon channel y x"],
        mask: Bool[Tensor, "batch horizon channel y x"] | None = None,
    ) -> Float[Tensor, "term horizon"]:
        """Photometric, smoothness, divergence and magnitude terms of each step, unweighted."""
        moves = list(islice(self.moves(context), target.shape[1]))
        motions = torch.stack([moved.motion for moved in moves])
        errors = (torch.stack([moved.frame for moved in moves], dim=1) - target).square()
        if mask is None:
            photometric = errors.transpose(0, 1).flatten(1).mean(dim=1)
        else:  # weighted so that the mean over time is that over all known values
            counts = mask.transpose(0, 1).flatten(1).sum(dim=1)
            sums = errors.masked_fill(~mask, 0.0).transpose(0, 1).flatten(1).sum(dim=1)
            photometric = sums * len(counts) / counts.sum().clamp_min(1)
        divergence = (
            published_divergence if self.divergence == "published" else corrected_divergence
        )
        return torch.stack(
            [
                photometric,
                torch.stack([smoothness(motion) for motion in motions]),
                torch.stack([divergence(motion).square().mean() for motion in motions]),
                motions.square().flatten(1).mean(dim=1),
            ]
        )


def following(
    window: Float[Tensor, "row time channel y x"], frame: Float[Tensor, "row channel y x"]
) -> Float[Tensor, "row time channel y x"]:
    """The window one frame later."""
    return torch.cat([window[:, 1:], frame.unsqueeze(1)], dim=1)


def smoothness(motion: Float[Tensor, "row 2 y x"]) -> Float[Tensor, ""]:
    """Mean squared differences of both components of a motion, summed over both axes."""
    means = [motion.diff(dim=axis).square().mean(dim=(0, 2, 3)).sum() for axis in (2, 3)]
    return torch.stack(means).sum()


def corrected_divergence(motion: Float[Tensor, "row 2 y x"]) -> Float[Tensor, "row y-1 x-1"]:
    """Divergence by forward differences, per pixel."""
    u, v = motion.unbind(1)
    return u.diff(dim=2)[:, :-1] + v.diff(dim=1)[:, :, :-1]


def published_divergence(motion: Float[Tensor, "row 2 y x"]) -> Float[Tensor, "row y-1 x"]:
    """Difference of the sum of both components from row to row, as in the published code."""
    return motion.sum(dim=1).diff(dim=1)

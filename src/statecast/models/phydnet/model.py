"""PhyDNet: a physical cell and a ConvLSTM that forecast a video together."""

from __future__ import annotations

import copy
from collections.abc import Iterator
from typing import Literal, NamedTuple, Self, get_args

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from statecast.errors import InputError
from statecast.frames import Batch, FrameSpec
from statecast.models.base import Losses, known_mean
from statecast.models.frame_feedback import FrameFeedback
from statecast.models.phydnet.cells import ConvLSTMStack, PhysicalCell, Version
from statecast.models.phydnet.codecs import REDUCTION, Branches, SeparateCodec, SkipCodec
from statecast.nn.blocks import initialise_convolutions
from statecast.nn.codecs.base import Output, grid_of
from statecast.nn.conv_lstm import ConvLSTMState
from statecast.nn.gaussian import widened
from statecast.nn.noise import Noise
from statecast.nn.normaliser import Normalisation

Branch = Literal["joint", "physical", "residual"]
GROUPS = {"released": 16, "paper": 4}  # groups of group normalisation, as published


class PhyDNetState(NamedTuple):
    """State of `PhyDNet`."""

    physical: Float[Tensor, "row channel y x"]
    residual: tuple[ConvLSTMState, ...]  # of each layer
    skips: tuple[Tensor, ...]  # of the last input frame; empty for a codec without skips

    @property
    def branches(self) -> Branches:
        """Feature maps of both branches, for the decoder."""
        return Branches(self.physical, self.residual[-1].hidden, self.skips)


class PhyDNet(FrameFeedback[PhyDNetState]):
    r"""Two parallel recurrent branches: a partial differential equation, and a residual ConvLSTM.

    $$h^p_{t+1} = \mathrm{PhyCell}(E_p(v_t), h^p_t), \qquad
    h^r_{t+1} = \mathrm{ConvLSTM}(E_r(v_t), h^r_t), \qquad
    \hat v_{t+1} = D(D_p(h^p_{t+1}) + D_r(h^r_{t+1}))$$

    Each frame is computed from the one before it, which in a forecast is the model's own.
    Forecasts are deterministic. Neither branch holds the content of a video, so videos cannot swap
    contents.

    Two models were published under this name, see `version`; both are reproduced exactly.

    Reference: Le Guen and Thome (2020), https://arxiv.org/abs/2003.01460.

    Args:
        spec: shape, channels and units of the frames; the sides must be divisible by 4.
        version: `released`, the code of April 2021 and its weights: each branch has its own encoder
            and decoder; or `paper`, the code of June 2020: both share them, with skip maps from
            the last frame.
        width: channels of the first convolutions; by default half the `state_channels`, in
            `paper` a quarter. In `paper`, the very first convolution has half the width.
        state_channels: channels of the physical state and of the last ConvLSTM layer.
        residual_hidden: channels of the ConvLSTM layers before the last one.
        kernel_size: side q of the physical cell's q² filters, odd.
        groups: groups of group normalisation; by default as published, 16 or, in `paper`, 4.
        physical_groups: the same in the physical cell; by default as published, `kernel_size` or,
            in `paper`, 4.
        moment_weight: weight of the moment loss, a sum over the state's channels.
        teacher_forcing: initial probability that a training batch uses true frames as input beyond
            the context, instead of the model's own.
        forcing_decay: amount by which that probability falls at a time.
        forcing_interval: optimiser steps from one fall to the next; an epoch, as published.
        output: `sigmoid` for frames in [0, 1], `identity` for unbounded ones; by default, the one
            that fits the normalised data.
        normalise: `auto`, `none`, `range` or `standard`, see `Normaliser`.
        generator: source of the initial weights.

    Errors:
        InputError: frames are points, sides are not divisible by 4, or groups do not fit.
    """

    branch: Branch = "joint"  # branch that forecasts show, see `branch_view`

    def __init__(
        self,
        spec: FrameSpec,
        *,
        version: Version = "released",
        width: int | None = None,
        state_channels: int = 64,
        residual_hidden: tuple[int, ...] = (128, 128),
        kernel_size: int = 7,
        groups: int | None = None,
        physical_groups: int | None = None,
        moment_weight: float = 1.0,
        teacher_forcing: float = 1.0,
        forcing_decay: float = 0.003,
        forcing_interval: int = 625,
        output: Output | None = None,
        normalise: Normalisation = "auto",
        generator: torch.Generator | None = None,
    ) -> None:
        super().__init__(spec, normalise=normalise)
        grid_of(spec.frame_shape, REDUCTION, "phydnet")
        if not 0 <= teacher_forcing <= 1 or forcing_decay < 0 or forcing_interval < 1:
            raise InputError(
                "phydnet needs a teacher_forcing in [0, 1], a forcing_decay of at least 0 and a "
                f"forcing_interval of at least 1 step, got {teacher_forcing}, {forcing_decay} and "
                f"{forcing_interval}."
            )
        released = version == "released"
        if width is None:
            width = state_channels // (2 if released else 4)
        if groups is None:
            groups = GROUPS[version]
        if physical_groups is None:
            physical_groups = kernel_size if released else GROUPS[version]
        codec = SeparateCodec if released else SkipCodec
        self.codec = codec(len(spec.channels), width, state_channels, groups)
        self.physical = PhysicalCell(
            state_channels, kernel_size=kernel_size, groups=physical_groups, version=version
        )
        self.residual = ConvLSTMStack(state_channels, (*residual_hidden, state_channels))
        self.moment_weight, self.teacher_forcing = moment_weight, teacher_forcing
        self.forcing_decay, self.forcing_interval = forcing_decay, forcing_interval
        self.output = output or self.normaliser.fitting_output
        initialise_convolutions(self, generator)

    # One step, and forecasting

    def feed(
        self,
        frames: Float[Tensor, "row time channel height width"],
        state: PhyDNetState | None = None,
    ) -> tuple[Branches, PhyDNetState]:
        """Feed frames in, in order, from the state before them, by default zero.

        Returns:
            Maps to decode after each frame, ordered by time, then by row; and the last state.
        """
        rows = len(frames)
        # Codes of a frame do not depend on the others, so encode all at once.
        codes = self.codec.encode(frames.transpose(0, 1).flatten(0, 1))
        if state is None:
            # Not zeros_like, which would keep channels last: on a CPU, PyTorch 2.13 crashes in the
            # gradient of group normalisation if such an input needs no gradient itself.
            zeros = codes.physical.new_zeros(rows, *codes.physical.shape[1:])
            state = PhyDNetState(zeros, self.residual.initial(codes.residual[:rows]), ())
        states = []
        for start in range(0, len(codes.physical), rows):
            code = codes.rows(slice(start, start + rows))
            state = PhyDNetState(
                self.physical(code.physical, state.physical),
                self.residual(code.residual, state.residual),
                code.skips,
            )
            states.append(state.branches)
        physical = torch.cat([branches.physical for branches in states])
        residual = torch.cat([branches.residual for branches in states])
        return Branches(physical, residual, codes.skips), state

    def decode(
        self, branches: Branches, branch: Branch = "joint"
    ) -> Float[Tensor, "row channel height width"]:
        """The frame of both branches together, or of one branch."""
        physical, residual = self.codec.branch_maps(branches)
        maps = {"joint": physical + residual, "physical": physical, "residual": residual}[branch]
        frames = widened(self.codec.decode(maps, branches.skips))
        return frames.sigmoid() if self.output == "sigmoid" else frames

    def observe(
        self, context: Float[Tensor, "batch time channel height width"], *, noise: Noise
    ) -> tuple[Float[Tensor, "row channel height width"], PhyDNetState]:
        _, state = self.feed(noise.rows(context))
        return self.decode(state.branches), state

    def step(
        self,
        frame: Float[Tensor, "row channel height width"],
        state: PhyDNetState,
        *,
        noise: Noise | None = None,
    ) -> tuple[Float[Tensor, "row channel height width"], PhyDNetState]:
        branches, state = self.feed(frame.unsqueeze(1), state)
        return self.decode(branches), state

    def roll_out(
        self, context: Float[Tensor, "batch time channel height width"], *, noise: Noise
    ) -> Iterator[Float[Tensor, "row channel height width"]]:
        frame, state = self.observe(context, noise=noise)
        while True:
            joint = self.branch == "joint"
            yield frame if joint else self.decode(state.branches, self.branch)
            frame, state = self.step(frame, state, noise=noise)

    def branch_view(self, branch: Branch) -> Self:
        """A view of this model, with the same weights, whose forecasts show one branch.

        All views feed the joint frame back, so the frames of the `physical` and the `residual`
        view belong to the same forecast.

        Errors:
            InputError: the branch does not exist.
        """
        if branch not in get_args(Branch):
            raise InputError(
                f"The branch must be one of {', '.join(get_args(Branch))}, got {branch!r}."
            )
        view = copy.copy(self)
        view.branch = branch
        return view

    # Training

    def loss(
        self, batch: Batch, *, step: int = 0, generator: torch.Generator | None = None
    ) -> Losses:
        r"""Squared errors of context and target frames, and the moment loss.

        $$\sum_{t=2}^{n} \overline{(\hat v_t - v_t)^2}
        + \sum_{t=n+1}^{n+H} \overline{(\hat v_t - v_t)^2}
        + \lambda \sum_{c} \overline{(M_c - E)^2}$$

        Bars are means over known values. One draw per batch decides whether input frames beyond the
        context are true ones or the model's own.
        """
        ratio = teacher_forcing_ratio(
            step,
            initial=self.teacher_forcing,
            decay=self.forcing_decay,
            interval=self.forcing_interval,
        )
        device = None if generator is None else generator.device
        drawn = torch.rand((), generator=generator, device=device)
        forced = bool(drawn < ratio)
        terms = self.loss_terms(
            self.inputs(batch), len(batch.context), teacher_forcing=forced, mask=batch.mask
        )
        total = terms["context"] + terms["forecast"] + self.moment_weight * terms["moment"]
        return {"total": total, **terms}

    def loss_terms(
        self,
        frames: Float[Tensor, "batch time channel height width"],
        context: int,
        *,
        teacher_forcing: bool,
        mask: Bool[Tensor, "batch time channel height width"] | None = None,
    ) -> Losses:
        """Unweighted terms; inputs are `context` true frames, or all with `teacher_forcing`."""
        observed = frames.shape[1] - 1 if teacher_forcing else context
        errors = (self.training_forecast(frames, observed) - frames[:, 1:]).square()
        known = None if mask is None else mask[:, 1:]
        first = context - 1  # index of the first target frame among forecast frames
        return {
            "context": summed_over_time(errors, known, slice(first)),
            "forecast": summed_over_time(errors, known, slice(first, None)),
            "moment": self.physical.moment_losses().sum(),
        }

    def training_forecast(
        self, frames: Float[Tensor, "batch time channel height width"], observed: int
    ) -> Float[Tensor, "batch time-1 channel height width"]:
        """All frames but the first; inputs after `observed` frames are the model's own."""
        branches, state = self.feed(frames[:, :observed])
        forecast = list(self.decode(branches).unflatten(0, (observed, -1)))
        while len(forecast) < frames.shape[1] - 1:
            frame, state = self.step(forecast[-1], state)
            forecast.append(frame)
        return torch.stack(forecast, dim=1)


def teacher_forcing_ratio(step: int, *, initial: float, decay: float, interval: int) -> float:
    """Probability of true frames as input, which falls by `decay` every `interval` steps."""
    return max(0.0, initial - decay * (step // interval))


def summed_over_time(
    errors: Float[Tensor, "batch time *frame"],
    known: Bool[Tensor, "batch time *frame"] | None,
    times: slice,
) -> Float[Tensor, ""]:
    """Mean over the known values at some times, times their number; 0 if there are none."""
    errors = errors[:, times]
    if not errors.shape[1]:
        return errors.new_zeros(())
    return errors.shape[1] * known_mean(errors, None if known is None else known[:, times])

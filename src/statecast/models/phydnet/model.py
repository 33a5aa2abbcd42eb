"""PhyDNet: a physical cell and a ConvLSTM that share the forecast of a video."""

from __future__ import annotations

import copy
import math
from collections.abc import Iterator
from typing import Literal, NamedTuple, Self, get_args

import torch
from jaxtyping import Bool, Float
from torch import Tensor, nn

from statecast.errors import InputError
from statecast.frames import Batch, FrameSpec
from statecast.models.base import Losses, known_mean
from statecast.models.frame_feedback import FrameFeedback
from statecast.models.phydnet.cells import ConvLSTMStack, LSTMState, PhysicalCell, Version
from statecast.models.phydnet.codecs import REDUCTION, Branches, SeparateCodec, SkipCodec
from statecast.nn.codecs.base import Output, grid_of
from statecast.nn.gaussian import widened
from statecast.nn.noise import Noise
from statecast.nn.normaliser import Normalisation

Branch = Literal["joint", "physical", "residual"]
GROUPS = {"released": 16, "paper": 4}  # of group normalisation, as published


class PhyDNetState(NamedTuple):
    """State of `PhyDNet`."""

    physical: Float[Tensor, "row channel y x"]
    residual: tuple[LSTMState, ...]  # of each layer
    skips: tuple[Tensor, ...]  # maps of the frame fed in last; empty where the codec has none

    @property
    def branches(self) -> Branches:
        """Features of both branches, to be decoded."""
        return Branches(self.physical, self.residual[-1].hidden, self.skips)


class PhyDNet(FrameFeedback[PhyDNetState]):
    r"""Two recurrent branches side by side: a partial differential equation, and what it lacks.

    $$h^p_{t+1} = \mathrm{PhyCell}(E_p(v_t), h^p_t), \qquad
    h^r_{t+1} = \mathrm{ConvLSTM}(E_r(v_t), h^r_t), \qquad
    \hat v_{t+1} = D(D_p(h^p_{t+1}) + D_r(h^r_{t+1}))$$

    Each frame is forecast from the one before it, which in a forecast is the model's own.
    Forecasts are deterministic. Neither branch holds the content of a video, so contents cannot be
    exchanged between videos.

    Two models were published under this name, see `version`; both are reproduced exactly.

    Reference: Le Guen and Thome (2020), https://arxiv.org/abs/2003.01460.

    Args:
        spec: shape, channels and units of the frames; the sides must be divisible by 4.
        version: `released`, the code of April 2021 and its weights: encoders and decoders of their
            own for each branch; or `paper`, the code of June 2020: one encoder and decoder for
            both, with skip maps from the last frame.
        width: channels of the first convolutions; by default half the `state_channels`, and a
            quarter of them in the version `paper`, whose very first one has half the width.
        state_channels: channels of the physical state and of the last ConvLSTM layer.
        residual_hidden: channels of the ConvLSTM layers before the last one.
        kernel_size: side q of the physical cell's q² filters, odd.
        groups: of group normalisation; by default as published, 16 or, in `paper`, 4.
        physical_groups: of group normalisation in the physical cell; by default as published,
            `kernel_size` or, in `paper`, 4.
        moment_weight: weight of the moment loss, a sum over the state's channels.
        teacher_forcing: probability at the first step that true frames, and not the model's own,
            are fed in beyond the context of a training batch.
        forcing_decay: what that probability loses at a time.
        forcing_interval: optimizer steps from one loss to the next; published, an epoch.
        output: `sigmoid` for frames in [0, 1], `identity` for unbounded ones; by default what
            fits the normalised data.
        normalise: `auto`, `none`, `range` or `standard`, see `Normaliser`.
        generator: source of the initial weights.

    Errors:
        InputError: frames are points, or their sides or the groups do not divide.
    """

    branch: Branch = "joint"  # what a forecast shows, see `branch_view`

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
        if len(spec.space) != 2:
            raise InputError(f"phydnet forecasts images (height, width), got space {spec.space}.")
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
            Codes to decode after each frame, all rows of one time after those of the one
            before; and the last state.
        """
        rows = len(frames)
        # A frame's code depends on that frame alone, so all are encoded at once.
        codes = self.codec.encode(frames.transpose(0, 1).flatten(0, 1))
        if state is None:
            # Not zeros_like, which keeps channels last: the gradient of group normalisation of such
            # an input crashes on a CPU (PyTorch 2.13) where the input itself needs none.
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
        """The frame of both branches together, or one branch decoded alone."""
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
        """This model, with the same weights, whose forecasts show what one branch contributes.

        The joint frame is fed back in any case: the frames of the `physical` and the
        `residual` view belong to the same forecast.

        Errors:
            InputError: there is no such branch.
        """
        if branch not in get_args(Branch):
            raise InputError(f"Branches are {', '.join(get_args(Branch))}, got {branch!r}.")
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

        with bars for means, over known values where some are missing. Whether frames beyond the
        context are true or the model's own is drawn once per batch.
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
        """The terms, unweighted; `context` frames, or all with `teacher_forcing`, are fed in."""
        observed = frames.shape[1] - 1 if teacher_forcing else context
        errors = (self.training_forecast(frames, observed) - frames[:, 1:]).square()
        known = None if mask is None else mask[:, 1:]
        first = context - 1  # of the target, among the frames that are forecast
        return {
            "context": summed_over_time(errors, known, slice(first)),
            "forecast": summed_over_time(errors, known, slice(first, None)),
            "moment": self.physical.moment_losses().sum(),
        }

    def training_forecast(
        self, frames: Float[Tensor, "batch time channel height width"], observed: int
    ) -> Float[Tensor, "batch time-1 channel height width"]:
        """Every frame but the first, from the true one before it, or its forecast if later."""
        branches, state = self.feed(frames[:, :observed])
        forecast = list(self.decode(branches).unflatten(0, (observed, -1)))
        while len(forecast) < frames.shape[1] - 1:
            frame, state = self.step(forecast[-1], state)
            forecast.append(frame)
        return torch.stack(forecast, dim=1)


def teacher_forcing_ratio(step: int, *, initial: float, decay: float, interval: int) -> float:
    """Probability of feeding true frames in, which loses `decay` every `interval` steps."""
    return max(0.0, initial - decay * (step // interval))


def summed_over_time(
    errors: Float[Tensor, "batch time *frame"],
    known: Bool[Tensor, "batch time *frame"] | None,
    times: slice,
) -> Float[Tensor, ""]:
    """Mean over the known values at some times, multiplied by the number of times; 0 of none."""
    errors = errors[:, times]
    if not errors.shape[1]:
        return errors.new_zeros(())
    return errors.shape[1] * known_mean(errors, None if known is None else known[:, times])


def initialise_convolutions(module: nn.Module, generator: torch.Generator | None) -> None:
    """Draw weights of convolutions as PyTorch does by default, but from `generator`.

    Uniform in ±1/√n, where n is the size of the second and further dimensions of the weight.
    """
    for layer in module.modules():
        if isinstance(layer, nn.Conv2d | nn.ConvTranspose2d):
            bound = 1 / math.sqrt(layer.weight[0].numel())
            for weight in layer.parameters(recurse=False):
                nn.init.uniform_(weight, -bound, bound, generator=generator)

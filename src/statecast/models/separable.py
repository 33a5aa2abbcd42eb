"""Separable: PDE-driven disentanglement of content and dynamics."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from itertools import accumulate
from typing import Literal, TypeVar, cast

import torch
from jaxtyping import Bool, Float
from torch import Tensor, nn

from statecast.errors import InputError
from statecast.frames import Batch, FrameSpec
from statecast.models.base import Losses, known_mean
from statecast.models.multiple_shooting import shoot
from statecast.models.roll_out import State
from statecast.models.state_space import StateSpaceForecaster
from statecast.nn.blocks import (
    ConvolutionUnit,
    MapLayers,
    initialise_he,
    initialise_normal,
    initialise_orthogonal,
    mlp,
)
from statecast.nn.codecs.base import Content, DecoderOptions, Encoding, Mixing, Output
from statecast.nn.codecs.build import Architecture, check_pair, code_shape, decoder_of, encoder_of
from statecast.nn.fast.switches import enabled
from statecast.nn.gaussian import widened
from statecast.nn.normaliser import Normalisation
from statecast.nn.random import uniform
from statecast.solvers.interval_noise import Constant, Interval, IntervalNoise
from statecast.solvers.reversible import Followed, Pair
from statecast.solvers.solvers import SOLVERS, Solver, SolverName

Codes = TypeVar("Codes", Tensor, Content)
WEIGHT_STD = 0.02  # standard deviation of the codec's initial weights, as published
SMALLEST_NORM = 1e-12  # smallest divisor


class Separable(StateSpaceForecaster):
    r"""Separation of variables, learned: content S is constant, dynamics T follow an ODE.

    $$\hat v_t = D(S, T_t), \qquad \frac{dT}{dt} = f(T), \qquad
    S = E_S(v_{1 \ldots n}), \quad T_{t_0} = E_T(v_{1 \ldots n})$$

    Forecasts are deterministic. One frame interval is a sequence of residual blocks,
    $T \leftarrow T + f_j(T)$, as published, or a solution of the differential equation with
    $f = \sum_j f_j$, which the sequence approximates.

    Reference: Donà et al. (2021), https://arxiv.org/abs/2008.01352.

    Args:
        spec: shape, channels and units of the frames; comes from the data.
        architecture: codec: `dcgan` or `vgg` for images, `resnet` for a ResNet-18 encoder with a
            DCGAN decoder, `mlp` for points and small grids, or `maps` for fields, where codes are
            maps with a quarter of the frame's sides and residual blocks are convolutions. `auto`
            chooses between `dcgan` and `mlp` by the grid; `mlp` is then 16 times as wide.
        decoder_architecture: codec of the decoder; by default `architecture`.
        skips: whether the decoder sees the content encoder's maps.
        encoder_width: channels of the encoders' first convolution; hidden units of `mlp` encoders.
        encoder_layers: linear layers of `mlp` encoders.
        decoder_width: channels of the decoder's last stage; hidden units of an `mlp` decoder.
        decoder_layers: linear layers of an `mlp` decoder.
        content: `learned` from frames, or `constant`: the published model without S, where S is 1,
            mixing is by product, and T has no prior.
        content_size: size of the content code S; number of channels if S is a map.
        latent_size: size of the dynamics code T; number of channels if T is a map.
        mixing: how the decoder joins S and T: `concat`, or `product` of codes of equal size.
        dynamics_blocks: residual blocks per frame.
        dynamics_hidden: hidden units, or channels, of each residual block.
        dynamics_layers: linear layers, or convolutions, of each residual block.
        dynamics_gain: gain of the blocks' orthogonal initial weights.
        solver: how T is integrated: `residual` (as published), `euler`, `midpoint`, `heun`, `rk4`,
            `reversible_heun`, whose steps can be undone, or the adaptive `dopri5`.
        substeps: steps of the solver per frame; 1 for an adaptive solver.
        relative_tolerance: largest local error of `dopri5`, relative to T.
        absolute_tolerance: largest local error of `dopri5`, in units of T.
        rollout_from: frame that the inferred T belongs to: the first frame of the `context`, so
            that training also reconstructs the context, or the first frame of the `target`.
        forecast_weight: weight of the forecast's squared error.
        alignment_weight: weight of the squared error of a frame decoded from its own T.
        invariance_weight: weight of the squared difference of S between start and end.
        prior_weight: weight of ½‖T‖²; see `prior_reduction`.
        alignment_window: whether the window to align is drawn once per `batch`, as published, or
            for each `sequence`.
        prior_reduction: whether ‖T‖² is a `sum` over the code or a `mean`; by default as
            published: a mean if T is a map, else a sum.
        shooting_segments: number of forecasts that a training sequence is cut into. T is inferred
            again at evenly spaced frames and rolled out up to the next of them, so that training
            can use long sequences; 1 is the published loss, one forecast from the first frames.
        continuity_weight: weight of the squared difference between T rolled out and T inferred,
            where one forecast ends and the next begins.
        initialisation: initial weights of the codecs: `normal`, N(0, 0.02²) as published, or `he`,
            N(0, 2 / inputs), with residual blocks that start as the identity. `he` suits
            WaveEq-100; on whole frames of waves, with the `mlp` codec, its training stalled.
        output: `sigmoid` for frames in [0, 1], `identity` for unbounded ones; by default, the one
            that fits the normalised data.
        normalise: `auto`, `none`, `range` or `standard`, see `Normaliser`.
        generator: source of the initial weights.
    """

    autonomous = True

    def __init__(
        self,
        spec: FrameSpec,
        *,
        architecture: Architecture = "dcgan",
        decoder_architecture: Architecture | None = None,
        skips: bool = False,
        encoder_width: int = 64,
        encoder_layers: int = 3,
        decoder_width: int = 64,
        decoder_layers: int = 3,
        content: Literal["learned", "constant"] = "learned",
        content_size: int = 128,
        latent_size: int = 20,
        mixing: Mixing = "concat",
        dynamics_blocks: int = 1,
        dynamics_hidden: int = 512,
        dynamics_layers: int = 3,
        dynamics_gain: float = 1.41,
        solver: SolverName = "residual",
        substeps: int = 1,
        relative_tolerance: float = 1e-5,
        absolute_tolerance: float = 1e-6,
        rollout_from: Literal["context", "target"] = "context",
        forecast_weight: float = 45.0,
        alignment_weight: float = 10.0,
        invariance_weight: float = 45.0,
        prior_weight: float = 1e-3,
        alignment_window: Literal["batch", "sequence"] = "batch",
        prior_reduction: Literal["sum", "mean"] | None = None,
        shooting_segments: int = 1,
        continuity_weight: float = 1.0,
        initialisation: Literal["normal", "he"] = "normal",
        output: Output | None = None,
        normalise: Normalisation = "auto",
        generator: torch.Generator | None = None,
    ) -> None:
        super().__init__(spec, normalise=normalise)
        if content == "constant":
            if skips:
                raise InputError(
                    "A constant content has no maps for skip connections. Set skips: false."
                )
            content_size, mixing, prior_weight = latent_size, "product", 0.0
        decoder_architecture = decoder_architecture or architecture
        check_pair(
            architecture,
            decoder_architecture,
            skips=skips,
            encoder_width=encoder_width,
            decoder_width=decoder_width,
        )
        self.skips, self.initialisation = skips, initialisation
        self.latent_shape = code_shape(architecture, spec.frame_shape, latent_size)
        self.latent_width = latent_size
        self.solver, self.substeps, self.solvers = solver, substeps, SOLVERS
        self.tolerances = (relative_tolerance, absolute_tolerance)
        self.choose_solver(substeps=substeps)
        self.rollout_from, self.dynamics_gain = rollout_from, dynamics_gain
        self.reconstructs = rollout_from == "context"
        self.forecast_weight, self.alignment_weight = forecast_weight, alignment_weight
        self.invariance_weight, self.prior_weight = invariance_weight, prior_weight
        of_maps = len(self.latent_shape) > 1
        self.alignment_window = alignment_window
        self.prior_reduction = prior_reduction or ("mean" if of_maps else "sum")
        self.shooting_segments, self.continuity_weight = shooting_segments, continuity_weight
        if not 1 <= shooting_segments <= self.alignment_windows(spec.length):
            raise InputError(
                f"A window of {spec.length} frames can be cut into 1 to "
                f"{self.alignment_windows(spec.length)} forecasts, got "
                f"shooting_segments={shooting_segments}."
            )
        window = (len(spec.channels) * spec.context, *spec.space)
        decoder_options = DecoderOptions(
            content_size=content_size,
            latent_size=latent_size,
            width=decoder_width,
            layers=decoder_layers,
            bias=True,
            skips=skips,
            output=output or self.normaliser.fitting_output,
            mixing=mixing,
        )
        decoder = decoder_of(decoder_architecture, spec.frame_shape, decoder_options)
        codes = {"dynamics": latent_size} | (
            {"content": content_size} if content == "learned" else {}
        )
        encoders = {
            name: encoder_of(
                architecture,
                window,
                size,
                width=encoder_width,
                layers=encoder_layers,
                bias=True,
                head="linear",
            )
            for name, size in codes.items()
        }
        self.content_encoder = encoders.get("content")
        self.dynamics_encoder = encoders["dynamics"]
        self.decoder = decoder
        self.dynamics_blocks = nn.ModuleList(
            MapLayers(latent_size, dynamics_hidden, layers=dynamics_layers)
            if of_maps
            else mlp(latent_size, dynamics_hidden, latent_size, layers=dynamics_layers)
            for _ in range(dynamics_blocks)
        )
        self.normalises_batches = any(isinstance(m, nn.BatchNorm2d) for m in self.modules())
        self.initialise(generator)

    def initialise(self, generator: torch.Generator | None) -> None:
        """Draw all weights according to `initialisation`."""
        codecs = [self.content_encoder, self.dynamics_encoder, self.decoder]
        for codec in codecs:
            if codec is not None and self.initialisation == "normal":
                initialise_normal(codec, WEIGHT_STD, generator)
            elif codec is not None:
                initialise_he(codec, generator)
        initialise_orthogonal(self.dynamics_blocks, self.dynamics_gain, generator)
        if self.initialisation == "he":
            for block in self.dynamics_blocks:
                bring_to_rest(block)

    @property
    def minimum_context(self) -> int:
        return self.spec.context

    # Training

    def loss(
        self, batch: Batch, *, step: int = 0, generator: torch.Generator | None = None
    ) -> Losses:
        r"""Forecast, alignment, invariance and prior terms.

        $$\lambda_{pred} \overline{(\hat v - v)^2} + \lambda_{AE}
        \overline{(D(S, E_T(V_i)) - v_i)^2} + \lambda_S \overline{(S - S')^2}
        + \lambda_T \tfrac12 \|T_{t_0}\|^2$$

        V_i is a random window, S' the content of the last frames, and bars are means over known
        values. If the sequence is cut into several forecasts, $\hat v$ joins all of them, the
        prior is a mean over them, and a continuity term is added where they meet,
        $\overline{(T^{rolled} - T^{inferred})^2}$.
        """
        frames = self.inputs(batch)
        windows = self.alignment_windows(frames.shape[1])
        if self.alignment_window == "batch":
            window = torch.randint(windows, (), generator=generator)
        else:
            window = (uniform((len(frames),), frames, generator) * windows).long()
        terms = self.loss_terms(frames, window, batch.mask)
        total = (
            self.forecast_weight * terms["forecast"]
            + self.alignment_weight * terms["alignment"]
            + self.invariance_weight * terms["invariance"]
            + self.prior_weight * terms["prior"]
        )
        if "continuity" in terms:
            total = total + self.continuity_weight * terms["continuity"]
        return {"total": total, **terms}

    def alignment_windows(self, length: int) -> int:
        """Number of windows of a sequence whose T belongs to a frame of the sequence."""
        return length - self.spec.context + (1 if self.rollout_from == "context" else 0)

    def loss_terms(
        self,
        frames: Float[Tensor, "batch time channel *space"],
        window: int | Tensor,
        mask: Bool[Tensor, "batch time channel *space"] | None = None,
    ) -> Losses:
        """Unweighted terms of the loss.

        Args:
            frames: context and target, in the units of the model.
            window: first frame of the window to align, one number or one per sequence.
            mask: True where values are known; None if all are.
        """
        context = self.spec.context
        start = 0 if self.rollout_from == "context" else context
        content, last = self.each_of(self.content_of, frames[:, :context], frames[:, -context:])
        rows = torch.arange(len(frames), device=frames.device)
        first = torch.as_tensor(window, device=frames.device).expand(len(frames))
        observed = first.unsqueeze(1) + torch.arange(context, device=frames.device)
        starts = self.starts(frames.shape[1])
        shots = torch.stack([frames[:, begin : begin + context] for begin in starts], dim=1)
        initial, aligned = self.each_of(
            self.dynamics_of, shots.flatten(0, 1), frames[rows.unsqueeze(1), observed]
        )
        latents, initial, gaps = shoot(
            initial.unflatten(0, shots.shape[:2]),
            starts,
            frames.shape[1] - start,
            roll_out=self.path_from,
        )
        # One pass of the decoder for the forecast and the aligned frame.
        decoded = widened(self.decode(content, torch.cat([latents, aligned.unsqueeze(1)], dim=1)))
        rolled, one = (None, None) if mask is None else (mask[:, start:], mask[rows, first + start])
        terms = {
            "forecast": known_mean((decoded[:, :-1] - frames[:, start:]).square(), rolled),
            "alignment": known_mean((decoded[:, -1] - frames[rows, first + start]).square(), one),
            "invariance": decoded.new_zeros(())
            if self.content_encoder is None
            else distance(content, last),
            "prior": half_square(initial.flatten(0, 1), over=self.prior_reduction),
        }
        return terms | ({"continuity": gaps.square().mean()} if self.shooting_segments > 1 else {})

    def starts(self, length: int) -> list[int]:
        """First frame of the window that starts each forecast of a training sequence."""
        windows = self.alignment_windows(length)
        return [
            index * windows // self.shooting_segments for index in range(self.shooting_segments)
        ]

    def each_of(self, encode: Callable[[Tensor], Codes], *windows: Tensor) -> tuple[Codes, ...]:
        """Codes of several windows of each sequence.

        Windows are encoded in one batch, unless batch normalisation would mix them: the weights of
        a wide layer, and their gradients, then pass through memory once.
        """
        if self.normalises_batches or not enabled("batched_encoding"):
            return tuple(encode(part) for part in windows)
        codes = encode(torch.cat(windows))
        ends = list(accumulate(len(part) for part in windows))
        return tuple(
            codes[end - len(part) : end]
            if isinstance(codes, Tensor)
            else codes.select(slice(end - len(part), end))
            for part, end in zip(windows, ends, strict=True)
        )

    def path_from(
        self, latent: Float[Tensor, "batch latent *grid"], length: int
    ) -> Float[Tensor, "batch time latent *grid"]:
        """The latent and those of the frames that follow it, `length` in total."""
        solvers = (self.choose_solver(),) * (length - 1)
        return self.roll_out(latent.unsqueeze(0), solvers).states[0][:, :, : self.latent_width]

    def diagnostics(
        self, batch: Batch, generator: torch.Generator | None = None
    ) -> dict[str, Tensor]:
        r"""Diagnostics of each window.

        - `latent_speed`: $\|T_{t+1} - T_t\|$, the mean over frame intervals;
        - `invariance_gap`: $\|S' - S\| / (\|S'\| + \|S\|)$, between 0 and 1, with S the content of
          the first frames and S' that of the last;
        - `latent` and `content`: T of all frames, and S; their active units are counted.
        """
        frames, context = self.inputs(batch), self.spec.context
        path = self.path_from(self.dynamics_of(frames[:, :context]), frames.shape[1])
        found = {"latent_speed": path.diff(dim=1).norm(dim=-1).mean(dim=1), "latent": path}
        if self.content_encoder is not None:
            parts = frames[:, :context], frames[:, -context:]
            first, last = (self.content_of(part).code for part in parts)
            both = (first.norm(dim=1) + last.norm(dim=1)).clamp_min(SMALLEST_NORM)
            found |= {"invariance_gap": (last - first).norm(dim=1) / both, "content": first}
        return found

    # Forecasting

    def content_of(self, context: Float[Tensor, "batch time channel *space"]) -> Content:
        if self.content_encoder is None:
            return Content(context.new_ones(len(context), *self.latent_shape))
        encoding = self._encode(self.content_encoder, context)
        return Content(encoding.code, encoding.skips if self.skips else ())

    def dynamics_of(
        self, context: Float[Tensor, "batch time channel *space"]
    ) -> Float[Tensor, "batch latent *grid"]:
        """Dynamics code T of a window of frames."""
        return widened(self._encode(self.dynamics_encoder, context).code)

    def _encode(self, encoder: nn.Module, context: Tensor) -> Encoding:
        return encoder(context[:, -self.spec.context :].flatten(1, 2))

    def observe(
        self,
        context: Float[Tensor, "batch time channel *space"],
        *,
        samples: int = 1,
        generator: torch.Generator | None = None,
    ) -> State:
        latent = self.dynamics_of(context).expand(samples, len(context), *self.latent_shape)
        return State(self.content_of(context), latent, self.earliest_time(len(context)))

    def earliest_time(self, length: int) -> float:
        return 1.0 - self.spec.context if self.rollout_from == "context" else 1.0

    def dynamics(self) -> nn.Module | None:
        return self.dynamics_blocks[0]

    def step(
        self,
        latent: Followed,
        noise: Tensor | Interval | None,
        *,
        solver: Solver,
        fractions: Sequence[float],
    ) -> list[Followed]:
        blocks = list(self.dynamics_blocks)
        if isinstance(latent, Pair) or solver.adaptive:
            return solver.at(blocks, latent, fractions)
        # Small linear layers are faster on a matrix than on (sample, batch, latent).
        path = solver.at(blocks, latent.flatten(0, 1), fractions)
        return [found.view(latent.shape) for found in path if isinstance(found, Tensor)]

    def interval_noise(self, noise: Tensor | Interval | None) -> IntervalNoise:
        return Constant(list(self.dynamics_blocks))

    def step_weights(self) -> Iterator[nn.Parameter]:
        return self.dynamics_blocks.parameters()

    @property
    def largest_feature_map(self) -> int:
        return self.decoder.largest_feature_map

    def precompute_content(self, content: Content) -> Content:
        return self.decoder.precompute(content)

    def decode(
        self, content: Content, latents: Float[Tensor, "batch many latent *grid"]
    ) -> Float[Tensor, "batch many channel *space"]:
        return self.decoder(content, latents[:, :, : self.latent_width])


def bring_to_rest(block: nn.Module) -> None:
    """Set the last weights of a residual block to 0, so that it starts as the identity."""
    last = list(block.children())[-1]
    # A normalisation would amplify zeros before it, so its own scale is set to 0 instead.
    norm = last.norm if isinstance(last, ConvolutionUnit) else None
    nn.init.zeros_(cast("Tensor", last.weight if norm is None else norm.weight))


def half_square(
    latent: Float[Tensor, "batch *latent"], *, over: Literal["sum", "mean"]
) -> Float[Tensor, ""]:
    """½‖T‖², summed or averaged over the code, averaged over the batch."""
    squares = 0.5 * latent.square()
    return squares.mean() if over == "mean" else squares.flatten(1).sum(dim=1).mean()


def distance(left: Content, right: Content) -> Tensor:
    """Mean squared difference between two contents, including skip maps."""
    pairs = [(left.code, right.code), *zip(left.skips, right.skips, strict=True)]
    squares = torch.stack([(widened(a) - widened(b)).square().sum() for a, b in pairs])
    return squares.sum() / sum(a.numel() for a, _ in pairs)

"""MCnet: motion from differences of frames, content from the last frame."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import islice
from typing import NamedTuple

import torch
from jaxtyping import Bool, Float
from torch import Tensor, nn

from statecast.distributed import all_reduce_sum, world_size
from statecast.errors import InputError
from statecast.frames import Batch, Frames, FrameSpec
from statecast.models.base import Codes, Losses, Update, known_mean
from statecast.models.frame_feedback import FrameFeedback
from statecast.models.mcnet.discriminator import Discriminator
from statecast.models.mcnet.networks import (
    LEVELS,
    Decoder,
    MotionMemory,
    content_encoder,
    motion_encoder,
)
from statecast.nn.codecs.base import Output, grid_of
from statecast.nn.conv_lstm import ConvLSTMState
from statecast.nn.gaussian import widened
from statecast.nn.noise import Noise
from statecast.nn.normaliser import Normalisation

LUMINANCE = {"red": 0.2989, "green": 0.587, "blue": 0.114}  # weights of a grey image
GENERATOR = ("motion_encoder", "memory", "content_encoder", "decoder")  # names of its parts
TOO_GOOD, TOO_BAD = 0.3, 0.7  # cross-entropies beyond which adversary or model rests


class MCnetState(NamedTuple):
    """State of `MCnet` after a frame, for each row."""

    memory: ConvLSTMState
    frame: Float[Tensor, "row channel y x"]  # last input


class MCnet(FrameFeedback[MCnetState]):
    r"""Motion and content, encoded apart (Villegas et al., 2017).

    $$d_t = \mathrm{LSTM}(E_m(x_t - x_{t-1})), \qquad
    \hat x_{t+1} = D\big(d_t, E_c(x_t), \mathrm{skips}\big)$$

    Differences of colour frames are those of grey images. Each forecast frame is fed back into both
    encoders, also in training, so that the content is that of the frame before. With
    `content_from`, the differences of one context move the last frame of the other. Forecasts are
    deterministic.

    Reference: https://arxiv.org/abs/1706.08033.

    Args:
        spec: shape, channels and units of the frames; the sides must be divisible by 8.
        width: channels of the first convolutions.
        gradient_weight: weight of the gradient difference.
        adversary: whether to train a discriminator, and the model to deceive it.
        adversary_weight: weight of the loss term for deceiving it.
        adversary_width: channels of the discriminator's first convolution; by default `width`.
        adversary_gates: whether the adversary skips updates when it is too good, and the model when
            the adversary is too bad, as published: either rests until the other one would.
        output: `sigmoid` for frames in [0, 1], as published, or `identity`. On black backgrounds,
            `sigmoid` saturates within about 100 steps, and no gradient is left.
        normalise: `auto`, `none`, `range` or `standard`, see `Normaliser`.
        generator: source of the initial weights.

    Errors:
        InputError: frames are points, sides are not divisible by 8, or the context is one frame.
    """

    supports_content_swap = True
    gates: Tensor  # whether the adversary and the model take their next update

    def __init__(
        self,
        spec: FrameSpec,
        *,
        width: int = 64,
        gradient_weight: float = 1.0,
        adversary: bool = False,
        adversary_weight: float = 0.02,
        adversary_width: int | None = None,
        adversary_gates: bool = True,
        output: Output = "identity",
        normalise: Normalisation = "auto",
        generator: torch.Generator | None = None,
    ) -> None:
        super().__init__(spec, normalise=normalise)
        grid_of(spec.frame_shape, 2**LEVELS, "mcnet")
        if spec.context < 2:
            raise InputError("mcnet needs a context of at least 2 frames, got 1.")
        channels = len(spec.channels)
        self.in_colour = set(spec.channels) == set(LUMINANCE)
        self.motion_encoder = motion_encoder(1 if self.in_colour else channels, width)
        self.memory = MotionMemory(width * 2 ** (LEVELS - 1))
        self.content_encoder = content_encoder(channels, width)
        self.decoder = Decoder(channels, width)
        self.gradient_weight, self.adversary_weight = gradient_weight, adversary_weight
        self.adversary_gates, self.discriminator = adversary_gates, None
        if adversary:
            height, across = spec.space
            self.discriminator = Discriminator(
                spec.length * channels, adversary_width or width, (height, across)
            )
            self.register_buffer("gates", torch.ones(2, dtype=torch.bool))
        self.output = output
        initialise_glorot(self, generator)

    @property
    def minimum_context(self) -> int:
        return 2

    # One step, and forecasting

    def motion_image(
        self, frames: Float[Tensor, "*batch channel y x"]
    ) -> Float[Tensor, "*batch motion_channel y x"]:
        """The image whose differences show motion: grey for colour frames, else all channels."""
        if not self.in_colour:
            return frames
        weights = frames.new_tensor([LUMINANCE[name] for name in self.spec.channels])
        return torch.einsum("...cyx,c->...yx", frames, weights).unsqueeze(-3)

    def forecast_next(
        self,
        differences: Float[Tensor, "row time motion_channel y x"],
        frame: Float[Tensor, "row channel y x"],
        memory: ConvLSTMState | None,
    ) -> tuple[Float[Tensor, "row channel y x"], MCnetState]:
        """The frame after `frame`, and the state; the last of the differences ends at `frame`."""
        rows, length = differences.shape[:2]
        # Features of a difference do not depend on the others, so encode all at once.
        coarse, maps = self.motion_encoder(differences.transpose(0, 1).flatten(0, 1))
        for features in coarse.unflatten(0, (length, rows)):
            memory = self.memory(features, memory)
        assert memory is not None
        content = self.content_encoder(2 * frame - 1)
        last = tuple(part[-rows:] for part in maps)
        logits = widened(self.decoder(memory.hidden, last, content))
        following = (logits.tanh() if self.output == "sigmoid" else logits) / 2 + 0.5
        return following, MCnetState(memory, frame)

    def conditioning(
        self, context: Frames, content_from: Frames | None
    ) -> Float[Tensor, "batch time channel y x"]:
        frames = self.inputs(context)
        if content_from is None:
            return frames
        # A shift that is constant in time does not change differences.
        return frames + (self.inputs(content_from)[:, -1:] - frames[:, -1:])

    def codes_of(self, context: Frames, *, generator: torch.Generator | None = None) -> Codes:
        """The memory after the last difference, and coarse features of the last frame."""
        frames = self.inputs(context)
        state = self.observe(frames, noise=Noise(1, len(frames)))[1]
        content = self.content_encoder(2 * frames[:, -1] - 1).coarse
        return Codes(state.memory.hidden.flatten(1), content.flatten(1), 0)

    def observe(
        self, context: Float[Tensor, "batch time channel y x"], *, noise: Noise
    ) -> tuple[Float[Tensor, "row channel y x"], MCnetState]:
        frames = noise.rows(context)
        return self.forecast_next(self.motion_image(frames).diff(dim=1), frames[:, -1], None)

    def step(
        self, frame: Float[Tensor, "row channel y x"], state: MCnetState, *, noise: Noise
    ) -> tuple[Float[Tensor, "row channel y x"], MCnetState]:
        moved = self.motion_image(frame) - self.motion_image(state.frame)
        return self.forecast_next(moved.unsqueeze(1), frame, state.memory)

    # Training

    @property
    def updates(self) -> tuple[Update, ...]:
        if self.discriminator is None:
            return super().updates
        return Update("adversary", ("discriminator",)), Update("model", GENERATOR)

    def takes_update(self, name: str) -> bool:
        if self.discriminator is None or not self.adversary_gates:
            return True
        return bool(self.gates[0 if name == "adversary" else 1])

    def update_loss(
        self, name: str, batch: Batch, *, step: int = 0, generator: torch.Generator | None = None
    ) -> Losses:
        if name == "adversary":
            return self.adversary_loss(batch, step=step)
        return self.loss(batch, step=step, generator=generator)

    def loss(
        self, batch: Batch, *, step: int = 0, generator: torch.Generator | None = None
    ) -> Losses:
        r"""Squared errors of frames in [−1, 1], the gradient difference, and the adversary's term.

        $$4\, \overline{(\hat x - x)^2}
        + \lambda\, \overline{\big||\partial \hat x| - |\partial x|\big|}
        + \beta\, \overline{-\ln \sigma(A(x_{1:n}, \hat x))}$$

        Means are over known values; the gradient difference is summed over both axes.
        """
        target, mask = self.inputs(batch.target), batch.target.mask
        context = self.inputs(batch.context)
        forecast = self.training_forecast(context, target.shape[1])
        terms = {
            "error": 4 * known_mean((forecast - target).square(), mask),
            "gradient": gradient_difference(forecast, target, mask),
        }
        total = terms["error"] + self.gradient_weight * terms["gradient"]
        if self.discriminator is not None:
            terms["deception"] = cross_entropy(self.logits(context, forecast), truth=True)
            total = total + self.adversary_weight * terms["deception"]
        return {"total": total, **terms}

    def training_forecast(
        self, context: Float[Tensor, "batch time channel y x"], length: int
    ) -> Float[Tensor, "batch horizon channel y x"]:
        """The frames that follow a context, each computed from the model's own frames."""
        frames: Iterator[Tensor] = self.roll_out(context, noise=Noise(1, len(context)))
        return torch.stack(list(islice(frames, length)), dim=1)

    def adversary_loss(self, batch: Batch, *, step: int) -> Losses:
        """Cross-entropies of true and forecast frames, which set the gates of this step."""
        context, target = self.inputs(batch.context), self.inputs(batch.target)
        with torch.no_grad():
            forecast = self.training_forecast(context, target.shape[1])
        terms = {
            "true": cross_entropy(self.logits(context, target), truth=True),
            "forecast": cross_entropy(self.logits(context, forecast), truth=False),
        }
        if step > 0:
            self.set_gates(torch.stack(list(terms.values())).detach())
        return {"total": terms["true"] + terms["forecast"], **terms}

    def set_gates(self, entropies: Float[Tensor, " term"]) -> None:
        """Let the adversary or the model rest; neither if both would."""
        entropies = all_reduce_sum(entropies) / world_size()
        resting = torch.stack([(entropies < TOO_GOOD).any(), (entropies > TOO_BAD).any()])
        gates = self.gates & ~resting
        self.gates.copy_(gates if bool(gates.any()) else torch.ones_like(gates))

    def logits(
        self,
        context: Float[Tensor, "batch time channel y x"],
        following: Float[Tensor, "batch horizon channel y x"],
    ) -> Float[Tensor, "batch 1"]:
        """The discriminator's logit for a context and the frames that follow it."""
        assert self.discriminator is not None
        window = 2 * torch.cat([context, following], dim=1) - 1
        return widened(self.discriminator(window.flatten(1, 2)))


def cross_entropy(logits: Float[Tensor, "batch 1"], *, truth: bool) -> Float[Tensor, ""]:
    """Mean cross-entropy of logits for frames that are all true, or all forecast."""
    return nn.functional.softplus(-logits if truth else logits).mean()


def gradient_difference(
    forecast: Float[Tensor, "*batch y x"],
    target: Float[Tensor, "*batch y x"],
    mask: Bool[Tensor, "*batch y x"] | None = None,
    *,
    power: float = 1.0,
) -> Float[Tensor, ""]:
    """Mean difference of the absolute gradients of images, summed over both axes.

    Gradients are forward differences, with 0 beyond the last row and column, as published.
    Gradients that involve an unknown value do not count.

    Reference: Mathieu et al. (2016), https://arxiv.org/abs/1511.05440.

    Args:
        forecast: forecast images.
        target: true images.
        mask: True where true values are known.
        power: exponent of the difference.
    """
    total = forecast.new_zeros(())
    for axis in (-1, -2):
        found, wanted = (differences(images, axis).abs() for images in (forecast, target))
        both = None if mask is None else mask & rolled(mask, axis)
        total = total + known_mean((found - wanted).abs().pow(power), both)
    return total


def differences(images: Float[Tensor, "*batch y x"], axis: int) -> Float[Tensor, "*batch y x"]:
    """Forward differences along an axis, with 0 beyond its end."""
    end = torch.zeros_like(images.narrow(axis, 0, 1))
    return images.diff(dim=axis, append=end)


def rolled(mask: Bool[Tensor, "*batch y x"], axis: int) -> Bool[Tensor, "*batch y x"]:
    """Whether the next value along an axis is known; True beyond the end."""
    end = torch.ones_like(mask.narrow(axis, 0, 1))
    return torch.cat([mask.narrow(axis, 1, mask.shape[axis] - 1), end], dim=axis)


def initialise_glorot(module: nn.Module, generator: torch.Generator | None) -> None:
    """Draw weights of convolutions in ±√(6 / (inputs + outputs)), linear ones from N(0, 0.02²).

    Biases are zero. Reference: Glorot and Bengio (2010), https://proceedings.mlr.press/v9/glorot10a.
    """
    for layer in module.modules():
        if isinstance(layer, nn.Conv2d):
            nn.init.xavier_uniform_(layer.weight, generator=generator)
        elif isinstance(layer, nn.Linear):
            nn.init.normal_(layer.weight, 0.0, 0.02, generator=generator)
        else:
            continue
        assert layer.bias is not None
        nn.init.zeros_(layer.bias)

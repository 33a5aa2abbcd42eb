"""StructVRNN: forecasts of keypoints, rendered over the first observed frame."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import islice
from typing import Any, NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor, nn

from statecast.errors import InputError
from statecast.frames import Batch, Forecast, Frames, FrameSpec
from statecast.models.base import Losses, evaluation_mode, known_part
from statecast.models.frame_feedback import FrameFeedback
from statecast.models.struct_vrnn.dynamics import KeypointVRNN
from statecast.models.struct_vrnn.vision import (
    KeypointDecoder,
    KeypointDetector,
    blobs_of,
    keypoints_of,
)
from statecast.nn.noise import Noise
from statecast.nn.normaliser import Normalisation
from statecast.nn.random import standard_normal

NUMBERS = 3  # numbers of a keypoint: x, y and intensity
KL_WEIGHT = 0.003  # coordinates get a standard deviation of √0.003, 0.4 points of a map of 16
KL_RISE = 1000  # steps in which the weight of the divergence rises, as published


class StructState(NamedTuple):
    """State of `StructVRNN` after a frame."""

    hidden: Float[Tensor, "row unit"]
    keypoints: Float[Tensor, "row point xys"]
    first: Float[Tensor, "batch channel y x"]  # the first observed frame
    appearance: Float[Tensor, "batch feature small_y small_x"]  # of the first frame
    first_blobs: Float[Tensor, "batch point small_y small_x"]  # of the keypoints of that frame


class KeypointForecast(NamedTuple):
    """A forecast, and the keypoints it was rendered from."""

    forecast: Forecast
    keypoints: Float[Tensor, "sample batch time point xys"]


class StructVRNN(FrameFeedback[StructState]):
    r"""Unsupervised learning of object structure and dynamics (Minderer et al., 2019).

    $$o_t = \mathrm{Detect}(x_t), \qquad \hat o_{t+1} \sim \mathrm{VRNN}(o_{1:t}), \qquad
    \hat x_t = x_1 + \mathrm{Dec}(\hat o_t, A(x_1), o_1)$$

    A frame is reduced to K keypoints: places (x, y) and intensities. The decoder renders the
    difference of a frame from the first observed one; the model never sees its forecast frames.
    Vision and dynamics train at the same time, without gradients between them. Forecasts are
    samples.

    Reference: https://arxiv.org/abs/1906.07889.

    `published` follows the published code in two ways. The penalty of heat maps is summed over
    frames and divided by the batch size. By default, the divergence has a weight of 0, so that the
    prior never learns.

    Args:
        spec: shape, channels and units of the frames. The width must be `heat_width` times a power
            of two, and the height divisible by that power.
        keypoints: number of keypoints K.
        heat_width: width of the heat maps.
        blob_width: width of a keypoint's blob: its standard deviation is `blob_width` /
            `heat_width`, in coordinates from −1 to 1.
        width: channels at full size; doubled at each halving.
        layers: further convolutions at each size.
        recurrent_size: units of the recurrent network.
        prior_hidden: units before the prior.
        posterior_hidden: units before the posterior.
        latent_size: size of z.
        candidates: latents drawn at each training step; only the best one counts.
        kl_weight: weight of the divergence of posterior and prior; by default 0.003, or 0 with
            `published`.
        separation_weight: weight of the penalty for keypoints that move alike.
        separation_width: distance below which two motions count as alike.
        heat_weight: weight of the penalty for large heat maps.
        weight_decay: weight of the squared convolution kernels, except that of the heat maps.
        sampling_steps: steps in which the probability of feeding back observed keypoints falls
            from 1 to its final value.
        sampling_context: final value in context frames.
        sampling_horizon: final value in target frames.
        published: whether to follow the published code, see above.
        normalise: `auto`, `none`, `range` or `standard`, see `Normaliser`.
        generator: source of the initial weights.
    """

    stochastic = True

    def __init__(
        self,
        spec: FrameSpec,
        *,
        keypoints: int = 64,
        heat_width: int = 16,
        blob_width: float = 1.5,
        width: int = 32,
        layers: int = 2,
        recurrent_size: int = 512,
        prior_hidden: int = 128,
        posterior_hidden: int = 128,
        latent_size: int = 16,
        candidates: int = 10,
        kl_weight: float | None = None,
        separation_weight: float = 10.0,
        separation_width: float = 0.1,
        heat_weight: float = 5.0,
        weight_decay: float = 1e-4,
        sampling_steps: int = 8000,
        sampling_context: float = 0.1,
        sampling_horizon: float = 0.5,
        published: bool = False,
        normalise: Normalisation = "auto",
        generator: torch.Generator | None = None,
    ) -> None:
        super().__init__(spec, normalise=normalise)
        halvings = self._halvings(heat_width)
        if keypoints < 2 or candidates < 1 or layers < 1 or sampling_steps < 1:
            raise InputError(
                "StructVRNN needs at least 2 keypoints, and at least 1 candidate, layer and "
                f"sampling step, got {keypoints}, {candidates}, {layers} and {sampling_steps}."
            )
        self.keypoints, self.candidates = keypoints, candidates
        self.blob_std = blob_width / heat_width
        if kl_weight is None:
            kl_weight = 0.0 if published else KL_WEIGHT
        self.kl_weight, self.heat_weight = kl_weight, heat_weight
        self.separation_weight, self.separation_width = separation_weight, separation_width
        self.weight_decay, self.published = weight_decay, published
        self.sampling_steps = sampling_steps
        self.sampling = (sampling_context, sampling_horizon)
        channels = len(spec.channels)
        self.detector = KeypointDetector(channels, keypoints, width, halvings, layers)
        self.decoder = KeypointDecoder(channels, keypoints, width, halvings, layers)
        self.dynamics = KeypointVRNN(
            NUMBERS * keypoints,
            units=recurrent_size,
            prior_hidden=prior_hidden,
            posterior_hidden=posterior_hidden,
            latent_size=latent_size,
        )
        # Frames in [0, 1] are centred, as published.
        self.centre = 0.5 if self.normaliser.fitting_output == "sigmoid" else 0.0
        self.initialise(generator)

    def _halvings(self, heat_width: int) -> int:
        """Number of halvings from the sides of a frame to those of the heat maps."""
        space = self.spec.space
        if len(space) != 2:
            raise InputError(
                "StructVRNN works on frames (channel, height, width), got points of shape "
                f"{self.spec.frame_shape}. Use another model."
            )
        ratio = space[1] // heat_width if heat_width > 0 else 0
        if ratio * heat_width != space[1] or ratio & (ratio - 1) or space[0] % max(ratio, 1):
            raise InputError(
                "The width of frames must be heat_width times a power of two that divides the "
                f"height, got frames of {space[0]}×{space[1]} and heat_width: {heat_width}."
            )
        return ratio.bit_length() - 1

    def initialise(self, generator: torch.Generator | None) -> None:
        """Draw weights as published: He's for layers before a rectifier, Glorot's for others."""
        rectified = {self.dynamics.decoder[0]}
        rectified |= {self.dynamics.prior.hidden, self.dynamics.posterior.hidden}
        for layer in self.modules():
            if not isinstance(layer, nn.Conv2d | nn.Linear):
                continue
            if layer in rectified or (isinstance(layer, nn.Conv2d) and layer is not self.head):
                nn.init.kaiming_uniform_(layer.weight, nonlinearity="relu", generator=generator)
            else:
                nn.init.xavier_uniform_(layer.weight, generator=generator)
            if layer.bias is not None:
                nn.init.zeros_(layer.bias)
        nn.init.orthogonal_(self.dynamics.recurrent.recurrent.weight.T, generator=generator)

    @property
    def head(self) -> nn.Conv2d:
        """The convolution that gives heat maps."""
        return self.detector.head

    # Vision

    def inputs(self, frames: Frames | Batch) -> Float[Tensor, "batch time channel *space"]:
        return super().inputs(frames) - self.centre

    def detect(
        self, frames: Float[Tensor, "batch time channel y x"]
    ) -> tuple[Float[Tensor, "batch time point small_y small_x"], Tensor]:
        """Heat maps and keypoints (batch, time, point, xys) of each frame."""
        heat = self.detector.heat(frames.flatten(0, 1))
        shape = frames.shape[:2]
        return heat.unflatten(0, shape), keypoints_of(heat).unflatten(0, shape)

    def look_at(self, frames: Tensor, keypoints: Tensor, hidden: Tensor) -> StructState:
        """The state of sequences with these first frames and keypoints, (batch, …)."""
        appearance = self.decoder.appearance(frames)
        size = (appearance.shape[2], appearance.shape[3])
        blobs = blobs_of(keypoints, size, self.blob_std)
        return StructState(hidden, keypoints, frames, appearance, blobs)

    def decode(
        self, keypoints: Float[Tensor, "row point xys"], state: StructState
    ) -> Float[Tensor, "row channel y x"]:
        """Frames of these keypoints; neighbouring rows belong to one sequence of the state."""
        size = (state.appearance.shape[2], state.appearance.shape[3])
        times = len(keypoints) // len(state.first)
        first, appearance, blobs = (
            part.repeat_interleave(times, dim=0)
            for part in (state.first, state.appearance, state.first_blobs)
        )
        return first + self.decoder(blobs_of(keypoints, size, self.blob_std), appearance, blobs)

    def keypoints_in(self, frames: Frames | Any) -> Float[Tensor, "batch time point xys"]:
        """Keypoints of frames in the units of the data: x, y and intensity, see `keypoints_of`."""
        found = self.check_context(frames, "frames").to(self.normaliser.location.device)
        with evaluation_mode(self) as model, torch.no_grad():
            return model.detect(model.inputs(found))[1]

    # Forecasting

    def observe_keypoints(
        self, context: Float[Tensor, "batch time channel y x"], *, noise: Noise
    ) -> StructState:
        """The state after the context, with z from the posterior given its keypoints."""
        _, keypoints = self.detect(context)
        observed = noise.rows(keypoints.flatten(2))
        drawn = noise.draw(context.shape[1], self.dynamics.latent_size, like=observed)
        hidden = self.dynamics.start(observed)
        for time, coordinates in enumerate(observed.unbind(1)):
            _, hidden = self.dynamics.advance(hidden, drawn[:, time], coordinates)
        state = self.look_at(context[:, 0], keypoints[:, 0], hidden)
        return state._replace(keypoints=noise.rows(keypoints[:, -1]))

    def advance(self, state: StructState, noise: Noise) -> StructState:
        """The state after the next frame, with z drawn from the prior."""
        drawn = noise.draw(self.dynamics.latent_size, like=state.hidden)
        coordinates, hidden = self.dynamics.advance(state.hidden, drawn)
        return state._replace(hidden=hidden, keypoints=coordinates.unflatten(1, (-1, NUMBERS)))

    def observe(
        self, context: Float[Tensor, "batch time channel y x"], *, noise: Noise
    ) -> tuple[Float[Tensor, "row channel y x"], StructState]:
        state = self.advance(self.observe_keypoints(context, noise=noise), noise)
        return self.shown(state), state

    def step(
        self, frame: Float[Tensor, "row channel y x"], state: StructState, *, noise: Noise
    ) -> tuple[Float[Tensor, "row channel y x"], StructState]:
        state = self.advance(state, noise)
        return self.shown(state), state

    def shown(self, state: StructState) -> Float[Tensor, "row channel y x"]:
        """The frame of a state."""
        return self.decode(state.keypoints, state) + self.centre

    def forecast_keypoints(
        self,
        context: Frames | Any,
        horizon: int | None = None,
        *,
        samples: int = 1,
        generator: torch.Generator | None = None,
    ) -> KeypointForecast:
        """A forecast, equal to that of `forecast` with the same seed, and its keypoints.

        Args:
            context: observed frames, as for `forecast`.
            horizon: number of frames to forecast; by default that of training.
            samples: number of futures to draw.
            generator: source of the random draws.

        Errors:
            InputError: a shape, channel count, length or option does not fit.
        """
        frames = self.check_context(context).to(self.normaliser.location.device)
        times = self._check_times(horizon, None)
        if samples < 1:
            raise InputError(f"A forecast needs at least 1 sample, got samples={samples}.")
        noise = Noise(samples, len(frames.values), generator)

        def folded(values: list[Tensor]) -> Tensor:
            rows = torch.stack(values, dim=1)
            return rows.unflatten(0, (noise.batch, samples)).transpose(0, 1)

        with evaluation_mode(self) as model, torch.no_grad():
            states = list(islice(model.states(model.inputs(frames), noise=noise), len(times)))
            drawn = [model.normaliser.restore(model.shown(state), axis=1) for state in states]
        forecast = Forecast(samples=folded(drawn), times=times, channels=self.spec.channels)
        return KeypointForecast(forecast, folded([state.keypoints for state in states]))

    def states(
        self, context: Float[Tensor, "batch time channel y x"], *, noise: Noise
    ) -> Iterator[StructState]:
        """Endless iterator over the states that follow a context, without rendering frames."""
        state = self.observe_keypoints(context, noise=noise)
        while True:
            state = self.advance(state, noise)
            yield state

    # Training

    def loss(
        self, batch: Batch, *, step: int = 0, generator: torch.Generator | None = None
    ) -> Losses:
        """Errors of frames and keypoints, penalties and the divergence; see `loss_given`."""
        length, context = batch.values.shape[1], len(batch.context)
        device = None if generator is None else generator.device
        coins = torch.rand(length - 1, generator=generator, device=device).tolist()
        shape = (self.candidates, len(batch), length, self.dynamics.latent_size)
        standard = standard_normal(shape, batch.context.values, generator)
        fed = self.true_inputs(coins, step, context)
        return self.loss_given(batch, standard, fed, kl_factor=min(step / KL_RISE, 1.0))

    def true_inputs(self, coins: Sequence[float], step: int, context: int) -> list[bool]:
        """Whether to feed back observed keypoints at each time, given uniform numbers."""
        passed = min(step / self.sampling_steps, 1.0)
        inside, after = (1 + passed * (end - 1) for end in self.sampling)
        return [coin < (inside if time < context else after) for time, coin in enumerate(coins)]

    def loss_given(
        self,
        batch: Batch,
        standard: Float[Tensor, "candidate batch time latent"],
        true_inputs: Sequence[bool],
        *,
        kl_factor: float = 1.0,
    ) -> Losses:
        r"""The terms of the loss.

        $$\frac{1}{2BT} \sum (\hat x - x)^2 + \frac{1}{2BT} \sum (\hat o - o)^2
        + w_s L_s + w_h L_h + w_{kl} f \overline{KL} + w_d \sum w^2$$

        Frames are rendered from the keypoints detected in them.

        Args:
            batch: context and target.
            standard: standard normal values, from which candidates of z are computed.
            true_inputs: see `KeypointVRNN.follow`.
            kl_factor: factor on the weight of the divergence at this step.
        """
        frames, context = self.inputs(batch), len(batch.context)
        heat, keypoints = self.detect(frames)
        first = self.look_at(frames[:, 0], keypoints[:, 0], keypoints[:, 0])
        drawn = self.decode(keypoints.flatten(0, 1), first).unflatten(0, frames.shape[:2])
        observed = keypoints.flatten(2).detach()
        followed = self.dynamics.follow(observed, context, standard, true_inputs)
        count = frames.shape[0] * frames.shape[1]
        errors = known_part((drawn - frames).square(), batch.mask)
        separation = separation_penalty(keypoints[:, :context], self.separation_width)
        terms = {
            "image": errors.sum() / (2 * count),
            "coordinates": (followed.coordinates - observed).square().sum() / (2 * count),
            "separation": separation,
            "heat": self.heat_penalty(heat),
            "divergence": followed.divergence.mean(),
            "weights": self.squared_weights(),
        }
        weights = {
            "separation": self.separation_weight,
            "heat": self.heat_weight,
            "divergence": kl_factor * self.kl_weight,
            "weights": self.weight_decay,
        }
        total = sum((weights.get(name, 1.0) * term for name, term in terms.items()), 0 * separation)
        return {"total": total, **terms}

    def heat_penalty(self, heat: Float[Tensor, "batch time point y x"]) -> Float[Tensor, ""]:
        """Mean size of heat maps."""
        mean = heat.mean(dim=(3, 4)).abs()
        if self.published:
            return mean.mean(dim=(0, 2)).sum() / len(heat)
        return mean.mean()

    def squared_weights(self) -> Float[Tensor, ""]:
        """Sum of squares of all convolution kernels except that of the heat maps."""
        kernels = [
            layer.weight
            for layer in self.modules()
            if isinstance(layer, nn.Conv2d) and layer is not self.head
        ]
        return torch.stack([kernel.square().sum() for kernel in kernels]).sum()


def separation_penalty(
    keypoints: Float[Tensor, "batch time point xys"], width: float
) -> Float[Tensor, ""]:
    r"""Similarity of the motions of keypoints, averaged over pairs and over the batch.

    $$\frac{1}{K(K-1)} \sum_{k \ne l} \overline{e^{-d_{kl} / (2 w^2)}}, \qquad
    d_{kl} = \overline{|(o_k - \bar o_k) - (o_l - \bar o_l)|^2}$$

    Bars are means over time, of places o and of the distance.
    """
    places = keypoints[..., :2]
    motion = places - places.mean(dim=1, keepdim=True)
    distance = (motion.unsqueeze(3) - motion.unsqueeze(2)).square().sum(dim=-1).mean(dim=1)
    count = keypoints.shape[2]
    alike = torch.exp(-distance / (2 * width**2)).mean(dim=0).sum() - count
    return alike / (count * (count - 1))

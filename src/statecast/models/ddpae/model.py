"""DDPAE: a video as a sum of objects with constant content and moving pose."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, Literal, NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor

from statecast.checks import LONGEST, typed
from statecast.errors import InputError
from statecast.frames import Batch, Frames, FrameSpec
from statecast.models.base import Losses, evaluation_mode, known_part
from statecast.models.ddpae.networks import (
    COARSEST,
    POSE,
    ContentNetwork,
    PoseNetwork,
    Tracks,
    counted_as,
    decoder,
    encoder,
    halvings,
)
from statecast.models.ddpae.spatial_transformer import constrain, crop, paste, positions
from statecast.models.roll_out import State
from statecast.models.state_space import StateSpaceForecaster
from statecast.nn.blocks import initialise_normal, initialise_uniform
from statecast.nn.codecs.base import Content, Output, grid_of
from statecast.nn.gaussian import DiagonalGaussian, negative_log_density, widened
from statecast.nn.noise import Noise
from statecast.nn.normaliser import Normalisation
from statecast.solvers.interval_noise import Interval
from statecast.solvers.reversible import Followed
from statecast.solvers.solvers import Solver, SolverName

INCREMENT_STD = 0.1  # standard deviation of the prior of pose increments
INITIAL_STD = (0.2, 1.0, 1.0)  # the same of initial poses: scale, x, y
WEIGHT_STD = 0.02  # standard deviation of initial weights, except in LSTMs


class Decomposition(NamedTuple):
    """A video as a sum of moving objects, over context and forecast, in the units of the model."""

    objects: Float[Tensor, "batch object channel y x"]
    poses: Float[Tensor, "batch time object 3"]  # scale s and shift: see `spatial_transformer`
    components: Float[Tensor, "batch time object channel height width"]  # pasted objects
    frames: Float[Tensor, "batch time channel height width"]  # their sum
    times: Float[Tensor, " time"]

    @property
    def positions(self) -> Float[Tensor, "batch time object 2"]:
        """Centres (x, y) of objects, from 0 at the left and top to 1."""
        return positions(self.poses)


class Observed(NamedTuple):
    """The inferred poses of objects in observed frames."""

    increments: DiagonalGaussian  # (batch, time, object, 3)
    initial: DiagonalGaussian  # (batch, object, 3)
    tracks: Tracks  # after the last frame


class DDPAE(StateSpaceForecaster):
    r"""Decompositional disentangled predictive auto-encoder (Hsieh et al., 2018).

    $$\hat x_t = \min\Big(1, \sum_{k=1}^K \mathrm{paste}\big(D(z_k), p_{k,t}\big)\Big), \qquad
    p_{k,t} = p_{k,0} + \sum_{i \le t} \beta_{k,i}$$

    Each of K objects has one content z and a pose (scale and position) per frame, both inferred
    from the context. A recurrent network without frames as input gives the increments β of later
    poses. Training maximises an evidence lower bound.

    Reference: https://arxiv.org/abs/1806.04166.

    Args:
        spec: shape, channels and units of the frames; comes from the data. Sides must be at least
            16, and divisible by 2 until the shorter one has 4 to 7 pixels.
        objects: number of objects K.
        scale: s₀, prior mean of an object's scale, the side of the frame over that of the object;
            scales differ from it by at most 1.
        width: channels of the first convolutions.
        image_code_size: size of the code of a frame.
        content_size: size of the content of an object.
        recurrent_size: units of each LSTM.
        independent_objects: whether the motion of an object is independent of the object before it.
        observation_std: standard deviation of a pixel around the decoded frame.
        prediction_only_from: training step from which only target frames enter the loss.
        forecasts: `means`, as published: one future, from posterior means of poses; or `samples`
            of poses, drawn from the posterior in the context and from the learned transition after
            it. Contents are posterior means in both.
        output: `sigmoid` for frames in [0, 1], where the sum of objects is limited to 1; `identity`
            for unbounded ones; by default, the one that fits the normalised data.
        normalise: `auto`, `none`, `range` or `standard`, see `Normaliser`.
        generator: source of the initial weights.

    Errors:
        InputError: frames are points or too small, or a number does not fit.
    """

    solvers: tuple[SolverName, ...] = ()  # whole frames only

    def __init__(
        self,
        spec: FrameSpec,
        *,
        objects: int = 2,
        scale: float = 2.0,
        width: int = 8,
        image_code_size: int = 256,
        content_size: int = 128,
        recurrent_size: int = 64,
        independent_objects: bool = False,
        observation_std: float = 0.3,
        prediction_only_from: int | None = None,
        forecasts: Literal["means", "samples"] = "means",
        output: Output | None = None,
        normalise: Normalisation = "auto",
        generator: torch.Generator | None = None,
    ) -> None:
        super().__init__(spec, normalise=normalise)
        space, channels = spec.space, len(spec.channels)
        if len(space) != 2 or min(space) < 4 * COARSEST:
            raise InputError(
                f"ddpae needs images with sides of at least {4 * COARSEST}, got space {space}."
            )
        grid_of(spec.frame_shape, 2 ** halvings(space), "ddpae")
        if objects < 1 or scale <= 1 or observation_std <= 0:
            raise InputError(
                "ddpae needs `objects` of at least 1, a `scale` above 1 and a positive "
                f"`observation_std`, got {objects}, {scale} and {observation_std}."
            )
        self.objects, self.scale, self.content_size = objects, scale, content_size
        self.recurrent_size, self.observation_std = recurrent_size, observation_std
        self.prediction_only_from = prediction_only_from
        self.stochastic = forecasts == "samples"
        self.object_space = tuple(side // 2 for side in space)
        self.poses = PoseNetwork(
            channels,
            space,
            objects=objects,
            width=width,
            code_size=image_code_size,
            hidden=recurrent_size,
            independent=independent_objects,
        )
        self.object_encoder = encoder(channels, self.object_space, width, content_size)
        self.contents = ContentNetwork(content_size, recurrent_size)
        self.object_decoder = decoder(content_size, channels, self.object_space, width)
        self.output = output or self.normaliser.fitting_output
        initialise_uniform(self, generator)  # for LSTMs; the next line redraws the rest
        initialise_normal(self, WEIGHT_STD, generator)

    # The latent: the unconstrained pose of each object, and the state of its LSTM

    def joined(self, pose: Float[Tensor, "*batch object 3"], tracks: Tracks) -> Tensor:
        """Poses and LSTM states as one latent (…, object · (3 + 2 unit))."""
        return torch.cat([pose.flatten(-2), tracks.hidden.flatten(-2), tracks.cell.flatten(-2)], -1)

    def split(self, latent: Float[Tensor, "*batch latent"]) -> tuple[Tensor, Tracks]:
        """Pose and LSTM state of each object; the inverse of `joined`."""
        sizes = [POSE, self.recurrent_size, self.recurrent_size]
        parts = latent.split([self.objects * size for size in sizes], dim=-1)
        pose, hidden, cell = (
            part.unflatten(-1, (self.objects, size))
            for part, size in zip(parts, sizes, strict=True)
        )
        return pose, Tracks(hidden, cell)

    def dynamics_code(self, latent: Float[Tensor, "*batch latent"]) -> Float[Tensor, "*batch code"]:
        """Constrained scale and shift of each object, as pasted."""
        return constrain(self.split(latent)[0], self.scale).flatten(-2)

    def noise_prior(self, latent: Float[Tensor, "*batch latent"]) -> DiagonalGaussian | None:
        if not self.stochastic:
            return None
        zeros = latent.new_zeros(*latent.shape[:-1], self.objects * POSE)
        return DiagonalGaussian(zeros, torch.ones_like(zeros))

    def step(
        self,
        latent: Followed,
        noise: Tensor | Interval | None,
        *,
        solver: Solver,
        fractions: Sequence[float],
    ) -> list[Followed]:
        """The latent one frame later; noise is in standard deviations of each increment."""
        assert isinstance(latent, Tensor)
        pose, tracks = self.split(latent.flatten(0, -2))
        tracks = self.poses.advance(tracks)
        increment = self.poses.increment
        if isinstance(noise, Tensor):
            moved = increment(tracks.hidden).at(noise.reshape(pose.shape))
        else:
            moved = widened(increment.mean(tracks.hidden))
        return [self.joined(pose + moved, tracks).view_as(latent)]

    # Inference

    def infer(self, frames: Float[Tensor, "batch time channel y x"]) -> Observed:
        """Distributions of initial poses and of their increments in observed frames."""
        hidden, tracks = self.poses.track(frames)
        return Observed(self.poses.increment(hidden), self.poses.first_pose(hidden[:, 0]), tracks)

    def content_given(
        self,
        frames: Float[Tensor, "batch time channel y x"],
        pose: Float[Tensor, "batch time object 3"],
    ) -> DiagonalGaussian:
        """Distribution of the content of each object, (batch, object, code), from its crops."""
        batch, length = frames.shape[:2]
        repeated = frames.unsqueeze(2).expand(-1, -1, self.objects, -1, -1, -1)
        places = constrain(pose, self.scale)
        crops = crop(widened(repeated.flatten(0, 2)), places.flatten(0, 2), self.object_space)
        codes = self.object_encoder(crops).flatten(1).view(batch, length, self.objects, -1)
        found = self.contents(codes.transpose(1, 2).flatten(0, 1))
        return DiagonalGaussian(*(part.unflatten(0, (batch, self.objects)) for part in found))

    def mean_path(self, observed: Observed) -> Float[Tensor, "batch time object 3"]:
        """Poses in observed frames by the means of all distributions."""
        return observed.initial.mean.unsqueeze(1) + observed.increments.mean.cumsum(dim=1)

    def content_of(self, context: Float[Tensor, "batch time channel y x"]) -> Content:
        return self.content_on(context, self.mean_path(self.infer(context)))

    def content_on(self, context: Tensor, path: Tensor) -> Content:
        """Posterior means of the contents, concatenated over objects, given a path of poses."""
        return Content(self.content_given(context, path).mean.flatten(1))

    def observe(
        self,
        context: Float[Tensor, "batch time channel y x"],
        *,
        samples: int = 1,
        generator: torch.Generator | None = None,
    ) -> State:
        observed = self.infer(context)
        path = self.mean_path(observed)
        pose = path[:, -1].expand(samples, *path[:, -1].shape)
        if self.stochastic:
            initial = observed.initial.draw(generator, samples)
            pose = initial + observed.increments.draw(generator, samples).sum(dim=2)
        hidden, cell = (part.expand(samples, *part.shape) for part in observed.tracks)
        latent = self.joined(pose, Tracks(hidden, cell))
        return State(self.content_on(context, path), latent, 0.0)

    # Decoding

    @property
    def largest_feature_map(self) -> int:
        return self.objects * math.prod(self.spec.frame_shape)

    def decode_objects(
        self, contents: Float[Tensor, "many code"], *, copies: int = 1
    ) -> Float[Tensor, "many channel y x"]:
        """Pictures of objects; each counts as `copies` of itself in batch normalisation."""
        with counted_as(self.object_decoder, copies):
            objects = widened(self.object_decoder(contents[..., None, None]))
        return objects.sigmoid() if self.output == "sigmoid" else objects

    def precompute_content(self, content: Content) -> Content:
        codes = content.code.unflatten(1, (self.objects, self.content_size))
        objects = self.decode_objects(codes.flatten(0, 1))
        return content._replace(precomputed=(objects.unflatten(0, codes.shape[:2]),))

    def components(
        self,
        objects: Float[Tensor, "batch object channel y x"],
        pose: Float[Tensor, "batch many object 3"],
    ) -> Float[Tensor, "batch many object channel height width"]:
        """Each object at its constrained pose, in an image of its own."""
        many = pose.shape[1]
        repeated = objects.unsqueeze(1).expand(-1, many, -1, -1, -1, -1).flatten(0, 2)
        pasted = paste(repeated, pose.flatten(0, 2), self.spec.space)
        return pasted.unflatten(0, pose.shape[:3])

    def together(
        self, components: Float[Tensor, "batch many object channel height width"]
    ) -> Float[Tensor, "batch many channel height width"]:
        """The sum of all objects, limited to 1 for the output `sigmoid`."""
        frames = components.sum(dim=2)
        return frames.clamp(max=1) if self.output == "sigmoid" else frames

    def decode(
        self, content: Content, latents: Float[Tensor, "batch many latent"]
    ) -> Float[Tensor, "batch many channel height width"]:
        if not content.precomputed:
            content = self.precompute_content(content)
        (objects,) = content.precomputed
        assert objects is not None
        pose, _ = self.split(widened(latents))
        return self.together(self.components(objects, constrain(pose, self.scale)))

    @typed
    def decompose(self, context: Frames | Any, horizon: int | None = None) -> Decomposition:
        """Objects of a video and their poses, in the context and a forecast, by posterior means.

        Args:
            context: as for `forecast`.
            horizon: number of forecast frames; by default that of training.

        Errors:
            InputError: a shape, channel count, length or option does not fit.
        """
        frames = self.check_context(context).to(next(self.buffers()).device)
        count = self.spec.horizon if horizon is None else horizon
        if not 1 <= count <= LONGEST:
            raise InputError(f"A decomposition needs 1 to {LONGEST} frames, got horizon={count}.")
        with evaluation_mode(self) as model, torch.no_grad():
            observed = model.inputs(frames)
            inferred = model.infer(observed)
            path = model.mean_path(inferred)
            noise = path.new_zeros(len(path), count, model.objects, POSE)
            later, _ = model.continue_path(path[:, -1], inferred.tracks, noise)
            content = model.precompute_content(model.content_on(observed, path))
            (objects,) = content.precomputed
            assert objects is not None
            poses = constrain(torch.cat([path, later], dim=1), model.scale)
            components = model.components(objects, poses)
        times = torch.arange(1.0 - len(frames), count + 1.0)
        return Decomposition(objects, poses, components, self.together(components), times)

    # Training

    def loss(
        self, batch: Batch, *, step: int = 0, generator: torch.Generator | None = None
    ) -> Losses:
        r"""The negative evidence lower bound, a mean over videos, with one draw of each latent.

        $$-\ln N(x; \hat x, \sigma^2) + \sum_{u} \ln q(u) - \ln p(u), \qquad
        u \in \{\beta_{\le n}, \beta_{> n}, p_0, z\}$$

        Priors are N(0, 0.1²) for increments, N((s₀, 0, 0), (0.2, 1, 1)²) for initial poses and
        N(0, 1) for contents. Unknown values do not enter the likelihood.
        """
        noise = Noise(1, len(batch), generator)
        return self.loss_terms(batch, noise=noise, step=step)

    def loss_terms(self, batch: Batch, *, noise: Noise, step: int = 0) -> Losses:
        """The terms of the loss, each a mean over videos, with this noise."""
        context, horizon = self.inputs(batch.context), len(batch.target)
        observed = self.infer(context)
        per_frame = (self.objects, POSE)

        def draw(*size: int) -> Tensor:
            return noise.draw(*size, like=observed.initial.mean)

        increments = observed.increments.at(draw(context.shape[1], *per_frame))
        later_noise = draw(horizon, *per_frame)
        initial = observed.initial.at(draw(*per_frame))
        path = initial.unsqueeze(1) + increments.cumsum(dim=1)
        pose, later = self.continue_path(path[:, -1], observed.tracks, later_noise)
        content = self.content_given(context, path)
        codes = content.at(draw(self.objects, self.content_size))
        frames = self.frames_of_path(codes, torch.cat([path, pose], dim=1))
        scales = path.new_tensor([self.scale, 0.0, 0.0])
        terms = {
            "nll": self.misfit(batch, frames, step),
            "kl_input_beta": gap(increments, observed.increments, 0.0, INCREMENT_STD),
            "kl_pred_beta": gap(later.at(later_noise), later, 0.0, INCREMENT_STD),
            "kl_initial_pose": gap(initial, observed.initial, scales, INITIAL_STD),
            "kl_content": gap(codes, content, 0.0, 1.0),
        }
        return {"total": torch.stack(list(terms.values())).sum(), **terms}

    def continue_path(
        self,
        pose: Float[Tensor, "batch object 3"],
        tracks: Tracks,
        noise: Float[Tensor, "batch time object 3"],
    ) -> tuple[Float[Tensor, "batch time object 3"], DiagonalGaussian]:
        """Poses of later frames, driven by this noise, and distributions of their increments."""
        first = self.joined(pose, tracks).unsqueeze(0)
        solvers = (self.choose_solver(),) * noise.shape[1]
        rolled = self.roll_out(first, solvers, noise=noise.flatten(2).unsqueeze(0))
        later, tracks = self.split(rolled.states[0, :, 1:])
        return later, self.poses.increment(tracks.hidden)

    def frames_of_path(
        self, codes: Float[Tensor, "batch object code"], path: Float[Tensor, "batch time object 3"]
    ) -> Float[Tensor, "batch time channel height width"]:
        """Frames of a training window, from contents and unconstrained poses."""
        objects = self.decode_objects(codes.flatten(0, 1), copies=path.shape[1])
        poses = constrain(path, self.scale)
        return self.together(self.components(objects.unflatten(0, codes.shape[:2]), poses))

    def misfit(self, batch: Batch, frames: Tensor, step: int) -> Float[Tensor, ""]:
        """−ln p of the known values of all frames, or of target frames only; a mean over videos."""
        density = negative_log_density(self.inputs(batch), frames, self.observation_std)
        errors = known_part(density, batch.mask)
        if self.prediction_only_from is not None and step >= self.prediction_only_from:
            errors = errors[:, len(batch.context) :]
        return errors.flatten(1).sum(dim=1).mean()


def gap(
    values: Float[Tensor, "batch *shape"],
    posterior: DiagonalGaussian,
    mean: Tensor | float,
    std: Sequence[float] | float,
) -> Float[Tensor, ""]:
    """Mean over sequences of ln q − ln p, summed over the drawn values of each."""
    deviations = (values - mean) / values.new_tensor(std)
    drawn = (values - posterior.mean) / posterior.std
    ratio = (values.new_tensor(std) / posterior.std).log()
    difference = ratio + 0.5 * (deviations.square() - drawn.square())
    return difference.flatten(1).sum(dim=1).mean()

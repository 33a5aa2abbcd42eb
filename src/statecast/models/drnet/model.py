"""DrNet: content and pose of a video, separated by an adversary that compares scenes."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, nullcontext
from typing import Literal

import torch
from jaxtyping import Bool, Float
from torch import Tensor, nn

from statecast.errors import InputError
from statecast.frames import Batch, FrameSpec
from statecast.models.base import Losses, Update, known_mean
from statecast.models.drnet.networks import PoseBackbone, PoseEncoder, SceneDiscriminator
from statecast.models.roll_out import State
from statecast.models.state_space import StateSpaceForecaster
from statecast.models.svg.codecs import Backbone, SkipDecoder, SkipEncoder
from statecast.models.svg.recurrent import FramePredictor
from statecast.models.svg.statistics import batch_statistics, check_batch, precise_statistics
from statecast.nn.blocks import initialise_normal, initialise_uniform
from statecast.nn.codecs.base import Content, Output
from statecast.nn.fast.switches import without
from statecast.nn.gaussian import widened
from statecast.nn.normaliser import Normalisation
from statecast.nn.random import uniform
from statecast.solvers.interval_noise import Interval
from statecast.solvers.reversible import Followed
from statecast.solvers.solvers import Solver

WEIGHT_STD = 0.02  # standard deviation of initial weights, except in the LSTM, as published
BETAS = (0.5, 0.999)  # betas of Adam, except for the LSTM, as published
COMPARED = 4  # frames of a video in a step of the autoencoder


class DrNet(StateSpaceForecaster):
    r"""Disentangled representation net (Denton and Birodkar, 2017).

    $$c = E_c(x_s), \quad p_t = E_p(x_t), \quad \hat x_t = D(c, s, p_t), \quad
    \hat p_{t+1} = \mathrm{LSTM}(p_{1:t}, c)$$

    c and s are the content code and skip maps of one frame; each frame has a pose p. A
    discriminator learns to tell whether two poses come from one video, and the pose encoder learns
    to confuse it, so that poses carry no content. An LSTM continues the poses; the model never
    sees its own forecast frames.

    A training step has three updates: the discriminator; encoders and decoder; the LSTM. As
    published, the first two form one training phase and the last another, see `Phase` and the
    recipes.

    Reference: https://arxiv.org/abs/1705.10915.

    With `published`, pairs of different videos come from a random permutation of half the batch,
    which may leave some in place, and batch normalisation uses statistics of the batch, separately
    for each frame, in training and in forecasts. Convolutions use the default memory format.

    Args:
        spec: shape, channels and units of the frames; comes from the data.
        backbone: backbone of content encoder and decoder: `dcgan` (strided convolutions) or `vgg`
            (3×3 convolutions and pooling). Sides must be divisible by 16, or by 32 if both are 128
            or more.
        skips: whether the decoder sees the content encoder's maps.
        pose_backbone: backbone of the pose encoder: `dcgan`, `vgg` or `resnet` (a ResNet-18).
        width: channels of each first convolution.
        content_size: size of the content code c.
        pose_size: size of the pose p.
        normalise_pose: whether poses have length 1.
        discriminator_hidden: hidden units of the discriminator.
        recurrent_size: units of each LSTM.
        recurrent_layers: number of LSTMs in the stack.
        confusion_weight: weight of the discriminator's confusion in the loss of the encoders.
        training_frames: which four frames of a window the encoders learn from: `random` ones,
            drawn independently from the whole window, or the `first` ones.
        predictor_rate: learning rate of the LSTM, in units of that of the training.
        published: whether to follow the published code, see above.
        forecast_statistics: statistics of batch normalisation in forecasts: `running` ones of
            training, or those of the `batch`, which make sequences depend on each other; by
            default `batch` with `published`, else `running`.
        output: `sigmoid` for frames in [0, 1], `identity` for unbounded ones; by default, the one
            that fits the normalised data.
        normalise: `auto`, `none`, `range` or `standard`, see `Normaliser`.
        generator: source of the initial weights.
    """

    solvers = ()

    def __init__(
        self,
        spec: FrameSpec,
        *,
        backbone: Backbone = "dcgan",
        skips: bool = True,
        pose_backbone: PoseBackbone = "dcgan",
        width: int = 64,
        content_size: int = 128,
        pose_size: int = 10,
        normalise_pose: bool = False,
        discriminator_hidden: int = 100,
        recurrent_size: int = 256,
        recurrent_layers: int = 2,
        confusion_weight: float = 1e-4,
        training_frames: Literal["random", "first"] = "random",
        predictor_rate: float = 0.1,
        published: bool = False,
        forecast_statistics: Literal["running", "batch"] | None = None,
        output: Output | None = None,
        normalise: Normalisation = "auto",
        generator: torch.Generator | None = None,
    ) -> None:
        super().__init__(spec, normalise=normalise)
        if training_frames == "first" and spec.length < COMPARED:
            raise InputError(
                f"training_frames: first needs windows of at least {COMPARED} frames, got "
                f"{spec.length}. Make the context or the horizon longer."
            )
        self.skips, self.pose_size, self.confusion_weight = skips, pose_size, confusion_weight
        self.training_frames, self.predictor_rate = training_frames, predictor_rate
        self.channels_last = not published  # see `precise_statistics`
        self.published, self.recurrent = published, (recurrent_layers, recurrent_size)
        self.forecast_statistics = forecast_statistics or ("batch" if published else "running")
        shape = spec.frame_shape
        output = output or self.normaliser.fitting_output
        self.content_encoder = SkipEncoder(shape, content_size, backbone=backbone, width=width)
        self.pose_encoder = PoseEncoder(
            shape, pose_size, backbone=pose_backbone, width=width, normalise=normalise_pose
        )
        self.decoder = SkipDecoder(
            shape, content_size + pose_size, backbone=backbone, width=width, output=output,
            skips=skips,
        )  # fmt: skip
        self.discriminator = SceneDiscriminator(pose_size, discriminator_hidden)
        self.predictor = FramePredictor(pose_size, content_size, recurrent_size, recurrent_layers)
        initialise_uniform(self, generator)  # for the LSTM; the next line redraws the rest
        initialise_normal(self, WEIGHT_STD, generator)

    # Training

    @property
    def updates(self) -> tuple[Update, ...]:
        codecs = ("content_encoder.", "pose_encoder.", "decoder.")
        return (
            Update("discriminator", ("discriminator.",), adam_betas=BETAS),
            Update("autoencoder", codecs, adam_betas=BETAS),
            Update("predictor", ("predictor.",), learning_rate_scale=self.predictor_rate),
        )

    def update_loss(
        self, name: str, batch: Batch, *, step: int = 0, generator: torch.Generator | None = None
    ) -> Losses:
        """Named terms of the loss of one of the `updates`."""
        if name == "predictor":
            error = self.pose_errors(self.inputs(batch), len(batch.context)).sum()
            return {"total": error, "pose": error}
        frames, mask = self.compared_frames(batch, generator)
        with precise_statistics(frames.device) if self.published else nullcontext():
            if name == "autoencoder":
                return self.autoencoder_terms(frames, None if mask is None else mask[:, 2])
            partner = self.partners(len(frames), generator).to(frames.device)
            return self.discriminator_terms(frames[:, 0], frames[:, 1], partner)

    def loss(
        self, batch: Batch, *, step: int = 0, generator: torch.Generator | None = None
    ) -> Losses:
        """The loss terms of encoders, decoder and LSTM, without that of the discriminator."""
        terms = self.update_loss("autoencoder", batch, step=step, generator=generator)
        pose = self.update_loss("predictor", batch, step=step, generator=generator)["pose"]
        return {**terms, "total": terms["total"] + pose, "pose": pose}

    def compared_frames(
        self, batch: Batch, generator: torch.Generator | None
    ) -> tuple[Float[Tensor, "batch four channel y x"], Tensor | None]:
        """Four frames of each window, and their mask."""
        frames, mask = self.inputs(batch), batch.mask
        chosen = torch.arange(COMPARED, device=frames.device).expand(len(frames), -1)
        if self.training_frames == "random":
            drawn = uniform((len(frames), COMPARED), frames, generator)
            chosen = (drawn * frames.shape[1]).long()
        rows = torch.arange(len(frames), device=frames.device)[:, None]
        return frames[rows, chosen], None if mask is None else mask[rows, chosen]

    def partners(self, batch: int, generator: torch.Generator | None) -> Tensor:
        """For each window of the first half of a batch, another window to pair it with."""
        if batch < 2:
            raise InputError(
                "The discriminator of DrNet compares videos: a batch must hold at least 2, got 1."
            )
        if self.published:
            return torch.randperm(batch // 2, generator=generator)
        return torch.arange(batch // 2) + batch // 2

    def discriminator_terms(
        self,
        first: Float[Tensor, "batch channel y x"],
        second: Float[Tensor, "batch channel y x"],
        partner: Tensor,
    ) -> Losses:
        r"""Cross-entropy of the discriminator, $-\overline{\ln C}$, with C for the truth.

        Args:
            first: a frame of each video.
            second: another frame of each video.
            partner: for the first half of the batch, videos that the second frames come from
                instead.
        """
        with torch.no_grad():
            poses, others = self.pose_encoder(first), self.pose_encoder(second)
        others = torch.cat([others[partner], others[len(partner) :]])
        differ = (torch.arange(len(poses), device=poses.device) < len(partner)).to(poses.dtype)
        logits = self.discriminator(poses, others)
        loss = nn.functional.binary_cross_entropy_with_logits(logits, differ)
        right = (logits > 0) == (differ > 0)
        return {"total": loss, "scene": loss, "scene_accuracy": right.to(loss.dtype).mean()}

    def autoencoder_terms(
        self,
        frames: Float[Tensor, "batch four channel y x"],
        mask: Bool[Tensor, "batch channel y x"] | None = None,
    ) -> Losses:
        r"""Similarity, reconstruction and confusion terms, from four frames of each video.

        $$\overline{(c_0 - c_1)^2} + \overline{(D(c_0, s_0, p_2) - x_2)^2}
        - \lambda \overline{\tfrac12 \ln C(p_2, p_3) + \tfrac12 \ln (1 - C(p_2, p_3))}$$

        Gradients flow through c₀, s₀ and p₂ only. `mask` is True where values of x₂ are known.
        """
        shown, later, true, other = frames.unbind(1)
        content = self.content_of_frame(shown)
        pose = self.pose_encoder(true)
        with torch.no_grad():
            target = widened(self.content_encoder(later).code)
            compared = self.pose_encoder(other)
        with without("content_once"):  # each frame has a content of its own
            decoded = widened(self.decode(content, pose.unsqueeze(1)))[:, 0]
        logits = self.discriminator(pose, compared)
        doubt = torch.full_like(logits, 0.5)
        terms = {
            "similarity": (content.code - target).square().mean(),
            "reconstruction": known_mean((decoded - true).square(), mask),
            "confusion": nn.functional.binary_cross_entropy_with_logits(logits, doubt),
        }
        weighted = self.confusion_weight * terms["confusion"]
        return {"total": terms["similarity"] + terms["reconstruction"] + weighted, **terms}

    def pose_errors(
        self, frames: Float[Tensor, "batch time channel y x"], context: int
    ) -> Float[Tensor, " interval"]:
        """Mean squared error of the pose that the LSTM predicts from true earlier ones.

        Args:
            frames: context and target, in the units of the model.
            context: number of context frames. The last one gives the content.
        """
        with torch.no_grad(), precise_statistics(frames.device):
            content = self.content_of(frames[:, :context]).code
            poses = self.poses_of(frames)
        predicted = self.predict_poses(poses[:, :-1], content)
        return (predicted - poses[:, 1:]).square().mean(dim=(0, 2))

    def diagnostics(
        self, batch: Batch, generator: torch.Generator | None = None
    ) -> dict[str, Tensor]:
        r"""Diagnostics of each window.

        - `content_change`: $\|c' - c\|$ between first and last frame, relative to the mean norm;
        - `pose_speed`: $\|p_{t+1} - p_t\|$, the mean over frame intervals;
        - `pose` and `content`: p of all frames, and c of the first; their active units are counted.
        """
        frames = self.inputs(batch)
        first, last = (self.content_of(frames[:, index][:, None]).code for index in (0, -1))
        size = 0.5 * (first.norm(dim=1) + last.norm(dim=1))
        poses = self.poses_of(frames)
        return {
            "content_change": (last - first).norm(dim=1) / size.clamp_min(1e-12),
            "pose_speed": poses.diff(dim=1).norm(dim=-1).mean(dim=1),
            "pose": poses,
            "content": first,
        }

    # Forecasting

    @property
    def by_batch(self) -> bool:
        """Whether batch normalisation uses statistics of the batch, separately for each frame."""
        return self.published if self.training else self.forecast_statistics == "batch"

    def statistics(self, network: nn.Module, values: Tensor) -> AbstractContextManager[None]:
        """Context in which a network normalises as in forecasts; no change while training."""
        if self.training or not self.by_batch:
            return nullcontext()
        check_batch(values)
        return batch_statistics(network, values.device)

    def content_of(self, context: Float[Tensor, "batch time channel y x"]) -> Content:
        """Content code and skip maps of the last frame."""
        with self.statistics(self.content_encoder, context):
            return self.content_of_frame(context[:, -1])

    def content_of_frame(self, frame: Float[Tensor, "batch channel y x"]) -> Content:
        """Content code and skip maps of a frame."""
        code, skips = self.content_encoder(frame)
        return Content(widened(code), skips if self.skips else ())

    def poses_of(
        self, frames: Float[Tensor, "batch time channel y x"]
    ) -> Float[Tensor, "batch time pose"]:
        """Pose of each frame."""
        if not self.by_batch:
            poses: Tensor = self.pose_encoder(frames.flatten(0, 1))
            return poses.unflatten(0, frames.shape[:2])
        with self.statistics(self.pose_encoder, frames):
            return torch.stack([self.pose_encoder(frame) for frame in frames.unbind(1)], dim=1)

    def predict_poses(
        self, poses: Float[Tensor, "batch time pose"], content: Float[Tensor, "batch content"]
    ) -> Float[Tensor, "batch time pose"]:
        """The predicted pose after each of these, given all up to it."""
        return self.continue_poses(poses, content, None)[0]

    def continue_poses(
        self, poses: Tensor, content: Tensor, memory: tuple[Tensor, Tensor] | None
    ) -> tuple[Tensor, tuple[Tensor, Tensor]]:
        """`predict_poses`, starting from a state of the LSTM, and its state afterwards."""
        inputs = content.unsqueeze(1).expand(-1, poses.shape[1], -1)
        predicted, memory = self.predictor(poses, inputs, memory)
        predicted = widened(predicted)
        if self.pose_encoder.normalise:
            predicted = nn.functional.normalize(predicted, dim=-1)
        return predicted, memory

    def observe(
        self,
        context: Float[Tensor, "batch time channel y x"],
        *,
        samples: int = 1,
        generator: torch.Generator | None = None,
    ) -> State:
        content, poses = self.content_of(context), self.poses_of(context)
        layers, units = self.recurrent
        zeros = poses.new_zeros(layers, len(poses), units)
        memory = (zeros, zeros)
        if poses.shape[1] > 1:
            _, memory = self.continue_poses(poses[:, :-1], content.code, None)
        latent = pack(poses[:, -1], content.code, memory)
        return State(content, latent.expand(samples, *latent.shape), 0.0)

    def step(
        self,
        latent: Followed,
        noise: Tensor | Interval | None,
        *,
        solver: Solver,
        fractions: Sequence[float],
    ) -> list[Followed]:
        """The latent one frame later: pose, content as the LSTM sees it, and state of the LSTM."""
        assert isinstance(latent, Tensor)
        rows = latent.flatten(0, -2)
        layers, units = self.recurrent
        own = 2 * layers * units
        pose, content, memory = rows.split(
            [self.pose_size, rows.shape[1] - self.pose_size - own, own], dim=1
        )
        hidden, cell = memory.unflatten(1, (2, layers, units)).permute(1, 2, 0, 3).contiguous()
        poses, after = self.continue_poses(pose.unsqueeze(1), content, (hidden, cell))
        return [pack(poses[:, 0], content, after).view_as(latent)]

    def dynamics_code(self, latent: Float[Tensor, "*batch latent"]) -> Float[Tensor, "*batch pose"]:
        return latent[..., : self.pose_size]

    @property
    def largest_feature_map(self) -> int:
        return self.decoder.largest_feature_map

    def precompute_content(self, content: Content) -> Content:
        return content._replace(precomputed=self.decoder.convolve_skips(content.skips))

    def decode(
        self, content: Content, latents: Float[Tensor, "batch many latent"]
    ) -> Float[Tensor, "batch many channel y x"]:
        """Frames of many poses of each sequence; a latent begins with its pose."""
        poses = self.dynamics_code(latents)
        maps = content.precomputed or self.precompute_content(content).precomputed
        code = content.code.unsqueeze(1).expand(-1, poses.shape[1], -1)
        codes = torch.cat([code, poses], dim=-1)
        if not self.by_batch:
            return self.decoder(maps, codes)
        with self.statistics(self.decoder, codes):
            each = [self.decoder(maps, one) for one in codes.split(1, dim=1)]
        return torch.cat(each, dim=1)

    def _decode_parts(
        self, batch: int, many: int, limit: int
    ) -> Iterator[tuple[slice, list[slice]]]:
        if not self.by_batch:
            yield from super()._decode_parts(batch, many, limit)
            return
        yield slice(0, batch), [slice(index, index + 1) for index in range(many)]


def pack(pose: Tensor, content: Tensor, memory: tuple[Tensor, Tensor]) -> Tensor:
    """Pose, content and state of the LSTM as one vector per row."""
    state = torch.stack(memory).permute(2, 0, 1, 3).flatten(1)
    return torch.cat([pose, content, widened(state)], dim=1)

"""Moving shapes: coloured shapes that move, bounce off walls and hide each other."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any, NamedTuple

import torch
from jaxtyping import Float, Int
from torch import Tensor

from statecast.data.base import Split, horizons_of
from statecast.data.synthetic.generated_windows import GeneratedSource, GeneratedWindows
from statecast.errors import InputError
from statecast.frames import Batch, FrameSpec
from statecast.nn.random import Streams, standard_normal, uniform

KINDS = ("disc", "square", "triangle", "ring")
CHANNELS = ("red", "green", "blue")
MARGIN = 1.0  # pixels between a shape's edge and the wall that it bounces off
WAVES = 2  # most periods of the background across a frame
SWAY = 0.8  # share of the camera's velocity that remains after a frame


class MovingShapes(GeneratedSource):
    """Coloured shapes that move, bounce off walls in a new direction and hide each other.

    Every window follows from its number and a seed alone: training windows are made when they are
    asked for, validation and test windows follow from `seed`. Each window carries its latents:
    `position` and `velocity` (window, time, shape, 2) as (x, y) in pixels, the nearest shape last;
    `colour` (window, shape, 3); `label` (window, shape), the number of its kind; and `camera`
    (window, time, 2), how far the view has moved.

    Args:
        context: frames observed.
        horizon: frames forecast in training.
        test_horizon: frames forecast in tests.
        validation_horizon: frames forecast in validation; by default as in training.
        stochastic: whether a bounce draws a new direction; otherwise it reflects.
        shapes: shapes per window.
        frame_size: side of a frame in pixels.
        shape_size: largest radius of a shape in pixels; the smallest is two thirds of it.
        max_speed: largest speed in pixels per frame; the smallest is a third of it.
        camera: standard deviation of the random push that the view's velocity gets in each frame,
            in pixels per frame; 0 keeps the view still.
        actions: whether frames come with actions of the camera, how far the view moves to the next
            frame, (x, y) in pixels, and with its state, the latent `camera`.
        noise: standard deviation of the noise of a pixel; values stay in [0, 1].
        test_videos: windows of the test split.
        validation_videos: windows of the validation split.
        epoch: windows counted as one epoch; the supply of windows is endless.
        seed: seed of validation and test windows.
    """

    channels = CHANNELS

    def __init__(
        self,
        *,
        context: int = 5,
        horizon: int = 10,
        test_horizon: int = 20,
        validation_horizon: int | None = None,
        stochastic: bool = True,
        shapes: int = 2,
        frame_size: int = 32,
        shape_size: float = 6.0,
        max_speed: float = 2.5,
        camera: float = 0.0,
        actions: bool = False,
        noise: float = 0.0,
        test_videos: int = 256,
        validation_videos: int = 128,
        epoch: int = 500_000,
        seed: int = 42,
    ) -> None:
        self.horizons = horizons_of(context, horizon, test_horizon, validation_horizon)
        self.counts = {"train": epoch, "validation": validation_videos, "test": test_videos}
        self.context, self.stochastic, self.shapes = context, stochastic, shapes
        self.frame_size, self.shape_size, self.max_speed = frame_size, shape_size, max_speed
        self.camera, self.noise, self.seed, self.actions = camera, noise, seed, actions
        if min(*self.counts.values(), shapes) < 1:
            raise InputError(
                "Moving shapes need at least 1 shape, and 1 window in each split, got "
                f"{shapes} and {self.counts}."
            )
        room = frame_size - 2 * (shape_size + MARGIN)
        if shape_size < 1 or not 0 < max_speed <= room:
            raise InputError(
                "Moving shapes need a shape_size of at least 1 pixel, and a max_speed between 0 "
                "and the room that shapes have to move, frame_size − 2 (shape_size + "
                f"{MARGIN:g}), got shape_size {shape_size}, max_speed {max_speed} and frame_size "
                f"{frame_size}."
            )
        if min(camera, noise) < 0:
            raise InputError(f"camera and noise must be at least 0, got {camera} and {noise}.")
        if actions and camera == 0:
            raise InputError("Actions need a camera that moves. Set camera above 0.")

    @property
    def spec(self) -> FrameSpec:
        spec = super().spec
        return replace(spec, actions=2, agent_states=2) if self.actions else spec

    def windows(self, split: Split) -> ShapeWindows:
        return ShapeWindows(self, split)

    @property
    def card(self) -> dict[str, Any]:
        return self.card_of(
            "moving_shapes",
            stochastic=self.stochastic,
            shapes=self.shapes,
            shape_size=self.shape_size,
            max_speed=self.max_speed,
            camera=self.camera,
            noise=self.noise,
            **({"actions": True} if self.actions else {}),
        )


class Scene(NamedTuple):
    """Shapes and background of windows, and how they move."""

    positions: Float[Tensor, "window time shape 2"]  # of centres, (x, y) in pixels
    velocities: Float[Tensor, "window time shape 2"]
    radii: Float[Tensor, "window shape"]
    angles: Float[Tensor, "window shape"]
    kinds: Int[Tensor, "window shape"]
    colours: Float[Tensor, "window shape 3"]
    camera: Float[Tensor, "window time 2"]
    background: Float[Tensor, "window 6"]  # two colours' levels, wave numbers (x, y), two phases


class ShapeWindows(GeneratedWindows):
    """Windows of one split of `MovingShapes`."""

    def __init__(self, source: MovingShapes, split: Split) -> None:
        super().__init__(split, source.counts[split], source.seed, source.card)
        self.source, self.length = source, source.context + source.horizons[split]

    def make(self, streams: Streams) -> Batch:
        source, count = self.source, len(streams.generators)
        scene = draw_scene(source, self.length, count, streams)
        frames = render(scene, source.frame_size)
        if source.noise:
            drawn = standard_normal((1, *frames.shape), frames, streams)[0]
            frames = (frames + source.noise * drawn).clamp(0, 1)
        latents = {
            "position": scene.positions,
            "velocity": scene.velocities,
            "colour": scene.colours,
            "label": scene.kinds,
            "camera": scene.camera,
        }
        return Batch.of(
            frames,
            source.context,
            channels=CHANNELS,
            latents=latents,
            actions=scene.camera.diff(dim=1) if source.actions else None,
            agent_states=scene.camera if source.actions else None,
        )


def draw_scene(source: MovingShapes, length: int, count: int, streams: torch.Generator) -> Scene:
    """Shapes of random kinds, sizes, colours, places and speeds, and their motion."""
    shapes, like = source.shapes, torch.empty(0)
    chance = uniform((count, shapes, 9), like, streams).unbind(dim=-1)
    radii = source.shape_size * (2 + chance[0]) / 3
    speeds = source.max_speed * (1 + 2 * chance[1]) / 3
    low = radii + MARGIN
    room = source.frame_size - 2 * low
    start = torch.stack([low + chance[2] * room, low + chance[3] * room], dim=-1)
    turns = uniform((count, length, shapes), like, streams)
    turns[:, 0] = chance[4]
    positions, velocities = follow(start, speeds, turns, low, source)
    camera = torch.zeros(count, length, 2)
    if source.camera:
        pushes = source.camera * standard_normal((1, count, length, 2), like, streams)[0]
        velocity = torch.zeros(count, 2)
        for frame in range(1, length):
            velocity = SWAY * velocity + pushes[:, frame]
            camera[:, frame] = camera[:, frame - 1] + velocity
    return Scene(
        positions=positions,
        velocities=velocities,
        radii=radii,
        angles=2 * math.pi * chance[5],
        kinds=(chance[6] * len(KINDS)).long(),
        colours=colours_of(chance[7], chance[8]),
        camera=camera,
        background=uniform((count, 6), like, streams),
    )


def follow(
    start: Tensor, speeds: Tensor, turns: Tensor, low: Tensor, source: MovingShapes
) -> tuple[Tensor, Tensor]:
    """Positions and velocities (window, time, shape, 2) of shapes that bounce off the walls.

    A shape that would cross a wall is reflected. If bounces are stochastic, it then takes a new
    direction that leads away from the wall.

    Args:
        start: first positions, (window, shape, 2).
        speeds: of the shapes, (window, shape).
        turns: direction at the start and after a bounce in each frame, as a share of a full turn,
            (window, time, shape).
        low: smallest coordinate of a centre, (window, shape).
        source: size of the frame, and whether bounces are stochastic.
    """

    def direction(fraction: Tensor) -> Tensor:
        angle = 2 * math.pi * fraction
        return speeds[..., None] * torch.stack([angle.cos(), angle.sin()], dim=-1)

    near, far = low[..., None], source.frame_size - low[..., None]
    position, velocity = start, direction(turns[:, 0])
    path = [(position, velocity)]
    for frame in range(1, turns.shape[1]):
        aim = position + velocity
        hit_near, hit_far = aim < near, aim > far
        position = torch.where(hit_near, 2 * near - aim, torch.where(hit_far, 2 * far - aim, aim))
        hit = hit_near | hit_far
        fresh = direction(turns[:, frame]) if source.stochastic else velocity
        velocity = torch.where(hit.any(dim=-1, keepdim=True), fresh, velocity)
        velocity = torch.where(hit_near, velocity.abs(), velocity)
        velocity = torch.where(hit_far, -velocity.abs(), velocity)
        path.append((position, velocity))
    positions, velocities = (torch.stack(part, dim=1) for part in zip(*path, strict=True))
    return positions, velocities


def colours_of(hue: Tensor, value: Tensor) -> Float[Tensor, "window shape 3"]:
    """Bright colours for a hue and a value in [0, 1)."""
    thirds = torch.tensor([0.0, 1 / 3, 2 / 3])
    waves = 0.5 + 0.5 * (2 * math.pi * (hue[..., None] - thirds)).cos()
    return (0.6 + 0.4 * value[..., None]) * waves


def render(scene: Scene, size: int) -> Float[Tensor, "window time 3 size size"]:
    """Frames in [0, 1]; edges are smooth over a pixel, later shapes hide earlier ones."""
    across = torch.arange(size) + 0.5
    grid = torch.stack(torch.meshgrid(across, across, indexing="xy"), dim=-1)  # (y, x, 2)
    # A view that has moved shows other places of the scene.
    places = grid + scene.camera[:, :, None, None]
    frames = background(scene.background, places, size)
    for number in range(scene.radii.shape[1]):
        offset = places - scene.positions[:, :, number, None, None]
        signed = distance(
            offset, scene.radii[:, number], scene.angles[:, number], scene.kinds[:, number]
        )
        cover = (0.5 - signed).clamp(0, 1)[:, :, None]
        colour = scene.colours[:, number, None, :, None, None]
        frames = frames + cover * (colour - frames)
    return frames


def background(levels: Tensor, places: Tensor, size: int) -> Float[Tensor, "window time 3 y x"]:
    """A dark wave of two colours, at rest in the scene."""
    first, second, across, along, phase, other = (levels[:, n, None, None, None] for n in range(6))
    wave = 2 * math.pi * WAVES / size * ((across - 0.5) * places[..., 0] + along * places[..., 1])
    height = 0.5 + 0.5 * (wave + 2 * math.pi * phase).sin()
    channels = [0.3 * first * height, 0.3 * second * height, 0.3 * other * (1 - height)]
    return torch.stack(channels, dim=2)


def distance(offset: Tensor, radius: Tensor, angle: Tensor, kind: Tensor) -> Tensor:
    """Signed distance (window, time, y, x) of places to the edge of a shape, inside negative."""
    wide = (slice(None), None, None, None)
    radius, kind = radius[wide], kind[wide]
    cosine, sine = angle.cos()[wide], angle.sin()[wide]
    x = cosine * offset[..., 0] + sine * offset[..., 1]
    y = cosine * offset[..., 1] - sine * offset[..., 0]
    far = offset.norm(dim=-1)
    disc = far - radius
    square = torch.maximum(x.abs(), y.abs()) - radius / math.sqrt(2)
    slope = math.sqrt(3) / 2
    triangle = torch.maximum(torch.maximum(slope * x - y / 2, -slope * x - y / 2), y) - radius / 2
    ring = (far - 0.75 * radius).abs() - 0.25 * radius
    found = torch.stack([disc, square, triangle, ring])
    return found.gather(0, kind.expand(disc.shape)[None])[0]

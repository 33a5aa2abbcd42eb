"""Forecasting by feedback, on a system whose frames are known: x' = ½ x + v + ε, v' = v."""

from itertools import islice
from typing import NamedTuple

import pytest
import torch
from helpers.recorded_noise import RecordedNoise

from statecast.data.base import seeded_generator, window_generators
from statecast.errors import InputError
from statecast.frames import FrameSpec
from statecast.models.frame_feedback import FrameFeedback
from statecast.nn.noise import Noise

SPEC = FrameSpec(channels=("c",), space=(3,), context=2, horizon=2, value_range=(0.0, 10.0))


class Velocity(NamedTuple):
    velocity: torch.Tensor


class Walk(FrameFeedback[Velocity]):
    """Halves each frame, and adds the first one and noise."""

    stochastic = True

    def observe(self, context, *, noise):
        frames = noise.rows(context)
        return self.step_through(frames, Velocity(frames[:, 0]), noise=noise)

    def step(self, frame, state, *, noise):
        return 0.5 * frame + state.velocity + 0.01 * noise.draw(1, 3, like=frame), state

    def loss(self, batch, *, step=0, generator=None):
        return {"total": torch.zeros(())}


class QuietWalk(Walk):
    stochastic = False

    def step(self, frame, state, *, noise):
        assert noise.samples == 1  # equal samples are computed once
        return 0.5 * frame + state.velocity, state


def context(batch=3):
    return 10 * torch.rand(batch, 2, 1, 3, generator=torch.Generator().manual_seed(0))


def test_frames_follow_from_each_other_in_the_units_of_the_data():
    forecast = QuietWalk(SPEC).forecast(context(), 3, samples=2).samples
    expected, frame = [], context()[:, 1]
    for _ in range(3):
        frame = 0.5 * frame + context()[:, 0]
        expected.append(frame)
    torch.testing.assert_close(forecast, torch.stack(expected, dim=1).expand(2, 3, 3, 1, 3))


def test_asked_for_times_are_frames_of_the_whole_forecast():
    whole = Walk(SPEC).forecast(context(), 5, generator=seeded_generator(1)).samples
    some = Walk(SPEC).forecast(context(), times=[2, 5], generator=seeded_generator(1)).samples
    assert torch.equal(some, whole[:, :, [1, 4]])


@pytest.mark.parametrize(
    ("times", "message"),
    [([0.5, 1], "whole frames only"), ([0, 1], "times` from 1"), ([1, 1.000001], "must increase")],
)
def test_times_that_are_no_frames_are_refused(times, message):
    with pytest.raises(InputError, match=message):
        Walk(SPEC).forecast(context(), times=times)


def test_recorded_noise_replayed_gives_the_same_frames():
    model, observed = Walk(SPEC), context()
    drawn = RecordedNoise(4, 3, seeded_generator(2))
    frames = list(islice(model.roll_out(observed, noise=drawn), 3))
    replayed = Noise(4, 3, replayed=drawn.recorded)
    again = model.roll_out(observed, noise=replayed)
    assert [values.shape for values in drawn.recorded] == [(4, 3, 1, 3)] * 4
    assert all(torch.equal(frame, next(again)) for frame in frames)
    assert not torch.equal(frames[0][0], frames[0][1])


def test_each_sequence_and_sample_has_noise_of_its_own():
    streams = Noise(2, 3, window_generators(torch.tensor([5, 6, 7]), 1))
    rows = streams.draw(4, like=torch.zeros(()))
    alone = Noise(2, 1, seeded_generator(1, 6)).draw(4, like=torch.zeros(()))
    assert torch.equal(rows[2:4], alone)
    assert torch.equal(streams.rows(torch.arange(3)), torch.tensor([0, 0, 1, 1, 2, 2]))


def test_noise_to_replay_must_fit():
    noise = Noise(1, 2, replayed=[torch.zeros(1, 2, 4)])
    with pytest.raises(InputError, match=r"\(1, 2, 5\), got values \(1, 2, 4\)"):
        noise.draw(5, like=torch.zeros(()))
    with pytest.raises(InputError, match="got none"):
        noise.draw(4, like=torch.zeros(()))

"""Rolling digits: each frame is the one before, rolled; the direction is known after two."""

import torch

from statecast.data.base import window_generators
from statecast.data.synthetic.rolling_digits import RollingDigits

EVERY = torch.arange(80)


def windows(**options):
    sizes = {"frame_size": 12, "test_videos": 80, "horizon": 4, "test_horizon": 4}
    return RollingDigits(**sizes, **options).windows("test")


def test_each_frame_is_the_one_before_rolled_by_a_pixel():
    batch = windows(context=3).batch(EVERY)
    for frames, direction in zip(batch.values, batch.latents["direction"][:, 0], strict=True):
        step = 1 if direction else -1
        torch.testing.assert_close(frames[1:], frames[:-1].roll(step, dims=-1), rtol=0, atol=0)
    share = batch.latents["direction"].float().mean()
    assert abs(share - 0.5) < 4 * 0.5 / 80**0.5


def test_after_two_frames_all_is_known():
    found = windows(context=2)
    batch = found.batch(EVERY)
    assert torch.equal(found.modes_of(batch.target.values), batch.latents["direction"][:, 0])
    exact = found.exact_forecast(EVERY, samples=2)
    for sample in exact.samples:
        torch.testing.assert_close(sample, batch.target.values, rtol=0, atol=0)
    assert float(found.expected_crps(EVERY).max()) == 0


def test_after_one_frame_either_direction_is_as_likely():
    found = windows(context=1)
    assert bool((found.mode_probabilities(EVERY) == 0.5).all())
    few = torch.arange(8)
    streams = window_generators(few, 1)
    exact = found.exact_forecast(few, samples=1000, generator=streams)
    shares = found.modes_of(exact.samples).float().mean(dim=0)
    assert bool(((shares - 0.5).abs() < 4 * 0.5 / 1000**0.5).all())
    true = found.batch(few)
    direction = true.latents["direction"][:, 0]
    ways = found.futures(few)[direction, few]
    torch.testing.assert_close(ways, true.target.values, rtol=0, atol=0)

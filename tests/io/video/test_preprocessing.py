"""Preparing: frames chosen by time, cropped and sized as told; slow twins agree."""

import numpy as np
import pytest
from helpers.sample_videos import noise, write_video
from PIL import Image

from statecast.errors import InputError
from statecast.io.video.decoding import RawFrame
from statecast.io.video.discovery import find_clips
from statecast.io.video.options import ClipOptions
from statecast.io.video.preprocessing import last_prepared, prepare, prepared_frames, taken


def raw(times):
    """Frames whose pixels are their number."""
    return [RawFrame(t, np.full((4, 4, 3), i, np.uint8)) for i, t in enumerate(times)]


def numbers(frames):
    return [int(frame.pixels[0, 0, 0]) for frame in frames]


def shown_at(times, ticks):
    """Slow twin: at each tick the last frame that has begun."""
    return [max(i for i, time in enumerate(times) if time <= tick + 2e-3) for tick in ticks]


@pytest.mark.parametrize("rate", [3.0, 5.0, 10.0, 12.5, 40.0])
@pytest.mark.parametrize("frame_step", [1, 3])
def test_at_each_tick_the_frame_is_taken_that_is_shown_then(rate, frame_step):
    steps = np.random.default_rng(0).choice([0.02, 0.05, 0.1, 0.4], 40)
    times = 7.0 + np.concatenate([[0.0], np.cumsum(steps)])
    options = ClipOptions(frames_per_second=rate, frame_step=frame_step)
    count = int((times[-1] - times[0] + 2e-3) * rate / frame_step) + 1
    ticks = times[0] + np.arange(count) * frame_step / rate
    assert numbers(taken(raw(times), options, "clip")) == shown_at(times, ticks)


@pytest.mark.parametrize(
    ("rate", "frame_step"), [(None, 1), (None, 3), (4.0, 1), (10.0, 2), (30.0, 1)]
)
def test_the_last_frames_are_counted_back_from_the_last_one(monkeypatch, rate, frame_step):
    steps = np.random.default_rng(1).choice([0.05, 0.1, 0.3], 30)
    times = np.concatenate([[0.0], np.cumsum(steps)])
    options = ClipOptions(size=(4, 4), frames_per_second=rate, frame_step=frame_step)

    class Source:
        name, images = "clip", ()

        def frames(self):
            return iter(raw(times))

    last = last_prepared(Source(), options, 5)
    found = last.values[:, 0, 0, 0].tolist()
    assert last.end == pytest.approx((31 if rate is None else times[-1] * rate) / frame_step)
    if rate is None:
        expected = list(range(30, -1, -frame_step))[:5][::-1]
    else:
        expected = shown_at(times, times[-1] - np.arange(4, -1, -1) * frame_step / rate)
    assert found == expected
    assert found[-1] == 30
    with pytest.raises(InputError, match="Lower --context"):
        last_prepared(Source(), options, 1000)


def test_every_frame_is_taken_whatever_its_time(tmp_path):
    frames = noise(7)
    path = write_video(tmp_path / "a.mkv", frames, times=[0, 40, 50, 300, 301, 700, 900])
    (clip,) = find_clips(str(path)).clips
    options = ClipOptions(size=(32, 32), colour="rgb", frame_step=2)
    found = np.stack(list(prepared_frames(clip, options)))
    np.testing.assert_array_equal(found, frames[::2].transpose(0, 3, 1, 2))
    slow = ClipOptions(size=(32, 32), colour="rgb", frames_per_second=10)
    chosen = shown_at([0, 0.04, 0.05, 0.3, 0.301, 0.7, 0.9], np.arange(10) / 10)
    found = np.stack(list(prepared_frames(clip, slow)))
    np.testing.assert_array_equal(found, frames[chosen].transpose(0, 3, 1, 2))


def test_area_is_the_mean_of_the_pixels_that_are_covered():
    pixels = noise(1, 24, 36)[0]
    found = prepare(RawFrame(None, pixels), ClipOptions(size=(6, 6), colour="rgb"), "clip")
    middle = pixels[:, 6:30].astype(float)
    expected = middle.reshape(6, 4, 6, 4, 3).mean(axis=(1, 3)).transpose(2, 0, 1)
    np.testing.assert_allclose(found, expected, atol=1)


@pytest.mark.parametrize(
    ("crop", "box"),
    [("none", (0, 0, 50, 40)), ("centre", (15, 0, 35, 40)), ((3, 5, 30, 29), (3, 5, 30, 29))],
)
@pytest.mark.parametrize("method", ["area", "lanczos"])
def test_crops_are_those_of_pillow(crop, box, method):
    pixels = noise(1, 40, 50)[0]
    options = ClipOptions(size=(16, 8), crop=crop, resampling=method)
    kind = {"area": Image.Resampling.BOX, "lanczos": Image.Resampling.LANCZOS}[method]
    expected = Image.fromarray(pixels).resize((8, 16), kind, box=box).convert("L")
    np.testing.assert_array_equal(
        prepare(RawFrame(None, pixels), options, "clip")[0], np.asarray(expected)
    )


@pytest.mark.parametrize(
    "options",
    [{"size": (0, 4)}, {"size": (4, 9999)}, {"frame_step": 0}, {"frames_per_second": 0.0},
     {"crop": (4, 0, 4, 9)}],
)  # fmt: skip
def test_options_that_mean_nothing_are_refused(options):
    with pytest.raises(InputError, match=r"got"):
        ClipOptions(**options)


def test_a_box_outside_the_frame_is_refused():
    with pytest.raises(InputError, match=r"50×40 pixels, but the crop"):
        prepare(RawFrame(None, noise(1, 40, 50)[0]), ClipOptions(crop=(0, 0, 51, 40)), "clip")


def test_images_have_no_clock():
    frames = [RawFrame(None, noise(1)[0])]
    with pytest.raises(InputError, match="have no time"):
        list(taken(frames, ClipOptions(frames_per_second=3.0), "folder"))

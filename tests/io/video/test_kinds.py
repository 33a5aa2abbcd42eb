"""Videos and images as people have them: what each of them is, told by its content."""

from fractions import Fraction

import av
import numpy as np
import pytest
import torch
from helpers.sample_videos import KINDS, noise, ramp, write_video
from PIL import Image

from statecast.data.user.videos import Videos
from statecast.errors import FileError
from statecast.io.video.decoding import RawFrame
from statecast.io.video.discovery import find_clips
from statecast.io.video.images import read_pages
from statecast.io.video.options import ClipOptions
from statecast.io.video.preprocessing import prepare
from statecast.io.video.remarks import ClipTimes, bits_used, remarks_on
from statecast.reports.inspection.inspect_path import inspect_path

pytestmark = pytest.mark.usefixtures("cache")


def names(path):
    return [clip.name for clip in find_clips(path).clips]


def said(data, what):
    return [choice.chosen for choice in data.inferred_options if choice.what == what]


class TestFiles:
    @pytest.mark.parametrize("ending", KINDS)
    def test_a_video_is_one_whatever_its_ending(self, tmp_path, ending):
        path = write_video(tmp_path / f"a{ending}", ramp())
        bare = path.rename(tmp_path / "RECORDING.001")
        (clip,) = find_clips(str(tmp_path)).clips
        levels = [frame.pixels.mean() for frame in clip.frames()]
        np.testing.assert_allclose(levels, 20 * np.arange(10) + 10, atol=6)
        assert inspect_path(bare).commands == inspect_path(tmp_path / "RECORDING.001").commands

    def test_what_is_no_video_is_named(self, tmp_path):
        write_video(tmp_path / "GX01.MP4", noise(30))
        write_video(tmp_path / "small.mp4", noise(30)).rename(tmp_path / "GX01.LRV")
        Image.fromarray(noise()[0]).save(tmp_path / "GX01.THM", format="JPEG")
        (tmp_path / "notes.txt").write_text("notes")
        (tmp_path / "photo.heic").write_bytes(b"\0\0\0\x18ftypheic" + bytes(300))
        found = find_clips(tmp_path)
        assert [clip.name for clip in found.clips] == ["GX01.MP4"]
        ignored = ["GX01.LRV", "GX01.THM", "notes.txt", "photo.heic"]
        assert sorted(found.ignored) == ignored
        data = Videos(path=str(tmp_path), size=8)
        assert all(name in said(data, "passed over")[0] for name in ignored)
        assert all(name in inspect_path(tmp_path).text for name in ignored)

    def test_brackets_are_a_name_where_it_exists(self, tmp_path):
        folder = tmp_path / "clips [raw]"
        folder.mkdir()
        for name in ("a [1].mkv", "b1.mkv", "c.mp4"):
            write_video(folder / name, noise(3))
        assert names(str(folder)) == ["a [1].mkv", "b1.mkv", "c.mp4"]
        assert names(str(folder / "a [1].mkv")) == ["a [1].mkv"]
        assert names(f"{folder}/*.mkv") == ["a [1].mkv", "b1.mkv"]
        assert names(str(folder / "b[12].mkv")) == ["b1.mkv"]

    @pytest.mark.parametrize("path", ["s3://bucket/a.mp4", "https://host/clips", "gs://b/*.avi"])
    def test_remote_paths_are_named_as_such(self, path):
        with pytest.raises(FileError, match=r"on another machine.*Download it"):
            Videos(path=path)


class TestImages:
    def test_frames_of_several_videos_in_one_folder(self, tmp_path):
        for video, shade in (("left_run", 10), ("right_run", 100)):
            for time in range(8, 12):
                frame = np.full((8, 8, 3), shade + time, np.uint8)
                Image.fromarray(frame).save(tmp_path / f"{video}2_{time}.png")
        found = find_clips(tmp_path).clips
        assert [clip.name for clip in found] == ["left_run2", "right_run2"]
        levels = [[int(frame.pixels.mean()) for frame in clip.frames()] for clip in found]
        assert levels == [[18, 19, 20, 21], [108, 109, 110, 111]]

    @pytest.mark.parametrize(
        ("pattern", "values"),
        [
            ("img_{:09}_Default_000.png", range(12)),
            ("{}.png", range(12)),
            ("2024-03-{:02}T12-00-07.png", range(1, 13)),
            ("cam_20240301_12{:02}31.png", [0, 1, 4, 6, 7, 15, 16, 18, 30, 31, 44, 58]),
            ("plate7_t{}.png", range(90, 102)),
        ],
    )
    def test_frames_of_one_video_stay_together(self, tmp_path, pattern, values):
        for number, value in enumerate(values):
            image = np.full((8, 8, 3), number, np.uint8)
            Image.fromarray(image).save(tmp_path / pattern.format(value))
        (clip,) = find_clips(tmp_path).clips
        assert [int(frame.pixels[0, 0, 0]) for frame in clip.frames()] == list(range(12))

    @pytest.mark.parametrize(("bits", "most"), [(10, 900), (12, 1500), (14, 9000), (16, 60_000)])
    def test_sixteen_bits_are_scaled_by_those_that_are_used(self, tmp_path, bits, most):
        for video in range(3):
            (tmp_path / f"v{video}").mkdir()
            for time in range(6):
                counts = np.full((8, 8), most * (time + video + 1) // 8, np.uint16)
                Image.fromarray(counts).save(tmp_path / f"v{video}" / f"{time}.tif")
        data = Videos(path=str(tmp_path), size=8, context=2, horizon=2)
        values = data.windows("train").batch(torch.tensor([0])).values
        expected = [most * (time + 1) // 8 / (2**bits - 1) for time in range(4)]
        np.testing.assert_allclose(values[0, :, 0, 0, 0], expected, atol=0.5 / 255)
        assert {c.option: c.value for c in data.inferred_options}["bits"] == bits
        assert dict(inspect_path(tmp_path).facts)["bits"].startswith(f"{bits} of")

    def test_colours_of_sixteen_bits_keep_the_lower_ones(self, tmp_path):
        counts = np.random.default_rng(0).integers(0, 4096, (8, 10, 3)).astype(np.uint16)
        codec = av.codec.CodecContext.create("png", "w")
        codec.width, codec.height, codec.pix_fmt = 10, 8, "rgb48be"
        codec.time_base = Fraction(1)
        frame = av.VideoFrame.from_ndarray(counts, format="rgb48le").reformat(format="rgb48be")
        packets = [*codec.encode(frame), *codec.encode(None)]
        (tmp_path / "a.png").write_bytes(b"".join(map(bytes, packets)))
        np.testing.assert_array_equal(next(read_pages(tmp_path / "a.png")), counts)
        assert bits_used(find_clips(tmp_path).clips) == 12


class TestStacks:
    @staticmethod
    def stack(path, pages, **options):
        first, *rest = [Image.fromarray(page) for page in pages]
        first.save(path, save_all=True, append_images=rest, **options)

    @pytest.mark.parametrize("ending", ["tif", "webp", "png"])
    def test_pages_are_frames(self, tmp_path, ending):
        for number in range(2):
            options = {"lossless": True} if ending == "webp" else {}
            self.stack(tmp_path / f"s{number}.{ending}", ramp(7, 8, 8) + number, **options)
        clips = find_clips(tmp_path).clips
        assert [clip.name for clip in clips] == [f"s0.{ending}", f"s1.{ending}"]
        for number, clip in enumerate(clips):
            found = [int(frame.pixels[0, 0, 0]) for frame in clip.frames()]
            assert found == [20 * n + 10 + number for n in range(7)]
        assert "7, all decoded" in inspect_path(tmp_path / f"s0.{ending}").text

    def test_pages_of_counts_are_scaled_together(self, tmp_path):
        counts = (100 * np.arange(1, 11)[:, None, None] * np.ones((8, 8))).astype(np.uint16)
        self.stack(tmp_path / "a.tif", counts)
        data = Videos(path=str(tmp_path / "a.tif"), size=8, context=1, horizon=1)
        first = data.store.read(0, 0, 10)[:, 0, 0, 0]
        np.testing.assert_allclose(first, counts[:, 0, 0] / 1023 * 255, atol=0.5)

    @pytest.mark.parametrize("text", ["images=6\nchannels=2\nframes=3", 'SizeC="2" SizeT="3"'])
    def test_pages_of_several_channels_are_refused(self, tmp_path, text):
        self.stack(tmp_path / "a.tif", ramp(6, 8, 8), tiffinfo={270: text})
        with pytest.raises(FileError, match="stack per channel"):
            list(find_clips(tmp_path).clips[0].frames())

    def test_a_stack_that_is_cut_off_is_no_shorter_one(self, tmp_path):
        self.stack(tmp_path / "a.tif", noise(9, 32, 32))
        content = (tmp_path / "a.tif").read_bytes()
        for share in (0.1, 0.5, 0.8, 0.97):
            (tmp_path / "a.tif").write_bytes(content[: int(share * len(content))])
            with pytest.raises(FileError):
                assert len(list(find_clips(tmp_path / "a.tif").clips[0].frames())) == 9


class TestTimesAndPixels:
    def facts(self, path):
        times = ClipTimes()
        (clip,) = find_clips(path).clips
        list(times.watch(clip.frames()))
        return times.facts

    def test_a_rate_that_varies_is_said_in_training_too(self, tmp_path):
        steps = [100] * 20 + [33] * 20
        write_video(tmp_path / "phone.mkv", noise(40), times=np.cumsum([0, *steps[1:]]))
        write_video(tmp_path / "steady.mkv", noise(40), rate=30)
        write_video(tmp_path / "third.mkv", noise(40), rate=30)
        assert self.facts(tmp_path / "phone.mkv").varies
        assert not self.facts(tmp_path / "steady.mkv").varies
        (note,) = said(Videos(path=str(tmp_path), size=8), "note")
        assert "phone.mkv" in note
        assert "--data.frames_per_second 10 " in note
        (note,) = said(Videos(path=str(tmp_path), size=8, frames_per_second=10), "note")
        assert "at even times" in note
        assert "--data.frames_per_second 10\n" in inspect_path(tmp_path).text + "\n"

    def test_oblong_pixels_are_made_square(self, tmp_path):
        path = write_video(tmp_path / "a.mp4", noise(3, 32, 48), aspect="3/2")
        facts = self.facts(path)
        assert (facts.height, facts.width, facts.aspect) == (32, 72, 1.5)
        assert "1.5:1" in " ".join(remarks_on({"a": facts}, even=False))
        (clip,) = find_clips(path).clips
        assert next(clip.frames()).aspect == 1.5
        turned = write_video(tmp_path / "b.mp4", noise(3, 32, 48), aspect="3/2", rotation=90)
        assert self.facts(turned).aspect == pytest.approx(2 / 3)

    @pytest.mark.parametrize("codec", ["ffv1", "libvpx-vp9", "mpeg4"])
    def test_display_widths_of_matroska_keep_a_disc_round(self, tmp_path, codec):
        """The container tells the shape of pixels, whether the codec does or not."""
        y, x = np.mgrid[:48, :48] - 23.5
        disc = np.where((1.5 * x) ** 2 + y**2 < 20**2, 255, 0).astype(np.uint8)
        frames = np.repeat(disc[None, :, :, None], 3, axis=0).repeat(3, axis=3)
        pixels = "bgr0" if codec == "ffv1" else "yuv420p"
        path = write_video(tmp_path / "a.mkv", frames, codec=codec, pixels=pixels)
        content = path.read_bytes()
        unit, width = b"\x54\xb2\x81\x04", b"\x54\xb0\x81" + bytes([72])  # of one length
        assert content.count(unit) == 1
        path.write_bytes(content.replace(unit, width))
        facts = self.facts(path)
        assert (facts.height, facts.width, facts.aspect) == (48, 72, 1.5)
        (clip,) = find_clips(path).clips
        shown = prepare(next(clip.frames()), ClipOptions(size=(48, 48)), "a")[0] > 127
        high, wide = (int(shown.any(axis=axis).sum()) for axis in (1, 0))
        assert abs(high - wide) <= 1
        assert 38 <= high <= 42

    def test_crops_are_in_pixels_as_they_are_shown(self):
        frame = RawFrame(0.0, noise(1, 32, 48)[0], aspect=1.5)  # 72 wide as shown
        # The middle 32 of the 72 columns are 21⅓ of the 48 that are stored.
        for crop, box in (("centre", (40 / 3, 0, 104 / 3, 32)), ((36, 0, 72, 32), (24, 0, 48, 32))):
            options = ClipOptions(size=(32, 32), colour="rgb", crop=crop)
            expected = Image.fromarray(frame.pixels).resize((32, 32), Image.Resampling.BOX, box)
            found = prepare(frame, options, "a")
            np.testing.assert_array_equal(found, np.asarray(expected).transpose(2, 0, 1))

    def test_interlaced_videos_are_said_to_be(self, tmp_path):
        path = write_video(tmp_path / "a.mpg", noise(30), interlaced=True)
        assert self.facts(path).interlaced
        assert not self.facts(write_video(tmp_path / "b.mpg", noise(30))).interlaced
        assert any("bwdif" in note for note in said(Videos(path=str(path), size=8), "note"))
        assert "interlaced: a.mpg" in inspect_path(tmp_path).text

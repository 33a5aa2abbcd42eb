"""Decoding: every frame of every format comes back; what is damaged or no video is refused."""

import numpy as np
import pytest
from helpers.sample_videos import KINDS, cut, noise, ramp, write_video

from statecast.errors import CorruptionError, FileError
from statecast.io.video.containers import container_of
from statecast.io.video.decoding import decode_video, video_facts


def pixels(path):
    return np.stack([frame.pixels for frame in decode_video(path)])


@pytest.mark.parametrize("ending", KINDS)
def test_frames_come_back_in_order_at_their_times(tmp_path, ending):
    path = write_video(tmp_path / f"a{ending}", ramp(), rate=20)
    frames = list(decode_video(path))
    assert len(frames) == 10
    levels = [frame.pixels.mean() for frame in frames]
    np.testing.assert_allclose(levels, 20 * np.arange(10) + 10, atol=6)
    times = np.array([frame.time for frame in frames])
    np.testing.assert_allclose(times - times[0], np.arange(10) / 20, atol=1e-3)
    facts = video_facts(path)
    assert (facts.height, facts.width) == (32, 32)
    assert facts.rate == pytest.approx(20)


def test_a_lossless_video_comes_back_bit_by_bit_also_of_odd_size(tmp_path):
    frames = noise(6, 31, 45)
    np.testing.assert_array_equal(pixels(write_video(tmp_path / "a.mkv", frames)), frames)


def trimmed(source, path, frames):
    """The same coded frames, of which the first ones are kept but not shown."""
    import av

    with av.open(str(source)) as content, av.open(str(path), "w", format="mp4") as target:
        stream = content.streams.video[0]
        copy = target.add_stream_from_template(stream)
        shift = frames * int(1 / (stream.average_rate * stream.time_base))
        for packet in content.demux(stream):
            if packet.dts is not None:
                packet.pts, packet.dts = packet.pts - shift, packet.dts - shift
                packet.stream = copy
                target.mux(packet)
    return path


def test_a_trimmed_video_is_whole_though_it_shows_fewer_frames_than_it_holds(tmp_path):
    source = write_video(tmp_path / "a.mp4", noise(30))
    path = trimmed(source, tmp_path / "b.mp4", 10)
    assert video_facts(path).frames == 30
    np.testing.assert_array_equal(pixels(path), pixels(source)[10:])


@pytest.mark.parametrize("ending", [".mkv", ".mp4"])
def test_sound_that_lasts_longer_does_not_make_a_video_look_cut_off(tmp_path, ending):
    path = write_video(tmp_path / f"a{ending}", noise(25), codec="libx264", pixels="yuv420p",
                       seconds_of_sound=3)  # fmt: skip
    assert len(pixels(path)) == 25
    with pytest.raises(CorruptionError):
        pixels(cut(path, 0.5))


def test_a_turned_video_is_turned_as_a_player_shows_it(tmp_path):
    frames = np.zeros((4, 32, 48, 3), np.uint8)
    frames[:, :8, :8] = 255  # the upper left corner
    path = write_video(tmp_path / "a.mp4", frames, rotation=90)  # anticlockwise
    found = pixels(path)
    assert found.shape == (4, 48, 32, 3)
    assert found[0, -4, 4].min() > 200  # it is now the lower left one
    assert found[0, 4, 4].max() < 50


def test_sixteen_bits_become_eight_and_opacity_lies_on_black(tmp_path):
    grey = np.linspace(0, 65535, 4).astype(np.uint16)[:, None, None] * np.ones((32, 32), np.uint16)
    path = write_video(tmp_path / "a.mkv", grey, pixels="gray16le", given="gray16le")
    np.testing.assert_allclose(pixels(path)[:, 0, 0, 0], [0, 85, 170, 255], atol=1)
    clear = noise(3, channels=4)
    path = write_video(tmp_path / "b.mkv", clear, pixels="bgra", given="rgba")
    expected = clear[..., :3].astype(float) * clear[..., 3:] / 255
    np.testing.assert_allclose(pixels(path), expected, atol=0.5)


@pytest.mark.parametrize("ending", [e for e in KINDS if e != ".mpg"])
@pytest.mark.parametrize("share", [0.0, 0.1, 0.5, 0.85])
def test_a_file_that_is_cut_off_is_never_shorter_or_empty(tmp_path, ending, share):
    path = cut(write_video(tmp_path / f"a{ending}", noise(12)), share)
    with pytest.raises(FileError):
        pixels(path)


def test_a_file_without_frames_is_damaged(tmp_path):
    for ending in (".mkv", ".mp4", ".avi"):
        path = write_video(tmp_path / f"a{ending}", noise(0))
        assert path.stat().st_size > 0
        with pytest.raises(CorruptionError, match=rf"a\{ending}"):
            pixels(path)


def test_flipped_bytes_are_an_error_or_change_no_count(tmp_path):
    """What a decoder cannot notice is no error; but no frame may go missing."""
    path = write_video(tmp_path / "a.mp4", noise(12))
    whole, refused = path.read_bytes(), []
    generator = np.random.default_rng(0)
    for _ in range(8):
        flipped = bytearray(whole)
        for place in generator.integers(len(whole) // 4, 3 * len(whole) // 4, 8):
            flipped[place] ^= 0xFF
        path.write_bytes(flipped)
        try:
            assert len(pixels(path)) == 12
        except CorruptionError as error:
            refused.append(str(error))
    assert refused  # how many of the 8 differs between runs, as the encoder's bytes do
    assert all("a.mp4" in text and "\n" not in text for text in refused)


def test_no_frame_goes_missing_for_any_bit_of_a_coded_frames_header(tmp_path):
    """Some of these bits make the decoder drop a frame without a word."""
    import av

    path = write_video(tmp_path / "a.mp4", noise(12), options={"threads": "1"})
    whole = path.read_bytes()
    with av.open(str(path)) as content:
        coded = bytes([packet for packet in content.demux(video=0) if packet.size][5])
    start = whole.index(coded) + 4  # after the length of the unit
    refused = []
    for bit in range(64):
        flipped = bytearray(whole)
        flipped[start + bit // 8] ^= 1 << bit % 8
        path.write_bytes(flipped)
        try:
            assert len(pixels(path)) == 12
        except CorruptionError as error:
            refused.append(str(error))
    assert any("of its frames cannot be decoded" in text for text in refused)


def test_a_codec_of_an_unreadable_name_is_refused(tmp_path):
    path = write_video(tmp_path / "a.avi", noise(3))
    path.write_bytes(path.read_bytes().replace(b"FMP4", b"ZZZZ"))
    with pytest.raises(CorruptionError, match=r"codec|cut off"):
        pixels(path)


@pytest.mark.parametrize("content", [b"", b"\x89PNG\r\n\x1a\n1234", b"\0" * 300, b"PK\3\4" * 100])
def test_other_files_are_refused(tmp_path, content):
    path = tmp_path / "a.mp4"
    path.write_bytes(content)
    with pytest.raises(FileError, match=r"a\.mp4"):
        container_of(path)


def test_a_missing_file_is_named(tmp_path):
    with pytest.raises(FileError, match="no file"):
        container_of(tmp_path / "a.mp4")

"""Folders of images: ordered by number, all kinds of pixels, and every bad image named."""

import numpy as np
import pytest
from helpers.sample_videos import noise
from PIL import Image

from statecast.errors import CorruptionError, FileError
from statecast.io.video.discovery import find_clips
from statecast.io.video.images import as_bytes, read_pages


def read_image(path):
    """The first picture of a file as bytes, of 16 bits where it has more than 8."""
    return as_bytes(next(read_pages(path)), 16)


def pictures(folder, numbers, size=(8, 8), pattern="frame{}.png"):
    folder.mkdir(parents=True, exist_ok=True)
    for number in numbers:
        image = np.full((*size, 3), number, np.uint8)
        Image.fromarray(image).save(folder / pattern.format(number))
    return folder


def frames(folder):
    (clip,) = find_clips(str(folder)).clips
    return np.stack([frame.pixels for frame in clip.frames()])


def test_frames_are_in_the_order_of_their_numbers(tmp_path):
    found = frames(pictures(tmp_path / "a", range(1, 13)))
    assert found[:, 0, 0, 0].tolist() == list(range(1, 13))
    found = frames(pictures(tmp_path / "b", range(0, 100, 20), pattern="{}.ppm"))
    assert found[:, 0, 0, 0].tolist() == [0, 20, 40, 60, 80]


def test_a_missing_number_is_named(tmp_path):
    with pytest.raises(CorruptionError, match=r"frame5\.png follows frame3\.png"):
        frames(pictures(tmp_path / "a", [1, 2, 3, 5, 6, 7]))


def test_images_of_another_size_are_named(tmp_path):
    pictures(tmp_path / "a", [1, 2])
    pictures(tmp_path / "a", [3], size=(8, 9))
    with pytest.raises(FileError, match=r"frame3\.png has 9×8 pixels"):
        frames(tmp_path / "a")


def test_pixels_of_every_kind(tmp_path):
    path = tmp_path / "a.png"
    colours = noise(1, 5, 7)[0]
    Image.fromarray(colours).save(path)
    np.testing.assert_array_equal(read_image(path), colours)
    Image.fromarray(np.array([[0, 257 * 100, 65535]], np.uint16)).save(path)
    assert read_image(path)[0, :, 0].tolist() == [0, 100, 255]
    clear = noise(1, 5, 7, channels=4)[0]
    Image.fromarray(clear).save(path)
    expected = clear[..., :3] * (clear[..., 3:] / 255)
    np.testing.assert_allclose(read_image(path), expected, atol=0.5)
    Image.fromarray(colours).convert("P").save(path)
    assert read_image(path).shape == (5, 7, 3)
    Image.fromarray(colours[..., 0] > 128).save(path)
    assert set(np.unique(read_image(path))) == {0, 255}


def test_numbers_that_are_no_brightness_are_refused(tmp_path):
    path = tmp_path / "a.tif"
    Image.fromarray(np.array([[0.5, 2.5]], np.float32)).save(path)
    with pytest.raises(FileError, match="not a brightness"):
        read_image(path)


def test_damaged_images_are_named(tmp_path):
    path = tmp_path / "a.png"
    Image.fromarray(noise(1, 64, 64)[0]).save(path)
    content = path.read_bytes()
    for bad in (content[:200], content[:-2000], b"", b"text", content[:40] + b"\0" * 900):
        path.write_bytes(bad)
        with pytest.raises(CorruptionError, match=r"a\.png"):
            read_image(path)


def test_several_pictures_in_a_frame_of_others_are_refused(tmp_path):
    images = [Image.fromarray(frame) for frame in noise(3)]
    images[0].save(tmp_path / "a1.tif")
    images[0].save(tmp_path / "a2.tif", save_all=True, append_images=images[1:])
    with pytest.raises(FileError, match="several pictures"):
        frames(tmp_path)


class TestDiscovery:
    def test_files_and_folders_of_images_are_clips(self, tmp_path):
        pictures(tmp_path / "train" / "clip10", [1, 2])
        pictures(tmp_path / "train" / "clip9", [1, 2])
        for name in ("z.MP4", "a2.avi", "a10.avi", "notes.txt", ".hidden.mp4"):
            (tmp_path / name).write_bytes(b"x")
        found = [clip.name for clip in find_clips(str(tmp_path)).clips]
        assert found == ["a2.avi", "a10.avi", "train/clip9", "train/clip10", "z.MP4"]
        assert len(find_clips(str(tmp_path / "*.avi")).clips) == 2
        assert len(find_clips([str(tmp_path / "z.MP4"), str(tmp_path / "train")]).clips) == 3

    def test_nothing_is_an_error(self, tmp_path):
        with pytest.raises(FileError, match="holds no videos"):
            find_clips(str(tmp_path))
        with pytest.raises(FileError, match="no file or folder"):
            find_clips(str(tmp_path / "none"))
        with pytest.raises(FileError, match="No file matches"):
            find_clips(str(tmp_path / "*.mp4"))

    def test_a_link_out_of_the_folder_is_refused_unless_asked_for(self, tmp_path):
        (tmp_path / "secret.mp4").write_bytes(b"x")
        pictures(tmp_path / "elsewhere", [1, 2])
        folder = tmp_path / "videos"
        folder.mkdir()
        (folder / "a.mp4").write_bytes(b"x")
        (folder / "inside.mp4").symlink_to(folder / "a.mp4")
        assert len(find_clips(str(folder)).clips) == 2
        for target in ("secret.mp4", "elsewhere"):
            (folder / "out.mp4").symlink_to(tmp_path / target)
            with pytest.raises(FileError, match=r"out\.mp4 is a link that leads out"):
                find_clips(str(folder))
            assert len(find_clips(str(folder), follow_links=True).clips) == 3
            (folder / "out.mp4").unlink()

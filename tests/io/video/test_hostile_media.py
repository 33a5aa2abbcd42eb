"""Videos, images and archives that point elsewhere, run something, or unpack without end."""

import contextlib
import gzip
import os
import struct
import tracemalloc
import zipfile
import zlib
from pathlib import Path

import numpy as np
import pytest
from helpers.sample_videos import noise, write_video
from PIL import Image

from statecast.data.benchmarks.video_frames import decode_frames
from statecast.data.synthetic.digit_images import read_idx
from statecast.data.user.array_files import found_arrays, open_sequences
from statecast.errors import CorruptionError, FileError, StatecastError
from statecast.io.numpy_files import UNPACKED
from statecast.io.video.decoding import LARGEST_FRAME, decode_video, video_facts
from statecast.io.video.discovery import find_clips
from statecast.io.video.images import decode_images, read_pages
from statecast.reports.inspection.inspect_path import inspect_path
from statecast.reports.inspection.videos import inspect_clips

MEBIBYTE = 1 << 20


def read_array(path):
    """The array that is read of a file."""
    return np.asarray(found_arrays(path, None)[0][0])


def peak(function):
    """Most memory that Python and NumPy held during a call, in MiB."""
    tracemalloc.start()
    try:
        function()
        return tracemalloc.get_traced_memory()[1] / MEBIBYTE
    finally:
        tracemalloc.stop()


SCRIPTS = {
    "concat": "ffconcat version 1.0\nfile {}\nduration 1\n",
    "unsafe concat": "file '{}'\n",
    "m3u8": "#EXTM3U\n#EXT-X-TARGETDURATION:1\n#EXTINF:1,\n{}\n#EXT-X-ENDLIST\n",
    "pls": "[playlist]\nFile1={}\nNumberOfEntries=1\n",
    "sdp": "v=0\no=- 0 0 IN IP4 127.0.0.1\nc=IN IP4 127.0.0.1\nm=video 5004 RTP/AVP 96\na=x:{}\n",
    "dash": "<?xml version='1.0'?><MPD><BaseURL>{}</BaseURL></MPD>",
    "svg": "<svg xmlns='http://www.w3.org/2000/svg'><image href='file://{}'/></svg>",
    "subfile": "subfile,,start,0,end,9,,:{}",
    "avisynth": 'AviSource("{}")',
    "lavfi": "movie={}",
}


@pytest.mark.parametrize("ending", [".mp4", ".mkv", ".ts", ".avi", ".gif", ".txt"])
@pytest.mark.parametrize("name", SCRIPTS)
def test_scripts_and_playlists_are_no_videos(name, ending, canary, tmp_path):
    path = tmp_path / f"a{ending}"
    path.write_text(SCRIPTS[name].format(canary.text))
    for look in (lambda p: list(decode_video(p)), video_facts, inspect_path):
        with pytest.raises(FileError) as caught:
            look(path)
        canary.unseen(caught.value)
    with pytest.raises(FileError):
        next(decode_frames(path, "avi", rate=25))


@pytest.mark.parametrize("beginning", [b"\x1aE\xdf\xa3", b"GIF89a", b"OggS", b"\0\0\0\x08ftyp"])
def test_a_script_behind_the_first_bytes_of_a_video_is_damage(beginning, canary, tmp_path):
    """The container is forced to be what the bytes say; no other is tried on the rest."""
    path = tmp_path / "a.mp4"
    for script in SCRIPTS.values():
        path.write_bytes(beginning + b"\n" + script.format(canary.text).encode())
        with pytest.raises(FileError):
            list(decode_video(path))


def test_patterns_of_numbers_in_names_are_names(tmp_path):
    """FFmpeg would take frame%d.png for all frames of that pattern."""
    for name in ("frame%d", "frame%03d", "frame*"):
        path = write_video(tmp_path / f"{name}.mkv", noise(3))
        assert len(list(decode_video(path))) == 3
    assert len(find_clips(str(tmp_path)).clips) == 3


EPS = b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 8 8\n(%b) (w) file closefile showpage\n%%EOF\n"


@pytest.mark.parametrize("ending", [".png", ".jpg", ".tif", ".bmp", ".webp", ".ppm"])
def test_images_that_are_programs_are_refused(ending, canary, tmp_path):
    path = tmp_path / f"a{ending}"
    contents = [script.format(canary.text).encode() for script in SCRIPTS.values()]
    for content in [EPS.replace(b"%b", str(canary.ran).encode()), *contents]:
        path.write_bytes(content)
        with pytest.raises(FileError):
            next(read_pages(path))


def bomb(width, height):
    """A PNG that states a size, and holds little."""

    def part(name, content):
        check = zlib.crc32(name + content)
        return struct.pack(">I", len(content)) + name + content + struct.pack(">I", check)

    head = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    rows = zlib.compress(bytes(1 << 20), 9)
    return b"\x89PNG\r\n\x1a\n" + part(b"IHDR", head) + part(b"IDAT", rows) + part(b"IEND", b"")


@pytest.mark.parametrize(
    "size", [(9000, 9000), (1 << 14, 1 << 13), (60_000, 60_000), (1 << 31, 1), (1, 1 << 31)]
)
def test_images_of_more_pixels_than_the_limit_are_refused(size, tmp_path):
    path = tmp_path / "a.png"
    path.write_bytes(bomb(*size))
    assert size[0] * size[1] > LARGEST_FRAME
    with pytest.raises(FileError):
        list(decode_images([path]))


def test_texts_of_a_png_that_unpack_without_end_are_refused(tmp_path):
    path = tmp_path / "a.png"
    Image.new("RGB", (8, 8)).save(path)
    content = path.read_bytes()
    text = b"zTXt" + b"a\0\0" + zlib.compress(bytes(1 << 26), 9)
    part = struct.pack(">I", len(text) - 4) + text + struct.pack(">I", zlib.crc32(text))
    path.write_bytes(content[:33] + part + content[33:])
    with pytest.raises(FileError):
        next(read_pages(path))


def test_coded_frames_larger_than_their_container_says_are_refused(tmp_path):
    """A header of 32×32 before frames that would fill memory."""
    path = write_video(tmp_path / "a.avi", noise(1, 16, 16), codec="mjpeg", pixels="yuvj420p")
    content = path.read_bytes()
    start = content.index(b"\xff\xc0")  # of the picture's own header: 5 bytes, height, width
    huge = content[: start + 5] + struct.pack(">HH", 60_000, 60_000) + content[start + 9 :]
    path.write_bytes(huge)
    for decode in (decode_video, lambda p: decode_frames(p, "avi", rate=25)):
        with pytest.raises(CorruptionError):
            list(decode(path))


def test_a_contact_sheet_holds_no_more_frames_than_it_shows(tmp_path):
    """Small frames are enlarged for it; a file of a million of them must not fill memory."""
    path = write_video(tmp_path / "a.gif", noise(600, 16, 16))
    finding = inspect_clips(path)
    found = []
    assert peak(lambda: found.extend(finding.preview())) < 4  # of 600 frames it would be 22
    assert len(found[0]) == 8


@pytest.mark.parametrize("ending", [".mp4", ".png"])
def test_pipes_are_refused_and_not_waited_for(ending, tmp_path):
    os.mkfifo(tmp_path / f"a{ending}")
    (clip,) = find_clips(str(tmp_path)).clips
    with pytest.raises(FileError, match="not a regular file"):
        list(clip.frames())


# What unpacks without end


def packed_npz(path, size, method=zipfile.ZIP_DEFLATED, claimed=None, listed=None):
    """An `.npz` of zeros; `claimed` by its header, `listed` in bytes by the archive."""
    head = np.lib.format
    with zipfile.ZipFile(path, "w", method, compresslevel=9) as archive:
        with archive.open("values.npy", "w", force_zip64=True) as stream:
            shape = (claimed or size, 1, 1, 1)
            description = {"descr": "|u1", "fortran_order": False, "shape": shape}
            head.write_array_header_1_0(stream, description)
            stream.write(bytes(size))
        if listed is not None:
            archive.infolist()[0].file_size = listed
    return path


@pytest.mark.parametrize("read", [read_array, open_sequences])
def test_an_npz_that_unpacks_to_far_more_than_it_is_is_refused(read, tmp_path):
    path = packed_npz(tmp_path / "a.npz", MEBIBYTE, listed=UNPACKED + 1)

    def refused():
        with pytest.raises(FileError, match="decompression bomb"):
            read(path)

    assert peak(refused) < 1
    assert read_array(packed_npz(path, MEBIBYTE)).size == MEBIBYTE  # a thousand times its file


@pytest.mark.parametrize("claimed", [1 << 50, 1 << 62, 10**30])
def test_claims_of_numbers_that_are_not_there_are_our_own_errors(claimed, tmp_path):
    path = packed_npz(tmp_path / "a.npz", 100, claimed=claimed)
    bare = tmp_path / "a.npy"
    with zipfile.ZipFile(path) as archive:
        bare.write_bytes(archive.read("values.npy"))
    for read in (read_array, open_sequences):
        for file in (path, bare):
            with pytest.raises(CorruptionError):
                read(file)


def test_a_lying_zip_is_damage(tmp_path):
    path = packed_npz(tmp_path / "a.npz", 1000, zipfile.ZIP_STORED)
    content = path.read_bytes()
    for place in range(0, len(content), 7):
        lying = bytearray(content)
        lying[place] ^= 0xFF
        path.write_bytes(lying)
        for read in (read_array, inspect_path):
            with contextlib.suppress(StatecastError):
                read(path)  # a changed number is still a number


def test_gz_files_that_unpack_without_end_are_refused(tmp_path):
    path = tmp_path / "train-images-idx3-ubyte.gz"
    head = struct.pack(">HBB3I", 0, 8, 3, UNPACKED // 4, 4, 2)
    with gzip.open(path, "wb", compresslevel=9) as stream:
        stream.write(head + bytes(MEBIBYTE))
    with pytest.raises(FileError, match="decompression bomb"):
        read_idx(path)
    with gzip.open(path, "wb", compresslevel=9) as stream:
        stream.write(struct.pack(">HBB3I", 0, 8, 3, 1, 2, 2))
        for _ in range(8):  # what comes after the numbers it states
            stream.write(bytes(1 << 22))

    def damaged():
        with pytest.raises(CorruptionError, match="got more"):
            read_idx(path)

    assert peak(damaged) < 1


@pytest.mark.parametrize("header", [b"(" * 8000, b"-" * 9000 + b"1", b"{'descr': 'O'", b"[" * 9000])
def test_headers_of_npy_files_are_not_evaluated(header, tmp_path):
    path = tmp_path / "a.npy"
    path.write_bytes(b"\x93NUMPY\x01\x00" + struct.pack("<H", len(header) + 1) + header + b"\n")
    for read in (read_array, open_sequences, inspect_path):
        with pytest.raises(StatecastError):
            read(path)


def test_a_call_in_a_header_of_npy_is_not_made(canary, tmp_path):
    path = tmp_path / "a.npy"
    header = f"__import__('os').system({canary.command!r})\n".encode()
    path.write_bytes(b"\x93NUMPY\x01\x00" + struct.pack("<H", len(header)) + header)
    with pytest.raises(StatecastError):
        read_array(path)
    assert isinstance(canary.ran, Path)


def test_links_out_of_a_folder_of_clips_are_refused(canary, tmp_path):
    folder = tmp_path / "clips"
    folder.mkdir()
    for name in ("a.mp4", "b.png"):
        (folder / name).symlink_to(canary.secret)
        with pytest.raises(FileError, match="leads out"):
            find_clips(str(folder))
        (folder / name).unlink()

"""Containers of videos, told by their first bytes; only those that hold all frames are accepted."""

from __future__ import annotations

from pathlib import Path

from statecast.errors import CorruptionError, FileError
from statecast.io.json_yaml import first_bytes

START = 204  # bytes to look at: two MPEG packets begin within them
VIDEO_ENDINGS = (
    ".mp4", ".m4v", ".mov", ".qt", ".3gp", ".3g2", ".mkv", ".webm", ".avi", ".mpg", ".mpeg", ".vob",
    ".ts", ".mts", ".m2t", ".m2ts", ".wmv", ".asf", ".flv", ".f4v", ".mxf", ".y4m", ".gif", ".ogv",
    ".ogg",
)  # fmt: skip
NAMES = {
    "mp4": "MP4/MOV",
    "matroska": "Matroska/WebM",
    "avi": "AVI",
    "mpegts": "MPEG transport stream",
    "mpeg": "MPEG program stream",
    "mpegvideo": "MPEG video",
    "asf": "ASF/WMV",
    "flv": "FLV",
    "mxf": "MXF",
    "yuv4mpegpipe": "Y4M",
    "ivf": "IVF",
    "gif": "GIF",
    "ogg": "Ogg",
}  # containers, as the decoder calls them, and for people
BEGINNINGS = {
    b"\x1aE\xdf\xa3": "matroska",
    b"GIF87a": "gif",
    b"GIF89a": "gif",
    b"OggS": "ogg",
    b"\x00\x00\x01\xba": "mpeg",
    b"\x00\x00\x01\xb3": "mpegvideo",
    b"0&\xb2u\x8ef\xcf\x11": "asf",
    b"FLV\x01": "flv",
    b"\x06\x0e+4\x02\x05\x01\x01": "mxf",
    b"YUV4MPEG2 ": "yuv4mpegpipe",
    b"DKIF": "ivf",
}
MP4_BOXES = (b"ftyp", b"moov", b"mdat", b"free", b"skip", b"wide", b"pnot")
STILL_BRANDS = (b"heic", b"heix", b"mif1", b"avif", b"M4A ", b"M4B ", b"jpx ")  # MP4 without video
OTHERS = {
    b"\x93NUMPY": "arrays",
    b"MATLAB": "arrays",
    b"\x89HDF": "arrays",
    b"PK": "arrays",
    b"CDF": "fields",
}  # data sets for files that are not videos, by first bytes
SYNC = 0x47  # first byte of a packet of a transport stream
PACKET = 188  # bytes of a packet


def container_of(path: Path) -> str:
    """Container of a video file, told by its content alone.

    Playlists, scripts and other text, which could make a decoder open further files, are refused.

    Errors:
        FileError: the file is missing, cannot be read, or is not a known container.
        CorruptionError: it is empty.
    """
    start = beginning_of(path)
    if not start:
        raise CorruptionError(f"{path} is empty.")
    found = sniff(start)
    if found is None:
        what = "is text or a playlist" if is_text(start) else "is no known container"
        for other, name in OTHERS.items():
            what = f"is for --data.name {name}" if start.startswith(other) else what
        raise FileError(f"{path} {what}; videos are {', '.join(NAMES.values())}.")
    return found


def beginning_of(path: Path) -> bytes:
    """The bytes of a file that tell its container; errors as `first_bytes`."""
    return first_bytes(path, START)


def sniff(start: bytes) -> str | None:
    """The container that begins with these bytes; None if it is not known."""
    if start[4:8] in MP4_BOXES:
        return None if start[8:12] in STILL_BRANDS else "mp4"
    if start.startswith(b"RIFF") and start[8:12] == b"AVI ":
        return "avi"
    for beginning, container in BEGINNINGS.items():
        if start.startswith(beginning):
            return container
    return "mpegts" if packet_of(start) else None


def packet_of(start: bytes) -> int | None:
    """Bytes per packet of a transport stream with this beginning; None for other files."""
    for before in (0, 4):  # .m2ts puts 4 bytes before each packet
        size = PACKET + before
        if len(start) > size + before and start[before] == SYNC == start[before + size]:
            return size
    return None


def is_text(start: bytes) -> bool:
    """Whether bytes read like text."""
    return all(byte in (9, 10, 13) or 32 <= byte < 127 for byte in start)

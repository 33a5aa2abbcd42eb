"""What a small file may ask for: limits on what is unpacked, so that it cannot fill memory."""

from __future__ import annotations

from pathlib import Path

from statecast.errors import FileError

UNPACKED = 1 << 28  # bytes; so much is unpacked whatever it was packed into
EXPANSION = 200  # beyond, at most so many times the packed bytes


def check_unpacked(path: Path, what: str, *, size: int, packed: int) -> None:
    """Raise `FileError` where a part of a file would unpack to far more than it takes there.

    Args:
        path: of the file, for the message.
        what: the part, for the message; empty where it is the whole file.
        size: bytes that it says it has.
        packed: bytes that it takes in the file.
    """
    if size > UNPACKED and size > EXPANSION * packed:
        named = f"{path}: {what}" if what else str(path)
        raise FileError(
            f"{named} would unpack {packed} bytes to {size}, more than {UNPACKED} bytes and "
            f"{EXPANSION} times as many. It is taken for a decompression bomb."
        )

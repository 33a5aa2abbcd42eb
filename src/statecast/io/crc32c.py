"""CRC-32C checksums, as in files of TensorFlow."""

from __future__ import annotations

import struct
from collections.abc import Callable
from functools import cache

POLYNOMIAL = 0x82F63B78  # CRC-32C (Castagnoli), bits reversed; RFC 3720
MASK_DELTA = 0xA282EAD8  # stored checksums are rotated, and this is added
CHECKSUM = struct.Struct("<I")


def masked(crc: int) -> int:
    """A checksum as TFRecord stores it."""
    return (((crc >> 15) | (crc << 17)) + MASK_DELTA) & 0xFFFFFFFF


def checksum() -> Callable[[bytes], int]:
    """The function for CRC-32C: google-crc32c if it is installed, else slower Python."""
    try:
        import google_crc32c
    except ImportError:
        return crc32c
    return lambda content: int(google_crc32c.value(content))


def crc32c(content: bytes) -> int:
    """CRC-32C of some bytes, one by one."""
    table = crc_table()
    crc = 0xFFFFFFFF
    for byte in content:
        crc = (crc >> 8) ^ table[(crc ^ byte) & 0xFF]
    return crc ^ 0xFFFFFFFF


@cache
def crc_table() -> tuple[int, ...]:
    """Remainder of each byte."""
    table = []
    for byte in range(256):
        crc = byte
        for _ in range(8):
            crc = (crc >> 1) ^ (POLYNOMIAL if crc & 1 else 0)
        table.append(crc)
    return tuple(table)

"""Messages of protocol buffers, field by field; https://protobuf.dev/programming-guides/encoding."""

from __future__ import annotations

from collections.abc import Iterator

VARINT, FIXED64, DELIMITED, FIXED32 = 0, 1, 2, 5  # wire types
FIXED_SIZES = {FIXED64: 8, FIXED32: 4}  # bytes
VARINT_BYTES = 10  # at most


def fields(message: memoryview) -> Iterator[tuple[int, int | memoryview]]:
    """Number and value of each field: an integer, or bytes if the field states a length.

    Errors:
        ValueError: it is not a message, or is cut off.
    """
    place = 0
    while place < len(message):
        key, place = varint(message, place)
        number, wire = key >> 3, key & 7
        if wire == VARINT:
            value, place = varint(message, place)
            yield number, value
            continue
        if wire == DELIMITED:
            length, place = varint(message, place)
        elif wire in FIXED_SIZES:
            length = FIXED_SIZES[wire]
        else:
            raise ValueError(f"a field has the unknown wire type {wire}")
        if place + length > len(message):
            raise ValueError("a field is longer than its message")
        content = message[place : place + length]
        yield number, content if wire == DELIMITED else int.from_bytes(content, "little")
        place += length


def contents(message: memoryview, wanted: int) -> Iterator[memoryview]:
    """Bytes of the fields of one number; errors as `fields`."""
    for number, value in fields(message):
        if number == wanted and isinstance(value, memoryview):
            yield value


def scalars(message: memoryview) -> dict[int, int]:
    """Integers of a message by field number; the last one counts. Errors as `fields`."""
    return {number: value for number, value in fields(message) if isinstance(value, int)}


def varint(message: memoryview, place: int) -> tuple[int, int]:
    """A number of variable length, and the place after it.

    Errors:
        ValueError: it is cut off.
    """
    value = 0
    for index in range(VARINT_BYTES):
        if place + index >= len(message):
            break
        byte = message[place + index]
        value |= (byte & 0x7F) << (7 * index)
        if byte < 0x80:
            return value, place + index + 1
    raise ValueError("a number is cut off")

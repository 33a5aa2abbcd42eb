"""NetCDF 3 files: whether they are complete.

The NetCDF library reads zeros where a file is cut off. Format: the NetCDF classic format
specification, https://docs.unidata.ucar.edu/nug/current/file_format_specifications.html.
"""

from __future__ import annotations

import math
from pathlib import Path
from typing import IO

from statecast.errors import CorruptionError

SIZES = {1: 1, 2: 1, 3: 2, 4: 4, 5: 4, 6: 8, 7: 1, 8: 2, 9: 4, 10: 8, 11: 8}  # bytes of types
STREAMING = -1  # stated number of records of a file that was not closed
MOST_DIMENSIONS = 1024


class Header:
    """The header of a classic file, read from its start.

    Args:
        stream: of the file.
        path: named in errors.

    Errors:
        CorruptionError: it is cut off.
    """

    def __init__(self, stream: IO[bytes], path: Path) -> None:
        self.stream, self.path = stream, path
        version = self.read(4)[3]
        self.count = 8 if version == 5 else 4  # bytes of a count
        self.offset = 4 if version == 1 else 8
        self.records = int.from_bytes(self.read(self.count), "big", signed=True)
        self.sizes = [self.dimension() for _ in range(self.listed())]
        self.attributes()
        self.variables = [self.variable() for _ in range(self.listed())]

    def read(self, size: int) -> bytes:
        """The next bytes."""
        found = self.stream.read(size)
        if len(found) < size:
            raise CorruptionError(f"{self.path} is cut off within its header. Download it again.")
        return found

    def integer(self, size: int) -> int:
        """The next integer, of `size` bytes."""
        return int.from_bytes(self.read(size), "big")

    def listed(self) -> int:
        """Number of elements of the list that begins here, after its tag."""
        self.read(4)
        return self.integer(self.count)

    def skip(self, size: int) -> None:
        """Skip bytes that are padded to a multiple of four."""
        self.stream.seek(padded(size), 1)

    def dimension(self) -> int:
        """Size of a dimension; 0 for the dimension of records."""
        self.skip(self.integer(self.count))
        return self.integer(self.count)

    def attributes(self) -> None:
        """Skip a list of attributes."""
        for _ in range(self.listed()):
            self.skip(self.integer(self.count))
            kind = self.integer(4)
            self.skip(SIZES.get(kind, 1) * self.integer(self.count))

    def variable(self) -> tuple[int, int, bool]:
        """Start of a variable's values, their bytes (of one record), and whether it has records."""
        self.skip(self.integer(self.count))
        ranks = min(self.integer(self.count), MOST_DIMENSIONS)
        numbers = [self.integer(self.count) for _ in range(ranks)]
        self.attributes()
        item = SIZES.get(self.integer(4), 1)
        self.integer(self.count)  # its size, which overflows for large ones
        begin = self.integer(self.offset)
        shape = [self.sizes[number] for number in numbers if number < len(self.sizes)]
        recorded = bool(shape) and shape[0] == 0
        return begin, item * math.prod(shape[1:] if recorded else shape), recorded

    @property
    def end(self) -> int:
        """Number of bytes that a complete file has at least."""
        each = [size for _, size, recorded in self.variables if recorded]
        record = each[0] if len(each) == 1 else sum(map(padded, each))
        before = record * (max(self.records, 1) - 1)
        ends = [
            begin + size + (before if recorded else 0)
            for begin, size, recorded in self.variables
            if not recorded or self.records > 0
        ]
        return max(ends, default=0)


def padded(size: int) -> int:
    """A number of bytes, rounded up to a multiple of four."""
    return -(-size // 4) * 4


def check_whole(path: Path) -> None:
    """Raise `CorruptionError` for a NetCDF 3 file that lacks some of its values."""
    size = path.stat().st_size
    with path.open("rb") as stream:
        header = Header(stream, path)
    if header.records != STREAMING and size < header.end:
        raise CorruptionError(
            f"{path} is cut off: it has {size:,} of {header.end:,} bytes. Download it again."
        )

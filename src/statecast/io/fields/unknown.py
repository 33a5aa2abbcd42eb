"""Which values of a field are unknown: those that its file declares, and default fill values."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

if TYPE_CHECKING:
    from xarray import DataArray

Array = np.ndarray[Any, np.dtype[Any]]

# Default fill values of NetCDF by type, from its user's guide; bytes have none.
FILLS = {
    "i2": -32767, "u2": 65535, "i4": -2147483647, "u4": 4294967295,
    "i8": -9223372036854775806, "u8": 18446744073709551614,
    "f4": 9.969209968386869e36, "f8": 9.969209968386869e36,
}  # fmt: skip
# Attributes outside the conventions that state a value for missing data.
NODATA = ("missing_value", "nodata", "no_data", "nodata_value", "fill_value", "fillvalue",
          "missing", "_fillvalue")  # fmt: skip
FEWEST = 0.005  # least share of the points with a suspect value
DISTINCT = 8  # least number of other values; a field with fewer may hold classes or a mask
APART = 2.0  # least distance of a suspect from all other values, over their range
APART_USUAL = 0.5  # the same for values that often mark missing data
USUAL = tuple(
    sign * value
    for value in (99.99, 999.0, 999.9, 9999.0, 9999.9, 99999.0, 999999.0, 32767.0, 32768.0,
                  1e10, 1e15, 1e20, 1e30, 1e33, 1e34, 1e35, 1e36, 1e37, 9.96921e36)
    for sign in (-1, 1)
)  # fmt: skip


class Unknown(NamedTuple):
    """Values that mark missing data, and the valid range of the others."""

    values: tuple[float, ...]
    low: float = -np.inf
    high: float = np.inf
    declared: tuple[str, ...] = ()  # what the file declares besides fill values, for people

    def masked(self, values: Array) -> Array:
        """Numbers as float32, NaN where unknown."""
        wide = values if values.dtype.kind == "f" else values.astype(np.float64)
        unknown = (wide < self.low) | (wide > self.high)
        for value in self.values:
            near = np.abs(wide - value) <= 1e-6 * abs(value) if np.isfinite(value) else False
            unknown |= near | (wide == value)
        return np.where(unknown, np.nan, wide).astype(np.float32)


def unknown_of(array: DataArray, missing: Sequence[float]) -> Unknown:
    """Unknown values of a variable, in the units in which xarray reads it.

    Args:
        array: decoded by xarray, which has masked `_FillValue` and `missing_value` already.
        missing: further values that mark missing data.
    """
    attributes, encoding = array.attrs, array.encoding
    stored = np.dtype(encoding.get("dtype") or array.dtype)
    packed = "scale_factor" in encoding or "add_offset" in encoding
    scale = float(encoding.get("scale_factor", 1.0))
    offset = float(encoding.get("add_offset", 0.0))
    unsigned = str(encoding.get("_Unsigned", "")).lower() == "true"

    def unpacked(value: Any) -> float:
        number = np.asarray(value)
        if packed and number.dtype.kind in "iu":  # floating-point values are not packed: CF 2.5
            if unsigned and number.dtype.kind == "i":
                number = number.view(f"u{number.dtype.itemsize}")
            return float(number) * scale + offset
        return float(number)

    values = list(missing)
    declared = encoding.get("_FillValue", encoding.get("missing_value")) is not None
    fill = FILLS.get(stored.str[1:])
    if fill is not None and (stored.kind == "f" or not declared):
        values.append(unpacked(np.asarray(fill, dtype=stored)) if packed else float(fill))
    said = []
    for name, value in attributes.items():
        stated = name == "flag_values" and packed  # such flags mark what could not be measured
        if stated or str(name).lower() in NODATA:
            numbers = [unpacked(number) for number in numbers_in(value)]
            values += numbers
            shown = ", ".join(f"{number:g}" for number in numbers)
            said += [f"{shown} is taken as unknown (attribute {name})"] if numbers else []
    low, high = bounds_of(attributes)
    margin = abs(scale) / 2 if packed else 0.0  # of rounding in unpacking
    ends = sorted(
        (-np.inf if low is None else unpacked(low), np.inf if high is None else unpacked(high))
    )
    if np.isfinite(ends).any():
        said.append(f"values outside {ends[0]:g} to {ends[1]:g} are unknown (valid range)")
    low, high = slack(ends[0], -1, margin), slack(ends[1], 1, margin)
    return Unknown(tuple(values), low, high, tuple(said))


def bounds_of(attributes: Mapping[Any, Any]) -> tuple[Any, Any]:
    """Ends of the valid range; None for an end that is not declared."""
    both = numbers_in(attributes.get("valid_range"))
    if len(both) == 2:
        return both[0], both[1]
    ends = [numbers_in(attributes.get(name)) for name in ("valid_min", "valid_max")]
    return (ends[0][0] if ends[0] else None), (ends[1][0] if ends[1] else None)


def slack(end: float, sign: int, margin: float) -> float:
    """An end moved outwards by the rounding error."""
    return end + sign * (margin + 1e-6 * abs(end)) if np.isfinite(end) else end


def numbers_in(value: Any) -> list[Any]:
    """Numbers of an attribute, which may be numbers or text; empty if it holds anything else."""
    if value is None:
        return []
    values = np.atleast_1d(np.asarray(value))
    if values.dtype.kind in "US" or values.dtype == object:
        try:
            return [float(text) for item in values for text in re.split(r"[\s,]+", str(item))]
        except ValueError:
            return []
    return list(values) if values.dtype.kind in "fiu" else []


def suspects(values: Array, usual: Sequence[float] = USUAL) -> list[float]:
    """Values that may mark missing data, because they lie far from all others.

    A value that often marks missing data needs one point; any other value must be an extreme that
    many points share.

    Args:
        values: of some frames, NaN where unknown.
        usual: values that often mark missing data.
    """
    known = np.sort(values[np.isfinite(values)], axis=None)
    slack = 1e-5 * np.abs(usual)
    starts, stops = np.searchsorted(known, usual - slack), np.searchsorted(known, usual + slack)
    there = [(value, a, b) for value, a, b in zip(usual, starts, stops, strict=True) if b > a]
    rest = np.delete(known, np.r_[tuple(slice(a, b) for _, a, b in there)] if there else [])
    found = [value for value, _, _ in there if lies_apart(value, rest, APART_USUAL)]
    for extreme in rest[[0, -1]].tolist() if rest.size else []:
        others = rest[rest != extreme]
        count = rest.size - others.size
        many = count >= max(4, FEWEST * rest.size) and len(np.unique(others)) >= DISTINCT
        if many and lies_apart(extreme, others, APART):
            found.append(extreme)
    return found


def lies_apart(value: float, others: Array, share: float) -> bool:
    """Whether a value lies outside sorted values, by more than a share of their range."""
    if others.size == 0 or others[0] <= value <= others[-1]:
        return False
    away = min(abs(float(others[0]) - value), abs(float(others[-1]) - value))
    return away > share * float(others[-1] - others[0])


def smallest_of(array: DataArray) -> list[float]:
    """The smallest number that a variable stored as integers can hold, as it is read."""
    encoding = array.encoding
    stored = np.dtype(encoding.get("dtype") or array.dtype)
    if stored.kind != "i":
        return []
    scale, offset = encoding.get("scale_factor", 1.0), encoding.get("add_offset", 0.0)
    return [float(np.iinfo(stored).min) * float(scale) + float(offset)]

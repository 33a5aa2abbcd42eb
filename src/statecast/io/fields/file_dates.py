"""Times from the names of files, for a series of files that hold one frame each."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import PurePath
from typing import Any

import numpy as np

from statecast.io.fields.written_dates import parsed

Array = np.ndarray[Any, np.dtype[Any]]

YEAR = r"(?<!\d)(?P<year>(?:19|20|21)\d\d)"
MONTH = r"(?P<month>0[1-9]|1[0-2])"
DAY = r"(?P<day>0[1-9]|[12]\d|3[01])"
DAY_OF_YEAR = r"(?P<ordinal>00[1-9]|0[1-9]\d|[12]\d\d|3[0-5]\d|36[0-6])"
# Two digits after a separator are not taken for an hour: they may be a tile or a version.
CLOCK = (
    r"(?:[-_.T]?(?P<clock>(?:[01]\d|2[0-3])[0-5]\d(?:[0-5]\d)?)"
    r"|[-_ T](?P<clock2>(?:[01]\d|2[0-3])[-_:][0-5]\d(?:[-_:][0-5]\d)?)"
    r"|T?(?P<clock3>[01]\d|2[0-3]))?"
)
ALONE_BEFORE, ALONE_AFTER = r"(?<!\d[-_.])", r"(?![-_.]?\d)"  # not part of a longer date
FORMS = tuple(
    re.compile(form)
    for form in (
        rf"{YEAR}(?P<mark>[-_.]?){MONTH}(?P=mark){DAY}{CLOCK}Z?(?!\d)",
        rf"{YEAR}[-_.]?{DAY_OF_YEAR}{CLOCK}Z?(?!\d)",
        rf"{ALONE_BEFORE}{YEAR}[-_.]?{MONTH}{ALONE_AFTER}",
        rf"(?<![A-Za-z]){ALONE_BEFORE}{YEAR}(?![A-Za-z]){ALONE_AFTER}",
    )
)  # the most exact first
MOST = 100_000  # numbers that count frames are smaller; larger ones may be dates, such as 311215
NAMED = re.compile(  # months and seasons in letters, which are not read
    r"(?<![a-z])(jan|feb|mar|apr|may|jun|jul|aug|sep|oct|nov|dec|djf|mam|jja|son)", re.IGNORECASE
)


def dates_in_names(names: Sequence[str]) -> Array | None:
    """The date in each name, if one way to read all names gives different dates.

    Forms are 20150103, 2015-01-03 and the like, with or without a time of day; 2015003 (the day
    of the year); 2015-01; and 2015. None if no form fits all names, or if two places in the names
    could be meant, such as the first and the last day of a span.
    """
    stems = [PurePath(name).stem for name in names]
    if any(NAMED.search(stem) for stem in stems):
        return None
    for form in FORMS:
        found = [list(form.finditer(stem)) for stem in stems]
        counts = {len(matches) for matches in found}
        if counts == {0}:
            continue
        if len(counts) > 1:
            return None
        read = [parsed([text_of(m) for m in place]) for place in zip(*found, strict=True)]
        several = [dates for dates in read if dates is None or len(np.unique(dates)) > 1]
        chosen = several if len(names) > 1 else read
        if len(chosen) == 1 and chosen[0] is not None:
            return chosen[0] if len(np.unique(chosen[0])) == len(names) else None
        if chosen:
            return None
    return None


def numbers_in_names(names: Sequence[str]) -> Array | None:
    """The number in each name, such as 7 in run_007, if the numbers count frames.

    None if names differ in anything else, if numbers are large enough for dates of another form,
    or if more than a tenth of an even count is missing.
    """
    parts = [re.split(r"(\d+)", PurePath(name).stem) for name in names]
    places = [set(place) for place in zip(*parts, strict=False)]
    varied = [number for number, texts in enumerate(places) if len(texts) > 1]
    if len({len(part) for part in parts}) > 1 or len(varied) != 1 or varied[0] % 2 == 0:
        return None
    found = np.array([float(part[varied[0]]) for part in parts])
    gaps = np.diff(np.unique(found))
    if len(gaps) != len(names) - 1 or found.max() >= MOST or (gaps % gaps.min()).any():
        return None
    return found if gaps.sum() / gaps.min() <= 1.1 * len(gaps) else None


def text_of(found: re.Match[str]) -> str:
    """A date in a name as ISO text."""
    parts = found.groupdict()
    clock = next((v for k, v in parts.items() if k.startswith("clock") and v), "")
    digits = re.sub(r"\D", "", clock)
    time = ":".join(digits[place : place + 2] for place in range(0, len(digits), 2))
    if parts.get("ordinal"):
        first = np.datetime64(parts["year"], "D")
        date = str(first + np.timedelta64(int(parts["ordinal"]) - 1, "D"))
    else:
        date = "-".join(v for k in ("year", "month", "day") if (v := parts.get(k)))
    return f"{date}T{time}" if time else date

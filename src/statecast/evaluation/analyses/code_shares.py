"""Completeness and disentanglement: which code holds which kind of truth."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import NamedTuple

LEAST = 0.05  # explained by all codes together; a smaller sum is taken for chance


class Shares(NamedTuple):
    """How well probes read a truth from each code, and whether it changes within a window."""

    moves: bool
    of_code: Mapping[str, float]  # explained share in [0, 1]: 0 as without the code, 1 exact


def concentration(shares: Sequence[float]) -> float:
    r"""How concentrated shares are: $1 - H_n(q)$ with $q_i = s_i / \sum_j s_j$.

    The base n of the entropy is the number of shares. The result is 1 if only one share is not 0,
    0 if all are equal, and NaN if they add up to less than `LEAST`.
    """
    whole = sum(shares)
    if not whole >= LEAST:
        return math.nan
    parts = [share / whole for share in shares if share > 0]
    return 1 + sum(part * math.log(part) for part in parts) / math.log(len(shares))


def completeness(truths: Mapping[str, Shares]) -> dict[str, float]:
    """For each truth, how far a single code holds all the information about it.

    Reference: Eastwood and Williams (2018), https://openreview.net/forum?id=By-7dz-AZ, with whole
    codes instead of single units.
    """
    return {name: concentration(list(shares.of_code.values())) for name, shares in truths.items()}


def disentanglement(truths: Mapping[str, Shares], codes: Sequence[str]) -> dict[str, float]:
    """For each code, how far it holds only truths that move, or only truths that stay constant.

    The share of a kind in a code is the mean over the truths of that kind. NaN if the data set
    knows truths of only one kind.
    """
    found = {}
    for code in codes:
        kinds = [
            [shares.of_code[code] for shares in truths.values() if shares.moves == moves]
            for moves in (True, False)
        ]
        means = [sum(kind) / len(kind) for kind in kinds if kind]
        found[code] = concentration(means) if len(means) == len(kinds) else math.nan
    return found

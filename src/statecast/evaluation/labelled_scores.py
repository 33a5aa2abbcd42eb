"""Scores as a labelled data set."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np

from statecast.errors import require
from statecast.metrics import METRICS
from statecast.metrics.base import Score

if TYPE_CHECKING:
    import xarray

WHOLE = "all"  # variables, regions and seasons together
Table = dict[str, dict[str, dict[str, Score]]]  # forecaster, metric, selection


def labelled_scores(
    whole: Table,
    parts: Mapping[str, Mapping[str, tuple[str, Table]]],
    lead_times: Sequence[float],
    unit: str,
) -> xarray.Dataset:
    """The data set of `Evaluation.to_xarray`, without its attributes.

    Args:
        whole: scores of all parts together.
        parts: units and scores of parts, by kind and name.
        lead_times: lead times of the scores, in frame intervals.
        unit: unit of the values that `whole` scores.

    Errors:
        MissingExtraError: xarray is not installed.
    """
    require("xarray", "fields", "export scores as a labelled data set")
    import xarray

    found = labelled(whole, lead_times)
    for number, (kind, of_kind) in enumerate(parts.items()):
        names = [WHOLE, *of_kind]
        others = {earlier: [WHOLE] for earlier in list(parts)[:number]}
        tables = [labelled(t, lead_times).expand_dims(others) for _, t in of_kind.values()]
        added = xarray.concat([found, *tables], dim=kind, join="outer", combine_attrs="override")
        found = added.assign_coords({kind: names})
        if kind == "variable":
            units = [unit, *(own for own, _ in of_kind.values())]
            found = found.assign_coords({"unit": (kind, units)})
    # An outer join sorts.
    return found.reindex({kind: [WHOLE, *of_kind] for kind, of_kind in parts.items()})


def labelled(table: Table, lead_times: Sequence[float]) -> xarray.Dataset:
    """Scores (forecaster, selection, lead_time) of each metric; NaN where missing."""
    import xarray

    names = list(table)
    metrics = list(dict.fromkeys(metric for name in names for metric in table[name]))
    ways = list(dict.fromkeys(w for name in names for m in metrics for w in table[name].get(m, {})))
    dims = ("forecaster", "selection", "lead_time")
    made = xarray.Dataset(
        coords={"forecaster": names, "selection": ways, "lead_time": list(lead_times)}
    )
    for metric in metrics:
        shape = (len(names), len(ways), len(lead_times))
        values, widths = np.full(shape, np.nan), np.full(shape, np.nan)
        for i, name in enumerate(names):
            for way, score in table[name].get(metric, {}).items():
                if len(score.per_lead_time) == shape[2]:
                    values[i, ways.index(way)] = score.per_lead_time.numpy()
                    if score.half_widths is not None:
                        widths[i, ways.index(way)] = score.half_widths.numpy()
        known = METRICS.get(metric)
        attributes = {"units": known.unit, "better": known.arrow()} if known else {}
        made[metric] = (dims, values, attributes)
        made[f"{metric}_half_width"] = (dims, widths, attributes)
    return made

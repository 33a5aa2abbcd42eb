"""Scores as a labelled data set."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import numpy as np

from statecast.errors import require
from statecast.evaluation.evaluation import WHOLE, Evaluation, Table
from statecast.metrics import METRICS

if TYPE_CHECKING:
    import xarray


def labelled_scores(found: Evaluation) -> xarray.Dataset:
    """See `Evaluation.to_xarray`.

    Errors:
        MissingExtraError: xarray is not installed.
    """
    require("xarray", "fields", "export scores as a labelled data set")
    import xarray

    whole = labelled(found.forecasters, found)
    for number, (kind, parts) in enumerate(found.parts.items()):
        names = [WHOLE, *parts]
        others = {earlier: [WHOLE] for earlier in list(found.parts)[:number]}
        tables = [labelled(p.forecasters, found).expand_dims(others) for p in parts.values()]
        added = xarray.concat([whole, *tables], dim=kind, join="outer", combine_attrs="override")
        whole = added.assign_coords({kind: names})
        units = [found.unit, *(part.unit for part in parts.values())]
        if kind == "variable":
            whole = whole.assign_coords({"unit": (kind, units)})
    # An outer join sorts.
    whole = whole.reindex({kind: [WHOLE, *parts] for kind, parts in found.parts.items()})
    protocol = json.dumps(found.protocol, ensure_ascii=False)
    return whole.assign_attrs(model=found.model, unit=found.unit, protocol=protocol)


def labelled(table: Table, found: Evaluation) -> xarray.Dataset:
    """Scores (forecaster, selection, lead_time) of each metric; NaN where there is none."""
    import xarray

    names = list(table)
    metrics = list(dict.fromkeys(metric for name in names for metric in table[name]))
    ways = list(dict.fromkeys(w for name in names for m in metrics for w in table[name].get(m, {})))
    dims = ("forecaster", "selection", "lead_time")
    made = xarray.Dataset(
        coords={"forecaster": names, "selection": ways, "lead_time": found.lead_times}
    )
    for metric in metrics:
        shape = (len(names), len(ways), len(found.lead_times))
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

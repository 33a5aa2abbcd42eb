"""ANALYSES: name -> what `evaluate` can find out about a model beyond scores of its forecasts."""

from __future__ import annotations

from typing import TYPE_CHECKING

from statecast.registry import Registry

if TYPE_CHECKING:
    from statecast.evaluation.analyses.base import Analysis

ANALYSES: Registry[Analysis] = Registry(
    "statecast.analyses",
    {
        "probes": "statecast.evaluation.analyses.linear_probes:Probes",
        "content_swap": "statecast.evaluation.analyses.content_swap:ContentSwap",
        "steps": "statecast.evaluation.analyses.solver_steps:Steps",
        "exact_answer": "statecast.evaluation.analyses.exact_answer:ExactAnswer",
    },
)

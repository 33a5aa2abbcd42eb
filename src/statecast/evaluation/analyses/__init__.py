"""ANALYSES: name -> what `evaluate` can find out about a model beyond scores of its forecasts."""

from statecast.evaluation.analyses.base import Analysis
from statecast.evaluation.analyses.content_swap import ContentSwap
from statecast.evaluation.analyses.linear_probes import Probes
from statecast.evaluation.analyses.solver_steps import Steps

ANALYSES: dict[str, type[Analysis]] = {
    "probes": Probes,
    "content_swap": ContentSwap,
    "steps": Steps,
}

__all__ = ["ANALYSES", "Analysis"]

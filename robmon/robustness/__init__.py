"""Numerics of robustness: noise, trials, bounds, curve, comparison, ranking. No I/O, no MLflow, no Prometheus.

Names resolve when they are first used, so that the specification can be had without NumPy.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from robmon.robustness.assessment import assess_rows
    from robmon.robustness.comparison import compare_rows
    from robmon.robustness.ranking import rank_scores
    from robmon.robustness.specification import Specification
    from robmon.robustness.statistics.bounds import request_bound, upper_bound
    from robmon.robustness.statistics.mean_bound import mean_upper_bound

_HOMES = {
    "Specification": "specification",
    "assess_rows": "assessment",
    "compare_rows": "comparison",
    "mean_upper_bound": "statistics.mean_bound",
    "rank_scores": "ranking",
    "request_bound": "statistics.bounds",
    "upper_bound": "statistics.bounds",
}
__all__ = [
    "Specification",
    "assess_rows",
    "compare_rows",
    "mean_upper_bound",
    "rank_scores",
    "request_bound",
    "upper_bound",
]


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_HOMES[name]}"), name)

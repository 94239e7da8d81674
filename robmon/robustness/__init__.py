"""Numerics of robustness: noise, trials, bounds, curve, comparison, ranking. No I/O, no MLflow, no Prometheus."""

from robmon.robustness.assessment import assess_rows
from robmon.robustness.bounds import request_bound, upper_bound
from robmon.robustness.comparison import compare_rows
from robmon.robustness.mean_bound import mean_upper_bound
from robmon.robustness.ranking import rank_scores

__all__ = ["assess_rows", "compare_rows", "mean_upper_bound", "rank_scores", "request_bound", "upper_bound"]

"""How many of some rows are beyond a limit that was itself estimated: the beta-binomial law, exactly."""

from __future__ import annotations

import math


def upper_tail(count: int, rows: int, a: float, b: float) -> float:
    """P(X >= count), where X of `rows` independent rows are beyond a limit, each with one probability that is itself
    drawn from Beta(a, b).

    The limit at the a-th largest of m calibration scores has a + b = m + 1 (Vovk, "Conditional validity of inductive
    conformal predictors", 2012). A binomial, which takes the probability for a / (m + 1), promises too much: of 512
    scores and 256 rows 8 would be beyond chance at 1 %, and are there in 1.8 % of the cases.

    >>> [round(upper_tail(count, 256, 5, 508), 4) for count in (8, 9)]
    [0.018, 0.0083]
    """
    if count <= 0:
        return 1.0
    log_beta = math.lgamma(a) + math.lgamma(b) - math.lgamma(a + b)
    terms = []
    for x in range(count, rows + 1):
        choose = math.lgamma(rows + 1) - math.lgamma(x + 1) - math.lgamma(rows - x + 1)
        terms.append(choose + math.lgamma(x + a) + math.lgamma(rows - x + b) - math.lgamma(rows + a + b) - log_beta)
    return min(math.fsum(math.exp(term) for term in terms), 1.0)

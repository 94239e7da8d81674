"""Names that several rooms share, and two formulas in whole numbers. Imports nothing of robmon, and nothing heavy."""

from __future__ import annotations

import math
from typing import Final, Literal, get_args

NoiseName = Literal[
    "gaussian", "uniform", "laplace", "student_t", "salt_and_pepper", "missing", "quantize", "multiplicative",
    "common_mode", "correlated",
]  # fmt: skip
NOISE_NAMES: Final[tuple[NoiseName, ...]] = get_args(NoiseName)
"""The noise models that robmon brings."""
LARGEST_LEVELS: Final[dict[str, float]] = {"salt_and_pepper": 1.0, "missing": 1.0}
"""The largest level that has a meaning, of noises whose levels are shares of the cells; others have none."""
PLANNED_SHARE: Final = 0.8
"""Share of a time budget that is planned for: one measured batch is an estimate."""
GUARD: Final = 1e-9
"""What floating point may add to a whole number: 10 * 0.9 must need rank 9, 0.3 = 0.1 * 3 of 9 trials rank 3."""


def order_statistic_rank(count: int, confidence: float) -> int:
    """The rank `k = ceil((count + 1) * confidence)`, at least 1, guarded against floating point.

    Above `count` where so few draws do not bound a further one.

    >>> order_statistic_rank(19, 0.95), order_statistic_rank(9, 0.9), order_statistic_rank(18, 0.95)
    (19, 9, 19)
    """
    return max(1, math.ceil((count + 1) * confidence - GUARD))


def fewest_trials(confidence: float) -> int:
    """The smallest number of trials of which an order statistic bounds a further one with this confidence.

    >>> fewest_trials(0.95), fewest_trials(0.99), fewest_trials(0.9999)
    (19, 99, 9999)
    """
    return max(1, math.ceil((confidence - GUARD) / (1.0 - confidence)))

"""What others do with the same streams, for `detection.py`: fixed thresholds, river's detectors, an e-process."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tests.benchmarks._streams import THRESHOLD, Factors, Float64

RATIO_THRESHOLDS = (1.25, 1.5)


class RatioAlarms:
    """Episodes in which an assessment's mean error is above a fixed multiple of the baseline's mean."""

    def __init__(self, baseline_means: Float64) -> None:
        self.means = baseline_means
        self.episodes = np.zeros((len(RATIO_THRESHOLDS), len(baseline_means)), dtype=np.int64)
        self._above = np.zeros(self.episodes.shape, dtype=bool)

    def take(self, errors: Float64) -> None:
        """Mean errors of one assessment, the first of each stream's copies."""
        ratio = errors[: len(self.means)] / self.means
        above = np.array([ratio > threshold for threshold in RATIO_THRESHOLDS])
        self.episodes += above & ~self._above
        self._above = above


def river_alarms(errors: Float64) -> dict[str, int] | None:
    """Alarms of river's detectors on the assessments' mean errors, defaults; None where river is not installed."""
    try:
        from river import drift  # type: ignore[import-not-found, unused-ignore]
    except ImportError:
        return None
    makers: dict[str, Callable[[], Any]] = {
        "ADWIN": drift.ADWIN,
        "PageHinkley": drift.PageHinkley,
        "KSWIN": lambda: drift.KSWIN(seed=0),
    }
    found = {}
    for name, make in makers.items():
        detector, alarms = make(), 0
        for value in errors.tolist():
            detector.update(value)
            alarms += bool(detector.drift_detected)
        found[name] = alarms
    return found


def e_process_delay(
    factors: Factors, limits: Float64, before: NDArray[np.int64], after: NDArray[np.int64], changed: Float64, at: int
) -> float:
    """Assessments from a change until an e-process that was never restarted reaches the threshold; infinite if never.

    Args:
        factors: of unchanged and changed assessments alike, at the levels `at` and `changed`.
        limits: shape `(1, statistics)`.
        before, after: pool's assessments before and after the change.
        changed: level index after it.
        at: level index before it.
    """
    places = factors.places(np.repeat(limits, len(before) + len(after), axis=0))
    levels = np.concatenate([np.full(len(before), at), np.full(len(after), int(changed))])
    logs = factors.look_up(factors.above, places, levels, np.concatenate([before, after]))
    wealth = np.cumsum(logs, axis=0)
    most = wealth.max(axis=(1, 2), keepdims=True)
    mean = np.log(np.exp(wealth - most).mean(axis=(1, 2))) + most[:, 0, 0]
    reached = np.flatnonzero(mean[len(before) :] >= np.log(THRESHOLD))
    return float(reached[0] + 1) if len(reached) else float("inf")

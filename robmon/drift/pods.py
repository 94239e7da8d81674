"""The evidence of several pods of one version as one: what a rule over their metrics computes, and why it may."""

from __future__ import annotations

from collections.abc import Iterable

from robmon.errors import InvalidInputError


def pooled_evidence(evidence: Iterable[float], most_pods: int) -> float:
    """Combine the evidence of several pods: its sum over the largest number of pods, to be compared with one pod's
    threshold.

    Each pod's M has `M - t` as a supermartingale (`robmon.drift.evidence`), so while the number of pods n stays the
    same the mean of M over them is an e-detector of its own: one budget of false alarms for all of them, where the
    largest of n would need n times the threshold. It stays one while pods come and go if the sum is divided by the
    largest number so far: a pod that comes raises nothing, and the evidence of one that went counts as 0. Divided by
    the number of those left it would not: it could not be ruled out that those left are the ones with large evidence.

    Little is lost, because evidence grows by factors: from 4 pods to 40 it has to grow 10 times as far, which for a
    change that is detected within minutes takes minutes more. An alarm that stands is held until the pods that raised
    it have cleared (`RegressionDetector.standing`), so new pods do not dilute it; until then each goes on to 1e12.

    Args:
        evidence: of the pods that answer now, each at least 0.
        most_pods: the largest number of pods at once since the version came, at least as many as answer.

    Raises:
        InvalidInputError: `most_pods` is smaller than that, or 0.

    >>> pooled_evidence([86400.0, 0.0, 0.0, 0.0], most_pods=4), pooled_evidence([86400.0], most_pods=4)
    (21600.0, 21600.0)
    """
    every = list(evidence)
    if most_pods < max(len(every), 1):
        raise InvalidInputError(f"{len(every)} pods answer, so there were at least as many, not {most_pods}")
    return sum(every) / most_pods

"""The evidence of several pods of one version as one: what a rule over their metrics computes, and why it may."""

from __future__ import annotations

from collections.abc import Iterable

from robmon.errors import InvalidInputError


def pooled_evidence(evidence: Iterable[float], most_pods: int) -> float:
    """The sum of the pods' evidence over the largest number of pods there was: compared with the threshold of one.

    Each pod's M has `M - t` as a supermartingale (`robmon.drift.evidence`), so while the number of pods n stays the
    same the mean of M over them is an e-detector of its own: one budget of false alarms for all of them, where the
    largest of n would need n times the threshold. It stays one while pods come and go if the sum is divided by the
    largest number so far: a pod that comes raises nothing, and the evidence of one that went counts as 0. Divided by
    those that are left it would not: that those are left whose evidence is large could not be ruled out.

    What is lost is small, because evidence grows by factors: from 4 pods to 40 it has to grow 10 times as far, which a
    change that is seen within minutes does within another. An alarm that stands is held until the pods that raised it
    cleared (`RegressionDetector.standing`), so that pods that come dilute none; until then each goes on to 1e12.

    Args:
        evidence: of the pods that answer now, each at least 0.
        most_pods: the largest number at once since the version came, at least as many as answer.

    Raises:
        InvalidInputError: it is smaller, or there is none.

    >>> pooled_evidence([86400.0, 0.0, 0.0, 0.0], most_pods=4), pooled_evidence([86400.0], most_pods=4)
    (21600.0, 21600.0)
    """
    every = list(evidence)
    if most_pods < max(len(every), 1):
        raise InvalidInputError(f"{len(every)} pods answer, so there were at least as many, not {most_pods}")
    return sum(every) / most_pods

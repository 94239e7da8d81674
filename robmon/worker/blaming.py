"""Why a version is worse than its reference was on the baseline's rows: the model, or the traffic."""

from __future__ import annotations

import math

import numpy as np

from robmon.drift.blame import Blame, Cause, Ratio, blame_in_order
from robmon.history.verdict import Causes, Part
from robmon.processes.messages.comparison import ComparisonTerms
from robmon.robustness.arrays import Float64


def causes(comparison: ComparisonTerms, old: Float64, new: Float64) -> Causes | None:
    """Take the change apart, traffic first.

    The verdict's row errors are in units of their own, those of the baseline in the outputs', so the baseline's mean is
    brought to the former by the reference's ratio to it, which has no unit.

    Args:
        comparison: with the reference.
        old, new: shape `(requests,)`, row errors of the reference and of this version at the highest level, on the same
            rows under the same noise, as the verdict counts them.

    Returns:
        None where the reference has no error, so that nothing is a multiple of it.
    """
    if not np.all(np.isfinite(new)):
        return Causes(cause="model")
    if not np.all(np.isfinite(old)) or not old.mean() > 0 or not new.mean() > 0:
        return None
    ratio, relative = comparison.traffic_ratio, comparison.traffic_stderr
    if ratio is None or relative is None or not 0 < ratio < math.inf:
        alone = blame_in_order(float(old.mean()), 0.0, old, new)
        return Causes(model=_part(alone.model_ratio), cause=alone.cause)
    mean = float(old.mean()) / ratio
    found = blame_in_order(mean, mean * relative, old, new)
    return Causes(
        model=_part(found.model_ratio, found, "model"),
        traffic=_part(found.traffic_ratio, found, "traffic"),
        cause=found.cause,
    )


def _part(ratio: Ratio | None, found: Blame | None = None, cause: Cause = "model") -> Part | None:
    if ratio is None:
        return None
    share = None if found is None else found.share(cause)
    value, stderr = (None, None) if share is None else share
    return Part(ratio=ratio.value, log_stderr=ratio.log_stderr, share=value, share_stderr=stderr)

"""Unusual rows of the sample, as they are sent to the daemon: numbers, and of which requests they are, never a row."""

from __future__ import annotations

import numpy as np

from robmon.history.baseline.baseline import Baseline
from robmon.models.served.watched import watched
from robmon.processes.messages.findings import NoveltyFound
from robmon.processes.messages.question import Assess
from robmon.worker.decoding import DecodedSample, first_rows


def find_unusual(baseline: Baseline, question: Assess, sample: DecodedSample) -> NoveltyFound | None:
    """What is unusual about the fresh rows of the sample, one a request; None where that is not asked for, or the
    baseline is being learnt or from before it was known."""
    if question.novelty_alpha is None or not baseline.is_settled or baseline.novelty is None:
        return None
    alone = first_rows(np.array(sample.origins))
    inputs = sample.inputs.take(alone)
    requests = [sample.origins[row] for row in alone]
    rows = baseline.rows_of(inputs.array, watched(inputs, baseline.axis_of(inputs.array.shape), baseline.salt))
    fresh = np.array([not question.requests[request].topped_up for request in requests], dtype=np.bool_)
    found = baseline.novelty.compare(rows, fresh, question.novelty_alpha)
    return NoveltyFound(
        rows=found.rows,
        ratio=found.novel_ratio,
        pvalue=found.pvalue,
        near_duplicates=found.near_duplicate_rows,
        equal_rows=found.equal_rows,
        novel_requests=[requests[row] for row in found.novel] if found.pvalue is not None else [],
        near_requests=[requests[row] for row in found.near_duplicates or ()],
    )

"""By which numbers are computed again away from production: what was asked, about which requests, and what came of it.

Nothing is held here that nobody else holds: requests are those that are kept for the next verdict.
"""

from __future__ import annotations

import hashlib
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace

from robmon.daemon.results.publication import Finding
from robmon.history.standing import VersionState
from robmon.inputs.sample import Item
from robmon.processes.messages.assessed import Assessed
from robmon.processes.messages.model import ModelVersion
from robmon.processes.messages.question import Assess


@dataclass(frozen=True)
class Evidence:
    """One assessment, with the one that it was compared with."""

    model: ModelVersion
    question: Assess
    items: Sequence[Item] | None
    """The requests; None where they are held no longer."""
    result: Assessed
    at: float
    """Unix time."""
    row_errors_sha256: str
    """Digest of what the worker kept of it."""
    against: Evidence | None = None
    """The reference's, on the same requests; None where no version was compared."""

    @classmethod
    def of(cls, model: ModelVersion, finding: Finding, blob: bytes, against: Evidence | None = None) -> Evidence | None:
        """Of what was found of that version; None where it is not known what was asked."""
        if finding.question is None:
            return None
        digest = hashlib.sha256(blob).hexdigest()
        return cls(model, finding.question, finding.items, finding.result, time.time(), digest, against)

    def held_by(self, items: Sequence[Item]) -> Evidence:
        """With its requests only where those are the ones that are kept anyway: two samples would take twice the
        memory."""
        return self if self.items is None or self.items is items else replace(self, items=None, against=None)


def evidence_after(before: Evidence | None, fresh: Evidence | None, state: VersionState) -> Evidence | None:
    """Of two assessments the one that is told: that of a verdict as long as the regression stands that it found."""
    verdict, regression = before and before.result.verdict, state.regression
    stands = before and verdict and verdict.worse and regression and before.model.version == regression.version
    return before if stands else fresh or before

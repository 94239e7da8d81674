"""One question put to one model: what every step of its evaluation is given."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from typing import Final

from robmon.models.served.served import ServedModel
from robmon.processes.messages.every_process import Rejections
from robmon.processes.messages.question import Assess
from robmon.robustness.specification import Specification
from robmon.vocabulary import OutputKind

ATTRIBUTION_SHARE: Final = 0.3
"""Of the budget: 8 groups of 256 rows take 0.4 of what 39 trials at 5 levels do."""


class Phases(dict[str, float]):
    """Seconds spent in each phase."""

    @contextmanager
    def __call__(self, name: str) -> Iterator[None]:
        """Time the body under this name."""
        start = time.perf_counter()
        yield
        self[name] = self.get(name, 0.0) + time.perf_counter() - start


@dataclass(frozen=True)
class Evaluation:
    """A question, the model that it is put to, and the time that there is.

    Attributes:
        model: the loaded version.
        question: what is asked.
        blobs: bodies of the question's requests, then whatever else comes with it.
        began: when the time began to run, by `time.perf_counter`.
        max_seconds: the budget.
        min_usable_rows: fewest rows of the requests that the model must take; what is assessed needs `min_rows`.
        attributes: whether the noise error is to be shared out between features too.
        rejections: takes what of the requests cannot be used, also where no result comes of the others.
        phases: takes the time that each phase needs.
    """

    model: ServedModel
    question: Assess
    blobs: Sequence[bytes]
    began: float
    max_seconds: float
    min_usable_rows: int
    attributes: bool = False
    rejections: Rejections = field(default_factory=Rejections)
    phases: Phases = field(default_factory=Phases)

    @property
    def deadline(self) -> float:
        """When the time is up, by `time.perf_counter`."""
        return self.began + self.max_seconds

    @property
    def is_endpoint(self) -> bool:
        """Whether the model is asked where it is served."""
        return self.model.access is not None

    @property
    def label_seconds(self) -> float:
        """The share of the budget that is for the labelled rows."""
        question = self.question
        labelled = len(question.labelled) if len(question.labelled) >= question.min_rows else 0
        return self.max_seconds * labelled / (len(question.requests) + labelled)

    @property
    def attribution_seconds(self) -> float:
        """The share of the budget that is for an attribution which is known to come."""
        return ATTRIBUTION_SHARE * self.max_seconds if self.attributes else 0.0

    def of_further(self, specification: Specification) -> Evaluation:
        """The evaluation of the same rows under another noise, in the time that is left: it follows no plan."""
        now = time.perf_counter()
        alone = {"specification": specification, "labelled": [], "plan": None, "comparison": None, "detection": None}
        question = self.question.model_copy(update=alone)
        return replace(self, question=question, began=now, max_seconds=max(self.deadline - now, 0.0), attributes=False)

    def of_labels(self, output: OutputKind) -> Evaluation:
        """The evaluation of the labelled requests, in the time that is left; of what the outputs are known to be.

        They are compared with no version, and follow no plan. One row will do, since whether labels fit is told of the
        first ones too.
        """
        question, now = self.question, time.perf_counter()
        labelled = question.model_copy(
            update={
                "requests": question.labelled,
                "labelled": [],
                "specification": replace(question.specification, output=output),
                "plan": None,
                "comparison": None,
            }
        )
        blobs = self.blobs[len(question.requests) :]
        return Evaluation(self.model, labelled, blobs, now, max(self.deadline - now, 0.0), min_usable_rows=1)

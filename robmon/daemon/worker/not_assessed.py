"""Why there was no assessment: it was skipped, or failed, by what the worker answered or how it ended. No I/O."""

from __future__ import annotations

from robmon.errors import RobmonError
from robmon.processes.messages.any_message import AnyMessage
from robmon.processes.messages.every_process import Failure, Rejections
from robmon.processes.messages.question import Assess
from robmon.processes.supervisor import ChildDiedError
from robmon.vocabulary import OUTCOMES, Outcome


class NotAssessedError(RobmonError):
    """An assessment was skipped or failed.

    Attributes:
        outcome: `skipped` or `failed`.
        reason: one of the reasons of that outcome.
        rejections: what of the sample turned out to be of no use.
        served_version: version as which the endpoint answered, where that is another than the one assessed.
    """

    def __init__(
        self,
        outcome: Outcome,
        reason: str,
        message: str = "",
        rejections: Rejections | None = None,
        served_version: str | None = None,
    ) -> None:
        self.outcome = outcome
        self.rejections = rejections or Rejections()
        self.served_version = served_version
        self.reason = reason if reason in OUTCOMES[outcome] else "error"
        super().__init__(message or reason)


class LoadFailedError(RobmonError):
    """A model version could not be loaded.

    Attributes:
        reason: a short word for counters.
    """

    def __init__(self, reason: str, message: str) -> None:
        self.reason = reason
        super().__init__(message)


def not_assessed(answer: AnyMessage, rejections: Rejections | None = None) -> NotAssessedError:
    """What an answer comes to that is not the one asked for."""
    reason, message = reason_of(answer)
    outcome: Outcome = "skipped" if reason in OUTCOMES["skipped"] else "failed"
    served_version = answer.served_version if isinstance(answer, Failure) else None
    return NotAssessedError(outcome, reason, message, rejections, served_version)


def died(error: ChildDiedError, question: Assess | None = None) -> NotAssessedError:
    """What the end of a worker comes to; the requests of a question that may have caused it are of no use any more."""
    why = "out_of_memory" if error.reason == "memory" else error.reason
    return NotAssessedError("failed", why, str(error), Rejections(unusable=_suspects(question)))


def not_ready(error: LoadFailedError | None, message: str) -> NotAssessedError:
    """What it comes to that no version could be loaded."""
    is_full = error is not None and error.reason == "device_full"
    return NotAssessedError("skipped", "device_full" if is_full else "model_not_ready", message)


def reason_of(answer: AnyMessage) -> tuple[str, str]:
    """Reason and sentence of an answer that is not the one asked for; words of model code are not in it."""
    if not isinstance(answer, Failure):
        return "error", "the worker's answer does not fit the question"
    return answer.reason, answer.sentence


def _suspects(question: Assess | None) -> list[int]:
    """Requests that may have ended the worker, so that they do not do it again: foreign code reads Parquet."""
    return [
        index
        for index, request in enumerate(question.requests if question is not None else ())
        if "parquet" in request.headers.get("content-type", "").lower()
    ]

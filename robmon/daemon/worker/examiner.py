"""Asks the worker to assess the version that it has loaded: on the sample as it is now, or on rows that were kept."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import structlog

from robmon import clock
from robmon.daemon.memory.recorded_baselines import RecordedBaselines
from robmon.daemon.memory.regression_watch import RegressionWatch
from robmon.daemon.memory.verdict_memory import VerdictMemory
from robmon.daemon.memory.writer import Writer
from robmon.daemon.results.evidence import Evidence
from robmon.daemon.results.kept import Kept
from robmon.daemon.results.publication import Finding, notes_of_age
from robmon.daemon.worker.host import ModelHost
from robmon.daemon.worker.not_assessed import NotAssessedError
from robmon.daemon.worker.question import assessment_question, assessment_seed, comparison_question
from robmon.history.numbers import NUMBERS_RESERVED, Numbers
from robmon.history.store import History
from robmon.inputs.labels import Labels
from robmon.inputs.sample import Item, Sample
from robmon.processes.messages.every_process import Rejections
from robmon.processes.messages.model import ModelVersion
from robmon.processes.messages.question import AttributionQuestion
from robmon.settings import Settings

log = structlog.get_logger("robmon.assess")


class Examiner:
    """Numbers assessments, and tells the sample what the worker found of its requests."""

    def __init__(
        self,
        settings: Settings,
        host: ModelHost,
        sample: Sample,
        labels: Labels,
        baselines: RecordedBaselines,
        history: History,
        writer: Writer,
        memory: VerdictMemory,
        watch: RegressionWatch,
    ) -> None:
        self._settings = settings
        self._host = host
        self._sample = sample
        self._labels = labels
        self._baselines = baselines
        self._history = history
        self._writer = writer
        self._memory = memory
        self._watch = watch
        self._numbers = Numbers(self._reserve_numbers)
        self._numbers.prepare()

    async def assess_sample(
        self,
        model: ModelVersion,
        answers_since: float | None,
        attribution: AttributionQuestion | None = None,
        *,
        with_old: bool = False,
        further: int | None = None,
    ) -> tuple[Finding, Kept]:
        """What is found of the loaded version on the sample as it is now, and what can be kept of that.

        Args:
            model: the version loaded.
            answers_since: since when it has been served, by the clock that never steps; None where it is not served
                now, so that neither answers nor labels are its own.
            attribution: what is asked of its features; None: nothing.
            with_old: whether requests that are kept for a verdict alone are used.
            further: place of the further noise that is run too if there is time; None: none is.

        Raises:
            NotAssessedError: whatever went wrong.
        """
        now = clock.now()
        items = self._sample.snapshot(now, with_old=with_old)
        if self._sample.shrunk:
            log.warning("sample shrunk to fit inputs.sample_bytes", requests=len(items), of=self._sample.full_capacity)
        await self._baselines.read(model)
        number = self._numbers.next()
        seed = assessment_seed(model.name, model.version, number)
        is_served = answers_since is not None
        baseline = self._baselines.of(model.version)
        asked = None
        if is_served:
            asked = self._watch.ask(model, baseline, self._memory.entries, items, self._baselines.of)
        labelled = self._labels.labelled(items, self._sample.full_capacity, now)
        question, blobs = assessment_question(
            self._settings,
            items,
            number=number,
            seed=seed,
            baseline=baseline,
            has_answer=_answers(answers_since),
            labelled=labelled,
            asked=asked,
        )
        question.attribution = attribution
        question.further = None if further is None else self._settings.further_specifications[further]
        try:
            result, blob = await self._host.assess(question, blobs)
        except NotAssessedError as error:
            self._reject(items, error.rejections)
            self._learn_rows(items, error.rejections)
            raise
        self._reject(items, result.rejections)
        with self._writer.together(self._history.together):  # else a kill between would count a row of a file twice
            if asked is not None:
                self._watch.take(asked, result)
            self._sample.turn_over(now)
        self._learn_rows(items, result.rejections)
        self._labels.keep(items, now)
        finding = Finding.of(question, items, result)
        if answers_since is not None:
            unfit = ((labelled[index], question.labelled[index].target or "") for index in result.unfit_labels)
            self._labels.drop_unfit((item, target.encode()) for item, target in unfit)
        return finding, Kept.of(model.version, items, seed, result, blob, Evidence.of(model, finding, blob))

    async def assess_against(
        self, model: ModelVersion, kept: Kept, answers_since: float | None, attribution: AttributionQuestion
    ) -> tuple[Finding, Evidence | None]:
        """What is found of the loaded version on the sample, seed and scale of another, compared with it.

        Raises:
            NotAssessedError: whatever went wrong.
        """
        question, blobs = comparison_question(
            self._settings,
            kept,
            number=self._numbers.next(),
            baseline=self._baselines.of(model.version),
            has_answer=_answers(answers_since),
        )
        question.attribution = attribution
        result, blob = await self._host.assess(question, blobs)
        result.notes += notes_of_age(kept.items)
        finding = Finding.of(question, kept.items, result)
        return finding, Evidence.of(model, finding, blob, against=kept.evidence)

    def _reject(self, items: Sequence[Item], rejections: Rejections) -> None:
        self._sample.discard(items[index] for index in rejections.unusable)

    def _learn_rows(self, items: Sequence[Item], rejections: Rejections) -> None:
        if rejections.rows:
            self._sample.learn(rejections.rows, len(items) - len(rejections.unusable))

    def _reserve_numbers(self) -> None:
        self._writer.write(
            lambda: self._history.reserve_numbers(NUMBERS_RESERVED), place="numbers", done=self._numbers.add
        )


def _answers(since: float | None) -> Callable[[Item], bool]:
    """Whether what was served for a request since then is the version's, and has not been compared yet."""
    return lambda item: since is not None and item.received_at >= since and not item.feedback.answer_compared

"""What is told of assessments: words of the log, counters, and the history on disk.

What lasts is told when it begins and when it ends.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

import structlog

from robmon.daemon.decisions.pending import BEFORE_INPUTS, TOO_FEW_INPUTS_ADVICE
from robmon.daemon.journal.chronicle import Chronicle
from robmon.daemon.results.publication import Finding, finite, summary
from robmon.export.metrics import Metrics
from robmon.export.published import View
from robmon.history.memory import Entry
from robmon.history.verdict import Verdict
from robmon.processes.messages.curve import FurtherNoise
from robmon.processes.messages.findings import CanaryResult, ServedResult, SharesResult
from robmon.processes.messages.model import ModelVersion

log = structlog.get_logger("robmon.assess")

MISMATCH_RATIO: Final = 0.05
"""Share of served answers above which they are said to differ, as in the alert."""


class Journal:
    """Remembers what it has told last.

    Args:
        chronicle: writes the history.
        metrics: has the counters.
    """

    def __init__(self, chronicle: Chronicle, metrics: Metrics) -> None:
        self._chronicle = chronicle
        self._metrics = metrics
        self._lacks_inputs = False
        self._served_differ = False
        self._notes: list[str] = []
        self._missed: dict[str, str] = {}
        self._canary: tuple[str, CanaryResult | None] | None = None
        self._shares: list[tuple[object, ...]] = []

    # --- how assessments end -----------------------------------------------------------------------------------------

    def tell_result(self, model: ModelVersion, finding: Finding) -> None:
        """A good one. Its notes are told when they change: most assessments have those of the one before."""
        result, facts = finding.result, summary(model, finding)
        for phase, seconds in result.phase_seconds.items():
            self._metrics.duration.labels(phase).observe(seconds)
        for point in result.levels:
            self._metrics.nonfinite_outputs.labels(f"{point.level:g}").inc(point.nonfinite_outputs)
        self._metrics.out_of_memory_retries.inc(result.out_of_memory_retries)
        log.info("assessment", outcome="ok", reason="none", **facts)
        if result.notes and result.notes != self._notes:
            log.info("notes", version=model.version, notes=result.notes)
        self._notes = result.notes
        if result.further is not None:
            self._tell_further(model, result.further)
        self._chronicle.tell_assessment(model, finding)

    def _tell_further(self, model: ModelVersion, found: FurtherNoise) -> None:
        """A further noise; that it was not run, when that is new."""
        if found.levels:
            worst = found.levels[-1]
            facts = {"noise_level": worst.level, "mse": finite(worst.mean_mse), "bound": finite(worst.bound)}
            facts |= {"rows": found.rows, "trials": found.trials, "index": found.index, "cut": found.cut or None}
            log.info("further noise", version=model.version, noise=found.noise, **facts)
        elif self._missed.get(found.noise) != found.reason:
            log.warning("further noise not run", noise=found.noise, reason=found.reason, because=found.why)
        self._missed[found.noise] = found.reason

    def tell_no_result(self, outcome: str, reason: str, problem: str, seconds: float) -> None:
        """One that came to nothing. Too few inputs are told by `tell_end`."""
        if reason != "too_few_inputs":
            tell = log.info if reason == "version_changed" else log.warning  # the next one is of that version
            tell("assessment", outcome=outcome, reason=reason, error=problem, seconds=round(seconds, 3))

    def tell_error(self, error: Exception) -> None:
        """One that ended in an exception that is none of robmon's: its type alone, for the text may hold an input."""
        log.error("assessment", outcome="failed", reason="error", error=type(error).__name__)

    def tell_end(self, outcome: str, reason: str, problem: str, rows: int) -> None:
        """Any: it is counted, and whether there are enough inputs; without traffic, every assessment lacks them."""
        self._metrics.assessments.labels(outcome, reason).inc()
        self._chronicle.tell_outcome(outcome, reason, problem)
        if reason == "too_few_inputs":
            if not self._lacks_inputs:
                log.info("too few inputs", error=problem, advice=TOO_FEW_INPUTS_ADVICE)
            self._lacks_inputs = True
        elif reason not in ("invalid_input", *BEFORE_INPUTS):
            if self._lacks_inputs:
                log.info("enough inputs again", rows=rows)
            self._lacks_inputs = False

    def tell_causes(self, version: str, view: View) -> None:
        """What the canary says, and which features carry the noise error, when either is another than before."""
        canary, told = view.canary, (version, view.canary)
        if canary is not None and told != self._canary:
            if canary.is_changed:
                log.error(
                    "outputs of the same version changed",
                    version=version, ratio=_rounded(canary.ratio), rows=canary.rows, notes=canary.notes or None,
                )  # fmt: skip
            elif canary.ratio is None:
                log.info("no synthetic canary", version=version, because=canary.reason)
            else:
                log.info("synthetic canary unchanged", version=version, rows=canary.rows, notes=canary.notes or None)
            self._canary = told
        known = [each for each in (view.shares, view.alert_shares) if each is not None]
        now: list[tuple[object, ...]] = [(version, each.is_now, tuple(each.share), each.reason) for each in known]
        for name, each in zip(now, known, strict=True):
            if name not in self._shares:
                log.info("noise error shared out", version=version, **_share_facts(each))
        self._shares = now

    def tell_served(self, served: ServedResult | None) -> None:
        """Whether served answers differ from the version's own; None where none were compared."""
        differ = served is not None and served.mismatched > MISMATCH_RATIO * served.compared
        if served is not None and differ != self._served_differ:
            tell, what = (log.warning, "differ from") if differ else (log.info, "agree with")
            tell(f"served answers {what} this version's", compared=served.compared, mismatched=served.mismatched)
        self._served_differ = differ

    # --- what becomes of versions ------------------------------------------------------------------------------------

    def tell_acceptance(self, entry: Entry) -> None:
        """Log that the very first version was accepted."""
        why = "there is none to compare it with"
        log.warning("version accepted", version=entry.version, because=why, note="accepted unseen")

    def tell_other_run(self, entry: Entry) -> None:
        """Log that what was remembered is not about the version that has its number now."""
        log.warning("earlier verdict ignored: it is of another run", version=entry.version, run_id=entry.run_id)

    def tell_no_reference(self, version: str, reason: str, error: Exception) -> None:
        """Log that the version to compare with cannot be assessed."""
        self._metrics.model_failures.labels("reference", reason).inc()
        log.warning("reference version not assessed", version=version, reason=reason, error=str(error))

    def tell_no_verdict(self, version: str, reference: str, why: str) -> None:
        """Log that two versions could not be compared."""
        self._metrics.model_failures.labels("comparison", "not_comparable").inc()
        log.warning("versions not comparable", version=version, reference_version=reference, why=why)

    def tell_verdict(self, version: str, verdict: Verdict) -> None:
        """The verdict on a version, in full."""
        tell = log.warning if verdict.worse else log.info
        tell(
            "robustness regressed" if verdict.worse else "robustness held",
            version=version,
            reference_version=verdict.reference_version,
            pooled_ratio=_rounded(verdict.pooled_ratio),
            pooled_low=_rounded(verdict.pooled_low),
            pooled_high=_rounded(verdict.pooled_high),
            score=verdict.score,
            compared=verdict.why,
            ratio_by_level=[_rounded(ratio) for ratio in verdict.ratio],
            disagreement=_rounded(verdict.disagreement),
            agreement_of_reference=_listed(verdict.agreement_a),
            agreement=_listed(verdict.agreement_b),
            on_flips=verdict.flip_note or None,
            pvalue=float(f"{verdict.pvalue:.3g}"),
            smallest_ratio_found=_rounded(verdict.detectable_ratio),
            cause=verdict.causes.cause if verdict.causes is not None else None,
        )


def _share_facts(shares: SharesResult) -> dict[str, Any]:
    if shares.reason:
        return {"because": shares.reason}
    share = {name: _rounded(value) for name, value in zip(shares.groups, shares.share, strict=True)}
    facts = {"level": shares.level, "share": share, "of": "now" if shares.is_now else "baseline"}
    if shares.rise_share is not None:
        rise = zip(shares.groups, shares.rise_share, strict=True)
        facts["share_of_rise"] = {name: _rounded(value) for name, value in rise}
    return facts | {"largest": shares.largest, "cut": shares.cut or None}


def _rounded(value: float | None) -> float | str | None:
    return None if value is None else finite(round(value, 4))


def _listed(values: Sequence[float] | None) -> list[float | str | None] | None:
    return None if values is None else [_rounded(value) for value in values]

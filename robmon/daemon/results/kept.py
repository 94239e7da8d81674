"""An assessment that another version can be compared with."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from robmon.daemon.results.evidence import Evidence
from robmon.inputs.sample import Item
from robmon.processes.messages.assessed import Assessed
from robmon.processes.messages.comparison import ComparisonTerms, KeptClasses, KeptCurve
from robmon.processes.messages.question import Plan
from robmon.vocabulary import ComparisonScore


@dataclass(frozen=True)
class Kept:
    """What is kept of an assessment: its rows, its noise, and what the worker needs of its results."""

    version: str
    items: Sequence[Item]
    seed: int
    plan: Plan
    output: str
    blob: bytes
    """What the worker kept of it."""
    classes: KeptClasses | None
    clean_variance: list[float]
    nonfinite_rows: list[int]
    draws: str
    mean_error: float
    """Mean row error at the highest level."""
    is_usable: bool
    """Whether its outputs, under noise too, were numbers, and not all the same: else nothing can be compared."""
    traffic_ratio: float | None = None
    """Mean MSE at the highest level over its baseline's, where that has settled."""
    traffic_stderr: float | None = None
    """Standard error of the baseline's mean, as a share of it."""
    curves: Mapping[ComparisonScore, KeptCurve] = field(default_factory=dict)
    """The curve in the units of each verdict there may be, by its score."""
    output_names: list[str] = field(default_factory=list)
    """Of the parts of its outputs that stand side by side, in their order."""
    evidence: Evidence | None = None
    """By which its numbers are computed again."""

    @classmethod
    def of(
        cls,
        version: str,
        items: Sequence[Item],
        seed: int,
        result: Assessed,
        blob: bytes,
        evidence: Evidence | None = None,
    ) -> Kept:
        """What is kept of that result of `items`, requests of one sample."""
        return cls(
            version=version,
            items=items,
            seed=seed,
            plan=result.plan,
            output=result.output,
            blob=blob,
            classes=result.kept_classes,
            clean_variance=result.clean_variance,
            output_names=result.output_names,
            nonfinite_rows=result.nonfinite_rows,
            draws=result.draws,
            curves=result.kept_curves,
            mean_error=result.levels[-1].mean_mse,
            is_usable=result.is_reference,
            traffic_ratio=result.levels[-1].baseline_ratio,
            traffic_stderr=result.levels[-1].baseline_stderr,
            evidence=evidence,
        )

    def comparison(self, alpha: float, tolerance: float) -> ComparisonTerms:
        """How another version is compared with it."""
        return ComparisonTerms(
            version=self.version,
            alpha=alpha,
            tolerance=tolerance,
            output=self.output,
            clean_variance=self.clean_variance,
            output_names=self.output_names,
            origins=self.plan.origins,
            nonfinite_rows=self.nonfinite_rows,
            classes=self.classes,
            curves=dict(self.curves),
            draws=self.draws,
            traffic_ratio=self.traffic_ratio,
            traffic_stderr=self.traffic_stderr,
        )

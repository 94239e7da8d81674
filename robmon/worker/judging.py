"""The verdict on a version: what is kept of its reference's assessment, and what comes of the comparison with it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray

from robmon.errors import InvalidInputError
from robmon.history.verdict import Causes, JudgedCurves, Verdict
from robmon.processes.messages.comparison import ComparisonTerms, KeptClasses, NotCompared
from robmon.report.comparison import basis
from robmon.robustness.arrays import Float64
from robmon.robustness.classifiers import (
    ClassifierRows,
    TemperedRows,
    classifier_rows,
    compare_classifiers,
    is_classifier,
)
from robmon.robustness.comparison import Comparison, comparable, compare_rows
from robmon.robustness.embedding_comparison import TripletRows, compare_embeddings, triplet_rows
from robmon.robustness.result import Assessment
from robmon.robustness.statistics.clusters import cluster_means
from robmon.worker.blaming import causes
from robmon.worker.judged_curves import judged_curves

ROW_ERRORS_DTYPE = "<f8"
CLASSES_DTYPE = "<i8"


class Kept(NamedTuple):
    """What an assessment leaves for a comparison with it.

    Attributes:
        blob: of values their row errors, shape `(requests, levels)`, over twice the output variance; of classes, by
            request, flips at each level above 0, then, where there is a common confidence, errors at each and the top
            probability; behind them the code of each row's class; of embeddings, by request, changed triplets at each
            level above 0, then the share of ties. Float64 and int64, little endian.
        classes: what else there is to say of a classifier.
        is_usable: whether anything can be compared with it: its outputs, under noise too, were finite, and not all the
            same.
    """

    blob: bytes
    classes: KeptClasses | None
    is_usable: bool


def keep(result: Assessment) -> Kept:
    """What is kept of an assessment, of the rows that have a finite clean output."""
    rows = result.counted
    varies = bool(np.any(result.clean_variance > 0))
    if result.embedding is not None:
        return _keep_triplets(result, rows)
    if not is_classifier(result):
        errors = cluster_means(result.normalised_row_errors[rows], result.clusters[rows])
        is_usable = varies and bool(np.isfinite(errors[:, 1:]).any())
        return Kept(errors.astype(ROW_ERRORS_DTYPE).tobytes(), None, is_usable)
    own = classifier_rows(result, rows)
    numbers, tempered = own.flips, own.tempered
    if tempered is not None:
        numbers = np.hstack([numbers, tempered.errors, tempered.top[:, None]])
    blob = numbers.astype(ROW_ERRORS_DTYPE).tobytes() + own.classes.astype(CLASSES_DTYPE).tobytes()
    classes = KeptClasses(
        levels=own.flips.shape[1],
        class_means=None if own.class_means is None else own.class_means.tolist(),
        exponent=None if tempered is None else tempered.exponent,
        is_own=tempered is not None and tempered.is_own,
        sensitivity=[] if tempered is None else tempered.sensitivity.tolist(),
        reason=own.reason,
    )
    return Kept(blob, classes, varies and bool(np.isfinite(own.flips).any()))


def _keep_triplets(result: Assessment, rows: NDArray[np.bool_]) -> Kept:
    try:
        own = triplet_rows(result, rows)
    except InvalidInputError:
        return Kept(b"", None, is_usable=False)
    blob = np.hstack([own.flips, own.ties[:, None]]).astype(ROW_ERRORS_DTYPE).tobytes()
    return Kept(blob, None, is_usable=own.has_order and bool(np.isfinite(own.flips).any()))


class Reference(NamedTuple):
    """The reference version's part of a comparison, on the rows that are assessed now.

    Attributes:
        comparison: the question.
        errors: of values, shape `(requests, levels)`, level 0 included.
        classes: of a classifier.
        triplets: of embeddings.
        rows: shape `(rows,)`, which rows have a finite clean output in the reference.
    """

    comparison: ComparisonTerms
    errors: Float64
    classes: ClassifierRows | None
    rows: NDArray[np.bool_]
    triplets: TripletRows | None = None

    @property
    def compare_at(self) -> float | Literal["own"]:
        """What a classifier is brought to."""
        tempered = None if self.classes is None else self.classes.tempered
        return "own" if tempered is None else tempered.confidence()


def reference_of(comparison: ComparisonTerms, blob: bytes, rows: int) -> Reference:
    """Read what was kept of the reference, as far as so many of its rows are assessed."""
    finite = np.ones(len(comparison.origins), dtype=np.bool_)
    finite[comparison.nonfinite_rows] = False
    origins = np.asarray(comparison.origins)
    all_requests, requests = (len(np.unique(each)) for each in (origins[finite], origins[:rows][finite[:rows]]))
    kept = comparison.classes
    if kept is None:
        errors = np.frombuffer(blob, ROW_ERRORS_DTYPE).reshape(all_requests, -1)[:requests]
        if comparison.output == "embedding":
            triplets = TripletRows(errors[:, :-1], errors[:, -1])
            return Reference(comparison, np.empty((0, 0)), None, finite[:rows], triplets)
        return Reference(comparison, errors, None, finite[:rows])
    columns = kept.levels if kept.exponent is None else 2 * kept.levels + 1
    size = 8 * all_requests * columns
    numbers = np.frombuffer(blob[:size], ROW_ERRORS_DTYPE).reshape(all_requests, columns)
    tempered = None
    if kept.exponent is not None:
        errors, top = numbers[:, kept.levels : -1], numbers[:, -1]
        tempered = TemperedRows(kept.exponent, kept.is_own, errors, top, np.array(kept.sensitivity))
    own = ClassifierRows(
        classes=np.frombuffer(blob[size:], CLASSES_DTYPE),
        flips=numbers[:, : kept.levels],
        class_means=None if kept.class_means is None else np.array(kept.class_means),
        tempered=tempered,
        reason=kept.reason,
    )
    return Reference(comparison, np.empty((0, 0)), own.first(requests, int(finite[:rows].sum())), finite[:rows])


def judge(
    reference: Reference, result: Assessment, origins: Sequence[int], output_names: Sequence[str] = ()
) -> Verdict | NotCompared:
    """The version against its reference, request by request; or why no verdict can be taken.

    Each output is judged in the reference's units of the output at its place, which must be the same one: parts that
    are named alike stand in one order.

    Rows are left out only where the reference's clean output is not finite: where this version's is not, it is worse.
    """
    comparison = reference.comparison
    against = f"version {comparison.version}"
    if list(origins) != comparison.origins[: len(origins)]:
        return NotCompared(reason="failed", why=f"other requests of the sample can be used than by {against}")
    if len(np.unique(np.asarray(origins)[reference.rows])) < 2:
        return NotCompared(reason="too_few_rows", why="there are fewer than 2 rows to compare")
    is_known = bool(result.finite.any())
    if is_known and not np.any(result.clean_variance > 0):
        return NotCompared(
            reason="failed",
            why=f"its outputs do not vary any more, whatever the inputs, which those of {against} do",
        )
    known_names = comparison.output_names
    is_placed = reference.triplets is None
    if is_placed and sorted(output_names) == sorted(known_names) and list(output_names) != known_names:
        return NotCompared(
            reason="other_units",
            why=f"it returns {', '.join(output_names)}, and {against} {', '.join(known_names)}: the same outputs in "
            "another order. Register it with that order",
        )
    if reference.triplets is not None:
        compared = _compare_triplets(reference, reference.triplets, result)
    elif reference.classes is None:
        compared = _compare_values(reference, result)
    else:
        compared = _compare_classes(reference, reference.classes, result)
    if isinstance(compared, NotCompared):
        return compared
    old, new = _errors(reference, result, compared)
    curves = judged_curves(comparison, result, compared, old, new)
    return _verdict(comparison, compared, causes(comparison, old[:, -1], new[:, -1]), curves)


def _errors(reference: Reference, result: Assessment, compared: Comparison) -> tuple[Float64, Float64]:
    """Errors of both by request, shape `(requests, levels)`, as the verdict counts them."""
    if reference.triplets is not None:
        own_triplets = triplet_rows(result, reference.rows)
        return reference.triplets.flips, own_triplets.against(reference.triplets)
    if reference.classes is None:
        rows, noisy = reference.rows, _noisy(result)
        errors = cluster_means(np.asarray(result.comparison_row_errors)[rows], result.clusters[rows])
        return reference.errors[:, noisy], errors[:, noisy]
    own = classifier_rows(result, reference.rows)
    both = [reference.classes, own]
    if compared.score == "probability":
        old, new = (each.tempered.errors for each in both if each.tempered is not None)
    else:
        old, new = (each.flips for each in both)
    return old, new


def _noisy(result: Assessment) -> list[int]:
    """Where the levels above 0 are."""
    return [index for index, level in enumerate(result.levels) if level > 0]


def _compare_values(reference: Reference, result: Assessment) -> Comparison | NotCompared:
    comparison = reference.comparison
    if result.comparison_row_errors is None or result.output != comparison.output:
        return NotCompared(
            reason="other_units", why=f"its outputs have another form than those of version {comparison.version}"
        )
    if not comparable(np.array(comparison.clean_variance), _units(comparison, result)):
        return NotCompared(
            reason="other_units",
            why=f"the variance of its outputs differs by more than 10 times from that of version {comparison.version}, "
            "as in other units",
        )
    b = cluster_means(result.comparison_row_errors[reference.rows], result.clusters[reference.rows])
    noisy = _noisy(result)
    return compare_rows(
        reference.errors[:, noisy],
        b[:, noisy],
        levels=[result.levels[index] for index in noisy],
        alpha=comparison.alpha,
        tolerance=comparison.tolerance,
    )


def _compare_triplets(reference: Reference, a: TripletRows, result: Assessment) -> Comparison | NotCompared:
    comparison = reference.comparison
    if result.embedding is None:
        return NotCompared(reason="other_units", why="its outputs are no embeddings")
    levels = [level for level in result.levels if level > 0]
    try:
        b = triplet_rows(result, reference.rows)
        return compare_embeddings(a, b, levels, alpha=comparison.alpha, tolerance=comparison.tolerance)
    except InvalidInputError as error:
        return NotCompared(reason="too_few_rows", why=str(error))


def _compare_classes(reference: Reference, a: ClassifierRows, result: Assessment) -> Comparison | NotCompared:
    comparison = reference.comparison
    if not is_classifier(result):
        return NotCompared(reason="other_units", why="its outputs are no classes")
    b = classifier_rows(result, reference.rows)
    if result.finite.any() and b.has_one_class and not a.has_one_class:
        return NotCompared(
            reason="failed",
            why=f"it gives every row the same class, where version {comparison.version} gives several",
        )
    levels = [level for level in result.levels if level > 0]
    try:
        return compare_classifiers(a, b, levels, alpha=comparison.alpha, tolerance=comparison.tolerance)
    except InvalidInputError as error:
        return NotCompared(reason="other_units", why=str(error))


def _units(comparison: ComparisonTerms, result: Assessment) -> Float64:
    """The clean variances by which units are told; an output that is never finite is broken, not in other units."""
    is_known = np.isfinite(result.clean_outputs).any(axis=0)
    return np.where(is_known, result.clean_variance, np.array(comparison.clean_variance))


def _verdict(
    comparison: ComparisonTerms, compared: Comparison, causes: Causes | None, curves: JudgedCurves | None
) -> Verdict:
    return Verdict(
        reference_version=comparison.version,
        worse=compared.worse,
        pvalue=compared.pvalue,
        levels=compared.levels.tolist(),
        ratio=compared.ratio.tolist(),
        ratio_low=compared.ratio_low.tolist(),
        ratio_high=compared.ratio_high.tolist(),
        detectable_ratio=compared.detectable_ratio,
        pooled_ratio=compared.pooled_ratio,
        pooled_low=compared.pooled_low,
        pooled_high=compared.pooled_high,
        confidence=compared.confidence,
        score=compared.score,
        why=basis(compared),
        exponents=compared.exponents,
        reason=compared.reason,
        disagreement=compared.disagreement,
        flip_ratio=_listed(compared.flip_ratio),
        agreement_a=_listed(compared.agreement_a),
        agreement_b=_listed(compared.agreement_b),
        causes=causes,
        curves=curves,
        flip_note=compared.flip_note,
    )


def _listed(values: Float64 | None) -> list[Any] | None:
    return None if values is None else values.tolist()

"""Unusual rows: farther out than the baseline's, or nearer to one another than the baseline's ever were.

How far out a row is, is a distance in standardised features, rare categories among them, whose meaning comes from rows
of the baseline that had no part in fitting it: their scores turn a new one into a p-value (split conformal: Vovk,
Gammerman & Shafer 2005; Bates et al., Ann. Statist. 51, 2023). One row beyond 1 % says nothing, some row of 256 nearly
always is: what is tested is how many there are, by their exact law, in which the calibration's own chance has its part.
It holds where rows are exchangeable with the baseline's, so drift is seen too. What is seen is unusual, no more: small
adversarial noise moves a row hardly farther out than it was, and is not seen.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from robmon.drift import novel_categories
from robmon.drift.beta_binomial import upper_tail
from robmon.drift.columns import column_of
from robmon.drift.features import array_columns, plain
from robmon.drift.names import Names
from robmon.drift.nearest import NearestPairs
from robmon.drift.novel_rows import NovelRows, novel_rows
from robmon.errors import InvalidInputError
from robmon.robustness.arrays import Float64
from robmon.robustness.false_matches import pair_distances
from robmon.robustness.features.moments import CoMoments, Moments

FIT_ROWS: Final = 256
"""Of a baseline, which say what features are like; scores are compared with those of other rows."""
MOST_SCORES: Final = 4096
MOST_CORRELATED: Final = 32
"""Columns of numbers up to which the distance takes their correlation into account."""
OWN_SHARE: Final = 0.9
"""Of the correlation that was measured; the rest is none at all, so that it can be inverted."""
FARTHEST: Final = 1e6
"""Standard deviations beyond which a number is as far out as it can be."""
ROUNDING: Final = 1e-6
"""Of a distance: those that differ by less are one, as between sensors with ties."""
MOST_COMPARED: Final = 1024
"""Rows among which pairs are looked for at once."""

Mask = NDArray[np.bool_]


@dataclass(frozen=True)
class Novelty:
    """What is unusual about some rows.

    Attributes:
        rows: so many were judged, those that are fresh.
        novel: indices of those that are farther out than all but a share `alpha` of the baseline's.
        pvalue: of so many different ones, if all rows were as the baseline's: at most alpha with a probability of at
            most alpha, whatever alpha. None where too few of the baseline's rows are known.
        near_duplicates: indices of those nearer to another row than the baseline's ever were; None likewise.
        equal_rows: those with the same content as another row, which are counted apart: no near-duplicates, and novel
            but once.
    """

    rows: int
    novel: tuple[int, ...] = ()
    pvalue: float | None = None
    near_duplicates: tuple[int, ...] | None = None
    equal_rows: int = 0

    @property
    def novel_ratio(self) -> float | None:
        """The share of the rows that are novel; None where nothing is known of it."""
        return len(self.novel) / self.rows if self.pvalue is not None and self.rows else None

    @property
    def near_duplicate_rows(self) -> int | None:
        """How many rows are near-duplicates; None where nothing is known of them."""
        return None if self.near_duplicates is None else len(self.near_duplicates)


@dataclass(frozen=True, eq=False)
class NoveltyReference:
    """What is usual, learnt from a baseline's rows as they come; holds no row.

    Attributes:
        names: the columns of numbers that are compared; None before the first rows.
        fitted: how many rows the moments are of, `FIT_ROWS` at most.
        moments: of the columns.
        products: for their correlation; None where there are none, or more than `MOST_CORRELATED`.
        categories: of the same rows, the counts of each column of names.
        scores: of the rows after them, rising, `MOST_SCORES` at most.
        pairs: the smallest distances among those.
    """

    names: tuple[str, ...] | None
    fitted: int
    moments: Moments
    products: CoMoments | None
    scores: Float64
    pairs: NearestPairs
    categories: Mapping[str, Names] = field(default_factory=dict)

    @classmethod
    def none(cls) -> NoveltyReference:
        """A reference that has learnt nothing yet."""
        return cls(None, 0, Moments.of_columns(0), None, np.empty(0), NearestPairs.none())

    def added(self, rows: NovelRows) -> NoveltyReference:
        """With these rows too, none of which was there before; those that come together are taken in a drawn order,
        for a file is often sorted."""
        known = self if self.names is not None else _of_columns(rows)
        order = np.random.default_rng(known.fitted + len(known.scores)).permutation(rows.rows)
        rows = rows.aligned(known.names or ()).take(order)
        fits = min(FIT_ROWS - known.fitted, rows.rows)
        if fits > 0:
            known = known._fitted_on(rows.take(slice(fits)))
        rest = rows.take(slice(fits, fits + MOST_SCORES - len(known.scores)))
        return known._calibrated_on(rest) if rest.rows else known

    def _fitted_on(self, rows: NovelRows) -> NoveltyReference:
        moments, products = Moments.from_dict(self.moments.to_dict()), self.products
        moments.update(rows.numbers)
        if products is not None:
            products = CoMoments.from_dict(products.to_dict())
            products.update(rows.numbers)
        categories, fitted = novel_categories.counted(self.categories, rows), self.fitted + rows.rows
        return replace(self, fitted=fitted, moments=moments, products=products, categories=categories)

    def _calibrated_on(self, rows: NovelRows) -> NoveltyReference:
        standard = self._standardised(rows)
        pairs = self.pairs
        for start in range(0, rows.rows, MOST_COMPARED):
            part = np.arange(start, min(start + MOST_COMPARED, rows.rows))
            different = part[_first_of_each(rows.take(part).contents())]
            pairs = pairs.added(_distances(rows, standard, different))
        return replace(self, scores=np.sort(np.concatenate([self.scores, self._scores(rows, standard)])), pairs=pairs)

    def compare(self, rows: NovelRows, fresh: Mask | None = None, alpha: float = 0.01) -> Novelty:
        """What is unusual about these rows.

        Args:
            rows: current ones, each of a request of its own.
            fresh: which of them are judged, shape `(n,)`; the others were judged before, and are there to be compared
                with. None: all.
            alpha: the share of the baseline's rows that lie beyond what is novel.
        """
        fresh = np.ones(rows.rows, dtype=np.bool_) if fresh is None else fresh
        if self.names is None or not len(self.scores):
            return Novelty(int(fresh.sum()))
        rows = rows.aligned(self.names)
        standard, contents = self._standardised(rows), rows.contents()
        # Those judged before come first, so that a fresh one that is the same is the repeat.
        order = np.argsort(fresh, kind="stable")
        different = order[_first_of_each([contents[row] for row in order])]
        is_first = np.zeros(rows.rows, dtype=np.bool_)
        is_first[different] = True
        count, rank = int(fresh.sum()), round_down(alpha * (len(self.scores) + 1))
        novel, pvalue = np.zeros(rows.rows, dtype=np.bool_), None
        if rank >= 1 and count:
            novel = fresh & (self._scores(rows, standard) > self.scores[-rank])
            distinct = len({contents[row] for row in np.flatnonzero(novel)})
            pvalue = upper_tail(distinct, count, rank, len(self.scores) + 1 - rank)
        return Novelty(
            rows=count,
            novel=tuple(np.flatnonzero(novel).tolist()),
            pvalue=pvalue,
            near_duplicates=self._near(rows, standard, different, fresh),
            equal_rows=int((fresh & ~is_first).sum()),
        )

    def _near(
        self, rows: NovelRows, standard: Float64, different: NDArray[np.intp], fresh: Mask
    ) -> tuple[int, ...] | None:
        """Fresh rows that are nearer to another one than chance brings any, of rows no two of which are the same."""
        compared = different[-MOST_COMPARED:]
        new = int(fresh[compared].sum())
        threshold = self.pairs.threshold(new * (new - 1) // 2 + new * (len(compared) - new))
        if threshold is None:
            return None
        one, other = (compared[index] for index in np.triu_indices(len(compared), 1))
        counts = fresh[one] | fresh[other]
        near = counts & (_distances(rows, standard, compared) < threshold * (1 - ROUNDING))
        found = np.union1d(one[near], other[near])
        return tuple(found[fresh[found]].tolist())

    def _standardised(self, rows: NovelRows) -> Float64:
        """Numbers in standard deviations from their mean; of one that never varied its size stands for them, and one
        that is missing is at the mean."""
        mean, deviation = self.moments.mean, np.sqrt(self.moments.variance)
        size = np.where(mean == 0.0, 1.0, np.abs(mean))
        with np.errstate(over="ignore"):
            standard = (rows.numbers - mean) / np.where(deviation > 0, deviation, size)
        return np.asarray(np.clip(np.where(np.isnan(standard), 0.0, standard), -FARTHEST, FARTHEST))

    def _scores(self, rows: NovelRows, standard: Float64) -> Float64:
        """How far out each row is, rounded so that the same row has the same score among others."""
        numbers = standard
        if self.products is not None:
            values, vectors = np.linalg.eigh(self.products.correlation)
            numbers = (standard @ vectors) / np.sqrt(OWN_SHARE * np.maximum(values, 0.0) + (1 - OWN_SHARE))
        squares = np.square(numbers)
        if self.categories:
            squares = np.concatenate([squares, novel_categories.squares(self.categories, rows)], axis=1)
        means = squares.mean(axis=1) if squares.shape[1] else np.zeros(rows.rows)
        return np.sqrt(np.maximum(means, 0.0)).astype(np.float32).astype(np.float64)

    def to_dict(self) -> dict[str, Any]:
        """JSON-able; holds no row of inputs."""
        return {
            "names": None if self.names is None else list(self.names),
            "fitted": self.fitted,
            "moments": self.moments.to_dict(),
            "products": None if self.products is None else self.products.to_dict(),
            "scores": self.scores.tolist(),
            "pairs": self.pairs.to_dict(),
            "categories": {name: each.to_dict() for name, each in self.categories.items()},
        }

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> NoveltyReference:
        """Inverse of `to_dict`.

        Raises:
            InvalidInputError: it is no such dictionary.
        """
        try:
            names = None if data["names"] is None else tuple(map(str, data["names"]))
            products = None if data["products"] is None else CoMoments.from_dict(data["products"])
            moments, pairs = Moments.from_dict(data["moments"]), NearestPairs.from_dict(data["pairs"])
            scores = np.array(data["scores"], dtype=np.float64).reshape(-1)
            counts = data.get("categories", {})  # none in a baseline from before they were part of it
            categories = {str(name): Names.from_dict(each) for name, each in counts.items()}
            found = cls(names, int(data["fitted"]), moments, products, scores, pairs, categories)
        except (KeyError, TypeError, ValueError, AttributeError, OverflowError):
            raise InvalidInputError("what a baseline knows of unusual rows is damaged: record it again") from None
        if not found._is_whole():
            raise InvalidInputError("what a baseline knows of unusual rows is damaged: record it again")
        return found

    def _is_whole(self) -> bool:
        columns, moments, products = len(self.names or ()), self.moments, self.products
        parts: list[tuple[Float64, tuple[int, ...]]] = [
            (each, (columns,)) for each in (moments.count, moments.mean, moments.squares)
        ]
        if products is not None:
            parts += [(products.mean, (columns,)), (products.products, (columns, columns))]
        parts.append((self.scores, self.scores.shape))
        are_finite = all(part.shape == shape and np.all(np.isfinite(part)) for part, shape in parts)
        return are_finite and bool(np.all(np.diff(self.scores) >= 0))


def novelty(baseline_inputs: Any, current_inputs: Any, alpha: float = 0.01) -> Novelty:
    """What is unusual about current inputs, beside those of a baseline.

    Of the baseline's rows 256 fit the distance and the others calibrate it: at least 355 are needed for the p-value at
    an alpha of 1 %.

    Args:
        baseline_inputs: an array `(n, *input_shape)`, or a DataFrame.
        current_inputs: likewise `(m, *input_shape)`; of a DataFrame the same columns.
        alpha: the share of the baseline's rows that lie beyond what is novel.

    Raises:
        InvalidInputError: alpha is no share, the inputs are no rows, or of other shapes.

    >>> r = np.random.default_rng(0)
    >>> baseline, usual = r.normal(size=(1000, 5)), r.normal(size=(250, 5))
    >>> round(novelty(baseline, usual).pvalue, 2)
    0.87
    >>> found = novelty(baseline, np.concatenate([usual, r.normal(3, 1, (10, 5)), usual[:4] + 1e-3, usual[:2]]))
    >>> found.pvalue < 1e-3, found.near_duplicate_rows, found.equal_rows
    (True, 8, 2)
    """
    if isinstance(alpha, bool) or not isinstance(alpha, (int, float)) or not 0 < alpha < 1:
        raise InvalidInputError(f"alpha must be a number between 0 and 1, not {alpha!r}")
    before, now = _rows_of(baseline_inputs), _rows_of(current_inputs)
    if before.names != now.names:
        raise InvalidInputError("baseline and current inputs must have the same columns of numbers")
    return NoveltyReference.none().added(before).compare(now, alpha=float(alpha))


def round_down(number: float) -> int:
    """The largest integer below it, or it itself but for rounding.

    >>> round_down(0.01 * 300), round_down(2.99)
    (3, 2)
    """
    return int(np.floor(number * (1 + 1e-12)))


def _rows_of(inputs: Any) -> NovelRows:
    if hasattr(inputs, "columns"):
        columns = {str(name): column_of(inputs[name]) for name in inputs.columns}
        return novel_rows(columns, np.empty((len(inputs), 0)), is_table=True)
    array = plain(inputs)
    is_table = array.ndim <= 2
    names = [f"input[{index}]" for index in range(array.shape[1] if array.ndim == 2 else 1)]
    return novel_rows(array_columns(array, names) if is_table else {}, array, is_table=is_table)


def _of_columns(rows: NovelRows) -> NoveltyReference:
    """A reference of nothing yet that compares columns of numbers, but for those that name rows."""
    names = tuple(name for name in rows.names if name not in rows.identifiers)
    products = CoMoments.of_columns(len(names)) if 1 <= len(names) <= MOST_CORRELATED else None
    moments, categories = Moments.of_columns(len(names)), novel_categories.no_categories(rows)
    return replace(NoveltyReference.none(), names=names, moments=moments, products=products, categories=categories)


def _first_of_each(contents: list[bytes]) -> NDArray[np.intp]:
    """The places of rows that are the first with their content."""
    seen: set[bytes] = set()
    first = [place for place, content in enumerate(contents) if not (content in seen or seen.add(content))]  # type: ignore[func-returns-value]
    return np.array(first, dtype=np.intp)


def _distances(rows: NovelRows, standard: Float64, some: NDArray[np.intp]) -> Float64:
    """Distances of all pairs of some rows; a category, or a cell that one of two lacks, counts 1 where they differ."""
    if len(some) < 2:
        return np.empty(0)
    one, other = np.triu_indices(len(some), 1)
    apart = rows.take(some).differing(one, other)
    numbers = pair_distances(standard[some], "l2") if standard.shape[1] else np.zeros(len(one))
    return np.asarray(np.sqrt(np.square(numbers) + apart))

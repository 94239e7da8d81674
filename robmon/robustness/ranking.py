"""Which model is best under noise? Ranks by clean score and by score under noise, and where one overtakes another."""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from robmon.errors import InvalidInputError
from robmon.robustness.arrays import Float64
from robmon.robustness.jsonable import jsonable
from robmon.robustness.statistics.rank_correlation import RankCorrelation, average_ranks, spearman

if TYPE_CHECKING:
    from matplotlib.figure import Figure

Z_99 = 2.58
"""Standard errors that a normal error exceeds in 1 % of all cases, to either side."""


@dataclass(frozen=True)
class Crossing:
    """Two models, the one better at lower levels being overtaken by the other.

    Attributes:
        ahead: the model that is better at first.
        behind: the model that overtakes it.
        levels: where they change places, rising; interpolated between the levels assessed.
        is_chance: whether either lead, before the first of these levels or after it, may be due to the choice of rows:
            it nowhere exceeds 2.58 of its standard errors over rows, paired. False where no scores by row are known.
    """

    ahead: str
    behind: str
    levels: tuple[float, ...]
    is_chance: bool = False

    @property
    def lasts(self) -> bool:
        """Whether the one that overtakes stays ahead up to the highest level."""
        return len(self.levels) == 1

    def __str__(self) -> str:
        from robmon.report.ranking import crossing_sentence

        return crossing_sentence(self)


@dataclass(frozen=True)
class Conditions:
    """The conditions under which all models of a ranking were assessed: noise, unit of its levels, rows, trials and
    seed.
    """

    noise: str
    level_unit: str
    rows: int
    trials: int
    seed: int

    def __str__(self) -> str:
        return f"{self.rows} rows, {self.trials} trials of {self.noise} noise, seed {self.seed}"


@dataclass(frozen=True, eq=False)
class Ranking:
    """Models ranked by their scores at every level. The ranks are about the rows assessed.

    Attributes:
        names: of the models, in the order given.
        levels: noise strengths, 0 (clean) first.
        scores: shape `(models, levels)`.
        ranks: shape `(models, levels)`, 1 is best; models with equal scores share the mean of their ranks.
        rank_diff: shape `(models, levels)`, clean rank minus rank under noise: above 0 the model gains places.
        slopes: slope of each model's score through the clean one: against level squared for an error (lower is better),
            against level for a share (higher is better); None where a score is infinite.
        crossings: the pairs that change places, first the one in which the best under noise overtakes the one that was
            best without: sorted by the final rank of the one that overtakes, then by the clean rank of the other.
        higher_is_better: whether higher scores are better.
        score: what the scores are, in words.
        conditions: of the assessments that the scores come from, if any.
        left_out: models that could not be assessed: name and reason.
        notes: sentences on what was deduced, left alone or left out, each with the name of its model, or without a name
            where it is about all of them.
        noise_gains: for each model the variance of noise after its first convolution divided by that before it,
            normalisation included, see `robmon.advise`; None where that cannot be read. Empty: nothing was read.
    """

    names: tuple[str, ...]
    levels: tuple[float, ...]
    scores: Float64
    ranks: Float64
    rank_diff: Float64
    slopes: tuple[float | None, ...]
    crossings: tuple[Crossing, ...]
    higher_is_better: bool
    score: str = "score"
    conditions: Conditions | None = None
    left_out: tuple[tuple[str, str], ...] = ()
    notes: tuple[str, ...] = ()
    noise_gains: tuple[float | None, ...] = ()

    @property
    def rules(self) -> RankCorrelation:
        """Rank correlation between the noise gain of the first convolution and how fast noise makes the score worse,
        over the models whose gain could be read: whether the rules of `robmon.advise` hold among these models.
        """
        worse = -1.0 if self.higher_is_better else 1.0
        pairs = [
            (gain, worse * slope)
            for gain, slope in zip(self.noise_gains, self.slopes, strict=bool(self.noise_gains))
            if gain is not None and slope is not None
        ]
        return spearman([gain for gain, _ in pairs], [slope for _, slope in pairs])

    @property
    def order(self) -> list[int]:
        """Indices of the models, best clean score first; among equals the better one under noise."""
        return [int(index) for index in np.lexsort(self.ranks.T[::-1])]

    def to_dict(self) -> dict[str, Any]:
        """The result as strict JSON; infinite is "+Inf", absent is None."""
        gains = self.noise_gains or (None,) * len(self.names)
        columns = zip(self.names, self.scores, self.ranks, self.rank_diff, self.slopes, gains, strict=True)
        keys = ("name", "scores", "ranks", "rank_diff", "slope", "noise_gain")
        result = {
            "score": self.score,
            "higher_is_better": self.higher_is_better,
            "levels": self.levels,
            "slope_axis": "level" if self.higher_is_better else "level_squared",
            "models": [dict(zip(keys, values, strict=True)) for values in columns],
            "crossings": [vars(crossing) | {"lasts": crossing.lasts} for crossing in self.crossings],
            "conditions": self.conditions and vars(self.conditions),
            "left_out": [{"name": name, "reason": reason} for name, reason in self.left_out],
            "notes": list(self.notes),
            "rules": vars(self.rules),
        }
        return {key: jsonable(value) for key, value in result.items()}

    def plot(self) -> Figure:
        """A bump chart as a matplotlib figure: ranks against level, with names, scores and RankDiff at the ends of the
        lines.

        Needs matplotlib (`pip install "robmon[plot]"`).
        """
        from robmon.report.plot_ranking import plot_ranking

        return plot_ranking(self)

    def __str__(self) -> str:
        from robmon.report.ranking import text

        return text(self)


def rank_scores(
    names: Sequence[str],
    levels: Sequence[float],
    scores: ArrayLike,
    higher_is_better: bool,
    *,
    score: str = "score",
    row_scores: Sequence[Float64] | None = None,
) -> Ranking:
    """Rank models by their scores at every noise level.

    RankDiff, the clean rank minus the rank under noise, and the slope of accuracy against level are those of Kim et al.
    (2025), arXiv 2509.20939. A crossing is where the difference of two models' scores changes its sign, interpolated
    linearly along the axis of the slope: level squared for errors, as those of smooth models rise with it, else level.

    Args:
        names: of the models, at least 2.
        levels: rising from 0, at least 2.
        scores: shape `(models, levels)`, +Inf and -Inf allowed; all on the same rows under the same noise.
        higher_is_better: True of shares such as accuracy, False of errors such as the MSE.
        score: what the scores are, in words.
        row_scores: of each model the scores of every row, shape `(rows, levels)`, of which its scores are the means;
            they tell which crossings are within chance. None: nothing is said of that.

    Raises:
        InvalidInputError: fewer than 2 models or levels, a name twice, levels that do not rise from 0, NaN, or scores
            of another shape.

    >>> ranking = rank_scores(["a", "b"], [0.0, 0.1, 0.2], [[1.0, 2.0, 5.0], [2.0, 2.5, 4.0]], higher_is_better=False)
    >>> ranking.ranks.tolist(), ranking.rank_diff[:, -1].tolist()
    ([[1.0, 1.0, 2.0], [2.0, 2.0, 1.0]], [-1.0, 1.0])
    >>> print(ranking.crossings[0])
    From level 0.14 upwards b overtakes a.
    """
    at, values = np.asarray(levels, dtype=np.float64), np.asarray(scores, dtype=np.float64)
    _check(names, at, values)
    losses = -values if higher_is_better else values
    ranks = np.stack([average_ranks(column) for column in losses.T], axis=1)
    power = 1 if higher_is_better else 2
    at_first, finally_at = (dict(zip(names, column.tolist(), strict=True)) for column in ranks.T[[0, -1]])
    crossings = sorted(
        _crossings(names, at, power, losses, row_scores),
        key=lambda each: (finally_at[each.behind], at_first[each.ahead], each.levels),
    )
    return Ranking(
        names=tuple(names),
        levels=tuple(at.tolist()),
        scores=values,
        ranks=ranks,
        rank_diff=ranks[:, :1] - ranks,
        slopes=tuple(_slope(row, at**power) for row in values),
        crossings=tuple(crossings),
        higher_is_better=higher_is_better,
        score=score,
    )


def _check(names: Sequence[str], levels: Float64, scores: Float64) -> None:
    if len(names) < 2 or len(set(names)) != len(names):
        raise InvalidInputError("a ranking needs at least 2 models, each with a name of its own")
    if levels.ndim != 1 or len(levels) < 2 or levels[0] != 0 or not np.all(np.diff(levels) > 0):
        raise InvalidInputError("the levels of a ranking must rise from 0, and be at least 2")
    if scores.shape != (len(names), len(levels)):
        raise InvalidInputError(
            f"scores must be of shape ({len(names)}, {len(levels)}), a row for each model, not {scores.shape}"
        )
    if not np.all(np.isfinite(levels)) or np.any(np.isnan(scores)):
        raise InvalidInputError("scores must not be NaN, and levels must be finite")


def _slope(scores: Float64, axis: Float64) -> float | None:
    """Least squares through the score at level 0; None where one is infinite."""
    if not np.all(np.isfinite(scores)):
        return None
    return float((scores - scores[0]) @ axis / (axis @ axis))


def _crossings(
    names: Sequence[str], levels: Float64, power: int, losses: Float64, rows: Sequence[Float64] | None
) -> Iterator[Crossing]:
    """Every pair that changes places, the better at first named first."""
    for a, b in itertools.combinations(range(len(names)), 2):
        equal = losses[a] == losses[b]  # infinite ones too
        lead = np.where(equal, 0.0, losses[b] - np.where(equal, 0.0, losses[a]))
        if where := _sign_changes(levels**power, lead):
            ahead, behind = (a, b) if lead[np.flatnonzero(lead)[0]] > 0 else (b, a)
            is_chance = rows is not None and _is_chance(
                losses[behind] - losses[ahead], rows[behind] - rows[ahead], levels**power < where[0]
            )
            yield Crossing(names[ahead], names[behind], tuple(at ** (1 / power) for at in where), is_chance)


def _is_chance(lead: Float64, rows: Float64, before: NDArray[np.bool_]) -> bool:
    """Whether a lead before a crossing, or the other's after it, is nowhere beyond what the choice of rows explains.

    Args:
        lead: shape `(levels,)`, above 0 before the crossing.
        rows: shape `(rows, levels)`, differences of the two models' scores, row by row.
        before: which levels are before the crossing.
    """
    if len(rows) < 2 or not np.all(np.isfinite(rows)):
        return False  # an infinite error is no matter of chance
    error = rows.std(axis=0, ddof=1) / math.sqrt(len(rows))
    return not (np.any(lead[before] > Z_99 * error[before]) and np.any(-lead[~before] > Z_99 * error[~before]))


def _sign_changes(axis: Float64, lead: Float64) -> list[float]:
    """Where a lead is lost to the other side; a lead that ends in a tie is not lost yet."""
    where: list[float] = []
    sign = 0.0
    for index, now in enumerate(np.sign(lead).tolist()):
        if now * sign < 0:
            before, after = lead[index - 1], lead[index]
            share = before / (before - after) if math.isfinite(before - after) else 1.0
            where.append(float(axis[index - 1] + share * (axis[index] - axis[index - 1])))
        sign = now or sign
    return where

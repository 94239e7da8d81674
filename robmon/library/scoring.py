"""The score by which a model is ranked: what of its assessment a ranking keeps, and the ranking of several."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from robmon.errors import InvalidInputError, PredictionError, RobmonError
from robmon.library.prepared_rows import PreparedRows
from robmon.robustness.arrays import Array, Float64
from robmon.robustness.embeddings import EmbeddingRows
from robmon.robustness.engine.predictor import Predict, through
from robmon.robustness.ranking import Conditions, Ranking, rank_scores
from robmon.robustness.result import Assessment


@dataclass(frozen=True, eq=False)
class Score:
    """What a ranking keeps of an assessment.

    Attributes:
        score: what the scores are, in words.
        levels: noise strengths, 0 first.
        scores: one a level.
        conditions: of the assessment.
        kept: indices of the rows that the model takes; None: all.
        row_scores: shape `(rows, levels)`, of which the scores are the means.
        draws: what drew the noise.
        notes: of the assessment.
        noise_gain: that a torch module's own operators have, see `robmon.library.advise.noise_gain`; None: not known.
    """

    score: str
    levels: tuple[float, ...]
    scores: list[float]
    conditions: Conditions
    kept: tuple[int, ...] | None
    row_scores: Float64
    draws: str
    notes: tuple[str, ...]
    noise_gain: float | None = None


def ranking_of(scores: Mapping[str, Score], left_out: Sequence[tuple[str, str]] = ()) -> Ranking:
    """The ranking of models by name, all on the same rows under the same noise.

    Raises:
        InvalidInputError: fewer than 2.
    """
    if len(scores) < 2:
        raise InvalidInputError(f"a ranking needs 2 models that can be assessed: {_reasons(left_out)}")
    first = next(iter(scores.values()))
    ranking = rank_scores(
        list(scores),
        first.levels,
        [each.scores for each in scores.values()],
        higher_is_better=first.score != "MSE",
        score=first.score,
        row_scores=[each.row_scores for each in scores.values()],
    )
    return replace(
        ranking,
        conditions=first.conditions,
        left_out=tuple(left_out),
        notes=tuple(_notes(scores)),
        noise_gains=tuple(each.noise_gain for each in scores.values()),
    )


def raising_by_type(rows: PreparedRows) -> PreparedRows:
    """The same rows, with whatever a callable or module raises told by its type: the text may hold inputs."""
    return replace(rows, predictor=through(rows.predictor, _raising_by_type(rows.predictor.predict)))


def _raising_by_type(predict: Predict) -> Predict:
    def raising(x: Array, rows: slice) -> Array:
        try:
            return predict(x, rows)
        except RobmonError:
            raise
        except Exception as error:
            raise PredictionError(f"the model raised {type(error).__name__}") from error

    return raising


def _notes(scores: Mapping[str, Score]) -> Iterator[str]:
    """What is said of all models once, and of others with their names."""
    by_note: dict[str, list[str]] = {}
    for name, score in scores.items():
        for note in score.notes:
            by_note.setdefault(note, []).append(name)
    for note, names in by_note.items():
        yield note if len(names) == len(scores) else f"{', '.join(names)}: {note}"


def score_of(result: Assessment, kept: tuple[int, ...] | None) -> Score:
    """What a ranking keeps of an assessment against targets, or of embeddings.

    Args:
        result: the assessment.
        kept: indices of the rows that the model takes; None: all.

    Raises:
        InvalidInputError: it has no score: outputs are not finite, or no triplet of embeddings has an order.
    """
    conditions = Conditions(result.noise, result.level_unit, result.rows, result.trials, result.seed)
    # Models are ranked on the same rows: a row without a finite output is answered wrongly, and has no error at all.
    share = 1.0 - result.clean_nonfinite_ratio
    accuracies = [share * point.accuracy for point in result.curve if point.accuracy is not None]
    if result.row_accuracy is not None:
        rows = np.nan_to_num(result.row_accuracy)
        return Score("accuracy", result.levels, accuracies, conditions, kept, rows, result.draws, result.notes)
    if share < 1.0:
        lost = np.flatnonzero(~result.finite)
        raise InvalidInputError(
            f"its output is not finite on {len(lost)} of {len(result.finite)} rows even without noise, the first of "
            f"them row {lost[0]} (counted from 0): leave those out to rank it"
        )
    if result.embedding is not None:
        return _score_of_triplets(result, result.embedding, conditions, kept)
    errors = [point.mean_mse for point in result.curve]
    return Score("MSE", result.levels, errors, conditions, kept, result.row_errors, result.draws, result.notes)


def _score_of_triplets(
    result: Assessment, rows: EmbeddingRows, conditions: Conditions, kept: tuple[int, ...] | None
) -> Score:
    shares = [point.triplet_flips for point in result.curve]
    scores = [1.0 - share for share in shares if share is not None]
    if rows.triplet_flips is None or len(scores) < len(shares):
        raise InvalidInputError("embeddings are ranked by triplets, and there is none that has an order without noise")
    row_scores = 1.0 - rows.triplet_flips
    name = "share of triplets that keep their order"
    return Score(name, result.levels, scores, conditions, kept, row_scores, result.draws, result.notes)


def _reasons(left_out: Sequence[tuple[str, str]]) -> str:
    """Why models were left out, each reason once."""
    by_reason: dict[str, list[str]] = {}
    for name, reason in left_out:
        by_reason.setdefault(reason, []).append(name)
    return "; ".join(
        f"{names[0]}{f' and {len(names) - 1} more' if len(names) > 1 else ''}: {reason}"
        for reason, names in by_reason.items()
    )

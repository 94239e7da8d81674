"""Which of several predictors is best under noise? Each is assessed alike, one after the other, and ranked."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Unpack

import numpy as np

from robmon.errors import InvalidInputError, PredictionError, RobmonError
from robmon.library.advise import noise_gain
from robmon.library.fitting import other_rows
from robmon.library.options import RankOptions, RunOptions, one_of, specification_of
from robmon.library.prepared_rows import open_predictor
from robmon.models.loading import RemoteModel
from robmon.models.uri import mask, registered_name
from robmon.robustness.arrays import Array, Float64
from robmon.robustness.embeddings import EmbeddingRows
from robmon.robustness.engine.predictor import Predict, through
from robmon.robustness.ranking import Conditions, Ranking, rank_scores
from robmon.robustness.result import Assessment
from robmon.robustness.specification import Specification


def rank(
    predictors: Mapping[str, Any] | Sequence[Any], inputs: Any, targets: Any = None, **options: Unpack[RankOptions]
) -> Ranking:
    """Rank predictors by their score without noise and under noise: same rows, same noise, same targets.

    The score is the accuracy for `task="classification"`, else the MSE against the targets; for `task="embedding"`,
    which has none, the share of triplets that keep their order, see `CurvePoint.triplet_flips`. Models given by a URI
    are loaded one after the other, never two at once. One that cannot be loaded, called or given these inputs is left
    out, and named in the result.

    Args:
        predictors: names and predictors as in `assess`, at least 2; or a list of predictors, each then called by its
            URI or its own name.
        inputs: as in `assess`, shape `(n, *input_shape)`.
        targets: true outputs of these rows, as in `assess`; of a classification also their classes, shape `(n,)`: as
            the models return them, or 0, 1, ... for models that return one score a class. Without targets there is no
            clean rank; embeddings have none, and all are alike without noise.
        options: those of `assess`; `progress` counts the trials of all models, and `expect` speaks of all.

    Raises:
        InvalidInputError: fewer than 2 predictors can be assessed, names are not unique, or as in `assess`.
        TooFewTrialsError: the confidence needs more trials; names the number.

    >>> import numpy as np
    >>> inputs = np.random.default_rng(0).normal(size=(200, 2))
    >>> steep, flat = (lambda x: x @ np.array([3.0, 3.0])), (lambda x: x @ np.array([2.5, 2.5]))
    >>> ranking = rank({"steep": steep, "flat": flat}, inputs, inputs @ np.array([2.9, 2.9]), levels=(0.5, 1.0))
    >>> ranking.ranks.tolist(), [str(crossing) for crossing in ranking.crossings]
    ([[1.0, 2.0, 2.0], [2.0, 1.0, 1.0]], ['From level 0.24 upwards flat overtakes steep.'])
    """
    named = _by_name(predictors)
    is_embedding = options.get("task") == "embedding"
    if targets is not None and is_embedding:
        raise InvalidInputError("embeddings are ranked by their triplets under noise: leave the targets out")
    if targets is None and not is_embedding:
        raise InvalidInputError("a ranking needs targets: without them no model is better than another without noise")
    # An option that no model can be assessed with is told before the first is loaded.
    specification, run = specification_of({**options, "targets": targets})
    results: dict[str, _Score] = {}
    left_out = []
    for index, (name, predictor) in enumerate(named.items()):
        first = next(iter(results.values()), None)
        try:
            results[name] = _score_one(predictor, inputs, specification, one_of(run, index, len(named)), first)
        except RobmonError as error:
            left_out.append((name, str(error)))
    if len(results) < 2:
        raise InvalidInputError(f"a ranking needs 2 models that can be assessed: {_reasons(left_out)}")
    first = next(iter(results.values()))
    ranking = rank_scores(
        list(results),
        first.levels,
        [each.scores for each in results.values()],
        higher_is_better=first.score != "MSE",
        score=first.score,
        row_scores=[each.row_scores for each in results.values()],
    )
    return replace(
        ranking,
        conditions=first.conditions,
        left_out=tuple(left_out),
        notes=tuple(_notes(results)),
        noise_gains=tuple(each.noise_gain for each in results.values()),
    )


@dataclass(frozen=True)
class Entrant:
    """A model to rank: the name it goes by, its URI, and the tags of a registered version."""

    name: str
    uri: str
    tags: dict[str, str]


def entrants(models: Sequence[str]) -> list[Entrant]:
    """The models that URIs stand for: `models:/name` is every version of that registered model.

    A version's aliases stand behind its name.

    Raises:
        RegistryError, ModelNotFoundError: the registry did not answer, or there is no such model.
        InvalidInputError: they are one alone.
    """
    from robmon.models.registry import Registry  # needs MLflow

    found: dict[str, Entrant] = {}
    for model in models:
        name = registered_name(model)
        if name is None:
            found[model] = Entrant(mask(model.removeprefix("models:/")), model, {})
            continue
        for version in Registry().versions(name):
            short = f"version {version.number}" if len(models) == 1 else f"{name}/{version.number}"
            aliases = f" ({', '.join(version.aliases)})" if version.aliases else ""
            found[version.uri] = Entrant(short + aliases, version.uri, version.tags)
    if len(found) == 1 and len(models) == 1:
        has_one = " has one version" if registered_name(models[0]) is not None else " is one model"
        raise InvalidInputError(f"{mask(models[0])}{has_one}, and a ranking needs at least 2: give another beside it")
    return list(found.values())


def _score_one(
    predictor: Any, inputs: Any, specification: Specification, run: RunOptions, first: _Score | None
) -> _Score:
    """Nothing else outlives the call: the model is gone before the next one is loaded."""
    given: dict[str, Any] = dict(run)
    with open_predictor(predictor, inputs, specification, given.pop("device", "auto")) as rows:
        if first is not None and first.kept != rows.kept:
            raise InvalidInputError(f"takes other rows than the first model: {other_rows(first.kept, rows.kept)}")
        guarded = replace(rows, predictor=through(rows.predictor, _raising_by_type(rows.predictor.predict)))
        draws_as = None if first is None else first.draws
        score = _score_of(guarded.assess(specification, draws_as=draws_as, **given), rows.kept)
        return replace(score, noise_gain=noise_gain(rows, specification.layout))


def _raising_by_type(predict: Predict) -> Predict:
    """The same, with whatever a callable or module raises told by its type: the text may hold inputs."""

    def raising(x: Array, rows: slice) -> Array:
        try:
            return predict(x, rows)
        except RobmonError:
            raise
        except Exception as error:
            raise PredictionError(f"the model raised {type(error).__name__}") from error

    return raising


@dataclass(frozen=True)
class _Score:
    """What a ranking keeps of an assessment."""

    score: str
    levels: tuple[float, ...]
    scores: list[float]
    conditions: Conditions
    kept: tuple[int, ...] | None
    row_scores: Float64
    draws: str
    notes: tuple[str, ...]
    noise_gain: float | None = None


def _notes(results: Mapping[str, _Score]) -> Iterator[str]:
    """What is said of all models once, and of others with their names."""
    by_note: dict[str, list[str]] = {}
    for name, result in results.items():
        for note in result.notes:
            by_note.setdefault(note, []).append(name)
    for note, names in by_note.items():
        yield note if len(names) == len(results) else f"{', '.join(names)}: {note}"


def _score_of(result: Assessment, kept: tuple[int, ...] | None) -> _Score:
    conditions = Conditions(result.noise, result.level_unit, result.rows, result.trials, result.seed)
    # Models are ranked on the same rows: a row without a finite output is answered wrongly, and has no error at all.
    share = 1.0 - result.clean_nonfinite_ratio
    accuracies = [share * point.accuracy for point in result.curve if point.accuracy is not None]
    if result.row_accuracy is not None:
        rows = np.nan_to_num(result.row_accuracy)
        return _Score("accuracy", result.levels, accuracies, conditions, kept, rows, result.draws, result.notes)
    if share < 1.0:
        lost = np.flatnonzero(~result.finite)
        raise InvalidInputError(
            f"its output is not finite on {len(lost)} of {len(result.finite)} rows even without noise, the first of "
            f"them row {lost[0]} (counted from 0): leave those out to rank it"
        )
    if result.embedding is not None:
        return _score_of_triplets(result, result.embedding, conditions, kept)
    errors = [point.mean_mse for point in result.curve]
    return _Score("MSE", result.levels, errors, conditions, kept, result.row_errors, result.draws, result.notes)


def _score_of_triplets(
    result: Assessment, rows: EmbeddingRows, conditions: Conditions, kept: tuple[int, ...] | None
) -> _Score:
    shares = [point.triplet_flips for point in result.curve]
    scores = [1.0 - share for share in shares if share is not None]
    if rows.triplet_flips is None or len(scores) < len(shares):
        raise InvalidInputError("embeddings are ranked by triplets, and there is none that has an order without noise")
    row_scores = 1.0 - rows.triplet_flips
    name = "share of triplets that keep their order"
    return _Score(name, result.levels, scores, conditions, kept, row_scores, result.draws, result.notes)


def _by_name(predictors: Mapping[str, Any] | Sequence[Any]) -> dict[str, Any]:
    if isinstance(predictors, Mapping):
        named = dict(predictors)
    elif isinstance(predictors, str) or not isinstance(predictors, Sequence):
        raise InvalidInputError("predictors are a mapping of names to predictors, or a list of them")
    else:
        named = {_own_name(predictor): predictor for predictor in predictors}
        if len(named) < len(predictors):
            raise InvalidInputError("two predictors have the same name: give a mapping of names to predictors")
    if len(named) < 2:
        raise InvalidInputError(f"a ranking needs at least 2 predictors, not {len(named)}")
    return named


def _own_name(predictor: Any) -> str:
    if isinstance(predictor, str | Path | RemoteModel):
        return mask(str(predictor))
    return str(getattr(predictor, "__name__", type(predictor).__name__))


def _reasons(left_out: Sequence[tuple[str, str]]) -> str:
    """Why models were left out, each reason once."""
    by_reason: dict[str, list[str]] = {}
    for name, reason in left_out:
        by_reason.setdefault(reason, []).append(name)
    return "; ".join(
        f"{names[0]}{f' and {len(names) - 1} more' if len(names) > 1 else ''}: {reason}"
        for reason, names in by_reason.items()
    )

"""Which of several predictors is best under noise? Each is assessed alike, one after the other, and ranked."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Unpack

from robmon.errors import InvalidInputError, RobmonError
from robmon.library.advise import noise_gain
from robmon.library.fitting import other_rows
from robmon.library.options import RankOptions, RunOptions, one_of, specification_of, without_device
from robmon.library.place import Place, wherever_it_fits
from robmon.library.prepared_rows import open_predictor
from robmon.library.scoring import Score, raising_by_type, ranking_of, score_of
from robmon.models.loading import RemoteModel
from robmon.models.uri import mask, registered_name
from robmon.robustness.ranking import Ranking
from robmon.robustness.specification import Specification


def rank(
    predictors: Mapping[str, Any] | Sequence[Any], inputs: Any, targets: Any = None, **options: Unpack[RankOptions]
) -> Ranking:
    """Rank predictors by their score, without noise and at every noise level: same rows, same noise, same targets.

    The score is the accuracy for `task="classification"`, else the MSE against the targets; for `task="embedding"`,
    which has no targets, the share of triplets that keep their order, see `CurvePoint.triplet_flips`. Models given by a
    URI are loaded one after the other, never two at once. One that cannot be loaded or called, or does not take these
    inputs, is left out and named in the result.

    Args:
        predictors: at least 2: a mapping of names to predictors as in `robmon.assess`, or a list of predictors, each
            then named by its URI or its own `__name__`.
        inputs: as in `robmon.assess`, shape `(n, *input_shape)`.
        targets: true outputs of these rows, as in `robmon.assess`. For a classification also their classes, shape
            `(n,)`: as the models return them, or 0, 1, ... for models that return one score per class. Required, except
            for embeddings, which all count as equal without noise.
        options: those of `robmon.assess`; `progress` and `expect` cover all models.

    Raises:
        InvalidInputError: fewer than 2 predictors can be assessed, names are not unique, or as in `robmon.assess`.
        TooFewTrialsError: the confidence needs more trials; the message names the number.

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
    results: dict[str, Score] = {}
    left_out = []
    for index, (name, predictor) in enumerate(named.items()):
        first = next(iter(results.values()), None)
        try:
            results[name] = _score_one(predictor, inputs, specification, one_of(run, index, len(named)), first)
        except RobmonError as error:
            left_out.append((name, str(error)))
    return ranking_of(results, left_out)


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
    from robmon.models.registry.registry import Registry  # needs MLflow

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
    predictor: Any, inputs: Any, specification: Specification, run: RunOptions, first: Score | None
) -> Score:
    """Nothing else outlives the call: the model is gone before the next one is loaded."""
    device, given = without_device(run)

    def at(place: Place) -> Score:
        with open_predictor(predictor, inputs, specification, place) as rows:
            if first is not None and first.kept != rows.kept:
                raise InvalidInputError(f"takes other rows than the first model: {other_rows(first.kept, rows.kept)}")
            draws_as = None if first is None else first.draws
            score = score_of(raising_by_type(rows).assess(specification, draws_as=draws_as, **given), rows.kept)
            return replace(score, noise_gain=noise_gain(rows, specification.layout))

    return wherever_it_fits(predictor, device, at)


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

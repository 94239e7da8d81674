"""Compare two predictors in the caller's process: same rows, same noise, one paired difference a row."""

from __future__ import annotations

import math
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import replace
from typing import Any, NamedTuple, Unpack

import numpy as np

from robmon.errors import InvalidInputError
from robmon.library.fitting import other_rows
from robmon.library.options import AssessOptions, RunOptions, one_of, specification_of, without_device
from robmon.library.place import Place, wherever_it_fits
from robmon.library.prepared_rows import PreparedRows, open_predictor
from robmon.robustness.arrays import Array
from robmon.robustness.classifiers import classifier_rows, compare_classifiers, is_classifier
from robmon.robustness.comparison import Comparison, check_judgement, comparable, compare_rows
from robmon.robustness.embedding_comparison import compare_embeddings, triplet_rows, with_shares
from robmon.robustness.engine.predictor import Predict, through
from robmon.robustness.features.features import Features
from robmon.robustness.output_kind import given_note
from robmon.robustness.outputs import is_numeric
from robmon.robustness.result import Assessment
from robmon.robustness.specification import Specification


def compare(
    predictor_a: Any,
    predictor_b: Any,
    inputs: Any,
    alpha: float = 0.01,
    tolerance: float = 0.0,
    **options: Unpack[AssessOptions],
) -> Comparison:
    """Test whether predictor b is worse under noise than predictor a: same rows, same noise, paired row by row.

    The verdict is about the distribution that the inputs were drawn from, and covers all levels above 0 together. The
    errors of both are divided by twice the variance of a's clean outputs, output by output, so that outputs in any unit
    can be added up. Embeddings are compared by the triplets whose order changes, so the two models may differ by a
    rotation, a scale or the number of dimensions.

    Args:
        predictor_a: the reference, as in `robmon.assess`. A model given by its URI is released before the other is
            loaded.
        predictor_b: the predictor that is compared with it.
        inputs: as in `robmon.assess`.
        alpha: chance of a false alarm, below 0.5. It is approximate, and exceeded where few rows carry the reference's
            error.
        tolerance: relative worsening of the noise MSE that is tolerated: 0.1 is 10 %.
        options: those of `robmon.assess`; `progress` and `expect` cover both assessments.

    Returns:
        Ratio and difference at each level with their intervals, the verdict, and the smallest ratio that these rows
        could have detected. See `Comparison` for the shape, unit and meaning of each number, and
        `robmon.robustness.comparison.compare_rows` for the method and its sources.

    Raises:
        InvalidInputError: as in `robmon.assess`; or the two take different inputs; or their clean outputs differ in
            kind, in number, or by more than a factor of 10 in variance (as in other units), or do not vary at all.

    >>> import numpy as np
    >>> inputs = np.random.default_rng(0).normal(size=(200, 2))
    >>> weak, strong = (lambda x: x @ np.array([1.0, 1.0])), (lambda x: x @ np.array([1.2, 1.2]))
    >>> result = compare(weak, strong, inputs, tolerance=0.1)
    >>> result.worse, result.ratio.round(2).tolist(), compare(strong, weak, inputs).worse
    (True, [1.44, 1.44, 1.44, 1.44], False)
    """
    return compare_on(lambda rows: None, predictor_a, predictor_b, inputs, alpha, tolerance, **options)


def compare_on(
    features_of: Callable[[PreparedRows], Features | None],
    predictor_a: Any,
    predictor_b: Any,
    inputs: Any,
    alpha: float,
    tolerance: float,
    **options: Unpack[AssessOptions],
) -> Comparison:
    """`compare` on given features, where `features_of` the prepared rows has any, not those of the inputs."""
    check_judgement(alpha, tolerance)
    specification, run = specification_of(options)
    a, perturbed = _assess_one("first", predictor_a, inputs, specification, one_of(run, 0, 2), features_of)
    if not np.any(a.clean_variance > 0):
        raise InvalidInputError("the first model's clean outputs do not vary: there is no unit to compare in")
    b, _ = _assess_one(
        "second", predictor_b, inputs, specification, one_of(run, 1, 2), reference=a, perturbed=perturbed
    )
    if b.finite.any() and not np.any(b.clean_variance > 0):
        raise InvalidInputError(
            "the second model's clean outputs do not vary any more, whatever its inputs: it cannot be compared"
        )
    # Of a model that is never finite nothing is refused: it is worse.
    judgement = {"alpha": alpha, "tolerance": tolerance}
    if a.embedding is not None:
        compared = _compare_embeddings(a, b, **judgement)
    else:
        compared = _compare_classes(a, b, **judgement) if is_classifier(a) else _compare_values(a, b, **judgement)
    return replace(compared, a=a, b=b)


def _compare_values(a: Assessment, b: Assessment, **judgement: float) -> Comparison:
    if b.finite.any() and not comparable(a.clean_variance, b.clean_variance):
        raise InvalidInputError(
            "the clean outputs of the two models differ in variance by more than a factor of 10, as in other units: "
            "convert one model's outputs, or assess each and compare their robustness indices, which have no unit"
        )
    rows = a.finite  # b's other rows without a finite clean output are failures of b, +Inf
    errors_a, errors_b = a.normalised_row_errors[rows, 1:], np.asarray(b.comparison_row_errors)[rows, 1:]
    return compare_rows(errors_a, errors_b, levels=a.levels[1:], **judgement)


def _compare_classes(a: Assessment, b: Assessment, **judgement: float) -> Comparison:
    rows_a, rows_b = (classifier_rows(each, a.finite) for each in (a, b))
    if b.finite.any() and rows_b.has_one_class and not rows_a.has_one_class:
        raise InvalidInputError(
            "the second model gives every row the same class, where the first gives several: it cannot be compared"
        )
    return compare_classifiers(rows_a, rows_b, a.levels[1:], **judgement)


def _compare_embeddings(a: Assessment, b: Assessment, **judgement: float) -> Comparison:
    compared = compare_embeddings(triplet_rows(a, a.finite), triplet_rows(b, a.finite), a.levels[1:], **judgement)
    return with_shares(compared, a, b)


class PerturbedShape(NamedTuple):
    """What of the inputs a model perturbs, and what it returns."""

    shape: tuple[int, ...]
    names: tuple[str, ...] | None
    kept: tuple[int, ...] | None
    outputs: tuple[str, ...] = ()
    """Names of the parts of its outputs, which another model's are put into the order of."""


def _assess_one(
    which: str,
    predictor: Any,
    inputs: Any,
    specification: Specification,
    run: RunOptions,
    features_of: Callable[[PreparedRows], Features | None] = lambda rows: None,
    reference: Assessment | None = None,
    perturbed: PerturbedShape | None = None,
) -> tuple[Assessment, PerturbedShape]:
    """Assess one of two predictors: the second on the features, and by the clean variances, of the first.

    A model is gone when this returns, before the next is loaded: both may bring modules of the same names.
    """
    device, given = without_device(run)
    of_first = (features_of, reference, perturbed)
    return wherever_it_fits(
        predictor,
        device,
        lambda place: _assess_at(place, which, predictor, inputs, specification, given, *of_first),
    )


def _assess_at(
    place: Place,
    which: str,
    predictor: Any,
    inputs: Any,
    specification: Specification,
    given: dict[str, Any],
    features_of: Callable[[PreparedRows], Features | None],
    reference: Assessment | None,
    perturbed: PerturbedShape | None,
) -> tuple[Assessment, PerturbedShape]:
    given = dict(given)
    with ExitStack() as stack:
        try:
            rows = stack.enter_context(open_predictor(predictor, inputs, specification, place))
        except InvalidInputError as error:
            raise InvalidInputError(f"{which} model: {error}") from None
        own = PerturbedShape(tuple(rows.array.shape), rows.column_names, rows.kept)
        if reference is None or perturbed is None:
            given["compare_at"] = "own"
            result = rows.assess(specification, features=features_of(rows), **given)
            return result, own._replace(outputs=rows.outputs.part_names)
        _check_same_inputs(perturbed._replace(outputs=()), own)
        rows.outputs.like = perturbed.outputs
        checked = _with_check(reference, rows.predictor.predict)
        rows = replace(rows, predictor=through(rows.predictor, checked))
        given |= {"scale": None, "features": reference.features, "draws_as": reference.draws}
        if is_classifier(reference):
            tempered = classifier_rows(reference, reference.finite).tempered
            given |= {
                "compare_at": "own" if tempered is None else tempered.confidence(),
                "compare_on": reference.finite,
            }
        elif reference.embedding is not None:
            given |= {"compare_at": "own", "compare_on": reference.finite}
        else:
            specification = replace(specification, output=reference.output)
            given |= {"comparison_variance": reference.clean_variance}
        try:
            result = rows.assess(specification, **given)
            # What the outputs are the notes of the first model say: nobody gave it for the second one alone.
            said = given_note(reference.output)
            return replace(result, notes=tuple(note for note in result.notes if note != said)), own
        except _OtherOutputsError:
            raise
        except InvalidInputError as error:
            raise InvalidInputError(
                f"the first model returns {describe_outputs(reference)}; {which} model: {error}"
            ) from None


def _check_same_inputs(first: PerturbedShape, second: PerturbedShape) -> None:
    """Refuse models that perturb different features: no noise is the same for both.

    Raises:
        InvalidInputError: they do.
    """
    if first.kept != second.kept:
        raise InvalidInputError(f"the models take different rows of the inputs: {other_rows(first.kept, second.kept)}")
    if first == second or (first.shape == second.shape and None in (first.names, second.names)):
        return
    advice = "assess each on its own inputs and compare their robustness indices"
    if first.names is None or second.names is None:
        raise InvalidInputError(f"the models perturb inputs of shapes {first.shape} and {second.shape}: {advice}")
    only = [
        f"only the {which} perturbs {', '.join(sorted(set(own) - set(other))[:10])}"
        for which, own, other in (("first", first.names, second.names), ("second", second.names, first.names))
        if set(own) - set(other)
    ]
    raise InvalidInputError(
        f"the models take different inputs: {'; '.join(only) or 'the same columns in another order'}. Make them take "
        f"the same, or {advice}"
    )


class _OtherOutputsError(InvalidInputError):
    """The second model returns what cannot be compared with the first one's outputs."""


def _with_check(reference: Assessment, predict: Predict) -> Predict:
    """The predictor, refused at its first outputs if their number is not the reference's, or they are no numbers.

    The outputs of the rows that are assessed anyway tell that: production may never ask for one row on its own.
    """

    def checked(x: Array, rows: slice) -> Array:
        outputs = predict(x, rows)
        _check_outputs(reference, outputs)
        return outputs

    return checked


def _check_outputs(reference: Assessment, outputs: Array) -> None:
    """Refuse outputs or classes of another number than the reference's, or text instead of numbers.

    Labels have no number of classes; one column of a classifier stands for two.

    Raises:
        _OtherOutputsError: they are that.
    """
    if reference.embedding is not None:
        return  # of any dimension
    shape = tuple(outputs.shape[1:])
    count, expected = math.prod(shape), reference.clean_variance.size
    if is_classifier(reference):
        # One column is a label, or the second of two classes.
        if reference.output == "label" or count == expected or 1 in (count, expected):
            return
    elif is_numeric(outputs) and count == expected:
        return
    second = f"{count} outputs a row (shape {('rows', *shape)})".replace("'", "")
    raise _OtherOutputsError(
        f"the first model returns {describe_outputs(reference)}, the second "
        f"{second if is_numeric(outputs) else 'labels'}: their errors cannot be compared"
    )


def describe_outputs(reference: Assessment) -> str:
    """What a model returns, in words."""
    if reference.output == "label":
        return "one label a row"
    shape = f"(shape (rows, {', '.join(str(size) for size in reference.clean_outputs.shape[1:])}))"
    return f"{reference.clean_variance.size} {reference.output} outputs a row {shape}"

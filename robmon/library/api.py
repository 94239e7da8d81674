"""The public functions: assess a predictor, compare two, measure drift. They run in the caller's process."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple, TypedDict, Unpack, cast

import numpy as np

from robmon.drift.two_sample import drift
from robmon.errors import InvalidInputError, SettingsError
from robmon.library.fitting import other_rows
from robmon.library.prepared import PreparedRows, prepared
from robmon.models.access import EndpointAccess
from robmon.models.bearer import bearer_token
from robmon.models.loading import RemoteModel
from robmon.models.uri import parse_endpoint
from robmon.robustness.arrays import Array
from robmon.robustness.checks import check_levels, words
from robmon.robustness.classifiers import classifier_rows, compare_classifiers, is_classifier
from robmon.robustness.comparison import Comparison, check_judgement, comparable, compare_rows
from robmon.robustness.engine.predictor import Predict, through
from robmon.robustness.engine.trials import part_of
from robmon.robustness.features.features import Features
from robmon.robustness.noise.base import Noise
from robmon.robustness.outputs import is_numeric
from robmon.robustness.result import Assessment
from robmon.robustness.specification import Specification

__all__ = ["AssessOptions", "RankOptions", "assess", "compare", "drift", "endpoint"]


class RankOptions(TypedDict, total=False):
    """The options of `assess`, targets aside, which `rank` takes too."""

    noise: str | Noise
    levels: Sequence[float]
    scale: Any
    trials: int
    confidence: float
    bound: str
    task: str
    output: str | None
    output_column: str | int | Sequence[str | int] | None
    integers: str | Sequence[str] | None
    scale_axis: int | None
    seed: int
    device: str
    max_batch_rows: int | None
    mse_limit: float | None
    progress: Callable[[int, int], None] | None


class AssessOptions(RankOptions, total=False):
    """The options of `assess`, which `compare` takes too."""

    targets: Any


class RunOptions(TypedDict, total=False):
    """Of these options what belongs to the rows and the moment, not to the specification."""

    targets: Any
    scale: Any
    seed: int
    device: str
    progress: Callable[[int, int], None] | None


def specified(options: AssessOptions) -> tuple[Specification, RunOptions]:
    """The specification that options make, and the rest of them.

    Raises:
        InvalidInputError: it cannot be.
        TooFewTrialsError: the confidence needs more trials.
    """
    content: dict[str, Any] = dict(options)
    run = {name: content.pop(name) for name in RunOptions.__annotations__ if name in content}
    return Specification(**content), cast("RunOptions", run)


def assess(
    predictor: Any,
    inputs: Any,
    targets: Any = None,
    noise: str | Noise = Specification.noise,
    levels: Sequence[float] = Specification.levels,
    scale: Any = None,
    trials: int = Specification.trials,
    confidence: float = Specification.confidence,
    bound: str = Specification.bound,
    task: str = Specification.task,
    output: str | None = None,
    output_column: str | int | Sequence[str | int] | None = None,
    integers: str | Sequence[str] | None = None,
    scale_axis: int | None = None,
    seed: int = 0,
    device: str = "auto",
    max_batch_rows: int | None = None,
    mse_limit: float | None = None,
    max_seconds: float | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> Assessment:
    """Measure how far a predictor's outputs move under input noise, with bounds that hold with a stated probability.

    Args:
        predictor: a callable `(rows, *input_shape) -> (rows, *output_shape)`; a `torch.nn.Module`, which runs without
            gradients in eval mode and gets its mode back; or the URI of an MLflow model (or one that is loaded); or the
            prediction URL of a model server (MLflow, KServe V1, Open Inference Protocol V2), which is asked gently, or
            `robmon.endpoint(...)`, which says how.
        inputs: array `(n, *input_shape)` of floating-point numbers (a module gets them in its own dtype), or a
            DataFrame: its floating (and decimal) columns are perturbed, the others pass through, NaN stays NaN
            without noise.
        targets: true outputs of the outputs' size (of class scores classes 0, 1, ..., shape `(n,)`, or one column a
            class, 0 or 1); errors are then against them (reference `label`).
        noise: a name, a model of `robmon.noise` with its parameters, or a `robmon.Noise` of your own.
        levels: noise strengths; 0 is always among them.
        scale: standard deviations that levels multiply, broadcast to `input_shape` (of a DataFrame: to its perturbed
            columns); None: those of `inputs`; 1.0: levels are in input units.
        trials: independent draws of the noise for every row.
        confidence: stated probability of the bounds.
        bound: method of the trial bound: order_statistic, tolerance, cantelli or student_t.
        task: `regression`, or `classification`, which adds agreement, flips and certified radii, and with targets
            accuracy and, of probabilities, the Brier score.
        output: `value`, `probability`, `multilabel`, `logit`, `label`; None: by type and task, as the notes of the
            result say (docs/reference/forms.md has all forms).
        output_column: name or position of the part of the outputs that is assessed, where they have several: a column
            of a DataFrame, key of a dict, field of a record, element of a tuple; or several of one kind, as a list.
        integers: integer columns (or named tensors) that are measurements, by name, or `all`, which an array of
            integers needs: they are perturbed, rounded half to even, kept within their dtype and their range in these
            inputs, and handed over in their dtype. None: they are left alone.
        scale_axis: the axis of `inputs` of rank 3 and more, `(n, *input_shape)`, each entry of which has a scale of its
            own; -1 is the last. None: of rank 3 axis 1 where a module begins with a Conv1d or the like, else the last,
            and refused where the two differ by more than 10 times and nothing decides; of rank 4 and more the channels.
        seed: fixes the noise.
        device: of a module or an MLflow model: `cpu`, `cuda`, `cuda:1`; `auto` leaves a module where it is and loads a
            model onto cuda where there is one. Callables decide for themselves.
        max_batch_rows: most rows given to the predictor at a time.
        mse_limit: the owner's limit of the bound, in squared output units, for the noise margin.
        max_seconds: time budget: the predictor is timed, and only the first rows (at least 32), and then fewer trials
            (what the confidence needs), are assessed where all would take longer; `result.cut` says so. None: all are.
        progress: called with the number of trials done and of all.

    Returns:
        the curve, its slope, area and index, with every bound, in squared output units; for labels, shares of flips.
        See `Assessment` and `CurvePoint` for each number's shape, meaning and source.

    Raises:
        InvalidInputError: inputs, targets or an option cannot be used.
        TooFewTrialsError: the confidence needs more trials; names the number.
        OverBudgetError: not even the fewest rows and trials fit into `max_seconds`.
        PredictionError: the model returned what is not one output a row.
        RegistryError, ModelError: the MLflow model cannot be had or loaded.

    >>> inputs = np.random.default_rng(0).normal(size=(200, 2))
    >>> result = assess(lambda x: x @ np.array([3.0, 4.0]), inputs, scale=1.0)
    >>> round(result.slope.value / 25, 1), round(result.curve[2].mean_mse, 1)
    (1.0, 0.2)
    >>> print(result.noise_margin(limit=0.5))
    0.1: the bound first exceeds 0.5 at level 0.2
    """
    specification = Specification(
        noise=noise,
        levels=check_levels(levels),
        trials=trials,
        confidence=confidence,
        bound=bound,
        task=task,
        output=output,
        output_column=output_column,
        integers=words(integers),
        scale_axis=scale_axis,
        max_batch_rows=max_batch_rows,
        mse_limit=mse_limit,
    )
    with prepared(predictor, inputs, specification, device) as rows:
        return rows.assess(
            specification, targets=targets, scale=scale, seed=seed, max_seconds=max_seconds, progress=progress
        )


def endpoint(
    url: str,
    *,
    token: str | None = None,
    token_file: str | Path | None = None,
    rows_per_second: float = 1000,
    batch_rows: int = 32,
    timeout_seconds: float = 10,
) -> RemoteModel:
    """A model at its prediction URL as a predictor for `assess`, `compare` and `rank`; nothing is asked yet.

    Args:
        url: `http(s)://host/invocations`, `/v1/models/name:predict` or `/v2/models/name/infer`. A user and a password
            in it are sent as Basic authentication, and shown nowhere.
        token: bearer token.
        token_file: file with a bearer token, read for each request.
        rows_per_second: most rows a second sent.
        batch_rows: most rows in one request.
        timeout_seconds: within which a request is answered.

    Raises:
        ModelError: this is no such URL.
        InvalidInputError: a number is not above 0, the token cannot be used, or there is more than one way to get in.

    >>> print(endpoint("http://me:secret@127.0.0.1:8080/invocations", rows_per_second=200))
    http://127.0.0.1:8080/invocations
    """
    for name, number in (
        ("rows_per_second", rows_per_second),
        ("batch_rows", batch_rows),
        ("timeout_seconds", timeout_seconds),
    ):
        if not 0 < number < math.inf:
            raise InvalidInputError(f"{name} must be a number above 0, not {number!r}")
    parsed = parse_endpoint(url)
    if sum(each is not None for each in (token, token_file, parsed.credentials)) > 1:
        raise InvalidInputError("a token, a token_file and a user in the URL exclude one another")
    access = EndpointAccess(
        token=token,
        token_file=None if token_file is None else str(Path(token_file).absolute()),
        rows_per_second=rows_per_second,
        batch_rows=batch_rows,
        timeout_seconds=timeout_seconds,
    )
    try:
        bearer_token(access)
    except SettingsError as error:
        raise InvalidInputError(str(error)) from None
    return RemoteModel(parsed, access)


def compare(
    predictor_a: Any,
    predictor_b: Any,
    inputs: Any,
    alpha: float = 0.01,
    tolerance: float = 0.0,
    **options: Unpack[AssessOptions],
) -> Comparison:
    """Is predictor b worse under noise than predictor a? Same rows, same noise, one paired difference a row.

    The verdict speaks of the law that the inputs were drawn from, at all levels above 0 together. Errors of both are
    divided by twice the variance of a's clean outputs, output by output, so that outputs of any unit add up.

    Args:
        predictor_a: the reference, as in `assess`. A model given by its URI is let go before the other is loaded.
        predictor_b: what is compared with it.
        inputs: as in `assess`.
        alpha: chance of a false alarm, below 0.5; approximate, and exceeded where few rows carry the reference's error.
        tolerance: relative worsening of the noise MSE that is tolerated.
        options: those of `assess`; `progress` counts the trials of both.

    Returns:
        ratio and difference at each level with their intervals, the verdict, and what could have been found. See
        `Comparison` for each number's shape, unit and meaning, `compare_rows` for the method and its sources.

    Raises:
        InvalidInputError: as in `assess`; or the two take different inputs; or their clean outputs differ in kind, in
            number, or in variance by more than a factor of 10, as in other units; or those of one do not vary at all.

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
    specification, run = specified(options)
    progress = run.get("progress")
    run["progress"] = part_of(progress, 0, 2)
    a, taken = _assess_one("first", predictor_a, inputs, specification, run, features_of)
    if not np.any(a.clean_variance > 0):
        raise InvalidInputError("the first model's clean outputs do not vary: there is no unit to compare in")
    run["progress"] = part_of(progress, 1, 2)
    b, _ = _assess_one("second", predictor_b, inputs, specification, run, reference=a, taken=taken)
    if b.finite.any() and not np.any(b.clean_variance > 0):
        raise InvalidInputError(
            "the second model's clean outputs do not vary any more, whatever its inputs: it cannot be compared"
        )
    # Of a model that is never finite nothing is refused: it is worse.
    judge = {"alpha": alpha, "tolerance": tolerance}
    compared = _compare_classes(a, b, **judge) if is_classifier(a) else _compare_values(a, b, **judge)
    return replace(compared, a=a, b=b)


def _compare_values(a: Assessment, b: Assessment, **judge: float) -> Comparison:
    if b.finite.any() and not comparable(a.clean_variance, b.clean_variance):
        raise InvalidInputError(
            "the clean outputs of the two models differ in variance by more than a factor of 10, as in other units: "
            "convert one model's outputs, or assess each and compare their robustness indices, which have no unit"
        )
    rows = a.finite  # b's other rows without a finite clean output are failures of b, +Inf
    errors_a, errors_b = a.normalised_row_errors[rows, 1:], np.asarray(b.comparison_row_errors)[rows, 1:]
    return compare_rows(errors_a, errors_b, levels=a.levels[1:], **judge)


def _compare_classes(a: Assessment, b: Assessment, **judge: float) -> Comparison:
    rows_a, rows_b = (classifier_rows(each, a.finite) for each in (a, b))
    if b.finite.any() and rows_b.has_one_class and not rows_a.has_one_class:
        raise InvalidInputError(
            "the second model gives every row the same class, where the first gives several: it cannot be compared"
        )
    return compare_classifiers(rows_a, rows_b, a.levels[1:], **judge)


class _Taken(NamedTuple):
    """What of the inputs a model perturbs."""

    shape: tuple[int, ...]
    names: tuple[str, ...] | None
    kept: tuple[int, ...] | None


def _assess_one(
    which: str,
    predictor: Any,
    inputs: Any,
    specification: Specification,
    run: RunOptions,
    features_of: Callable[[PreparedRows], Features | None] = lambda rows: None,
    reference: Assessment | None = None,
    taken: _Taken | None = None,
) -> tuple[Assessment, _Taken]:
    """Assess one of two predictors: the second on the features, and by the clean variances, of the first.

    A model is gone when this returns, before the next is loaded: both may bring modules of the same names.
    """
    given: dict[str, Any] = dict(run)
    device = given.pop("device", "auto")
    with ExitStack() as stack:
        try:
            rows = stack.enter_context(prepared(predictor, inputs, specification, device))
        except InvalidInputError as error:
            raise InvalidInputError(f"{which} model: {error}") from None
        takes = _Taken(tuple(rows.array.shape), rows.column_names, rows.kept)
        if reference is None or taken is None:
            given["compare_at"] = "own"
            return rows.assess(specification, features=features_of(rows), **given), takes
        _check_same_inputs(taken, takes)
        checking = _checking(reference, rows.predictor.predict)
        rows = replace(rows, predictor=through(rows.predictor, checking))
        given |= {"scale": None, "features": reference.features}
        if is_classifier(reference):
            tempered = classifier_rows(reference, reference.finite).tempered
            given |= {
                "compare_at": "own" if tempered is None else tempered.confidence(),
                "compare_on": reference.finite,
            }
        else:
            specification = replace(specification, output=reference.output)
            given |= {"comparison_variance": reference.clean_variance}
        try:
            return rows.assess(specification, **given), takes
        except _OtherOutputsError:
            raise
        except InvalidInputError as error:
            raise InvalidInputError(f"the first model returns {_said(reference)}; {which} model: {error}") from None


def _check_same_inputs(first: _Taken, second: _Taken) -> None:
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


def _checking(reference: Assessment, predict: Predict) -> Predict:
    """The predictor, refused at its first outputs if their number is not the reference's, or they are no numbers.

    The outputs of the rows that are assessed anyway tell that: production may never ask for one row on its own.
    """

    def checking(x: Array, rows: slice) -> Array:
        outputs = predict(x, rows)
        _check_outputs(reference, outputs)
        return outputs

    return checking


def _check_outputs(reference: Assessment, outputs: Array) -> None:
    """Refuse outputs or classes of another number than the reference's, or text instead of numbers.

    Labels have no number of classes; one column of a classifier stands for two.

    Raises:
        _OtherOutputsError: they are that.
    """
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
        f"the first model returns {_said(reference)}, the second {second if is_numeric(outputs) else 'labels'}: their "
        "errors cannot be compared"
    )


def _said(reference: Assessment) -> str:
    """What a model returns, in words."""
    if reference.output == "label":
        return "one label a row"
    shape = f"(shape (rows, {', '.join(str(size) for size in reference.clean_outputs.shape[1:])}))"
    return f"{reference.clean_variance.size} {reference.output} outputs a row {shape}"

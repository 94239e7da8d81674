"""Certify rows: the share of them that keeps its class wherever it moves, by what can be read of the module."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, Final, Literal, get_args

import numpy as np
from numpy.typing import NDArray

from robmon.errors import InvalidInputError
from robmon.robustness.arrays import Array, Float64, as_float64, to_numpy
from robmon.robustness.checks import check_word
from robmon.robustness.clean import CleanPass
from robmon.robustness.engine.batch_size import BatchSize
from robmon.robustness.engine.predictor import Predictor
from robmon.robustness.features.features import Features
from robmon.robustness.outputs import classes_of
from robmon.robustness.probes.attack.ball import Norm, check_ball
from robmon.robustness.probes.certificate.result import Certificate
from robmon.robustness.specification import Specification

if TYPE_CHECKING:
    from robmon.robustness.probes.certificate.margins import Reading

Method = Literal["lipschitz", "interval", "crown"]
METHODS: Final[tuple[Method, ...]] = get_args(Method)
BATCH_ROWS: Final = 256


def certify_rows(
    predictor: Predictor,
    inputs: Array,
    specification: Specification,
    *,
    features: Features,
    radii: Sequence[float],
    norm: Norm = "2",
    method: Method = "lipschitz",
    output_names: Callable[[], Sequence[str]] = tuple,
    notes: Sequence[str] = (),
) -> Certificate:
    """Which rows keep the model's own class wherever they move within each radius.

    Args:
        predictor: the model; of one without a torch module in eval mode nothing can be said.
        inputs: shape `(n, *input_shape)`, floating, as the module takes them.
        specification: task and outputs.
        features: whose scale is the unit of radii; features without one stay as they are.
        radii: above 0.
        norm: `inf`: each cell moves by at most the radius; `2`: the root of the sum of squares does.
        method: one of `METHODS`.
        output_names: as in `assess_rows`.
        notes: sentences on what was deduced before.

    Returns:
        A certificate, or the reason why there is none.

    Raises:
        InvalidInputError: an option cannot be used, or the outputs are no classes.
        PredictionError: the model returned what is not one output a row.
    """
    tried = check_options(radii, norm, method)
    size = BatchSize(specification.max_batch_rows or predictor.max_batch_rows or BATCH_ROWS, predictor.device)
    passed = CleanPass.of(predictor, inputs, size, specification, output_names)
    if passed.kind == "value":
        raise InvalidInputError("a certificate is of classes: the task must be classification")
    told = (*passed.notes, *notes)
    why = _why_none(predictor, passed, features)
    if why:
        return Certificate(method, norm, tried, reason=why, notes=told)
    from robmon.robustness.probes.certificate.graph import UnreadableError
    from robmon.robustness.probes.certificate.margins import Reading

    counted = passed.counted
    try:
        scale = np.broadcast_to(features.scale, inputs.shape[1:]).astype(np.float64)
        outputs = to_numpy(as_float64(passed.clean))
        reading = Reading.of(
            predictor.module, inputs, outputs, passed.kind, counted, reach=tried[-1] * scale, norm=norm
        )
        classes = np.asarray(to_numpy(classes_of(passed.clean, passed.kind)))
        certified, constant = _certified(reading, classes, scale, tried, norm, method)
    except UnreadableError as error:
        return Certificate(method, norm, tried, reason=str(error), rows=int(counted.sum()), notes=told)
    certified &= counted[:, None]
    share = certified[counted].mean(axis=0)
    return Certificate(method, norm, tried, share, certified, constant, rows=int(counted.sum()), notes=told)


def check_options(radii: Sequence[float], norm: str, method: str) -> Float64:
    """The radii, rising, each once.

    Raises:
        InvalidInputError: an option cannot be used.
    """
    check_word("method", method, METHODS)
    return check_ball(radii, norm)


def _why_none(predictor: Predictor, passed: CleanPass, features: Features) -> str:
    """Why nothing can be said, before the module is read."""
    if predictor.module is None:
        return "the model is no torch module, and what it computes cannot be read"
    if passed.kind == "label":
        return "the outputs are classes themselves, and tell nothing of how near others are"
    if features.limits is not None:
        return "the inputs are whole numbers, which the model may round"
    return ""


def _certified(
    reading: Reading, classes: NDArray[Any], scale: Float64, radii: Float64, norm: Norm, method: Method
) -> tuple[NDArray[np.bool_], float | None]:
    """By one method; and the Lipschitz constant, where that is it."""
    from robmon.robustness.probes.certificate.crown import by_crown
    from robmon.robustness.probes.certificate.margins import by_interval, by_lipschitz

    if method == "lipschitz":
        return by_lipschitz(reading, classes, scale, radii, norm)
    bounded = by_crown if method == "crown" else by_interval
    return bounded(reading, classes, scale, radii, norm), None

"""Assess a predictor in the caller's process."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from robmon.library.place import Place, wherever_it_fits
from robmon.library.prepared_rows import open_predictor
from robmon.robustness.checks import check_levels, words
from robmon.robustness.noise.base import Noise
from robmon.robustness.noise.images.layout import ImageLayout
from robmon.robustness.result import Assessment
from robmon.robustness.specification import Specification


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
    layout: ImageLayout | None = None,
    seed: int = 0,
    device: str = "auto",
    max_batch_rows: int | None = None,
    mse_limit: float | None = None,
    agreement_limit: float | None = None,
    accuracy_limit: float | None = None,
    max_seconds: float | None = None,
    distance: str = Specification.distance,
    threshold: float | None = None,
    false_match_rate: float = Specification.false_match_rate,
    progress: Callable[[int, int], None] | None = None,
    expect: Callable[[float], None] | None = None,
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
        trials: independent draws of the noise for every row; one is run of a noise that has none, such as `jpeg`, and
            there is no trial bound.
        confidence: stated probability of the bounds.
        bound: method of the trial bound: order_statistic, tolerance, cantelli or student_t.
        task: `regression`, or `classification`, which adds agreement, flips and certified radii, and with targets
            accuracy and, of probabilities, the Brier score; or `embedding`: outputs are one vector a row, of which
            distances alone mean something (docs/how-to/embeddings.md).
        output: `value`, `probability`, `multilabel`, `logit`, `label`, `embedding`; None: by type and task, as the
            notes of the result say (docs/reference/forms.md has all forms).
        output_column: name or position of the part of the outputs that is assessed, where they have several: a column
            of a DataFrame, key of a dict, field of a record, element of a tuple; or several of one kind, as a list.
        integers: integer columns (or named tensors) that are measurements, by name, or `all`, which an array of
            integers needs: they are perturbed, rounded half to even, kept within their dtype and their range in these
            inputs, and handed over in their dtype. None: they are left alone.
        scale_axis: the axis of `inputs` of rank 3 and more, `(n, *input_shape)`, each entry of which has a scale of its
            own; -1 is the last. None: of rank 3 axis 1 where a module begins with a Conv1d or the like, else the last,
            and refused where the two differ by more than 10 times and nothing decides; of rank 4 and more the channels.
        layout: how inputs of rank 4 are pictures, for noises that act on those (docs/how-to/images.md), and which axis
            has a scale of its own for all others. None: channels by the shape, black and white by an integer type.
        seed: fixes the noise.
        device: of a module or an MLflow model: `cpu`, `cuda`, `cuda:1`; `auto` leaves a module where it is and loads a
            model onto cuda where there is one that has memory for it. Callables decide for themselves.
        max_batch_rows: most rows given to the predictor at a time.
        mse_limit: the owner's limit of the bound, in squared output units, for the noise margin.
        agreement_limit: the share of unchanged classes that the owner wants kept: `result.crossings` has the level from
            which on it is not, with an interval over rows.
        accuracy_limit: likewise of right classes, which needs targets.
        max_seconds: time budget: the predictor is timed, and only the first rows (at least 32), and then fewer trials
            (what the confidence needs), are assessed where all would take longer; `result.cut` says so. None: all are.
        distance: of embeddings: `l2`, or `cosine`, 1 less the cosine of the angle between two.
        threshold: of embeddings: the distance beyond which two are not taken for the same thing. None: that below which
            a share `false_match_rate` of all pairs of different rows lies, as the notes of the result say.
        false_match_rate: see there.
        progress: called with the number of trials done and of all.
        expect: called with the seconds that all is expected to take from then on, as soon as small batches have been
            timed, for which the predictor is called a few times more.

    Returns:
        the curve, its slope, area and index, with every bound, in squared output units; for labels, shares of flips;
        for embeddings, squared distances (of `cosine` distances), and what decides: shares of rows beyond the
        threshold, of triplets whose order changes, of rows that are still the nearest to themselves.
        See `Assessment` and `CurvePoint` for each number's shape, meaning and source.

    Raises:
        InvalidInputError: inputs, targets or an option cannot be used.
        TooFewTrialsError: the confidence needs more trials; names the number.
        OverBudgetError: not even the fewest rows and trials fit into `max_seconds`.
        PredictionError: the model returned what is not one output a row.
        RegistryError, ModelError: the MLflow model cannot be had or loaded.

    >>> import numpy as np
    >>> inputs = np.random.default_rng(0).normal(size=(200, 2))
    >>> result = assess(lambda x: x @ np.array([3.0, 4.0]), inputs, scale=1.0)
    >>> round(result.slope.value / 25, 1), round(result.curve[2].mean_mse, 1)
    (1.0, 0.3)
    >>> print(result.noise_margin(limit=0.5))
    0.1: the bound first exceeds 0.5 at level 0.2
    >>> embedded = assess(lambda x: x @ np.array([[0.0, 1.0], [-1.0, 0.0]]), inputs, task="embedding", threshold=0.5)
    >>> [round(point.beyond_threshold, 2) for point in embedded.curve]
    [0.0, 0.0, 0.0, 0.04, 0.45]
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
        layout=layout,
        max_batch_rows=max_batch_rows,
        mse_limit=mse_limit,
        agreement_limit=agreement_limit,
        accuracy_limit=accuracy_limit,
        distance=distance,
        threshold=threshold,
        false_match_rate=false_match_rate,
    )

    def at(place: Place) -> Assessment:
        with open_predictor(predictor, inputs, specification, place) as rows:
            return rows.assess(
                specification,
                targets=targets,
                scale=scale,
                seed=seed,
                max_seconds=max_seconds,
                progress=progress,
                expect=expect,
            )

    return wherever_it_fits(predictor, device, at)

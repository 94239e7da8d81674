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
    """Measure how far a predictor's outputs move when noise is added to its inputs, with bounds of stated probability.

    Args:
        predictor: one of

            - a callable `(rows, *input_shape) -> (rows, *output_shape)`;
            - a `torch.nn.Module`, which is run in eval mode without gradients and gets its mode back;
            - an MLflow model, by its URI or already loaded;
            - the prediction URL of a model server (MLflow, KServe V1, Open Inference Protocol V2), which is sent few
              rows at a time, or `robmon.endpoint(...)`, which sets how many.
        inputs: floating-point array `(n, *input_shape)` (a module gets it in its own dtype), or a DataFrame, whose
            floating-point and decimal columns are perturbed while the others pass through unchanged. NaN stays NaN.
        targets: true outputs, of the outputs' size. Where the model returns one score per class, class indices 0, 1,
            ... of shape `(n,)`, or one 0/1 column per class. With targets, errors are measured against them (reference
            `label`) instead of against the model's own clean outputs (reference `prediction`).
        noise: a name, a noise model of `robmon.noise` with its parameters, or a `robmon.Noise` of your own.
        levels: noise strengths; 0 is always added.
        scale: standard deviations that levels are multiples of, broadcast to `input_shape` (for a DataFrame: to its
            perturbed columns). None: measured on `inputs`. 1.0: levels are in input units.
        trials: independent draws of the noise for every row. Deterministic noise, such as `jpeg`, runs a single trial
            and has no trial bound.
        confidence: stated probability of the bounds.
        bound: method of the trial bound: `order_statistic`, `tolerance`, `cantelli` or `student_t`, see
            `robmon.upper_bound`.
        task: `regression`; `classification`, which adds agreement, flips and certified radii and, with targets,
            accuracy and (for probabilities) the Brier score; or `embedding`, where outputs are one vector per row and
            only distances between vectors mean anything (docs/how-to/embeddings.md).
        output: what the model's numbers are: `value`, `probability`, `multilabel`, `logit`, `label` or `embedding`.
            None: deduced from their type and the task; the result's notes say how (docs/reference/forms.md).
        output_column: which part of the outputs is assessed, where they have several: the name or position of a
            DataFrame column, dict key, record field or tuple element; or a list of parts that are of one kind.
        integers: integer columns (or named tensors) that are measurements, by name, or `all`, which an integer array
            needs. They are perturbed, rounded half to even, kept within their dtype and within their range in these
            inputs, and passed on in their dtype. None: integers are not perturbed.
        scale_axis: for inputs `(n, *input_shape)` of rank 3 and more, the axis each of whose entries has its own scale;
            -1 is the last. None: for rank 3, axis 1 where a module begins with a Conv1d or the like, else the last
            axis; refused where the two would differ by more than 10 times and nothing decides. For rank 4 and more, the
            channel axis.
        layout: how inputs of rank 4 are pictures, for image noises (docs/how-to/images.md) and, for every other noise,
            to say which axis holds the channels. None: channels by the shape, black and white by an integer dtype.
        seed: fixes the noise: the same seed, rows, model and device give the same numbers.
        device: where a module or an MLflow model runs: `cpu`, `cuda`, `cuda:1`. `auto` leaves a module where it is, and
            loads an MLflow model onto cuda if there is a device with enough memory for it. Callables decide themselves.
        max_batch_rows: most rows passed to the predictor at a time.
        mse_limit: largest acceptable bound, in squared output units, for the noise margin.
        agreement_limit: smallest acceptable share of unchanged classes: `result.crossings` has the level beyond which
            it is no longer kept, with an interval over rows.
        accuracy_limit: smallest acceptable share of correct classes, likewise; needs targets.
        max_seconds: time budget. The predictor is timed first; where everything would take longer, only the first rows
            (at least 32) are assessed, and then with fewer trials (at least what the confidence needs); `result.cut`
            says so. None: no budget.
        distance: between embeddings: `l2`, or `cosine`, which is 1 minus the cosine of their angle.
        threshold: for embeddings, the distance beyond which two no longer count as the same thing. None: chosen so that
            a share `false_match_rate` of all pairs of different rows lies below it; the notes say what it is.
        false_match_rate: see `threshold`.
        progress: called with the number of trials done and the number planned.
        expect: called once with the expected number of seconds from then on, as soon as small batches have been timed
            (the predictor is called a few extra times for that).

    Returns:
        The curve with its slope, area and index, and every bound, in squared output units. For labels, errors are
        shares of flips. For embeddings they are squared distances (with `cosine`, distances), and the result adds the
        shares of rows beyond the threshold, of triplets whose order changes, and of rows that stay nearest to
        themselves. See `Assessment` and `CurvePoint` for the shape, meaning and source of each number.

    Raises:
        InvalidInputError: inputs, targets or an option cannot be used.
        TooFewTrialsError: the confidence needs more trials; the message names the number.
        OverBudgetError: not even the fewest rows and trials fit into `max_seconds`.
        PredictionError: the model raised, or did not return one output per row.
        RegistryError, ModelError: the MLflow model cannot be fetched or loaded.

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

"""Assess a predictor: how far its outputs move under noise, with bounds that hold with a stated probability."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from robmon.robustness import curve as curves
from robmon.robustness.arrays import (
    Array,
    Float64,
    on_host,
    rows_of,
)
from robmon.robustness.checks import check_seed
from robmon.robustness.clean import CleanPass, is_rounding
from robmon.robustness.embeddings import EmbeddingRows, embedding_rows
from robmon.robustness.engine.batch import Engine
from robmon.robustness.engine.batch_size import batch_size_of
from robmon.robustness.engine.predictor import Predictor, through
from robmon.robustness.engine.rehearsal import TrialRun
from robmon.robustness.engine.trials import Progress, Tally, joined, of_rows, repeated, run_trials
from robmon.robustness.false_matches import Threshold
from robmon.robustness.features.channels import FeatureAxis
from robmon.robustness.features.features import Features
from robmon.robustness.features.whole_numbers import Whole
from robmon.robustness.judged import common_of, judged_trials
from robmon.robustness.noise.base import noise_features
from robmon.robustness.noise.by_name import noise_model, noise_of
from robmon.robustness.noise.masking import count_masked
from robmon.robustness.nonfinite import largest_input, left_out, none_finite, overflows, rows_beyond
from robmon.robustness.notes import embedding_notes, feature_notes
from robmon.robustness.output_kind import output_notes
from robmon.robustness.points import (
    against_targets,
    band_of,
    brier_factor_of,
    curve_points,
    largest_row_error,
    of_all_rows,
    with_embeddings,
)
from robmon.robustness.result import Assessment
from robmon.robustness.specification import Specification
from robmon.robustness.steadiness import in_other_batches, unsteadiness
from robmon.robustness.trial_measures import trial_measures


def assess_rows(
    predictor: Predictor,
    inputs: Array,
    specification: Specification,
    *,
    targets: Any = None,
    scale: Array | float | None = None,
    axis: FeatureAxis | None = None,
    whole: Whole | None = None,
    features: Features | None = None,
    feature_names: Sequence[str] | None = None,
    output_names: Callable[[], Sequence[str]] = tuple,
    seed: int = 0,
    output_variance: Float64 | None = None,
    comparison_variance: Float64 | None = None,
    threshold: Threshold | None = None,
    compare_at: float | Literal["own"] | None = None,
    compare_on: NDArray[np.bool_] | None = None,
    clusters: Sequence[int] | None = None,
    largest_inputs: Float64 | None = None,
    draws_as: str | None = None,
    keeps_trials: bool = False,
    has_own_batches: bool | None = None,
    notes: Sequence[str] = (),
    names_rows: bool = True,
    tells_values: bool = True,
    progress: Progress | None = None,
) -> Assessment:
    """Assess a predictor on rows of inputs.

    Args:
        predictor: the model.
        inputs: shape `(n, *input_shape)`, floating, NumPy array or torch tensor on any device. NaN stays NaN.
        specification: what is done; which columns are whole numbers, which axis counts features and which part of the
            outputs is assessed is settled before, in the arguments below and in the predictor.
        targets: true outputs, of the outputs' size, or classes 0, 1, ... of a model that returns one score a class,
            shape `(n,)`; the reference is then `label`.
        scale: what levels multiply, broadcast to one input row; 1.0: levels are in input units. None: the standard
            deviation (divisor n) of each feature over these inputs, for rank 3 and more over all cells of a feature or
            channel, and indicators and sentinels are not perturbed.
        axis: which axis of the inputs counts features; None: see `channels.choose`.
        whole: which columns of the inputs are whole numbers, which are perturbed in whole steps.
        features: the baseline's features, in the place of those measured on these inputs; not with a scale.
        feature_names: names of the columns of inputs of rank 2, for noise that is given them.
        output_names: asked after the clean pass for each output column's part, where outputs have several.
        seed: fixes the noise: the same for a row, whatever the batches and however many rows follow it.
        output_variance: variances that normalise area and index (the baseline's); None: of these clean outputs.
        comparison_variance: the reference version's variances, for `comparison_row_errors`; of another number of
            outputs there are none.
        threshold: of embeddings whose owner has set none, that of the baseline; None: the quantile of the distances
            between these rows.
        compare_at: of a classifier that is compared, the common confidence, or `own` if it is the reference, which sets
            it (see `robmon.robustness.confidence`); None: it is not compared.
        compare_on: shape `(n,)`, the rows on which a classifier is compared, those that are finite in the reference;
            None: in itself.
        clusters: for each row the request it came from, where several came from one; then requests, not rows, are what
            request bound (one row each), mean bound and standard errors (means) count. None: each row its own.
        largest_inputs: the largest numbers that the model's own input types hold, where those are smaller than the
            inputs' type, broadcast to one input row; what exceeds them is told.
        draws_as: what drew the noise of the assessment with which this one is compared, its `draws`: it draws again,
            where it can, so that both have the same noise. None: as is usual for these inputs.
        keeps_trials: whether row errors at the highest level are kept trial by trial, `trial_row_errors`.
        has_own_batches: whether the model's owner, not a plan, says how many rows it is asked at a time; None: if the
            specification says it. Where a plan does, outputs of other batches are looked at too.
        notes: sentences on what was deduced, left alone or left out before the rows came here.
        names_rows: whether rows that are left out are named by their numbers.
        tells_values: whether notes may tell the values of codes, which are inputs.
        progress: called with the number of trials done and the number of all.

    Rows whose clean output is not finite are left out of every number, and told. Of a version that is compared, and of
    which no row has one, every row counts as a failure.

    Raises:
        InvalidInputError: inputs, targets or an option cannot be used.
        PredictionError: the model returned what is not one output a row, or no finite output for any row.

    >>> weights = np.array([3.0, 4.0])
    >>> inputs = np.random.default_rng(0).normal(size=(100, 2))
    >>> from robmon.robustness.engine.predictor import FunctionPredictor
    >>> model = FunctionPredictor(lambda x, rows: x @ weights)
    >>> result = assess_rows(model, inputs, Specification(levels=(0, 0.1)), scale=1.0, seed=1)
    >>> round(result.slope.value), result.curve[0].bound, result.output
    (26, 0.0, 'value')
    """
    levels, trials, task = specification.levels, specification.trials, specification.task
    check_seed(seed)
    chosen = noise_of(specification, whole)
    is_own = features is None
    seen = on_host(inputs)
    features = noise_features(chosen, seen, scale, features, feature_names, axis, whole)
    told = feature_notes(seen, features, chosen, levels, seed=seed, is_own=is_own, tells_values=tells_values)
    largest = largest_input(inputs) if largest_inputs is None else largest_inputs
    engine = Engine(predictor, inputs, chosen, features, seed, largest, draws_as)
    size = batch_size_of(
        predictor, specification.max_batch_rows, inputs, TrialRun(engine, task).run, passes=trials * len(levels)
    )
    is_compared = not (comparison_variance is None and compare_on is None)
    passed = CleanPass.of(predictor, inputs, size, specification, output_names, is_compared=is_compared)
    predictor, outputs, kind = passed.predictor, passed.outputs, passed.kind
    finite, counted = passed.finite, passed.counted
    masked, perturbed_cells = count_masked(rows_of(seen, counted), features)
    groups = np.arange(len(finite)) if clusters is None else np.asarray(clusters)
    by = trial_measures(
        passed, inputs, specification, groups,
        targets=targets, output_variance=output_variance, comparison_variance=comparison_variance,
        threshold=threshold, compare_at=compare_at, compare_on=compare_on, keeps_trials=keeps_trials, seed=seed,
    )  # fmt: skip

    def run(which: Predictor, at: Sequence[float], times: int, told: Progress | None = None) -> Tally:
        return run_trials(engine.asking(which), by.measures, levels=at, trials=times, size=size, progress=told)

    quiet = _without_noise(lambda which, times: run(which, levels[:1], times), predictor, outputs, by.own, trials)
    is_as_told = bool(specification.max_batch_rows) if has_own_batches is None else has_own_batches
    beside = None if is_as_told else in_other_batches(predictor, inputs, by.measures, by.own, size, levels, quiet)
    every = joined(quiet, run(predictor, levels[1:], trials, progress))
    unsteady = unsteadiness(kind, levels, every, by.own, counted & finite, beside)
    tally = of_rows(every, counted)

    maximum = largest_row_error(rows_of(passed.seen, counted), kind, by.has_targets, specification.distance)
    points = curve_points(
        tally, specification, maximum, groups[counted], counted,
        perturbed_cells=perturbed_cells, has_classes=bool(by.measures.classes) and not by.is_one_class,
        certifies=chosen == noise_model("gaussian"),
        brier_factor=brier_factor_of(passed.clean, kind) if len(tally.same) > 1 else None,
    )  # fmt: skip
    embedding: EmbeddingRows | None = None
    if by.measures.neighbours is not None:
        embedding = embedding_rows(every.near, trials, counted, by.measures.neighbours, by.threshold.note)
        points = with_embeddings(points, tally, embedding, counted, specification.distance)
    means = [errors.transpose(2, 1, 0) / trials for errors in tally.sums]  # (n, levels, weightings)
    row_errors, normalised = means[0][..., 0], means[0][..., 1]
    compared = None if by.weightings < 3 else of_all_rows(every.sums[0][2].T[finite] / trials, finite, math.inf)
    has_area = bool(np.any(by.variance > 0)) and not by.is_one_class
    area = curves.area(normalised.mean(axis=0), levels, chosen.axis) if has_area else None
    clean_mse, ceiling = against_targets(tally, specification) if by.has_targets else (None, None)
    shares = [same.T / trials for same in tally.same]
    lost = left_out(passed.seen, finite, names_rows) if finite.any() else [none_finite(passed.seen)]
    is_some_lost = bool(lost) or any(tally.nonfinite)
    return Assessment(
        curve=points,
        area=area,
        index=None if area is None else 1.0 - area,
        clean_mse=clean_mse,
        own_mse=float(means[by.own][:, 0, 0].mean()),
        label_ceiling=ceiling,
        band=band_of(tally.trial_mse[0], points, specification.confidence),
        reference="label" if by.has_targets else "prediction",
        specification=specification,
        noise=chosen.name,
        level_unit=chosen.level_unit(features.relative, features.axis.word),
        features=features,
        masked=masked,
        rows=int(counted.sum()),
        output=kind,
        seed=seed,
        outputs_without_variance=int(np.sum(by.variance <= 0)),
        output_variance=by.variance,
        clean_variance=by.clean_variance,
        clean_outputs=passed.seen,
        row_errors=of_all_rows(row_errors, counted),
        normalised_row_errors=of_all_rows(normalised, counted),
        comparison_row_errors=compared,
        common=common_of(by.brought, every.sums[by.own + 1 :], trials),
        row_agreement=of_all_rows(shares[0], counted) if shares else None,
        trial_row_errors=every.by_trial,
        embedding=embedding,
        judged_trials=judged_trials(every.weighted, by.measures, by.weightings),
        row_accuracy=of_all_rows(shares[1], counted) if len(shares) > 1 else None,
        clusters=groups,
        finite=finite,
        batch_rows=size.rows,
        out_of_memory_retries=size.retries,
        draws=engine.draws.back_end,
        notes=(
            *output_notes(passed.form, passed.seen if by.is_one_class else None),
            *unsteady,
            *([] if embedding is None else embedding_notes(embedding, int(counted.sum()), passed.without_direction)),
            *notes,
            *told,
            *lost,
            *_overflows(inputs, outputs, largest, tally, levels, is_some_lost),
        ),
        axis=chosen.axis,
        uses_realised_level=features.limits is not None and chosen.unit is None and not chosen.acts_on_images,
    )


def _without_noise(
    run: Callable[[Predictor, int], Tally], predictor: Predictor, outputs: Array, own: int, trials: int
) -> Tally:
    """The trials at level 0, which are all alike where a second clean pass differs from the first by rounding only.

    Args:
        run: so many trials of a model.
        predictor: the model.
        outputs: of the first clean pass.
        own: which measure compares with those.
        trials: how many there are.
    """
    again = run(predictor, 1)
    if not is_rounding(again.sums[own][1]):
        return run(predictor, trials)
    if again.sums[own].any():
        again = run(through(predictor, lambda _, rows: outputs[rows]), 1)
    return repeated(again, trials)


def _overflows(
    inputs: Array,
    outputs: Array,
    largest: Float64 | float | None,
    tally: Tally,
    levels: Sequence[float],
    is_some_lost: bool,
) -> list[str]:
    draws = tally.sums[0].shape[-1] * len(tally.trial_mse[0])
    noisy = {level: count / draws for level, count in zip(levels, tally.beyond, strict=True)}
    clean = 0 if largest is None else rows_beyond(inputs, largest)
    return overflows(largest, outputs.dtype, clean, noisy, is_some_lost)

"""Which features carry the noise error? Shapley values of the game "noise on some groups of features only".

`v(S) = E (f(x + e_S) - f(x))²`, the row error with noise on the groups S alone, under one and the same draw. A group's
Shapley value is its marginal gain, averaged over all orders in which groups are switched on; the values of all groups
add up to the whole noise error exactly (Shapley 1953; in sensitivity analysis: Owen, SIAM/ASA J. Uncertainty
Quantification 2, 2014), which Sobol's total effects do not, and neither do errors of features one at a time.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Final

import numpy as np
from numpy.typing import NDArray

from robmon.errors import InvalidInputError
from robmon.robustness.arrays import Array, Float64
from robmon.robustness.checks import check_seed, check_whole
from robmon.robustness.clean import CleanPass
from robmon.robustness.engine.batch_size import batch_size_of
from robmon.robustness.engine.predictor import Predictor
from robmon.robustness.engine.rehearsal import TrialRun
from robmon.robustness.features.channels import FeatureAxis
from robmon.robustness.features.features import Features
from robmon.robustness.features.whole_numbers import Whole
from robmon.robustness.noise.base import noise_features
from robmon.robustness.noise.by_name import noise_model
from robmon.robustness.nonfinite import largest_input, left_out
from robmon.robustness.probes.attribution_plan import AttributionCost, AttributionPlan, fitted, timed_row
from robmon.robustness.probes.game import Game
from robmon.robustness.probes.groups import MOST_GROUPS, each_alone, largest_alone, owners
from robmon.robustness.probes.shares import Attribution, GroupMoments
from robmon.robustness.probes.switching import SwitchingEngine
from robmon.robustness.specification import Specification
from robmon.robustness.statistics.clusters import cluster_means

PAIRS: Final = 5
"""Orders of switching on, each with its reverse: at 256 rows and 5 groups shares differ by 0.013 between two seeds."""
PASSES: Final = 2 * MOST_GROUPS
"""Of a pair, at most, where robmon chooses the groups."""
ORDERS, SCREEN = 1, 2
"""What seeds other streams than that of the noise."""
Groups = Mapping[str, Sequence[str | int]]


def attribute_rows(
    predictor: Predictor,
    inputs: Array,
    specification: Specification,
    *,
    level: float,
    feature_names: Callable[[FeatureAxis], Sequence[str]],
    groups: Groups | None = None,
    pairs: int = PAIRS,
    scale: Array | float | None = None,
    axis: FeatureAxis | None = None,
    whole: Whole | None = None,
    features: Features | None = None,
    column_names: Sequence[str] | None = None,
    output_names: Callable[[], Sequence[str]] = tuple,
    seed: int = 0,
    clusters: Sequence[int] | None = None,
    largest_inputs: Float64 | None = None,
    draws_as: str | None = None,
    max_seconds: float | None = None,
    notes: Sequence[str] = (),
    names_rows: bool = True,
) -> Attribution:
    """Share the noise error at one level out between groups of features.

    Row errors are those of `assess_rows`: squared changes of the outputs as they are (of logits logits, of
    probabilities probabilities), mean over outputs; of labels 1 where the class changed.

    For each row a random order of the groups and its reverse are run: noise is switched on group by group, and what the
    row error gains at a step is that group's. That takes `2 G - 1` passes a pair for G groups, with a draw of its own
    for each pair. Shares are `mean gain of the group / mean gain of all`; their standard errors, over rows, hold the
    chance of orders and draws too, since both are each row's own.

    Args:
        predictor, inputs, specification: as in `assess_rows`; of the specification's levels and trials nothing is used.
        level: the noise level, above 0.
        feature_names: given the axis that counts features: their names.
        groups: features by name or position; None: each feature alone, of more than eight the seven that move outputs
            most one at a time, in one draw, and all others together.
        pairs: orders, each with its reverse.
        scale, axis, whole, features, output_names, seed, clusters, largest_inputs, draws_as: as in `assess_rows`.
        column_names: names of the columns of inputs of rank 2, for noise that is given them.
        max_seconds: time budget: fewer pairs and then fewer rows are run where all take longer.
        notes, names_rows: as in `assess_rows`.

    Raises:
        InvalidInputError: an option cannot be used; or noise at this level changes nothing, or makes outputs that are
            not finite, so that there is nothing to share out.
        OverBudgetError: not even the fewest rows with one pair fit into the budget.
        PredictionError: the model returned what is not one output a row.

    >>> from robmon.robustness.engine.predictor import FunctionPredictor
    >>> inputs = np.random.default_rng(0).normal(size=(256, 2))
    >>> model = FunctionPredictor(lambda x, rows: x @ np.array([3.0, 1.0]))
    >>> options = {"level": 0.1, "scale": 1.0, "feature_names": lambda axis: ("a", "b")}
    >>> attribute_rows(model, inputs, Specification(), **options).share.round(1).tolist()
    [0.9, 0.1]
    """
    began = time.perf_counter()
    specification = replace(specification, levels=(0.0, check_level(level)))
    check_seed(seed)
    check_whole(pairs, "pairs")
    if pairs < 1:
        raise InvalidInputError(f"at least 1 pair of orders is needed, not {pairs}")
    noise = noise_model(specification.noise)
    if noise.acts_on_images:
        raise InvalidInputError(
            f"{noise.name} noise acts on whole pictures: what it moves cannot be shared out between features"
        )
    features = noise_features(noise, inputs, scale, features, column_names, axis, whole)
    names, is_moved = tuple(feature_names(features.axis)), _moved(features, tuple(inputs.shape))
    chosen = None if groups is None else owners(groups, names, is_moved)
    if chosen is None and is_moved.sum() <= MOST_GROUPS:
        chosen = each_alone(names, is_moved)
    largest = largest_input(inputs) if largest_inputs is None else largest_inputs

    def engine_of(rows: Array, own_seed: int) -> SwitchingEngine:
        every = np.ones((1, len(names)), dtype=np.bool_)
        return SwitchingEngine(
            level, lambda step, trials, rows: every, predictor=predictor, inputs=rows, noise=noise, features=features,
            seed=own_seed, largest=largest, draws_as=draws_as,
        )  # fmt: skip

    whole_run = TrialRun(engine_of(inputs, seed), specification.task)
    size = batch_size_of(predictor, specification.max_batch_rows, inputs, whole_run.run, passes=pairs * PASSES)
    cost = AttributionCost(len(chosen.names) if chosen else MOST_GROUPS, 0 if chosen else int(is_moved.sum()))
    plan = asked = AttributionPlan(int(inputs.shape[0]), pairs)
    if max_seconds is not None:
        row_seconds = timed_row(whole_run, min(size.rows, plan.rows), predictor.rows_per_second)
        plan = fitted(plan, cost, row_seconds, max_seconds, time.perf_counter() - began)
    inputs = inputs[: plan.rows]
    passed = CleanPass.of(predictor, inputs, size, specification, output_names)
    if chosen is None:
        screened = inputs[: cost.screened_rows(plan.rows)]
        game = Game(engine_of(screened, _other(seed)).asking(passed.predictor), passed, size)
        chosen = largest_alone(names, is_moved, game.one_at_a_time(is_moved))
    game = Game(engine_of(inputs, seed).asking(passed.predictor), passed, size)
    origins = (np.arange(plan.rows) if clusters is None else np.asarray(clusters)[: plan.rows])[passed.counted]
    gains = game.gains(chosen, plan.pairs, np.random.SeedSequence([seed, ORDERS]))
    return Attribution.of(
        GroupMoments.of(cluster_means(gains, origins)),
        chosen,
        level=level,
        noise=noise.name,
        output=passed.kind,
        rows=len(gains),
        pairs=plan.pairs,
        seed=seed,
        cut=plan.cut_from(asked),
        notes=(passed.form.note, *notes, *left_out(passed.seen, passed.finite, names_rows), *game.notes),
    )


def check_level(level: float) -> float:
    """The level, refused where it is no number above 0."""
    if not (isinstance(level, (int, float, np.number)) and math.isfinite(level) and level > 0):
        raise InvalidInputError(f"the level of an attribution must be a finite number above 0, not {level!r}")
    return float(level)


def _moved(features: Features, shape: tuple[int, ...]) -> NDArray[np.bool_]:
    """Which features noise moves in any cell, shape `(features,)`."""
    cells = np.broadcast_to(np.asarray(features.scale) > 0, (1, *shape[1:]))
    columns: NDArray[np.bool_] = np.asarray(np.any(features.axis.by_column(cells), axis=0))
    of = features.axis.feature_of
    return columns if of is None else np.asarray(np.bincount(of, columns) > 0)


def _other(seed: int) -> int:
    """Another seed: features that are chosen for what one draw did would keep it in their shares."""
    return int(np.random.SeedSequence([seed, SCREEN]).generate_state(1, np.uint64)[0])

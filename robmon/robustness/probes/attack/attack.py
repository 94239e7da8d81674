"""Attack rows: every attack at every radius, each row's worst, each witness asked for again."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from robmon.errors import InvalidInputError
from robmon.robustness.arrays import Array, Float64, as_float64, numbers, to_numpy
from robmon.robustness.checks import check_seed
from robmon.robustness.clean import CleanPass
from robmon.robustness.engine.batch_size import BatchSize
from robmon.robustness.engine.predictor import Predictor
from robmon.robustness.engine.trials import Progress
from robmon.robustness.features.features import Features, fitting
from robmon.robustness.noise.masking import untouched
from robmon.robustness.outputs import classes_of, same_classes
from robmon.robustness.probes.attack.asking import ForRows, asking
from robmon.robustness.probes.attack.ball import Ball, Norm, check_ball
from robmon.robustness.probes.attack.doubts import doubts, gradient_health
from robmon.robustness.probes.attack.result import Attack
from robmon.robustness.probes.attack.runs import ATTACKS, NO_GRADIENT, WHITE, IsOver, Outside, Runs, check_runs
from robmon.robustness.probes.attack.target import Slope, Target
from robmon.robustness.probes.attack.witnesses import Witnesses
from robmon.robustness.specification import Specification
from robmon.robustness.targets import targets_like

__all__ = ["ATTACKS", "WHITE", "attack_rows"]

BATCH_ROWS: Final = 256
CUT: Final = "the time budget of {:g} s ended attacks early: more rows may flip"
SlopeOf = Callable[[NDArray[Any], Any, int], Slope | None]
"""Makes the gradient, of the rows' classes, kind of outputs and rows of a batch; None: there is none."""


def attack_rows(
    predictor: Predictor,
    inputs: Array,
    specification: Specification,
    *,
    features: Features,
    radii: Sequence[float],
    norm: Norm = "inf",
    attacks: Sequence[str] = ("pgd", "square", "random"),
    targets: Any = None,
    clip: tuple[Any, Any] | None = None,
    frozen: Sequence[str | int] = (),
    steps: int = 20,
    restarts: int = 3,
    queries: int = 500,
    seed: int = 0,
    slope_of: SlopeOf | None = None,
    substitute_slope_of: SlopeOf | None = None,
    outside: Mapping[str, Outside] | None = None,
    is_free: bool = False,
    for_rows: ForRows | None = None,
    output_names: Callable[[], Sequence[str]] = tuple,
    max_seconds: float | None = None,
    notes: Sequence[str] = (),
    progress: Progress | None = None,
    expect: Callable[[float], None] | None = None,
) -> Attack:
    """Look for moves that change the model's own class of each row, within each radius.

    Args:
        predictor: the model.
        inputs: shape `(n, *input_shape)`, floating.
        specification: task and outputs.
        features: whose scale is the unit of radii; what they set apart is left alone, whole numbers move by whole ones
            within their limits.
        radii: above 0.
        norm: `inf`: each cell moves by at most the radius; `2`: the root of the sum of squares does.
        attacks: some of `ATTACKS` and of the names in `outside`; those that need a gradient are left out where there is
            none, which is told.
        targets: the true classes, for the accuracy.
        clip: the valid range, each end one number, one a feature, or None.
        frozen: features that are left alone, by name or position.
        steps: of each descent of `pgd` and `transfer`.
        restarts: descents of these; `minimal` goes as many steps as they have in all of them, in one descent.
        queries: of each row, by `square` and `random` each.
        seed: fixes all that is drawn.
        slope_of: makes the gradient; None: there is none.
        substitute_slope_of: that of another model, for `transfer`.
        outside: attacks of other libraries, by name.
        is_free: whether the model's answer for a row depends on the row of the array alone, so that rows can be asked
            about in any order.
        for_rows: where it is not, makes the predictor of some of the rows; None: it is asked about whole batches.
        output_names: as in `assess_rows`.
        max_seconds: time budget: what is not tried by then is not tried.
        notes: sentences on what was deduced before.
        progress: told of the attacks that are done, one a radius; one that has no radius counts once.
        expect: told once how many seconds attacks take at most, by a pass over the rows that was timed.

    Raises:
        InvalidInputError: an option cannot be used, nothing can be moved, or the outputs are no classes.
        PredictionError: the model returned what is not one output a row.
    """
    began, outside = time.monotonic(), outside or {}
    tried = check_ball(radii, norm)
    check_runs(attacks, outside, steps=steps, restarts=restarts, queries=queries)
    check_seed(seed)
    size = BatchSize(specification.max_batch_rows or predictor.max_batch_rows or BATCH_ROWS, predictor.device)
    passed = CleanPass.of(predictor, inputs, size, specification, output_names)
    kind = passed.kind
    if kind == "value":
        raise InvalidInputError("an attack changes classes: the task must be classification")
    classes = to_numpy(classes_of(passed.clean, kind))
    right = None if targets is None else _right(targets, passed, classes, specification.task)
    ask = asking(passed, inputs, size, is_free=is_free, for_rows=for_rows)
    target = Target(ask, classes, kind, len(classes))
    slope, substitute = (
        None if make is None else make(classes, kind, size.rows)
        for make in (None if kind == "label" else slope_of, substitute_slope_of)
    )
    runs = Runs(target, slope, substitute, _picture(features, inputs), steps, restarts, queries, tried[-1], outside)
    chosen, ball = runs.chosen(attacks), _ball(inputs, features, clip, frozen, norm)
    counted = np.flatnonzero(passed.counted)
    timed = time.monotonic()
    told = [*passed.notes, *notes, *doubts(target, ball, counted)]
    if expect is not None:
        passes = sum(runs.passes(name) for name, _, _ in _all_runs(runs, tried, chosen))
        expect(min(max_seconds or math.inf, passes * (time.monotonic() - timed)))
    told += [f"{NO_GRADIENT}: it is asked for answers alone"] if slope is None else []
    witnesses = Witnesses(ball, tried, chosen)
    cut = _attack(runs, witnesses, ball, tried, chosen, counted, seed, _Clock(began, max_seconds), progress)
    flipped = witnesses.flipped
    gradient, masked = gradient_health(runs, witnesses.lost, counted)
    return Attack(
        norm=norm,
        radii=tried,
        agreement=1.0 - flipped[counted].mean(axis=0),
        by_attack={name: 1.0 - each[counted].mean(axis=0) for name, each in witnesses.lost.items()},
        accuracy=None if right is None else (right[counted, None] & ~flipped[counted]).mean(axis=0),
        flipped=flipped,
        gradient=gradient,
        masked=masked,
        queries=target.queries,
        rows=len(counted),
        seed=seed,
        witnesses=witnesses.points.reshape(len(tried), *map(int, inputs.shape)),
        cut=cut,
        notes=tuple(told),
        minimal_distance=witnesses.distances,
        counted=passed.counted,
        unit=_unit(features),
    )


class _Clock:
    """The time budget, shared out between attacks: what one leaves is the next one's."""

    def __init__(self, began: float, max_seconds: float | None) -> None:
        self.began, self.max_seconds, self.cut = began, max_seconds, ""

    def until(self, share: float) -> IsOver:
        """Whether that share of the time is over."""
        if self.max_seconds is None:
            return lambda: False
        limit, cut = share * self.max_seconds, CUT.format(self.max_seconds)

        def is_over() -> bool:
            over = time.monotonic() - self.began >= limit
            self.cut = self.cut or (cut if over else "")
            return over

        return is_over


def _attack(
    runs: Runs,
    witnesses: Witnesses,
    ball: Ball,
    radii: Float64,
    chosen: Sequence[str],
    counted: NDArray[np.int64],
    seed: int,
    clock: _Clock,
    progress: Progress | None,
) -> str:
    """Fill in the witnesses; what the time budget cut, in words."""
    all_runs = list(_all_runs(runs, radii, chosen))
    count = len(all_runs) + 1
    for done, (name, radius, seeds) in enumerate(all_runs):
        if progress is not None:
            progress(done, count)
        index = -1 if math.isinf(radius) else int(np.searchsorted(radii, radius))
        rows = counted if index < 0 else counted[~witnesses.lost[name][counted, index]]
        if rows.size:
            part = ball.within(radius).of(rows)
            generator = np.random.default_rng([seed, *seeds])
            moves = runs.moves(name, part, rows, generator, clock.until((done + 1) / count))
            witnesses.take(name, part.points(moves), rows, runs.target)
    witnesses.draw_back(runs.target, clock.until(1.0))
    if progress is not None:
        progress(count, count)
    return clock.cut


def _all_runs(runs: Runs, radii: Float64, chosen: Sequence[str]) -> Iterator[tuple[str, float, tuple[int, int]]]:
    """Name, radius (infinite: it has none) and seeds of each run: first those that have no radius."""
    for place, name in enumerate(chosen):
        if runs.has_no_radius(name):
            yield name, math.inf, (len(radii), place)
    for index, radius in enumerate(radii):
        for place, name in enumerate(chosen):
            if not runs.has_no_radius(name):
                yield name, float(radius), (index, place)


def _ball(
    inputs: Array, features: Features, clip: tuple[Any, Any] | None, frozen: Sequence[str | int], norm: Norm
) -> Ball:
    """The ball around each row within which nothing is too far.

    Raises:
        InvalidInputError: nothing can be moved, or clip is no range.
    """
    rows, exact = int(inputs.shape[0]), to_numpy(as_float64(inputs))
    scale = np.where(untouched(exact, features), 0.0, np.broadcast_to(features.scale, exact.shape))
    columns = features.axis.columns(exact.shape)
    held = np.zeros(columns, dtype=bool)
    for feature in frozen:
        held[features.position(feature, columns)] = True
    scale = np.where(held.reshape(features.axis.scale_shape(exact.shape)), 0.0, scale)
    if not scale.any():
        raise InvalidInputError("nothing can be moved: all features are constant, frozen or no measurements")
    low, high = _range(clip, exact.shape, features)
    whole = np.zeros(exact.shape, dtype=bool)
    if features.limits is not None:
        limits = np.broadcast_to(features.limits[:, None], (2, *exact.shape))
        whole = ~np.isnan(limits[0])
        low, high = np.fmax(low, limits[0]), np.fmin(high, limits[1])
    low, high = np.where(whole, np.ceil(low), low), np.where(whole, np.floor(high), high)
    centre, scale, low, high = (each.reshape(rows, -1).astype(np.float64) for each in (exact, scale, low, high))
    dtype = to_numpy(inputs[:0]).dtype
    return Ball(centre, scale, low, high, whole.reshape(rows, -1), norm, np.full((rows, 1), math.inf), dtype)


def _range(clip: tuple[Any, Any] | None, shape: tuple[int, ...], features: Features) -> tuple[Float64, Float64]:
    """The low and the high end of each cell, infinite where there is none."""
    if clip is not None and (not isinstance(clip, tuple | list) or len(clip) != 2):
        raise InvalidInputError("clip is a pair: the low and the high end of the valid range, or None")
    ends = [
        np.full(shape, beyond)
        if end is None
        else np.broadcast_to(fitting(numbers(end, "clip"), shape, "clip", features.axis), shape)
        for end, beyond in zip(clip or (None, None), (-math.inf, math.inf), strict=True)
    ]
    return ends[0], ends[1]


def _picture(features: Features, inputs: Array) -> tuple[tuple[int, ...], int | None]:
    """The shape of a row, and the axis of its channels where it is a picture."""
    shape, axis = tuple(int(length) for length in inputs.shape[1:]), features.axis.axis
    return shape, axis - 1 if len(shape) == 3 and axis in (1, 3) else None


def _unit(features: Features) -> str:
    """What radii count."""
    if not features.relative:
        return "input units"
    return f"standard deviations of each {features.axis.word}" if features.sets_apart else "the given scale"


def _right(targets: Any, passed: CleanPass, classes: NDArray[Any], task: str) -> NDArray[np.bool_]:
    truth = classes_of(targets_like(targets, passed.outputs, passed.clean, passed.kind, task), passed.kind)
    return np.asarray(to_numpy(same_classes(classes, to_numpy(truth), passed.kind)), dtype=bool)

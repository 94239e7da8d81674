"""Attack rows: every attack at every radius, each row's worst, each witness asked for again."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from robmon.errors import InvalidInputError
from robmon.robustness.arrays import (
    Array,
    Float64,
    as_float64,
    batches,
    concatenation,
    like,
    namespace,
    numbers,
    to_numpy,
)
from robmon.robustness.checks import check_seed, check_whole, check_word
from robmon.robustness.clean import CleanPass
from robmon.robustness.engine.batch_size import BatchSize
from robmon.robustness.engine.predictor import Predictor
from robmon.robustness.engine.trials import Progress
from robmon.robustness.features.features import Features, fitting
from robmon.robustness.noise.masking import untouched
from robmon.robustness.outputs import classes_of, same_classes
from robmon.robustness.probes.attack.ball import NORMS, Ball, Norm
from robmon.robustness.probes.attack.black import coordinates, search, squares
from robmon.robustness.probes.attack.result import Attack, Gradient
from robmon.robustness.probes.attack.target import Ask, Slope, Target
from robmon.robustness.probes.attack.white import descend
from robmon.robustness.specification import Specification
from robmon.robustness.targets import targets_like

ATTACKS: Final = ("pgd", "fgsm", "square", "random")
WHITE: Final = frozenset({"pgd", "fgsm"})
"""Those that follow the gradient."""
HIDDEN: Final = 0.02
"""Share of the rows that attacks without the gradient may flip alone before it is said to hide something."""
BATCH_ROWS: Final = 256
NO_GRADIENT: Final = "the model has no gradient"
CUT: Final = "the time budget of {:g} s ended attacks early: more rows may flip"


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
    slope_of: Callable[[NDArray[Any], Any, int], Slope] | None = None,
    is_free: bool = False,
    output_names: Callable[[], Sequence[str]] = tuple,
    max_seconds: float | None = None,
    notes: Sequence[str] = (),
    progress: Progress | None = None,
) -> Attack:
    """Look for moves that change the model's own class of each row, within each radius.

    Args:
        predictor: the model.
        inputs: shape `(n, *input_shape)`, floating.
        specification: task and outputs.
        features: whose scale is the unit of radii; what they set apart is left alone, whole numbers too.
        radii: above 0.
        norm: `inf`: each cell moves by at most the radius; `2`: the root of the sum of squares does.
        attacks: `pgd`, `fgsm`, `square`, `random`.
        targets: the true classes, for the accuracy.
        clip: the valid range, each end one number, one a feature, or None.
        frozen: features that are left alone, by name or position.
        steps: of each descent of `pgd`.
        restarts: descents of `pgd`.
        queries: of each row, by `square` and `random` each.
        seed: fixes all that is drawn.
        slope_of: makes the gradient, of the rows' classes, kind of outputs and rows of a batch; None: there is none.
        is_free: whether the model's answer for a row depends on the row of the array alone, so that rows can be asked
            about in any order.
        output_names: as in `assess_rows`.
        max_seconds: time budget: what is not tried by then is not tried.
        notes: sentences on what was deduced before.
        progress: told of the attacks that are done, one a radius.

    Raises:
        InvalidInputError: an option cannot be used, nothing can be moved, or the outputs are no classes.
        PredictionError: the model returned what is not one output a row.
    """
    began, tried = time.monotonic(), _checked(radii, norm, attacks, steps, restarts, queries)
    check_seed(seed)
    size = BatchSize(specification.max_batch_rows or predictor.max_batch_rows or BATCH_ROWS)
    passed = CleanPass.of(predictor, inputs, size, specification, output_names)
    kind = passed.kind
    if kind == "value":
        raise InvalidInputError("an attack changes classes: the task must be classification")
    classes = to_numpy(classes_of(passed.clean, kind))
    right = None if targets is None else _right(targets, passed, classes, specification.task)
    target = Target(_asking(passed.predictor, inputs, size, is_free=is_free), classes, kind, len(classes))
    slope = None if slope_of is None or kind == "label" else slope_of(classes, kind, size.rows)
    chosen = [name for name in attacks if slope is not None or name not in WHITE]
    if not chosen:
        raise InvalidInputError(f"{NO_GRADIENT}: choose square or random")
    runs = _Runs(target, slope, _pictures(features, inputs), steps, restarts, queries)
    ball = _ball(inputs, features, clip, frozen, norm)
    counted = np.flatnonzero(passed.counted)
    told = [passed.form.note, *notes, *_doubts(target, ball, counted)]
    told += [f"{NO_GRADIENT}: it is asked for answers alone"] if slope is None else []
    lost = {name: np.zeros((len(classes), len(tried)), dtype=bool) for name in chosen}
    count = len(tried) * len(chosen)
    found, witnesses, cut = ball.points(np.zeros_like(ball.centre)), [], ""
    for index, radius in enumerate(tried):
        for place, name in enumerate(chosen):
            done = index * len(chosen) + place
            is_over = _deadline(began, max_seconds, (done + 1) / count)
            if index:  # what flips within a ball flips within any larger one
                lost[name][:, index] = lost[name][:, index - 1]
            rows = counted[~lost[name][counted, index]]
            if progress is not None:
                progress(done, count)
            if not rows.size:
                continue
            part = replace(ball, radius=float(radius)).of(rows)
            points = part.points(runs.moves(name, part, rows, np.random.default_rng([seed, index, place]), is_over))
            # Seen once more: no attack is believed.
            flipped = target.margins(points, rows) < 0
            is_new = flipped & ~np.any([each[rows, : index + 1].any(axis=1) for each in lost.values()], axis=0)
            found[rows[is_new]] = points[is_new]
            lost[name][rows[flipped], index] = True
            cut = cut or ("" if max_seconds is None or not is_over() else CUT.format(max_seconds))
        witnesses.append(found.copy())
    if progress is not None:
        progress(count, count)
    flipped = np.any(list(lost.values()), axis=0)
    gradient: Gradient = "none"
    if slope is not None and WHITE & set(chosen):
        gradient = "ok" if runs.has_slope[counted].mean() > 0.5 else "zero"
    return Attack(
        norm=norm,
        radii=tried,
        agreement=1.0 - flipped[counted].mean(axis=0),
        by_attack={name: 1.0 - each[counted].mean(axis=0) for name, each in lost.items()},
        accuracy=None if right is None else (right[counted, None] & ~flipped[counted]).mean(axis=0),
        flipped=flipped,
        gradient=gradient,
        masked=gradient == "zero" or (gradient == "ok" and _hides({name: lost[name][counted] for name in chosen})),
        queries=target.queries,
        rows=len(counted),
        seed=seed,
        witnesses=np.stack(witnesses).reshape(len(tried), *map(int, inputs.shape)),
        cut=cut,
        notes=tuple(told),
    )


@dataclass
class _Runs:
    """Runs attacks by name."""

    target: Target
    slope: Slope | None
    picture: tuple[tuple[int, ...], int | None]
    steps: int
    restarts: int
    queries: int

    def __post_init__(self) -> None:
        self.has_slope = np.zeros(len(self.target.queries), dtype=bool)

    def moves(
        self,
        name: str,
        ball: Ball,
        rows: NDArray[np.int64],
        generator: np.random.Generator,
        is_over: Callable[[], bool],
    ) -> Float64:
        """What one attack found of rows within their ball."""
        if name in WHITE and self.slope is not None:
            steps, restarts = (self.steps, self.restarts) if name == "pgd" else (1, 1)
            moves, has_slope = descend(
                ball, self.target, self.slope, rows,
                steps=steps, restarts=restarts, generator=generator, is_over=is_over,
            )  # fmt: skip
            self.has_slope[rows] |= has_slope
            return moves
        propose = coordinates(ball, self.target.has_scores) if name == "random" else squares(ball, *self.picture)
        return search(ball, self.target, rows, propose, queries=self.queries, generator=generator, is_over=is_over)


def _checked(
    radii: Sequence[float], norm: str, attacks: Sequence[str], steps: int, restarts: int, queries: int
) -> Float64:
    """The radii, rising."""
    found = np.unique(numbers(radii, "radii"))
    if not found.size or not np.all(np.isfinite(found)) or found[0] <= 0:
        raise InvalidInputError("radii must be finite numbers above 0")
    check_word("norm", norm, NORMS)
    if isinstance(attacks, str) or not attacks:
        raise InvalidInputError(f"attacks are some of {', '.join(ATTACKS)}")
    for name in attacks:
        check_word("attack", name, ATTACKS)
    for name, count in (("steps", steps), ("restarts", restarts), ("queries", queries)):
        check_whole(count, name)
        if count < 1:
            raise InvalidInputError(f"{name} must be at least 1, not {count}")
    return found


def _asking(predictor: Predictor, inputs: Array, size: BatchSize, *, is_free: bool) -> Ask:
    """The model, asked about points that come from any rows.

    A model that is given more than the array, such as other columns of a table, is asked about whole batches of rows in
    their order.
    """
    xp, shape = namespace(inputs), tuple(inputs.shape[1:])

    def of(points: NDArray[Any]) -> Array:
        return xp.astype(like(points.reshape(-1, *shape), inputs), inputs.dtype, copy=False)

    def ask(points: NDArray[Any], rows: NDArray[np.int64]) -> Array:
        if is_free:
            parts = batches(len(rows), size.rows)
            return concatenation([predictor.predict(of(points[part].copy()), part) for part in parts])
        answers = []
        for part in batches(int(inputs.shape[0]), size.rows):
            here = (rows >= part.start) & (rows < part.stop)
            if here.any():
                x = to_numpy(inputs[part]).reshape(part.stop - part.start, -1).copy()
                x[rows[here] - part.start] = points[here]
                answers.append(predictor.predict(of(x), part)[rows[here] - part.start])
        return concatenation(answers)

    return ask


def _ball(
    inputs: Array, features: Features, clip: tuple[Any, Any] | None, frozen: Sequence[str | int], norm: Norm
) -> Ball:
    """The ball of radius 1 around each row.

    Raises:
        InvalidInputError: nothing can be moved, or clip is no range.
    """
    rows, exact = int(inputs.shape[0]), to_numpy(as_float64(inputs))
    scale = np.where(untouched(exact, features), 0.0, np.broadcast_to(features.scale, exact.shape))
    if features.limits is not None:
        scale = np.where(np.isnan(features.limits[0]), scale, 0.0)
    columns = features.axis.columns(exact.shape)
    held = np.zeros(columns, dtype=bool)
    for feature in frozen:
        held[features.position(feature, columns)] = True
    scale = np.where(held.reshape(features.axis.scale_shape(exact.shape)), 0.0, scale)
    if not scale.any():
        raise InvalidInputError("nothing can be moved: all features are constant, frozen or no measurements")
    if clip is not None and (not isinstance(clip, tuple | list) or len(clip) != 2):
        raise InvalidInputError("clip is a pair: the low and the high end of the valid range, or None")
    ends = [
        np.full(exact.shape, beyond)
        if end is None
        else np.broadcast_to(fitting(numbers(end, "clip"), exact.shape, "clip", features.axis), exact.shape)
        for end, beyond in zip(clip or (None, None), (-math.inf, math.inf), strict=True)
    ]
    centre, scale, low, high = (each.reshape(rows, -1).astype(np.float64) for each in (exact, scale, *ends))
    return Ball(centre, scale, low, high, norm, 1.0, to_numpy(inputs[:0]).dtype)


def _pictures(features: Features, inputs: Array) -> tuple[tuple[int, ...], int | None]:
    """The shape of a row, and the axis of its channels where it is a picture."""
    shape, axis = tuple(int(length) for length in inputs.shape[1:]), features.axis.axis
    return shape, axis - 1 if len(shape) == 3 and axis in (1, 3) else None


def _doubts(target: Target, ball: Ball, rows: NDArray[np.int64]) -> list[str]:
    """What makes witnesses say less: a model that is itself random, and rows outside the valid range."""
    part = ball.of(rows)
    lost = float(np.mean(target.margins(part.points(np.zeros_like(part.centre)), rows) < 0))
    outside = float(np.mean(np.any((part.centre < part.low) | (part.centre > part.high), axis=1)))
    doubts = []
    if lost:
        doubts.append(
            f"the model is itself random: {100 * lost:.3g} % of the rows changed their class in a second call, "
            "unmoved, so that a witness may be chance"
        )
    if outside:
        doubts.append(
            f"{100 * outside:.3g} % of the rows lie outside the valid range (clip) by themselves, and move no further "
            "out"
        )
    return doubts


def _right(targets: Any, passed: CleanPass, classes: NDArray[Any], task: str) -> NDArray[np.bool_]:
    truth = classes_of(targets_like(targets, passed.outputs, passed.clean, passed.kind, task), passed.kind)
    return np.asarray(to_numpy(same_classes(classes, to_numpy(truth), passed.kind)), dtype=bool)


def _hides(lost: dict[str, NDArray[np.bool_]]) -> bool:
    """Whether attacks without the gradient flip rows that those with it do not, at some radius."""
    white = np.any([found for name, found in lost.items() if name in WHITE], axis=0)
    alone = np.any([found for name, found in lost.items() if name not in WHITE] or [np.zeros_like(white)], axis=0)
    return bool(np.any((alone & ~white).mean(axis=0) > HIDDEN))


def _deadline(began: float, max_seconds: float | None, share: float) -> Callable[[], bool]:
    """Whether an attack has used up its share of the time, and what those before it have left."""
    if max_seconds is None:
        return lambda: False
    return lambda: time.monotonic() - began >= share * max_seconds

"""The game that is shared out: row errors of a model with noise on some features only."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from robmon.errors import InvalidInputError
from robmon.robustness.arrays import Array, Float64, to_numpy
from robmon.robustness.clean import CleanPass, is_rounding
from robmon.robustness.engine.batch_size import BatchSize
from robmon.robustness.engine.reduction import Measures
from robmon.robustness.engine.trials import trial_values
from robmon.robustness.outputs import RowErrors, normalising_weights, output_variance
from robmon.robustness.probes.groups import FeatureGroups
from robmon.robustness.probes.switching import Switch, SwitchingEngine


class Game:
    """Row errors, as `assess_rows` has them, of the first rows of a clean pass.

    Args:
        engine: of those rows.
        passed: the clean pass.
        size: of batches; it becomes smaller where memory runs out.
    """

    def __init__(self, engine: SwitchingEngine, passed: CleanPass, size: BatchSize) -> None:
        rows = int(engine.inputs.shape[0])
        clean, kind = passed.clean[:rows], passed.kind
        weights = [passed.weights, normalising_weights(output_variance(passed.seen[:rows], kind), kind)]
        self._counted = passed.counted[:rows]
        self._measures = Measures(kind, [RowErrors(clean, weights)], [], self._counted)
        self._engine, self._size = engine, size

    @cached_property
    def is_random(self) -> bool:
        """Whether outputs change without noise by more than rounding."""
        values = [to_numpy(each) for _, each in self._values(self._engine, [0], 1)]
        return not is_rounding(values[0][0, 1, 0][self._counted])

    @property
    def notes(self) -> list[str]:
        """What there is to say of a model that is itself random."""
        return (
            ["the model is itself random: what outputs change without noise is in no share"] if self.is_random else []
        )

    def one_at_a_time(self, is_moved: NDArray[np.bool_]) -> Float64:
        """Mean row error with noise on one feature alone, in one trial; shape `(features,)`, 0 for those not moved."""
        moved = np.flatnonzero(is_moved)

        def switch(step: int, trials: Sequence[int], rows: slice) -> NDArray[np.bool_]:
            return np.asarray(np.arange(len(is_moved)) == moved[step - 1])[None]

        steps = range(1, len(moved) + 1)
        values = [to_numpy(each) for _, each in self._values(self._engine.switched_by(switch), steps, 1)]
        sizes = np.zeros(len(is_moved))
        sizes[moved] = values[0][:, 0, 0][:, self._counted].mean(axis=1)
        return sizes

    def gains(self, groups: FeatureGroups, pairs: int, seed: np.random.SeedSequence) -> Float64:
        """What the row error gains by each group, mean over orders: shape `(rows that count, groups)`.

        For each row and pair noise is switched on group by group in a random order, then, under the same draw, in its
        reverse. Of a model that is itself random what it moves without noise, measured in each pair, is subtracted.

        Raises:
            InvalidInputError: an output is not finite under noise.
        """
        rows, count = int(self._engine.inputs.shape[0]), len(groups.names)
        # Row by row, so that the orders of a row do not depend on how many follow.
        streams = [np.random.Generator(np.random.Philox(child)) for child in seed.spawn(pairs)]
        ranks = np.array([stream.random((rows, count)).argsort(axis=1).argsort(axis=1) for stream in streams])
        engine = self._engine.switched_by(_by_order(ranks, groups))
        quiet = [0] if self.is_random else []
        ranks_counted = ranks[:, self._counted]
        total = np.zeros((count, ranks_counted.shape[1]))
        for trials, values in self._values(engine, [*quiet, *range(1, 2 * count)], pairs):
            errors = to_numpy(values)[:, 0][..., self._counted]  # (steps, trials, rows)
            if not np.all(np.isfinite(errors)):
                raise InvalidInputError(
                    "noise at this level makes outputs that are not finite: an infinite error has no shares, give a "
                    "lower level"
                )
            start = errors[:1] if quiet else np.zeros_like(errors[:1])
            noisy = errors[len(quiet) :]
            there = np.diff(np.concatenate([start, noisy[:count]]), axis=0)
            back = np.diff(np.concatenate([start, noisy[count:], noisy[count - 1 : count]]), axis=0)
            at = np.moveaxis(ranks_counted[list(trials)], -1, 0)  # (groups, trials, rows)
            gained = np.take_along_axis(there, at, axis=0) + np.take_along_axis(back, count - 1 - at, axis=0)
            total += gained.sum(axis=1)
        return np.asarray(total.T / (2 * pairs))

    def _values(self, engine: SwitchingEngine, steps: Sequence[int], trials: int) -> Iterator[tuple[range, Array]]:
        return trial_values(engine, self._measures, levels=steps, trials=trials, size=self._size)


def _by_order(ranks: NDArray[np.intp], groups: FeatureGroups) -> Switch:
    """At step k of G the first k groups of each row's order are on; at step G + k the last k are.

    Args:
        ranks: shape `(trials, rows, groups)`, the place of each group in the order.
        groups: the groups.
    """
    count = len(groups.names)

    def switch(step: int, trials: Sequence[int], rows: slice) -> NDArray[np.bool_]:
        place = ranks[list(trials), rows].reshape(-1, count)
        is_on = place < step if step <= count else count - 1 - place < step - count
        off = np.zeros((len(is_on), 1), dtype=np.bool_)  # where those in no group point to, with -1
        return np.concatenate([is_on, off], axis=1)[:, groups.of_feature]

    return switch

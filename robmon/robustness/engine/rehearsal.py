"""Batches that are run as trials run them, to see what they take."""

from __future__ import annotations

import itertools
from typing import Final

import numpy as np

from robmon.robustness.arrays import Array, check_rows, like, to_numpy, wait_for
from robmon.robustness.confidence import TemperedErrors
from robmon.robustness.embeddings import GALLERY_ROWS, Neighbours
from robmon.robustness.engine.batch import Engine
from robmon.robustness.engine.reduction import Measures, Reduced, RowMeasure
from robmon.robustness.outputs import RowErrors, classes_of, flatten, is_numeric, mean_weights
from robmon.vocabulary import OutputKind

REHEARSED_LEVEL: Final = 0.1


class Rehearsal:
    """Measures that cost what those of an assessment do, where nothing is known yet: the first outputs of so many rows
    are the reference of all that follow.

    Args:
        task: `regression`, `classification` or `embedding`.
        rows: that are assessed.
    """

    def __init__(self, task: str, rows: int) -> None:
        self._task, self._rows = task, rows
        self._measures: Measures | None = None
        self._count = 0

    def reduce(self, outputs: Array, rows: slice, copies: int = 1) -> Reduced:
        """As `Measures.reduce`, of rows that begin with the first."""
        count = copies * (rows.stop - rows.start)
        outputs = check_rows(outputs, count)
        if not is_numeric(outputs):
            outputs = outputs.reshape(count, -1)[:, 0]  # several texts a row are refused when it is known what they are
        once = slice(0, count // copies)
        if self._measures is None or self._count != once.stop:
            self._measures, self._count = None, once.stop  # not two of them in memory
            self._measures = self._of(outputs[once], once.stop)
        return self._measures.reduce(outputs, once, copies)

    def _of(self, outputs: Array, count: int) -> Measures:
        counted = np.ones(count, dtype=np.bool_)
        if not is_numeric(outputs):
            return Measures("label", [RowErrors(outputs, [mean_weights(outputs)] * 2)], [outputs], counted)
        is_class = self._task == "classification"
        kind: OutputKind = "logit" if is_class else "value"
        flat = flatten(outputs, kind, count)
        errors: list[RowMeasure] = [RowErrors(flat, [mean_weights(flat)] * 2)]
        if self._task == "embedding":
            return Measures("embedding", errors, [], counted, neighbours=self._neighbours(flat))
        if not is_class:
            return Measures(kind, errors, [], counted)
        with np.errstate(all="ignore"):
            errors.append(TemperedErrors(flat, kind, 1.0))
        return Measures(kind, errors, [classes_of(flat, kind)], counted)

    def _neighbours(self, flat: Array) -> Neighbours:
        """As many neighbours as there will be: each of these outputs several times, moved a little apart."""
        count = int(flat.shape[0])
        times = -(-max(min(self._rows, GALLERY_ROWS), count) // count)
        apart = np.linspace(1.0, 2.0, times * count)[:, None]
        every = np.tile(to_numpy(flat), (times, 1)) * apart
        return Neighbours(like(every, flat), np.asarray(np.isfinite(every).all(axis=1)), "l2", None, seed=0)


class TrialRun:
    """Runs batches as trials do, to see what they take; what comes of them is forgotten.

    A batch of more rows than there are is one of all rows, so many times.

    Args:
        engine: of the rows.
        task: `regression`, `classification` or `embedding`.
    """

    def __init__(self, engine: Engine, task: str) -> None:
        self._engine, self._begun = engine, itertools.count()
        self._rehearsal = Rehearsal(task, int(engine.inputs.shape[0]))

    def run(self, rows: int, levels: int = 1) -> None:
        """Run a batch of so many rows at so many levels, and wait for it."""
        at = tuple(REHEARSED_LEVEL * (1.0 + index) for index in range(levels))
        wait_for(self._engine.batch(*self._next(rows), at, self._rehearsal))

    def draw(self, rows: int) -> None:
        """Draw the noise of such a batch, which all its levels share, and wait for it."""
        wait_for(self._engine.draws.of(*self._next(rows)))

    def _next(self, rows: int) -> tuple[range, slice]:
        """Trials that were not run before, and which rows."""
        given = int(self._engine.inputs.shape[0])
        copies, trial = max(1, rows // given), next(self._begun)
        return range(trial * copies, (trial + 1) * copies), slice(0, min(rows, given))

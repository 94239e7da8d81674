"""How many rows a model is given at a time: as asked, as it takes, or as is fast; fewer where memory runs out."""

from __future__ import annotations

import math
import sys
import time
from collections.abc import Callable, Iterator, Mapping, MutableMapping
from dataclasses import dataclass
from typing import Any, Final
from weakref import WeakKeyDictionary

from robmon.errors import PredictionError, is_out_of_memory
from robmon.robustness.arrays import (
    Array,
    check_rows,
    default_batch_rows,
    is_on_cuda,
    namespace,
)
from robmon.robustness.engine.predictor import Predictor, through

MODULE_ROWS: Final = 1024
"""Most rows of a batch of a torch module: what its layers hand on should stay near the processor."""
CALL_ROWS: Final = 4096
"""Of anything else: each call has a price, as a DataFrame has."""
FEWEST_PROBE_ROWS: Final = 16
"""Batches of fewer rows are not tried."""
GAIN: Final = 0.03
"""Larger batches are tried as long as a row takes so much less time in them."""
CLOSE: Final = 0.01
"""Of two batches in which a row's times differ no more, the smaller one is taken."""
PROBES: Final = 3
"""How often a batch is timed after a call to warm up; the shortest time counts."""
PATIENT_SECONDS: Final = 1.0
TUNING_SHARE: Final = 0.05
QUICK_SECONDS: Final = 0.05
"""So much is spent on finding it out at most, and, on a processor, where usual batches are not far off, such a share of
what the assessment will take, or so little that nobody minds."""
MEMORY_SHARE: Final = 0.5
"""Of the memory that is free on a device, what a batch may take."""

Run = Callable[[int], None]
_known: MutableMapping[Any, dict[tuple[Any, ...], int]] = WeakKeyDictionary()
"""What was found of a module, by its inputs' device, type and shape."""


@dataclass
class BatchSize:
    """Rows that a predictor is given at a time, which become fewer as memory runs out.

    Attributes:
        rows: how many.
        retries: how often memory ran out.
    """

    rows: int
    retries: int = 0

    def halve(self, error: Exception) -> None:
        """Half as many rows from now on, if it is memory that ran out; what can be given back of it is.

        Raises:
            PredictionError: memory ran out with a single row.
            Exception: the error itself, where it says something else.
        """
        if not is_out_of_memory(error):
            raise error
        if self.rows == 1:
            raise PredictionError("the model cannot take a single row: out of memory", "out_of_memory") from error
        self.rows = (self.rows + 1) // 2
        self.retries += 1
        release_memory(error)


def usual_batch_size(predictor: Predictor, asked: int | None, inputs: Array) -> BatchSize:
    """Rows that a predictor is given at a time where nothing has been measured: as asked, as it takes, or by memory."""
    most = CALL_ROWS if predictor.module is None else MODULE_ROWS
    return BatchSize(asked or predictor.max_batch_rows or default_batch_rows(tuple(inputs.shape), most))


def batch_size_of(
    predictor: Predictor,
    asked: int | None,
    inputs: Array,
    run: Run,
    *,
    passes: int,
    patience_seconds: float = PATIENT_SECONDS,
) -> BatchSize:
    """Rows that a predictor is given at a time.

    As usual, but of a torch module as is fastest on its device where nothing is asked for. That is found out at the
    first assessment, and remembered with the module.

    Args:
        predictor: the model.
        asked: by the caller.
        inputs: shape `(n, *input_shape)`, where the model takes them.
        run: runs a batch of so many rows, and waits for it.
        passes: how often the assessment will predict each row.
        patience_seconds: what may be spent on finding it out, at most `PATIENT_SECONDS`.
    """
    if asked or predictor.max_batch_rows or predictor.module is None:
        return usual_batch_size(predictor, asked, inputs)
    known = _known.setdefault(predictor.module, {})
    key = (str(inputs.device), inputs.dtype, *inputs.shape)
    if key not in known:
        known[key] = fastest_rows(run, inputs, passes, min(patience_seconds, PATIENT_SECONDS))
    return BatchSize(known[key])


def accompanied(predictor: Predictor, inputs: Array, size: BatchSize) -> Predictor:
    """The predictor, which is never given one row on its own: beside it stands the row before, as it is.

    Models that squeeze, or that compute over the batch, are not made for one row. A batch of 1 row, which is how
    production calls the model then, stays one, as does the only row.
    """
    if inputs.shape[0] == 1:
        return predictor
    predict = predictor.predict

    def with_neighbour(x: Array, rows: slice) -> Array:
        if x.shape[0] != 1 or size.rows == 1:
            return predict(x, rows)
        at = min(rows.start, 1)
        other = inputs[rows.start - 1 : rows.start] if at else inputs[1:2]
        pair = namespace(x).concat([other, x] if at else [x, other])
        return check_rows(predict(pair, slice(rows.start - at, rows.start - at + 2)), 2)[at : at + 1]

    return through(predictor, with_neighbour)


def fastest_rows(run: Run, inputs: Array, passes: int, patience_seconds: float) -> int:
    """The batch in which a row takes the least time, by trying twice as many rows as long as that is a gain.

    Where a call takes so long that there is no time to try several, it is as many as memory suggests.

    Args:
        run: runs a batch of so many rows, and waits for it.
        inputs: shape `(n, *input_shape)`; batches are parts of the rows, or all of them so many times.
        passes: how often the assessment will predict each row.
        patience_seconds: what may be spent on it.
    """
    most = math.inf if is_on_cuda(inputs) else default_batch_rows(tuple(inputs.shape), CALL_ROWS)
    tried: dict[int, float] = {}
    for rows in _candidates(int(inputs.shape[0])):
        if tried and not is_on_cuda(inputs):
            in_all_seconds = passes * int(inputs.shape[0]) * min(tried.values())
            patience_seconds = min(patience_seconds, max(QUICK_SECONDS, TUNING_SHARE * in_all_seconds))
        if tried and (rows > most or _is_past_best(tried) or _spent_seconds(tried, rows) > patience_seconds):
            break
        try:
            tried[rows], bytes_per_row = _measure(run, inputs, rows)
        except Exception as error:  # whatever the model raises: where nothing is known it is asked in earnest
            release_memory(error)
            break
        if bytes_per_row and 2 * rows * bytes_per_row > MEMORY_SHARE * _free_bytes(inputs):
            break
    release_memory()
    return _best(tried) if len(tried) > 1 else min([default_batch_rows(tuple(inputs.shape), MODULE_ROWS), *tried])


def _spent_seconds(tried: Mapping[int, float], rows: int) -> float:
    """What was spent on batches, and is about to be on one of so many rows."""
    batches = {**tried, rows: tried[max(tried)]}
    return (1 + PROBES) * sum(rows * seconds for rows, seconds in batches.items())


def _best(tried: Mapping[int, float]) -> int:
    """The fewest rows in which a row takes hardly more time than in any other batch, of seconds a row by rows.

    >>> _best({16: 3.0, 32: 2.01, 64: 2.0, 128: 2.5})
    32
    """
    best = min(tried.values())
    return next(rows for rows, seconds in tried.items() if seconds * (1.0 - CLOSE) <= best)


def _is_past_best(tried: Mapping[int, float]) -> bool:
    """Whether the last two batches were no gain over those before."""
    *before, one, other = [math.inf, math.inf, *tried.values()]
    return min(one, other) > (1.0 - GAIN) * min(before)


def _candidates(rows: int) -> Iterator[int]:
    """So many rows, halved as often as leaves enough, then doubled again and again.

    >>> from itertools import islice
    >>> list(islice(_candidates(70), 5))
    [18, 35, 70, 140, 280]
    """
    halvings = max(0, math.ceil(math.log2(rows / FEWEST_PROBE_ROWS)) - 1)
    for exponent in range(halvings, 0, -1):
        yield -(-rows // 2**exponent)
    while True:
        yield rows
        rows *= 2


def _measure(run: Run, inputs: Array, rows: int) -> tuple[float, float]:
    """Seconds a row of a batch of so many, and bytes of a CUDA device that it takes a row."""
    # What other processes take of a processor does not count, as it would by the wall's clock.
    clock = time.perf_counter if is_on_cuda(inputs) else time.process_time
    seconds, before = [], _taken_bytes(inputs)
    for _ in range(1 + PROBES):
        began = clock()
        run(rows)
        seconds.append(clock() - began)
    return min(seconds[1:]) / rows, (_taken_bytes(inputs, at_most=True) - before) / rows  # the first was to warm up


def _taken_bytes(inputs: Array, at_most: bool = False) -> int:
    """What this process takes of a CUDA device's memory, now or at most since it was asked for what it takes now."""
    if not is_on_cuda(inputs):
        return 0
    import torch

    if at_most:
        return int(torch.cuda.max_memory_allocated(inputs.device))
    torch.cuda.reset_peak_memory_stats(inputs.device)
    return int(torch.cuda.memory_allocated(inputs.device))


def _free_bytes(inputs: Array) -> int:
    """What this process may still take of the device's memory, within its allocator's bound, and what that keeps."""
    import torch

    held, (free, total) = torch.cuda.memory_reserved(inputs.device), torch.cuda.mem_get_info(inputs.device)
    if hasattr(torch.cuda, "get_per_process_memory_fraction"):  # older versions of torch do not tell it
        bound = int(torch.cuda.get_per_process_memory_fraction(inputs.device) * total)
        free = max(min(free, bound - held), 0)
    return int(free) + held - torch.cuda.memory_allocated(inputs.device)


def release_memory(error: BaseException | None = None) -> None:
    """Give back what the device's allocator keeps, and what the frames of an error hold on to."""
    while error is not None:
        error.__traceback__ = None
        error = error.__cause__ or error.__context__
    torch = sys.modules.get("torch")
    if torch is not None and torch.cuda.is_initialized():
        torch.cuda.empty_cache()

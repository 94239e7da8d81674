"""Whether the answers that were served are this model's: a watcher of another version is worse than none."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from robmon.errors import CodecError
from robmon.inputs.codecs import Row, answers
from robmon.models.outputs.outputs import OutputColumn
from robmon.processes.messages.findings import ServedResult
from robmon.processes.messages.question import SampledRequest
from robmon.robustness.outputs import classes_of, missing_labels
from robmon.robustness.result import Assessment
from robmon.vocabulary import OutputKind
from robmon.worker.decoding import DecodedSample

RELATIVE_TOLERANCE = 1e-5
STD_TOLERANCE = 1e-3
"""Of an output's standard deviation: other hardware and single precision in JSON differ by less."""
SMALLEST_TOLERANCE = 1e-8


def compare_served(
    requests: Sequence[SampledRequest],
    blobs: Sequence[bytes],
    sample: DecodedSample,
    result: Assessment,
    output_column: OutputColumn | None = None,
) -> ServedResult | None:
    """Compare the served answers with the clean outputs of the rows that were drawn; of several parts the one chosen.

    Returns:
        None where no answer is known.
    """
    differ: dict[int, list[bool | None]] = {}
    tolerance = np.maximum(STD_TOLERANCE * np.sqrt(result.clean_variance), SMALLEST_TOLERANCE)
    decoded: dict[int, Sequence[Row]] = {}
    for index in range(len(result.clean_outputs)):
        origin = sample.origins[index]
        request = requests[origin]
        if request.answer is None:
            continue
        try:
            rows = decoded[origin] = decoded.get(origin) or answers.decode(blobs[request.answer])
            row, count = sample.places[index]
            differs = None
            if len(rows) == count:
                differs = _differs(
                    _chosen(rows[row], output_column), result.clean_outputs[index], result.output, tolerance
                )
        except CodecError:
            differs = None
        differ.setdefault(origin, []).append(differs)
    if not differ:
        return None
    comparable = [any(each) for each in differ.values() if None not in each]
    return ServedResult(
        compared=len(comparable), mismatched=sum(comparable), not_comparable=len(differ) - len(comparable)
    )


def _differs(row: Row, own: Any, output: OutputKind, tolerance: NDArray[np.float64]) -> bool | None:
    """Whether a row of an answer is another than the model's own output, beyond rounding; None: it cannot be told.

    An answer of several outputs is taken as a whole where that fits, else its first output that fits.
    """
    candidates = list(_candidates(row))
    if output == "label":
        return next((_other_label(cells[0], own) for cells in candidates if len(cells) == 1), None)
    for cells in candidates:
        if len(cells) == len(own) and not _is_class(cells, own, output) and (numbers := _numbers(cells)) is not None:
            if output == "probability" and len(own) > 1 and numbers.sum() > 0:
                numbers = numbers / numbers.sum()  # as the model's own, where those of one class against the rest
            return not np.allclose(numbers, own, RELATIVE_TOLERANCE, tolerance, equal_nan=True)
    if output not in ("value", "multilabel"):
        for cells in candidates:
            if len(cells) == 1 and type(cells[0]) in (int, float, bool) and float(cells[0]).is_integer():
                classes = max(len(own), 2)
                return int(cells[0]) != classes_of(own[None], output)[0] if 0 <= cells[0] < classes else None
    return None


def _chosen(row: Row, output_column: OutputColumn | None) -> Row:
    """The row with the part alone that is assessed, if the answer has one of that name."""
    if not isinstance(output_column, str) or row.columns is None or output_column not in row.columns:
        return row
    return replace(row, columns={output_column: row.columns[output_column]})


def _candidates(row: Row) -> Iterator[list[Any]]:
    outputs = list(row.columns.values()) if row.columns is not None else [row.tensor]
    each = [np.ravel(output).tolist() if isinstance(output, np.ndarray) else [output] for output in outputs]
    yield [cell for cells in each for cell in cells]
    if len(each) > 1:
        yield from each


def _is_class(cells: Sequence[Any], own: NDArray[np.float64], output: OutputKind) -> bool:
    """Whether one whole number stands where the model says a score."""
    return output != "value" and len(own) == 1 and type(cells[0]) in (int, bool) and not float(own[0]).is_integer()


def _numbers(cells: Sequence[Any]) -> NDArray[np.float64] | None:
    """The cells as numbers, a missing one as NaN."""
    if any(cell is not None and not isinstance(cell, int | float) for cell in cells):
        return None
    return np.array([np.nan if cell is None else float(cell) for cell in cells])


def _other_label(cell: Any, own: Any) -> bool | None:
    own = own.item() if isinstance(own, np.generic) else own
    if cell is None or missing_labels(np.array([own], dtype=object))[0]:
        return None
    if isinstance(cell, str) != isinstance(own, str):
        return None
    return bool(cell != own)

"""Models whose signature comes from the type hint of `predict`: they get a list with an element a row."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from robmon.models.inputs.layout import Rebuild
from robmon.models.signature import casting, nested
from robmon.models.signature.collected import Collected, RejectedRowError, Row, each, finish, refuse_text
from robmon.models.signature.forms import Chain

if TYPE_CHECKING:
    import pandas as pd

NAME = "input"
"""Of the elements, in the names of what is perturbed."""


class Hinted:
    """Elements of one type: numbers, lists, maps, or objects of a pydantic model, which MLflow makes of them."""

    fixed_rows = None
    takes = ""

    def __init__(self, schema: Any) -> None:
        """Takes MLflow's schema of the inputs, which has one input without a name."""
        self._kind = schema.inputs[0].type

    def is_floating(self) -> bool:
        """Whether there is something to perturb."""
        return nested.is_floating(self._kind)

    def collect(self, rows: Sequence[Row]) -> Collected:
        """Gather rows; those whose numbers stand elsewhere than in most are rejected as `other_shape`."""

        def convert(row: Row) -> tuple[Any, nested.Blocks]:
            refuse_text(row)
            try:
                return nested.take_apart(_element(row), self._kind)
            except (TypeError, ValueError, KeyError):
                raise RejectedRowError("wrong_type") from None

        cells, kept, rejected = each(rows, convert)
        usual = nested.usual_shapes([blocks for _, blocks in cells])
        same = [at for at, (_, blocks) in enumerate(cells) if not nested.of_other_shape(blocks, usual)]
        rejected |= {kept[at]: "other_shape" for at in set(range(len(cells))) - set(same)}
        cells = [cells[at] for at in same]
        if not cells:
            return finish(None, [], rejected)
        frame, slots = nested.columns(NAME, [blocks for _, blocks in cells], self._kind, ())
        inputs, indices, counts = finish(frame, [kept[at] for at in same], rejected)
        steps: tuple[Rebuild, ...] = (nested.Nested(NAME, slots, cells, [NAME]), _AsList())
        return None if inputs is None else inputs.rebuilt(Chain(steps)), indices, counts


class _AsList:
    """The column of elements as a list."""

    def __call__(self, batch: pd.DataFrame, rows: slice) -> list[Any]:
        """The elements."""
        elements: list[Any] = batch[NAME].tolist()
        return elements

    def take(self, indices: NDArray[np.intp]) -> _AsList:
        """The same for any rows."""
        return self


def _element(row: Row) -> Any:
    """What stood in the request: objects and lists as they were. The server takes no integer for a floating number."""
    if row.tensor is not None:
        if row.tensor.dtype.kind in "iub":
            raise TypeError
        return casting.plain(row.tensor)
    return {name: casting.plain(cell) for name, cell in (row.columns or {}).items()}

"""Models that take the columns of a table, as a DataFrame."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from robmon.models.inputs.frame import WholeColumns
from robmon.models.inputs.layout import Rebuild
from robmon.models.signature import casting, nested
from robmon.models.signature.collected import (
    Collected,
    RejectedRowError,
    Row,
    cells_of,
    each,
    finish,
    is_missing,
    is_table,
    missing_columns,
    named,
)
from robmon.models.signature.forms import Chain, Forms, columns_only


class Columns:
    """Columns of a table. Optional ones may be missing: the model gets each row with the columns that it came with."""

    fixed_rows = None

    def __init__(self, schema: Any) -> None:
        """Takes MLflow's schema of the inputs."""
        self._named = schema.has_input_names()
        # MLflow's own list of names takes 0 for none.
        self._specs: dict[Any, Any] = {
            (spec.name if self._named else at): spec for at, spec in enumerate(schema.inputs)
        }
        self._required = {name for name, spec in self._specs.items() if spec.required or not self._named}
        self._textual = {str(name) for name, spec in self._specs.items() if getattr(spec.type, "name", "") == "string"}
        self._nested = {
            name: spec.type
            for name, spec in self._specs.items()
            if not hasattr(spec.type, "to_numpy") and nested.is_floating(spec.type)
        }
        # A column of lists takes a whole unnamed row as its one cell.
        self._one_cell = len(self._specs) == 1 and not hasattr(schema.inputs[0].type, "to_numpy")

    def is_floating(self) -> bool:
        """Whether there is something to perturb."""
        return any(nested.is_floating(spec.type) for spec in self._specs.values())

    @property
    def takes(self) -> str:
        """How many columns."""
        count = len(self._specs)
        return "1 column" if count == 1 else f"{count} columns"

    def collect(self, rows: Sequence[Row]) -> Collected:
        """Gather rows; unnamed ones are taken in the signature's order, columns that it lacks are dropped."""
        import pandas as pd

        cells, kept, rejected = each(rows, self._convert)
        columns: dict[Any, casting.Column] = {}
        unfit: dict[int, str] = {}
        for name, spec in self._specs.items():
            having = np.array([at for at, row in enumerate(cells) if name in row], dtype=np.intp)
            casts = [casting.CASTS[rows[kept[at]].reading] for at in having]
            cast = casting.column(spec, name, [cells[at][name] for at in having], casts) if len(having) else None
            fitting = having if cast is None else having[cast.index]
            if cast is not None:
                columns[name] = cast.set_axis(fitting)
            for at in map(int, np.setdiff1d(having, fitting)):
                cell = cells[at][name]
                missing = is_missing(cell) or (isinstance(cell, str) and not cell)  # nothing between two commas
                if missing and rows[kept[at]].reading == "table" and name not in self._required:
                    del cells[at][name]
                else:
                    unfit.setdefault(at, f"{'missing_value' if missing else 'wrong_type'} {name}")
        apart = {name: self._taken_apart(name, columns.pop(name), unfit) for name in self._nested if name in columns}
        rejected |= {kept[at]: reason for at, reason in unfit.items()}
        fit = np.array([at for at in range(len(cells)) if at not in unfit], dtype=np.intp)
        if not len(fit):
            return finish(None, [], rejected)
        frame = casting.frame({name: columns[name] for name in columns if len(columns[name])}, self._specs, fit)
        order = [name for name in self._specs if name in frame or name in apart]
        steps: list[Rebuild] = []
        for name, parts in apart.items():
            rows_apart = [parts.get(int(at), (None, {})) for at in fit]
            flat, slots = nested.columns(
                name, [blocks for _, blocks in rows_apart], self._specs[name].type, self._specs
            )
            frame = pd.concat([frame, flat], axis=1)
            steps.append(nested.Nested(name, slots, rows_apart, order))
        present = [tuple(name for name in self._specs if name in cells[at]) for at in fit]
        if set(present) != {tuple(order)}:
            steps.append(Forms.of(present, columns_only))
        texts = frozenset(name for name in self._specs if str(name) in self._textual)
        given = WholeColumns(frame, frozenset(), texts)
        inputs, indices, counts = finish(given, [kept[at] for at in fit], rejected)
        if inputs is not None:
            lacking = {name: sum(name not in names for names in present) for name in self._specs}
            absent = tuple(f"{name} in {count} of {len(fit)} rows" for name, count in lacking.items() if count)
            inputs = replace(inputs.rebuilt(Chain(tuple(steps))) if steps else inputs, absent=absent)
        return inputs, indices, counts

    def _taken_apart(
        self, name: Any, column: casting.Column, unfit: dict[int, str]
    ) -> dict[int, tuple[Any, nested.Blocks]]:
        """Template and blocks of each cell that fits, by its position; the others are marked as unfit."""
        apart: dict[int, tuple[Any, nested.Blocks]] = {}
        for at, cell in zip(map(int, column.index), column, strict=True):
            try:
                apart[at] = nested.take_apart(casting.plain(cell), self._nested[name])
            except (TypeError, ValueError, KeyError):
                unfit.setdefault(at, f"wrong_type {name}")
        usual = nested.usual_shapes([blocks for at, (_, blocks) in apart.items() if at not in unfit])
        for at, (_, blocks) in apart.items():
            if nested.of_other_shape(blocks, usual):
                unfit.setdefault(at, f"other_shape {name}")
        return apart

    def _convert(self, row: Row) -> dict[Any, Any]:
        by_name = named(row, self._required if self._named else ()) if self._named or is_table(row) else None
        if by_name is None:
            values = [row.tensor] if self._one_cell else cells_of(row.tensor, len(self._specs))
            return dict(zip(self._specs, values, strict=True))
        if row.texts is not None:
            by_name = {**row.texts} if row.reading == "text" else {**by_name, **self._as_written(by_name, row.texts)}
        if not self._named:
            values = list(by_name.values())
            if len(values) < len(self._specs):
                raise RejectedRowError("missing_column")
            return dict(zip(self._specs, values, strict=False))
        if missing := [name for name in self._specs if name in self._required and str(name) not in by_name]:
            raise missing_columns(missing)
        return {name: by_name[str(name)] for name in self._specs if str(name) in by_name}

    def _as_written(self, by_name: Mapping[str, Any], texts: Mapping[str, str]) -> dict[str, str]:
        """What the model takes for text: a `02139`, though it looks like a number."""
        written = self._textual & texts.keys()
        return {name: texts[name] for name in written if by_name[name] == by_name[name]}  # NaN is a missing cell

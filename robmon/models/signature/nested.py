"""Cells that hold more than one value: lists, objects and maps, whose floating-point numbers are perturbed too.

A column of such cells is taken apart into one column a number, named by where it stands (`embedding[3]`, `box.width`),
and a template a row: the cell without those numbers. Before the model is called they are put back.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Final, TypeAlias

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    import pandas as pd

Path: TypeAlias = tuple[str | int, ...]
"""Keys and positions that lead from a cell to a block of numbers."""
Blocks: TypeAlias = dict[Path, NDArray[Any]]
"""Of one cell: numbers, and rectangular arrays of numbers."""
USUAL_SHARE: Final = 0.5
"""Of the cells that must have a block for it to be perturbed, where the signature does not name it: strangers choose
the keys of a map, and every column takes room in every row."""


@dataclass(frozen=True)
class _Slot:
    """Where a block of numbers stood in a cell."""

    path: Path


def is_floating(kind: Any) -> bool:
    """Whether there may be floating-point numbers in cells of a type of MLflow's."""
    from mlflow.types.schema import AnyType, DataType, Object

    if isinstance(kind, DataType):
        return bool(kind.to_numpy().kind == "f")
    if isinstance(kind, Object):
        return any(is_floating(each.dtype) for each in kind.properties)
    return isinstance(kind, AnyType) or is_floating(_inner(kind))


def _inner(kind: Any) -> Any:
    """The type of the elements of a list, or of the values of a map."""
    from mlflow.types.schema import Array

    return kind.dtype if isinstance(kind, Array) else kind.value_type


def take_apart(cell: Any, kind: Any, path: Path = ()) -> tuple[Any, Blocks]:
    """A cell's template, and its blocks of floating-point numbers.

    >>> from mlflow.types.schema import Array, DataType
    >>> template, blocks = take_apart([0.5, 1.5], Array(DataType.double))
    >>> template, blocks
    (_Slot(path=()), {(): array([0.5, 1.5])})

    Raises:
        TypeError, ValueError: a number is none.
    """
    from mlflow.types.schema import AnyType, Array, DataType, Map

    if cell is None or (isinstance(cell, (list, dict)) and not cell):
        return cell, {}
    if isinstance(kind, DataType):
        return _number(cell, kind.to_numpy(), path) if kind.to_numpy().kind == "f" else (cell, {})
    if isinstance(kind, AnyType):
        return _of_any(cell, path)
    if isinstance(kind, Array):
        return _of_list(list(cell), kind.dtype, path)
    if not isinstance(cell, dict):
        raise TypeError("a cell is not of its type")
    if isinstance(kind, Map):
        return _joined({key: take_apart(value, kind.value_type, (*path, key)) for key, value in cell.items()})
    kinds = {each.name: each.dtype for each in kind.properties}
    return _joined({
        key: take_apart(value, kinds[key], (*path, key)) if key in kinds else (value, {}) for key, value in cell.items()
    })  # fmt: skip


def _number(cell: Any, dtype: np.dtype[Any], path: Path) -> tuple[Any, Blocks]:
    block = np.asarray(cell, dtype=dtype)
    if block.ndim:
        raise TypeError("a cell is a list where a number should be")
    return _Slot(path), {path: block}


def _of_list(cell: list[Any], kind: Any, path: Path) -> tuple[Any, Blocks]:
    """A rectangular list of numbers is one block; of any other each element is taken apart."""
    from mlflow.types.schema import Array, DataType

    element = kind
    while isinstance(element, Array):
        element = element.dtype
    if isinstance(element, DataType) and element.to_numpy().kind == "f":
        try:
            block = np.asarray(cell, dtype=element.to_numpy())
        except (ValueError, TypeError):  # of unlike lengths, or with None in it
            pass
        else:
            return (_Slot(path), {path: block}) if block.size else (cell, {})
    parts = {at: take_apart(value, kind, (*path, at)) for at, value in enumerate(cell)}
    template, blocks = _joined(parts)
    return list(template.values()), blocks


def _of_any(cell: Any, path: Path) -> tuple[Any, Blocks]:
    """A cell of which the signature says nothing: numbers that are written with a fraction."""
    if isinstance(cell, float):
        return _Slot(path), {path: np.asarray(cell)}
    if isinstance(cell, dict):
        return _joined({key: _of_any(value, (*path, key)) for key, value in cell.items()})
    if not isinstance(cell, list):
        return cell, {}
    if all(isinstance(each, float) for each in cell):
        return _Slot(path), {path: np.asarray(cell)}
    template, blocks = _joined({at: _of_any(each, (*path, at)) for at, each in enumerate(cell)})
    return list(template.values()), blocks


def _joined(parts: dict[Any, tuple[Any, Blocks]]) -> tuple[dict[Any, Any], Blocks]:
    blocks: Blocks = {}
    for _, found in parts.values():
        blocks.update(found)
    return {key: template for key, (template, _) in parts.items()}, blocks


def declared(kind: Any, path: Path = ()) -> set[Path]:
    """Paths to numbers that the signature names itself, as the properties of an object."""
    from mlflow.types.schema import DataType, Object

    if isinstance(kind, DataType):
        return {path} if kind.to_numpy().kind == "f" else set()
    if not isinstance(kind, Object):
        return set()
    return {found for each in kind.properties for found in declared(each.dtype, (*path, each.name))}


@dataclass(frozen=True)
class Nested:
    """Rows whose cells in one column are put together from numbers in columns of their own.

    Attributes:
        name: of the column.
        slots: of each block that is perturbed: its columns, and its shape.
        cells: of each row the template and all blocks; those that are not perturbed stay as they are.
        order: names of all columns as the model takes them.
    """

    name: Any
    slots: dict[Path, tuple[list[str], tuple[int, ...]]]
    cells: Sequence[tuple[Any, Blocks]]
    order: Sequence[Any]

    def __call__(self, batch: pd.DataFrame, rows: slice) -> pd.DataFrame:
        """The rows with whole cells in this column, and those of others that are still apart."""
        import pandas as pd

        perturbed = {
            path: batch[names].to_numpy().reshape(len(batch), *shape).tolist()
            for path, (names, shape) in self.slots.items()
        }
        whole = []
        for at, (template, blocks) in enumerate(self.cells[rows]):
            values = {path: perturbed[path][at] if path in perturbed else block.tolist()
                      for path, block in blocks.items()}  # fmt: skip
            whole.append(_filled(template, values))
        own = {column for names, _ in self.slots.values() for column in names}
        others = batch[[column for column in batch.columns if column not in own]]
        frame = pd.concat([others, pd.Series(whole, index=batch.index, dtype=object, name=self.name)], axis=1)
        known = [name for name in self.order if name in frame.columns]
        return frame[[*known, *(column for column in frame.columns if column not in known)]]

    def take(self, indices: NDArray[np.intp]) -> Nested:
        """The rows with these indices, in this order."""
        return replace(self, cells=[self.cells[at] for at in indices])


def _filled(template: Any, values: dict[Path, Any]) -> Any:
    if isinstance(template, _Slot):
        return values[template.path]
    if isinstance(template, dict):
        return {key: _filled(each, values) for key, each in template.items()}
    return [_filled(each, values) for each in template] if isinstance(template, list) else template


def usual_shapes(blocks: Sequence[Blocks]) -> dict[Path, tuple[int, ...]]:
    """The shape that each block has most often, the first of those that are seen alike."""
    seen: dict[Path, Counter[tuple[int, ...]]] = {}
    for each in blocks:
        for path, block in each.items():
            seen.setdefault(path, Counter())[block.shape] += 1
    return {path: shapes.most_common(1)[0][0] for path, shapes in seen.items()}


def of_other_shape(blocks: Blocks, usual: dict[Path, tuple[int, ...]]) -> bool:
    """Whether a cell's blocks have another shape than usual."""
    return any(block.shape != usual[path] for path, block in blocks.items())


def columns(
    name: Any, blocks: Sequence[Blocks], kind: Any, taken: Collection[Any]
) -> tuple[pd.DataFrame, dict[Path, tuple[list[str], tuple[int, ...]]]]:
    """The numbers of one column's cells, one column each, and the slots of the blocks.

    Args:
        name: of the column.
        blocks: of each row, those of one path all of one shape.
        kind: MLflow's type of the column.
        taken: names that other columns have.
    """
    import pandas as pd

    times = Counter(path for each in blocks for path in each)
    named, shapes = declared(kind), usual_shapes(blocks)
    usual = [path for path in times if path not in named and times[path] >= USUAL_SHARE * len(blocks)]
    slots: dict[Path, tuple[list[str], tuple[int, ...]]] = {}
    parts = [pd.DataFrame(index=range(len(blocks)))]
    for path in [*sorted(named, key=str), *usual]:
        shape = shapes.get(path, ())
        dtype = next((each[path].dtype for each in blocks if path in each), np.dtype(np.float64))
        names = [_name(name, (*path, *map(int, index)), taken) for index in np.ndindex(*shape)]
        absent = np.full(shape, np.nan, dtype=dtype)
        rows = np.stack([each.get(path, absent) for each in blocks]).reshape(len(blocks), len(names))
        slots[path] = (names, shape)
        parts.append(pd.DataFrame(rows, columns=names))
    return pd.concat(parts, axis=1), slots


def _name(column: Any, path: Path, taken: Collection[Any]) -> str:
    name = str(column) + "".join(f"[{part}]" if isinstance(part, int) else f".{part}" for part in path)
    while name in taken:
        name += "'"
    return name

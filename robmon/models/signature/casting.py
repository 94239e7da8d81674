"""The cells of a column in the type that the signature gives it, as MLflow's scoring server casts them.

What it does depends on the format: JSON is cast, by pandas or by NumPy; CSV is read as the signature's types; typed
tables are only checked. It is done by the server's own functions. Cells that the server would refuse are left out.
"""

from __future__ import annotations

import contextlib
import csv
import io
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    import pandas as pd

    Column: TypeAlias = pd.Series[Any]

Cast: TypeAlias = "Callable[[Any, Any, list[Any]], Column]"
"""From a column's specification, its name and its cells to the column; raises whatever MLflow and pandas raise."""


def column(spec: Any, name: Any, cells: list[Any], casts: list[Cast]) -> Column:
    """A column without the cells that do not fit; its index: the positions of the others.

    Args:
        spec: MLflow's `ColSpec`.
        name: of the column.
        cells: one a row.
        casts: for each cell what is done to it.
    """
    import pandas as pd

    if len(set(casts)) == 1:
        with contextlib.suppress(Exception):  # MLflow raises many kinds
            return casts[0](spec, name, cells)
    fitting: dict[int, Column] = {}
    for position, (cell, cast) in enumerate(zip(cells, casts, strict=True)):
        with contextlib.suppress(Exception):
            fitting[position] = cast(spec, name, [cell])
    if not fitting:
        return pd.Series([], index=pd.Index([], dtype=int), name=name, dtype=object)
    return pd.concat(list(fitting.values())).set_axis(list(fitting))


def frame(columns: Mapping[Any, Column], specs: Mapping[Any, Any], at: NDArray[np.intp]) -> pd.DataFrame:
    """The columns at these positions, side by side in the order of the specifications.

    A position that a column lacks holds NaN, or in a column of no floating numbers a cell of another position: what
    stands there is cut off again before the model is called. A floating column is there even where no row has it, so
    that what is perturbed is the same in every sample.
    """
    import pandas as pd

    parts = {}
    for name, spec in specs.items():
        found = columns.get(name)
        if found is None:
            if _is_floating(spec):
                parts[name] = pd.Series(np.full(len(at), np.nan, dtype=spec.type.to_numpy()))
            continue
        places = found.index.get_indexer(pd.Index(at))
        part = found.iloc[np.maximum(places, 0)].reset_index(drop=True)
        parts[name] = part.mask(places < 0) if _is_floating(spec) and (places < 0).any() else part
    return pd.DataFrame(parts, index=range(len(at)))


def _is_floating(spec: Any) -> bool:
    return hasattr(spec.type, "to_numpy") and bool(spec.type.to_numpy().kind == "f")


def of_frame(spec: Any, name: Any, cells: list[Any]) -> Column:
    """As the server casts a table in JSON. Cells start as Python objects, so that none changes the type of another."""
    import pandas as pd
    from mlflow.types import Schema
    from mlflow.utils.proto_json_utils import cast_df_types_according_to_schema

    frame = pd.DataFrame({name: pd.Series([plain(cell) for cell in cells], dtype=object)})
    cast: Column = cast_df_types_according_to_schema(frame, Schema([spec]))[name]  # type: ignore[no-untyped-call]
    if cast.dtype == object and pd.api.types.infer_dtype(cast) == "string":
        cast = cast.infer_objects()  # pandas has a type for text, which the server's parsing gives
    return _enforce(spec, name, cast)


def of_tensor(spec: Any, name: Any, cells: list[Any]) -> Column:
    """As the server casts `instances` and `inputs`: with NumPy, each cell on its own."""
    import pandas as pd
    from mlflow.utils.proto_json_utils import convert_data_type

    values = [convert_data_type(plain(cell), spec) for cell in cells]  # type: ignore[no-untyped-call]
    return _enforce(spec, name, pd.Series(np.array(values) if all(map(np.isscalar, values)) else values))


def of_text(spec: Any, name: Any, cells: list[Any]) -> Column:
    """As the server reads CSV: by the signature's type, and not by what the texts look like."""
    import pandas as pd

    text = io.StringIO()
    csv.writer(text, quoting=csv.QUOTE_ALL).writerows([["cell"], *([cell] for cell in cells)])
    text.seek(0)
    return _enforce(spec, name, pd.read_csv(text, dtype={"cell": spec.type.to_pandas()})["cell"])


def of_typed(spec: Any, name: Any, cells: list[Any]) -> Column:
    """As the server takes a typed table: columns are checked and widened, but not cast."""
    import pandas as pd

    dtypes = {cell.dtype if isinstance(cell, np.generic) else None for cell in cells}
    if len(dtypes) > 1:
        raise TypeError("cells of different types are checked each on its own")
    typed = pd.Series(cells, dtype=object).infer_objects() if None in dtypes else pd.Series(np.array(cells))
    return _enforce(spec, name, typed)


def plain(cell: Any) -> Any:
    """A cell as a Python object."""
    return cell.tolist() if isinstance(cell, (np.ndarray, np.number, np.bool_)) else cell


def _enforce(spec: Any, name: Any, cells: Column) -> Column:
    import pandas as pd
    from mlflow.models.utils import _enforce_schema
    from mlflow.types import Schema

    enforced: Column = _enforce_schema(pd.DataFrame({name: cells}), Schema([spec]))[name]
    return enforced


CASTS: dict[str, Cast] = {"frame": of_frame, "table": of_frame, "tensor": of_tensor, "text": of_text, "typed": of_typed}
"""By how a row is read."""

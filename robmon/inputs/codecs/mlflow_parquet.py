"""MLflow's Parquet bodies, which its server reads with `pandas.read_parquet`.

pyarrow is imported when the first one comes: the worker may run in an environment without it.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from robmon.errors import CodecError
from robmon.inputs.codecs.rows import LazyRows, Row

MEDIA_TYPE = "application/vnd.apache.parquet"
MAX_CELLS = 2**21
"""Most cells of a table; one whose body has more bytes may have as many cells."""


def decode(body: bytes) -> Sequence[Row]:
    """The rows of a Parquet body, without the columns that pandas stored its index in.

    A table that claims to be much larger than its body is not read. Other lies may end the process, which is made for
    that; the daemon then drops the requests whose content type is Parquet.

    Raises:
        CodecError: unsupported_content (pyarrow is missing), bad_parquet, too_large_decompressed, bad_columns,
            unsupported_value.
    """
    try:
        table = _read(body)
        names = _names(table)
        cells = {name: _cells(table.column(name)) for name in names}
    except ImportError:
        raise CodecError("unsupported_content", "Parquet needs pyarrow, which the worker's environment lacks") from None
    except CodecError:
        raise
    except Exception:  # pyarrow raises many kinds, some of them with values in their text
        raise CodecError("bad_parquet", "the body is not Parquet") from None

    def build(at: int) -> Row:
        try:
            return Row(columns={name: cell(at) for name, cell in cells.items()}, reading="typed")
        except Exception:
            raise CodecError("unsupported_value", "a cell has a value that is not read") from None

    return LazyRows(table.num_rows, build)


def _read(body: bytes) -> Any:
    """The table.

    Only what pyarrow checks is asked of the metadata: its row groups and column chunks end the process when they are
    broken. So a column of lists, whose size nothing else tells, is not read.
    """
    import pyarrow as pa
    from pyarrow import parquet

    file = parquet.ParquetFile(pa.BufferReader(body))
    if file.metadata.num_rows * file.metadata.num_columns > max(MAX_CELLS, len(body)):
        raise CodecError("too_large_decompressed", "the table is much larger than its body")
    columns = [file.schema.column(number) for number in range(len(file.schema))]
    if any(column.max_repetition_level > 0 for column in columns):
        raise CodecError("unsupported_value", "a column of the table holds lists")
    texts = [column.path for column in columns if column.physical_type == "BYTE_ARRAY"]
    # As dictionaries, or one long text that is repeated would be copied for every row.
    table = parquet.ParquetFile(pa.BufferReader(body), read_dictionary=texts).read(use_threads=False)
    table.validate(full=True)
    return table


def _names(table: Any) -> list[str]:
    index = [name for name in (table.schema.pandas_metadata or {}).get("index_columns", []) if isinstance(name, str)]
    names = [name for name in table.column_names if name not in index]
    if len(set(names)) != len(names):
        raise CodecError("bad_columns", "two columns have the same name")
    return names


def _cells(column: Any) -> Callable[[int], Any]:
    """What gives the cell of a row as pandas would: an integer among missing ones is a float."""
    import pyarrow.types as of

    kind = column.type
    if of.is_timestamp(kind) and kind.tz is None:
        return lambda at: np.datetime64(column[at].value, kind.unit)
    if not (of.is_integer(kind) or of.is_floating(kind) or of.is_boolean(kind)) or (
        of.is_boolean(kind) and column.null_count
    ):
        return lambda at: column[at].as_py()
    if not column.null_count:
        dtype = np.dtype(kind.to_pandas_dtype())
        return lambda at: dtype.type(column[at].as_py())
    dtype = np.dtype(kind.to_pandas_dtype()) if of.is_floating(kind) else np.dtype(np.float64)

    def or_nan(at: int) -> Any:
        value = column[at].as_py()
        return dtype.type("nan" if value is None else value)

    return or_nan

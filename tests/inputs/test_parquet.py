"""Parquet bodies: the cells that pandas would read, as MLflow's server does; and tables that claim too much."""

from __future__ import annotations

import datetime
import io
import subprocess
import sys
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import pandas as hpd
from mlflow.pyfunc import scoring_server
from pyarrow import parquet

from robmon.errors import CodecError
from robmon.inputs.codecs import Row, decode
from tests.inputs.senders import PARQUET


def rows_of(body: bytes) -> list[Row]:
    return list(decode("mlflow", {"content-type": PARQUET}, body))


def reason_of(body: bytes) -> str:
    with pytest.raises(CodecError) as caught:
        rows_of(body)
    return caught.value.reason


def written(table: pa.Table, **options: Any) -> bytes:
    file = io.BytesIO()
    parquet.write_table(table, file, **options)
    return file.getvalue()


def same(ours: Any, theirs: Any) -> bool:
    if isinstance(theirs, dict):
        return bool(ours == theirs)
    if pd.isna(theirs):
        return bool(pd.isna(ours))
    return bool(ours == theirs)


@settings(max_examples=50)
@given(
    hpd.data_frames(
        [
            hpd.column("double", dtype=np.float64),
            hpd.column("float", dtype=np.float32),
            hpd.column("long", dtype=np.int64),
            hpd.column("tiny", dtype=np.uint8),
            hpd.column("flag", dtype=np.bool_),
            hpd.column("text", elements=st.text(max_size=5) | st.none(), dtype=object),
        ],
        index=hpd.range_indexes(min_size=1, max_size=6),
    )
)
def test_cells_are_those_of_pandas(frame: pd.DataFrame) -> None:
    body = frame.to_parquet()
    theirs = scoring_server.parse_parquet_input(io.BytesIO(body))
    rows = rows_of(body)
    assert [list(row.columns or {}) for row in rows] == [list(theirs.columns)] * len(theirs)
    for name in theirs.columns:
        for row, cell in zip(rows, theirs[name], strict=True):
            ours = (row.columns or {})[name]
            assert same(ours, cell)
            if theirs[name].dtype.kind in "fiub":
                assert ours.dtype == theirs[name].dtype


def test_rarer_types_and_missing_cells() -> None:
    table = pa.table(
        {
            "long": pa.array([1, None]),
            "float": pa.array([1.5, None], pa.float32()),
            "half": pa.array(np.array([1.5, 2], dtype=np.float16)),
            "flag": pa.array([True, None]),
            "when": pa.array([np.datetime64("2026-01-02T03:04:05.123456789"), None], pa.timestamp("ns")),
            "day": pa.array([datetime.date(2026, 1, 2), None]),
            "object": pa.array([{"x": 1, "y": "a"}, {"x": 2, "y": "b"}]),
            "text": pa.array(["a", None]).dictionary_encode(),
            "bytes": pa.array([b"\xff", None]),
        }
    )
    theirs = pd.read_parquet(io.BytesIO(written(table)))
    rows = rows_of(written(table))
    for name in theirs.columns:
        for row, cell in zip(rows, theirs[name], strict=True):
            assert same((row.columns or {})[name], cell), name


def test_the_index_of_pandas_is_no_column() -> None:
    frame = pd.DataFrame({"a": [1, 2]}, index=pd.Index(["x", "y"], name="key"))
    assert [row.columns for row in rows_of(frame.to_parquet())] == [{"a": 1}, {"a": 2}]


@pytest.mark.parametrize(
    "body", [b"", b"PAR1", b"PAR1PAR1", b"{}", pd.DataFrame({"a": [1]}).to_parquet()[:-5] + b"xPAR1"]
)
def test_what_is_no_parquet(body: bytes) -> None:
    assert reason_of(body) == "bad_parquet"


def test_without_rows_or_columns() -> None:
    assert reason_of(written(pa.table({"a": pa.array([], pa.int64())}))) == "empty"


def test_two_columns_of_one_name() -> None:
    assert reason_of(written(pa.table([[1], [2]], names=["a", "a"]))) == "bad_columns"


def test_a_table_much_larger_than_its_body_is_not_read() -> None:
    constant = pa.DictionaryArray.from_arrays(pa.array(np.zeros(10_000_000, dtype=np.int32)), pa.array([1.0]))
    body = written(pa.table({"a": constant}))
    assert len(body) < 100_000
    assert reason_of(body) == "too_large_decompressed"


def test_a_long_text_that_is_repeated_is_not_copied() -> None:
    text = pa.DictionaryArray.from_arrays(pa.array(np.zeros(20_000, dtype=np.int32)), pa.array(["x" * 100_000]))
    body = written(pa.table({"a": text}))
    assert len(body) < 200_000
    before = pa.total_allocated_bytes()
    rows = decode("mlflow", {"content-type": PARQUET}, body)
    assert pa.total_allocated_bytes() - before < 2**22  # of 4 GB
    assert rows[19_999].columns == {"a": "x" * 100_000}


def test_lists_are_not_read() -> None:
    assert reason_of(written(pa.table({"a": [[1, 2], [3]]}))) == "unsupported_value"


def test_broken_metadata_of_a_column_does_not_end_the_process() -> None:
    """pyarrow's own accessors abort where this histogram of levels has a wrong length."""
    body = written(pa.table({"a": [1.5, -2.0]}))
    broken = [body[:at] + bytes([body[at] ^ bit]) + body[at + 1 :] for at in range(4, len(body) - 8) for bit in (1, 16)]
    outcomes = set()
    for one in broken:
        try:
            rows_of(one)
        except CodecError as error:
            outcomes.add(error.reason)
    assert "bad_parquet" in outcomes


def test_without_pyarrow() -> None:
    code = (
        "import sys; sys.modules['pyarrow'] = None\n"
        "from robmon.errors import CodecError\n"
        "from robmon.inputs.codecs import decode\n"
        "try: decode('mlflow', {'content-type': 'application/vnd.apache.parquet'}, b'PAR1PAR1')\n"
        "except CodecError as error: print(error.reason)\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "unsupported_content"

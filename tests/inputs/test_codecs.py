"""The codecs: what MLflow's client sends, what its server makes of it, and nothing but `CodecError` for the rest."""

from __future__ import annotations

import csv
import io
import json
import math
import warnings
from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from robmon.errors import CodecError
from robmon.inputs.codecs import Row, choose_rows, decode
from tests.inputs.reasons import REASONS

with warnings.catch_warnings():
    warnings.simplefilter("ignore")  # MLflow warns of its own type hints while it is imported
    from mlflow.pyfunc import scoring_server
    from mlflow.utils.proto_json_utils import dump_input_data

JSON = "application/json"
CSV = "text/csv"


def rows_of(content: Any, content_type: str = JSON) -> list[Row]:
    body = content if isinstance(content, bytes) else json.dumps(content).encode()
    return list(decode("mlflow", {"content-type": content_type}, body))


def reason_of(content: Any, content_type: str = JSON) -> str:
    with pytest.raises(CodecError) as caught:
        rows_of(content, content_type)
    return caught.value.reason


def same(ours: Any, theirs: Any) -> bool:
    """Whether two cells are equal, NaN and None being one."""
    if isinstance(ours, np.ndarray):
        return np.array_equal(ours, np.asarray(theirs), equal_nan=ours.dtype.kind == "f")
    if ours is None or (isinstance(ours, float) and math.isnan(ours)):
        return bool(pd.isna(theirs))
    return bool(ours == theirs)


def table(rows: Sequence[Row]) -> list[dict[str, Any]]:
    assert all(row.columns is not None for row in rows)
    return [dict(row.columns or {}) for row in rows]


def tensors(rows: Sequence[Row]) -> np.ndarray[Any, np.dtype[Any]]:
    return np.stack([row.tensor for row in rows])  # type: ignore[misc]


def of_mlflow(body: str) -> Any:
    """What MLflow's scoring server makes of a JSON body for a model without a signature."""
    data, _ = scoring_server._split_data_and_params(body)
    return scoring_server.infer_and_parse_data(data)


FRAME = pd.DataFrame(
    {
        "age": [31, 47, 52],
        "height": [1.75, np.nan, 0.1 + 0.2],
        "city": ["Bern", "Graz", None],
        "smoker": [True, False, True],
    }
)


# --- bodies of the real client ---------------------------------------------------------------------------------------


def test_a_frame_of_the_client() -> None:
    body = dump_input_data(FRAME)
    theirs = of_mlflow(body)
    ours = table(rows_of(body.encode()))
    assert [list(row) for row in ours] == [list(theirs.columns)] * len(theirs)
    assert all(same(row[name], theirs[name][index]) for index, row in enumerate(ours) for name in row)


@pytest.mark.parametrize("key", ["inputs", "instances"])
@pytest.mark.parametrize(
    "array",
    [
        np.arange(12).reshape(4, 3),
        np.random.default_rng(0).normal(size=(5, 2, 3, 4)).astype(np.float32),
        np.array([0.1, 1e-300, np.nan, -0.0]),
        np.array([[True, False]]),
    ],
)
def test_an_array_of_the_client(array: np.ndarray[Any, Any], key: str) -> None:
    body = dump_input_data(array, inputs_key=key)
    theirs = of_mlflow(body)
    ours = tensors(rows_of(body.encode()))
    assert ours.dtype == theirs.dtype
    assert ours.tobytes() == theirs.tobytes()


def test_params_and_unknown_keys_are_ignored() -> None:
    body = dump_input_data(FRAME, params={"temperature": 1.0})
    content = json.loads(body) | {"signature_name": "x"}
    assert table(rows_of(content))[0]["age"] == 31


def test_a_csv_of_pandas() -> None:
    body = FRAME.to_csv(index=False)
    theirs = scoring_server.parse_csv_input(io.StringIO(body))
    ours = table(rows_of(body.encode(), CSV + "; charset=UTF-8"))
    assert all(same(row[name], theirs[name][index]) for index, row in enumerate(ours) for name in theirs.columns)


# --- the shapes that other clients send, against MLflow's parser -----------------------------------------------------


@pytest.mark.parametrize(
    "content",
    [
        {"dataframe_split": {"columns": ["a", "b"], "index": [7, 8], "data": [[1, 2.5], [3, None]]}},
        {"dataframe_split": {"columns": ["a"], "data": [1, 2]}},
        {"dataframe_records": [{"a": 1, "b": "x"}, {"a": 2, "b": "y"}]},
        {"instances": [{"a": 1, "b": [1.5, 2.5]}, {"a": 2, "b": [3.5, 4.5]}]},
        {"inputs": {"a": [1, 2], "b": [[1, 2], [3, 4]]}},
        {"instances": {"a": [1, 2], "b": [[1, 2], [3, 4]]}},
    ],
)
def test_named_columns(content: dict[str, Any]) -> None:
    theirs = of_mlflow(json.dumps(content))
    ours = table(rows_of(content))
    assert len(ours) == len(theirs["a"]) == 2
    assert all(same(row[name], np.asarray(theirs[name])[index]) for index, row in enumerate(ours) for name in theirs)


def test_list_of_objects_under_inputs() -> None:
    assert table(rows_of({"inputs": [{"a": 1}, {"a": 2}]})) == [{"a": 1}, {"a": 2}]


def test_one_row_cell_by_cell() -> None:
    assert table(rows_of({"inputs": {"a": 1, "b": "x"}})) == [{"a": 1, "b": "x"}]


@pytest.mark.parametrize("columns", [None, [0, 1, 2]])
def test_a_frame_without_column_names_is_unnamed(columns: list[int] | None) -> None:
    frame = {"data": [[1, 2, 3], [4, 5, 6]]} | ({"columns": columns} if columns else {})
    assert np.array_equal(
        tensors(rows_of({"dataframe_split": frame})), of_mlflow(json.dumps({"dataframe_split": frame}))
    )


def test_json_literals_of_python() -> None:
    (row,) = rows_of(b'{"inputs": [[NaN, Infinity, -Infinity, 1]]}')
    assert np.array_equal(row.tensor, [np.nan, np.inf, -np.inf, 1.0], equal_nan=True)  # type: ignore[arg-type]


def test_mixed_cells_keep_their_types() -> None:
    (row,) = rows_of({"inputs": [["a", 1, None, True, 10**400]]})
    assert row.tensor is not None
    assert row.tensor.tolist() == ["a", 1, None, True, math.inf]


def test_integers_beyond_int64_become_floats() -> None:
    assert tensors(rows_of({"inputs": [[2**63, 1]]})).tolist() == [[2.0**63, 1.0]]
    assert table(rows_of({"inputs": [{"a": -(2**70)}]})) == [{"a": -(2.0**70)}]


def test_columns_of_ragged_lists_stay_lists() -> None:
    assert table(rows_of({"dataframe_records": [{"a": [[1], [2, 3]], "b": {"c": 1}}]})) == [
        {"a": [[1], [2, 3]], "b": {"c": 1}}
    ]


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"", "not_json"),
        (b"{", "not_json"),
        (b'{"inputs": [' + b"1" * 5000 + b"]}", "not_json"),
        (b'{"inputs": "\xff"}', "not_utf8"),
        (b"[" * 100_000, "too_deep"),
        (b'{"inputs": [' + b"[" * 60 + b"1" + b"]" * 60 + b"]}", "too_deep"),
        ([], "not_an_object"),
        (1, "not_an_object"),
        ({}, "no_inputs"),
        ({"input": [[1]]}, "unsupported_llm"),
        ({"messages": [], "inputs": [[1]]}, "unsupported_llm"),
        ({"prompt": "x"}, "unsupported_llm"),
        ({"inputs": [[1]], "instances": [[1]]}, "ambiguous"),
        ({"inputs": None}, "no_inputs"),
        ({"inputs": 3}, "no_inputs"),
        ({"inputs": []}, "empty"),
        ({"inputs": {}}, "empty"),
        ({"inputs": [[]]}, "empty"),
        ({"inputs": [[[1], [2, 3]]]}, "ragged"),
        ({"inputs": [[1, [2]]]}, "ragged"),
        ({"inputs": [1, [2]]}, "ragged"),
        ({"inputs": {"a": [1, 2], "b": [1]}}, "ragged"),
        ({"inputs": {"a": [1, 2], "b": 1}}, "ragged"),
        ({"inputs": [[{"a": 1}]]}, "unsupported_value"),
        ({"inputs": [{"a": 1}, 2]}, "no_inputs"),
        ({"dataframe_records": {"a": [1]}}, "no_inputs"),
        ({"dataframe_records": [[1]]}, "no_inputs"),
        ({"dataframe_records": []}, "empty"),
        ({"dataframe_split": [[1]]}, "no_inputs"),
        ({"dataframe_split": {"columns": ["a"]}}, "no_inputs"),
        ({"dataframe_split": {"columns": [2**61 - 1], "data": [[1]]}}, "bad_columns"),
        ({"dataframe_split": {"columns": ["a"], "data": [[1]], "dtype": 1}}, "no_inputs"),
        ({"dataframe_split": {"columns": ["a"], "data": {"a": 1}}}, "no_inputs"),
        ({"dataframe_split": {"columns": ["a"], "data": [[1, 2]]}}, "ragged"),
        ({"dataframe_split": {"columns": 5, "data": [[1]]}}, "bad_columns"),
        ({"dataframe_split": {"columns": [None], "data": [[1]]}}, "bad_columns"),
        ({"dataframe_split": {"columns": ["a", "a"], "data": [[1, 2]]}}, "bad_columns"),
    ],
)
def test_malformed_json(content: Any, reason: str) -> None:
    assert reason_of(content) == reason


@pytest.mark.parametrize("content_type", ["text/plain", "application/json; charset=latin-1", "text/csv; format=split"])
def test_content_types_that_mlflow_refuses(content_type: str) -> None:
    assert reason_of({"inputs": [[1]]}, content_type) == "unsupported_content"


@pytest.mark.parametrize("content_type", ["", "application/json; charset=utf-8", "Application/JSON"])
def test_content_types_that_are_json(content_type: str) -> None:
    assert len(rows_of({"inputs": [[1]]}, content_type)) == 1


def test_unknown_format() -> None:
    with pytest.raises(CodecError) as caught:
        decode("smoke", {}, b"")
    assert caught.value.reason == "unsupported_format"


# --- CSV -------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "body",
    [
        "a,b,c\n1,2.5,x\n2,,y\n",
        "a,b\r\n1,True\r\n2,FALSE\r\n",
        "a,b\n007,1_000\n8,٣\n",
        "a\n1\nx\n",
        "a,b\nNA,null\n1,2\n",
        ",a,a,a\n0,1,2,3\n1,4,5,6\n",
        "a,b\n7,1,2\n8,3,4\n",
        "a,b\n1\n2,3\n",
        'a,"b,c"\n"1","x ""y"" z"\n\n2,"line\nbreak"\n',
        "a,b\ninf,+5\n-Infinity, -0\n",
        "﻿a\n1\n",
        "a\n1e400\n.5\n",
    ],
)
def test_csv_against_pandas(body: str) -> None:
    theirs = scoring_server.parse_csv_input(io.StringIO(body.removeprefix("﻿")))
    ours = table(rows_of(body.encode(), CSV))
    assert len(ours) == len(theirs)
    assert [list(row) for row in ours] == [list(theirs.columns)] * len(ours)
    for name in theirs.columns:
        assert all(same(row[name], theirs[name].iloc[index]) for index, row in enumerate(ours)), name


@pytest.mark.parametrize(
    ("body", "reason"),
    [
        (b"", "empty"),
        (b"\n\n", "empty"),
        (b"a,b\n", "empty"),
        (b"a\n\xff\n", "not_utf8"),
        (b"a,b\n1,2\n1,2,3\n", "ragged"),
        (b'a\n"' + b"x" * 200_000 + b'"\n', "bad_csv"),
    ],
)
def test_malformed_csv(body: bytes, reason: str) -> None:
    assert reason_of(body, CSV) == reason


def test_a_header_of_one_name_many_times_takes_no_time() -> None:
    """Each of them would be tried against all before it."""
    columns = 300_000
    (row,) = rows_of(b",".join([b"a"] * columns) + b"\n" + b",".join([b"1"] * columns) + b"\n", CSV)
    assert row.columns is not None
    assert list(row.columns)[-1] == f"a.{columns - 1}"


def test_short_lines_are_not_filled_up_without_bound() -> None:
    header = b",".join(b"%d" % number for number in range(2000))
    assert len(rows_of(header + b"\n" + b"1\n" * 500, CSV)) == 500
    assert reason_of(header + b"\n" + b"1\n" * 5000, CSV) == "ragged"


# --- properties ------------------------------------------------------------------------------------------------------

NAMES = st.lists(st.text(min_size=1, max_size=8), min_size=1, max_size=5, unique=True)
CELLS = st.one_of(
    st.none(), st.booleans(), st.integers(-(2**63), 2**63 - 1), st.floats(), st.text(max_size=8)
)  # fmt: skip


@st.composite
def frames(draw: st.DrawFn) -> tuple[list[str], list[list[Any]]]:
    names = draw(NAMES)
    rows = st.lists(CELLS, min_size=len(names), max_size=len(names))
    return names, draw(st.lists(rows, min_size=1, max_size=5))


def assert_same_table(rows: list[Row], names: list[str], data: list[list[Any]]) -> None:
    assert len(rows) == len(data)
    for row, cells in zip(table(rows), data, strict=True):
        assert list(row) == names
        assert all(same(row[name], cell) for name, cell in zip(names, cells, strict=True))


@given(frames())
def test_named_shapes_round_trip(frame: tuple[list[str], list[list[Any]]]) -> None:
    names, data = frame
    records = [dict(zip(names, row, strict=True)) for row in data]
    columns = {name: [row[position] for row in data] for position, name in enumerate(names)}
    contents: list[dict[str, Any]] = [
        {"dataframe_split": {"columns": names, "data": data}},
        {"dataframe_records": records},
        {"instances": records},
        {"inputs": columns},
    ]
    for content in contents:
        assert_same_table(rows_of(content), names, data)


ARRAYS = hnp.arrays(
    st.sampled_from([np.dtype(np.int64), np.dtype(np.float64), np.dtype(np.bool_)]),
    hnp.array_shapes(min_dims=1, max_dims=4, max_side=4),
)


@given(ARRAYS, st.sampled_from(["inputs", "instances"]))
def test_tensors_round_trip_to_the_last_bit(array: np.ndarray[Any, Any], key: str) -> None:
    if array.dtype.kind == "f":
        array = np.where(np.isnan(array), np.nan, array)  # JSON has one NaN only
    ours = tensors(rows_of({key: array.tolist()}))
    assert (ours.dtype, ours.shape) == (array.dtype, array.shape)
    assert ours.tobytes() == array.tobytes()


@given(NAMES, st.data())
def test_csv_numbers_round_trip_to_the_last_bit(names: list[str], data: st.DataObject) -> None:
    names = [f"{name.strip() or 'x'}{position}".replace("\0", "") for position, name in enumerate(names)]
    rows = data.draw(
        st.lists(st.lists(st.floats(allow_nan=False), min_size=len(names), max_size=len(names)), min_size=1, max_size=5)
    )
    text = io.StringIO()
    csv.writer(text).writerows([names, *[[repr(number) for number in row] for row in rows]])
    assert_same_table(rows_of(text.getvalue().encode("utf-8", "replace"), CSV), names, rows)


@given(st.binary(max_size=300), st.sampled_from([JSON, CSV, "", "text/plain"]))
def test_arbitrary_bytes(body: bytes, content_type: str) -> None:
    assert_rows_or_codec_error(body, content_type)


def assert_rows_or_codec_error(body: bytes, content_type: str) -> None:
    try:
        rows = decode("mlflow", {"content-type": content_type}, body)
        assert len(rows) > 0
        for row in choose_rows(rows, 3, seed=1):
            assert (row.columns is None) != (row.tensor is None)
    except CodecError as error:
        assert error.reason in REASONS


VALID = [
    json.dumps({"dataframe_split": {"columns": ["a", "b"], "data": [[1, 2.5], [3, "x"]]}}).encode(),
    json.dumps({"dataframe_records": [{"a": 1, "b": [1, 2]}, {"a": None}]}).encode(),
    json.dumps({"instances": [[[1, 2], [3, 4]], [[5, 6], [7, 8]]]}).encode(),
    json.dumps({"inputs": {"a": [1, 2], "b": [[True], [False]]}}).encode(),
]
VALID_CSV = b'a,b,"c d"\n1,2.5,x\n-3,,"y, z"\n'
JSON_VALUES = st.recursive(
    CELLS | st.integers(), lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=3), inner)
)


@st.composite
def mutated(draw: st.DrawFn, originals: Sequence[bytes]) -> bytes:
    body = bytearray(draw(st.sampled_from(originals)))
    for _ in range(draw(st.integers(1, 5))):
        start = draw(st.integers(0, len(body)))
        end = draw(st.integers(start, min(start + 6, len(body))))
        body[start:end] = draw(st.one_of(st.binary(max_size=4), st.sampled_from([b"[", b"]", b"{", b"1e999", b"null"])))
    return bytes(body)


@settings(max_examples=400)
@given(mutated(VALID))
def test_mutated_json(body: bytes) -> None:
    assert_rows_or_codec_error(body, JSON)


@settings(max_examples=200)
@given(mutated([VALID_CSV]))
def test_mutated_csv(body: bytes) -> None:
    assert_rows_or_codec_error(body, CSV)


@settings(max_examples=200)
@given(st.sampled_from(["inputs", "instances", "dataframe_split", "dataframe_records"]), JSON_VALUES)
def test_any_json_under_a_known_key(key: str, value: Any) -> None:
    assert_rows_or_codec_error(json.dumps({key: value}).encode(), JSON)


@settings(max_examples=200)
@given(mutated(VALID))
def test_what_mlflow_cannot_parse_is_no_row_of_ours(body: bytes) -> None:
    """A request that MLflow refuses never reached the model, so it must not be assessed.

    Columns that hold lists are left out: whether MLflow takes them depends on the signature.
    """
    try:
        rows = list(decode("mlflow", {"content-type": JSON}, body))
    except CodecError:
        return
    cells = [cell for row in rows for cell in (row.columns or {}).values()]
    if not any(isinstance(cell, (list, dict, np.ndarray)) for cell in cells):
        of_mlflow(body.decode())


# --- choosing rows ---------------------------------------------------------------------------------------------------


def test_rows_are_chosen_uniformly() -> None:
    rows = rows_of({"inputs": list(range(10))})
    counts = np.zeros(10)
    for seed in range(4000):
        for row in choose_rows(rows, 3, seed):
            counts[int(row.tensor)] += 1  # type: ignore[arg-type]
    assert np.all(np.abs(counts - 1200) <= 4.5 * (4000 * 0.3 * 0.7) ** 0.5)


def test_chosen_rows_differ_and_are_the_same_for_the_same_seed() -> None:
    rows = rows_of({"inputs": list(range(10))})
    chosen = [int(row.tensor) for row in choose_rows(rows, 6, seed=9)]  # type: ignore[arg-type]
    assert len(set(chosen)) == 6
    assert chosen == [int(row.tensor) for row in choose_rows(rows, 6, seed=9)]  # type: ignore[arg-type]


def test_all_rows_when_there_are_no_more() -> None:
    rows = rows_of({"inputs": [1, 2]})
    assert len(choose_rows(rows, 5, seed=0)) == 2


def test_only_the_chosen_row_is_built() -> None:
    """The deep fault of another row is not even seen."""
    rows = decode("mlflow", {"content-type": JSON}, json.dumps({"inputs": [[[1], [2]], [[1], [2, 3]]]}).encode())
    assert np.array_equal(rows[0].tensor, [[1], [2]])  # type: ignore[arg-type]
    with pytest.raises(CodecError):
        rows[1]

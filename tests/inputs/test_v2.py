"""The Open Inference Protocol: what tritonclient sends comes back, whatever shape and type; nothing else does."""

from __future__ import annotations

import json
import tracemalloc
from typing import Any

import ml_dtypes
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from robmon.errors import CodecError
from robmon.inputs.codecs import Row, choose_rows, decode
from tests.inputs import senders
from tests.inputs.senders import DATATYPES, Array

LENGTH = "inference-header-content-length"


def rows_of(body: bytes, headers: dict[str, str] | None = None) -> list[Row]:
    return list(decode("v2", headers or {}, body))


def reason_of(body: bytes | dict[str, Any], headers: dict[str, str] | None = None) -> str:
    with pytest.raises(CodecError) as caught:
        rows_of(body if isinstance(body, bytes) else json.dumps(body).encode(), headers)
    return caught.value.reason


def request(**tensor: Any) -> dict[str, Any]:
    return {"inputs": [{"name": "x", "shape": [2], "datatype": "FP32", "data": [1, 2]} | tensor]}


def with_binary(body: bytes, **tensor: Any) -> bytes:
    content = request(shape=[1], **tensor)
    del content["inputs"][0]["data"]
    content["inputs"][0].setdefault("parameters", {"binary_data_size": len(body)})
    return json.dumps(content).encode() + body


# --- round trips -----------------------------------------------------------------------------------------------------

NUMBERS = hnp.arrays(
    st.sampled_from([np.dtype(dtype) for dtype in DATATYPES.values()]),
    hnp.array_shapes(min_dims=1, max_dims=4, max_side=4),
)
TEXTS = hnp.arrays(np.dtype(object), hnp.array_shapes(min_dims=1, max_dims=3, max_side=4), elements=st.text(max_size=6))
BRAIN_FLOATS = hnp.arrays(
    np.dtype(np.float32), hnp.array_shapes(min_dims=1, max_dims=3), elements=st.floats(width=32, allow_nan=False)
).map(lambda array: array.astype(ml_dtypes.bfloat16))


def same_rows(rows: list[Row], name: str, array: Array) -> None:
    cells = [np.asarray((row.columns or {})[name], dtype=array.dtype) for row in rows]
    again = np.stack(cells).reshape(array.shape)
    assert again.tolist() == array.tolist() if array.dtype == object else again.tobytes() == array.tobytes()


def canonical(array: Array) -> Array:
    """JSON has one NaN only."""
    return np.where(np.isnan(array), np.array(np.nan, array.dtype), array) if array.dtype.kind == "f" else array


@given(NUMBERS)
def test_binary_numbers_round_trip_to_the_last_bit(array: Array) -> None:
    sent = senders.v2([senders.tensor("x", array)])
    rows = rows_of(sent.body, dict(sent.headers))
    assert np.stack([row.tensor for row in rows]).dtype == array.dtype  # type: ignore[misc]
    assert np.stack([row.tensor for row in rows]).tobytes() == array.tobytes()  # type: ignore[misc]
    assert all(row.tensor.base is None for row in rows if row.tensor is not None)  # no view that keeps the whole body


@given(NUMBERS)
def test_json_numbers_round_trip_to_the_last_bit(array: Array) -> None:
    sent = senders.v2([senders.tensor("x", canonical(array), binary=False)])
    assert sent.headers == {}
    rows = rows_of(sent.body)
    assert np.stack([row.tensor for row in rows]).dtype == array.dtype  # type: ignore[misc]
    assert np.stack([row.tensor for row in rows]).tobytes() == canonical(array).tobytes()  # type: ignore[misc]


@given(BRAIN_FLOATS)
def test_bf16_round_trips_as_single_precision(array: Array) -> None:
    sent = senders.v2([senders.tensor("x", array)])
    tensors = np.stack([row.tensor for row in rows_of(sent.body, dict(sent.headers))])  # type: ignore[misc]
    assert tensors.dtype == np.float32
    assert tensors.tobytes() == array.astype(np.float32).tobytes()


@given(TEXTS, st.booleans())
def test_texts_round_trip(array: Array, binary: bool) -> None:
    sent = senders.v2([senders.tensor("x", array, binary=binary)])
    rows = rows_of(sent.body, dict(sent.headers))
    assert [np.asarray(row.tensor).tolist() for row in rows] == array.tolist()


def test_bytes_that_are_no_text_stay_bytes() -> None:
    sent = senders.v2([senders.tensor("x", np.array([b"\xff\x00", "ü".encode()], dtype=object))])
    assert [row.columns for row in rows_of(sent.body, dict(sent.headers))] == [{"x": b"\xff\x00"}, {"x": "ü"}]


@given(st.lists(st.tuples(NUMBERS | TEXTS, st.booleans()), min_size=2, max_size=4))
def test_several_tensors_with_and_without_the_length(tensors: list[tuple[Array, bool]]) -> None:
    count = min(len(array) for array, _ in tensors)
    arrays = {f"t{number}": canonical(array[:count]) for number, (array, _) in enumerate(tensors)}
    sent = senders.v2(
        [
            senders.tensor(name, array, binary=binary)
            for (name, array), (_, binary) in zip(arrays.items(), tensors, strict=True)
        ]
    )
    metadata = json.dumps({"Inference-Header-Content-Length": [sent.headers[LENGTH]]}) if sent.headers else "{}"
    for headers in (dict(sent.headers), {}, {"ce-metadata": metadata}):
        rows = rows_of(sent.body, headers)
        assert all(row.tensor is None for row in rows)
        assert [list(row.columns or {}) for row in rows] == [list(arrays)] * count
        for name, array in arrays.items():
            same_rows(rows, name, array)


def test_a_tensor_that_looks_like_white_space() -> None:
    sent = senders.v2([senders.tensor("x", np.array([[32, 10], [13, 9]], dtype=np.uint8))])
    assert [row.tensor.tolist() for row in rows_of(sent.body) if row.tensor is not None] == [[32, 10], [13, 9]]


def test_nested_data_and_keys_that_are_not_known() -> None:
    body = request(shape=[2, 2], data=[[1, 2], [3, 4.5]]) | {"model_name": "digits", "outputs": [], "id": "7"}
    rows = rows_of(json.dumps(body).encode() + b"\n")
    assert [row.tensor.tolist() for row in rows if row.tensor is not None] == [[1, 2], [3, 4.5]]


def test_a_single_tensor_has_both_forms_and_a_column_is_scalar() -> None:
    (row, _) = rows_of(json.dumps(request(shape=[2, 1])).encode())
    assert row.columns == {"x": 1.0}
    assert row.tensor is not None
    assert row.tensor.tolist() == [1.0]


def test_what_json_may_hold_for_a_datatype() -> None:
    def cell(datatype: str, value: Any) -> Any:
        (row,) = rows_of(json.dumps(request(shape=[1], datatype=datatype, data=[value])).encode())
        return (row.columns or {})["x"]

    assert cell("BOOL", 1) is True
    assert cell("INT8", True) == 1
    assert cell("INT32", 1.9) == 1
    assert np.isnan(cell("FP64", None))
    assert cell("FP32", 1e300) == np.inf


# --- what is refused -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("body", "reason"),
    [
        ({"inputs": []}, "empty"),
        (request(shape=[0]), "empty"),
        (request(shape=[2, 0], data=[[], []]), "empty"),
        (request(shape=[]), "bad_tensor"),
        (request(shape=[1] * 33), "bad_tensor"),
        (request(shape=[-1]), "bad_tensor"),
        (request(shape=[2.0]), "bad_tensor"),
        (request(shape=[True]), "bad_tensor"),
        (request(shape=2), "bad_tensor"),
        (request(name=7), "bad_tensor"),
        (request(datatype=7), "bad_tensor"),
        (request(parameters=[1]), "bad_tensor"),
        (request(data="x"), "bad_tensor"),
        (request(data=None), "bad_tensor"),
        (request(data=[1]), "bad_size"),
        (request(data=[[1, 2], [3]]), "ragged"),
        (request(data=[1, [2]]), "ragged"),
        (request(datatype="FP8"), "unsupported_datatype"),
        (request(datatype="fp32"), "unsupported_datatype"),
        (request(datatype="BF16"), "unsupported_datatype"),
        (request(data=["1", "2"]), "unsupported_value"),
        (request(data=[{}, {}]), "unsupported_value"),
        (request(datatype="BYTES"), "unsupported_value"),
        (request(datatype="BOOL", data=[0.5, 1]), "unsupported_value"),
        (request(datatype="INT8", data=[200, 1]), "unsupported_value"),
        (request(datatype="UINT64", data=[-1, 1]), "unsupported_value"),
        (request(datatype="INT64", data=[float("nan"), 1]), "unsupported_value"),
        (request(datatype="INT64", data=[None, 1]), "unsupported_value"),
        (request(data=[10**400, 1]), "unsupported_value"),
        (request(parameters={"shared_memory_region": "r", "shared_memory_byte_size": 8}), "shared_memory"),
        (request(parameters={"binary_data_size": 8}), "bad_size"),
        (request(parameters={"binary_data_size": -8}), "bad_size"),
        (request(parameters={"binary_data_size": "8"}), "bad_size"),
        ({"inputs": 2 * request()["inputs"]}, "bad_tensor"),
        ({"inputs": request()["inputs"] + request(name="y", shape=[1], data=[1])["inputs"]}, "ragged"),
        (json.dumps(request()).encode() + b"x", "bad_size"),
        (with_binary(bytes(3)), "bad_size"),
        (with_binary(bytes(5)), "bad_size"),
        (with_binary(bytes(4)) + b" ", "bad_size"),
        (with_binary(bytes(8), parameters={"binary_data_size": 4}), "bad_size"),
        (with_binary(bytes(4), datatype="BF16"), "bad_size"),
        (with_binary(b"\x05\0\0\0abcd", datatype="BYTES"), "bad_size"),
        (with_binary(b"\x03\0\0\0abcd", datatype="BYTES"), "bad_size"),
        (with_binary(b"\xff\xff\xff\xffabcd", datatype="BYTES"), "bad_size"),
        (with_binary(b"abc", datatype="BYTES"), "bad_size"),
    ],
)  # fmt: skip
def test_malformed(body: bytes | dict[str, Any], reason: str) -> None:
    assert reason_of(body) == reason


@pytest.mark.parametrize("length", ["-1", "1e3", "x", "9" * 30, "²", "99999", "None"])
@pytest.mark.parametrize("where", ["header", "metadata"])
def test_a_length_that_is_none(length: str, where: str) -> None:
    metadata = {"ce-metadata": json.dumps({"inference-header-content-length": [length]})}
    assert reason_of(request(), {LENGTH: length} if where == "header" else metadata) == "bad_header_length"


@pytest.mark.parametrize(
    "metadata", ["", "{", "[]", "null", "{}", '{"X": 1}', "[" * 5000, '{"inference-header-content-length": []}']
)
def test_metadata_without_a_length(metadata: str) -> None:
    assert len(rows_of(json.dumps(request()).encode(), {"ce-metadata": metadata})) == 2


def test_a_length_that_cuts_the_json() -> None:
    assert reason_of(request(), {LENGTH: "5"}) == "not_json"


@pytest.mark.parametrize("datatype", ["FP64", "BYTES", "BOOL"])
@pytest.mark.parametrize("shape", [[10**9, 10**9], [10**9], [2**63], [10**400] * 32, [2**31] * 20])
def test_huge_shapes_cost_nothing(datatype: str, shape: list[int]) -> None:
    bodies = [
        json.dumps(request(shape=shape, datatype=datatype)).encode(),
        json.dumps(request(shape=shape, datatype=datatype, parameters={"binary_data_size": 8})).encode() + bytes(8),
    ]
    tracemalloc.start()
    try:
        assert [reason_of(body) for body in bodies] == ["bad_size", "bad_size"]
        assert tracemalloc.get_traced_memory()[1] < 2**20
    finally:
        tracemalloc.stop()


def test_a_chosen_row_is_all_that_is_kept() -> None:
    array = np.arange(1_000_000, dtype=np.float64).reshape(1000, 1000)
    sent = senders.v2([senders.tensor("x", array)])
    tracemalloc.start()
    try:
        chosen = choose_rows(decode("v2", dict(sent.headers), sent.body), 1, seed=0)
        assert tracemalloc.get_traced_memory()[0] < 2**16
    finally:
        tracemalloc.stop()
    assert chosen[0].tensor is not None
    assert chosen[0].tensor.shape == (1000,)


def test_an_empty_raw_tensor() -> None:
    assert reason_of(b"", {LENGTH: "0"}) == "empty"

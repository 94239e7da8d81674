"""What stands in files: every kind of line, and what it is taken for."""

from __future__ import annotations

import base64
import gzip
import json
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from robmon.errors import CodecError
from robmon.inputs.codecs import Row, choose_rows, decode
from robmon.vocabulary import RECORD_TYPE
from tests.inputs.senders import RESPONSE_EVENT, Request, kserve_record


def rows(content: Any, content_type: str = "application/json") -> list[Row]:
    body = content if isinstance(content, bytes) else json.dumps(content).encode()
    return list(decode("file", {"content-type": content_type}, body))


def logged(body: bytes = b'{"instances": [[1.5]]}', **fields: Any) -> dict[str, Any]:
    """A record of KServe's logger."""
    return kserve_record(Request("", body, {"content-type": "application/json"})) | fields


def captured(data: str, encoding: str, content_type: str) -> dict[str, Any]:
    """A record as SageMaker's data capture writes it."""
    return {
        "captureData": {
            "endpointInput": {
                "observedContentType": content_type, "mode": "INPUT", "data": data, "encoding": encoding
            },
            "endpointOutput": {"observedContentType": "text/csv", "mode": "OUTPUT", "data": "0.5", "encoding": "CSV"},
        },
        "eventMetadata": {"eventId": "0e1", "inferenceTime": "2026-01-01T00:00:00Z"},
        "eventVersion": "0",
    }  # fmt: skip


def test_a_flat_object_is_a_row() -> None:
    (row,) = rows({"length": 1.5, "kind": "x", "embedding": [0.5, 1.0], "missing": None})
    assert row.columns is not None and row.reading == "table"
    assert row.columns["embedding"].tolist() == [0.5, 1.0]
    assert (row.columns["length"], row.columns["kind"], row.columns["missing"]) == (1.5, "x", None)


def test_columns_of_a_table_may_be_called_anything() -> None:
    (row,) = rows({"inputs": [0.5], "captureData": 1}, RECORD_TYPE)
    assert row.columns is not None and set(row.columns) == {"inputs", "captureData"}
    (row,) = rows({"inputs": 0.5, "instances": 2})
    assert row.columns == {"inputs": 0.5, "instances": 2}


def test_a_line_of_bentomls_monitoring_log() -> None:
    (row,) = rows({"length": 1.5, "timestamp": "2026-01-01T00:00:00", "request_id": "12", "trace_id": "34"})
    assert row.columns == {"length": 1.5}
    (row,) = rows({"length": 1.5, "timestamp": 12})
    assert row.columns == {"length": 1.5, "timestamp": 12}


@pytest.mark.parametrize(
    "content",
    [
        {"dataframe_split": {"columns": ["a"], "data": [[1.5], [2.5]]}},
        {"dataframe_records": [{"a": 1.5}, {"a": 2.5}]},
        {"instances": [{"a": 1.5}, {"a": 2.5}]},
        {"inputs": {"a": [1.5, 2.5]}},
        {"inputs": [{"name": "a", "datatype": "FP64", "shape": [2], "data": [1.5, 2.5]}]},
        {"specversion": "1.0", "id": "1", "source": "s", "type": "t", "data": {"instances": [{"a": 1.5}, {"a": 2.5}]}},
    ],
)
def test_requests_of_every_protocol(content: Any) -> None:
    assert [(row.columns or {})["a"] for row in rows(content)] == [1.5, 2.5]


@pytest.mark.parametrize(
    ("data", "encoding", "content_type"),
    [
        ("1.5,2\n3.5,4\n", "CSV", "text/csv"),
        (base64.b64encode(b"1.5,2\n3.5,4").decode(), "BASE64", "text/csv; charset=utf-8"),
        ('{"instances": [[1.5, 2.0], [3.5, 4.0]]}', "JSON", "application/json"),
        (base64.b64encode(b'{"instances": [[1.5, 2.0], [3.5, 4.0]]}').decode(), "BASE64", "application/json"),
    ],
)
def test_sagemakers_data_capture(data: str, encoding: str, content_type: str) -> None:
    found = rows(captured(data, encoding, content_type))
    assert [row.tensor.tolist() for row in found if row.tensor is not None] == [[1.5, 2.0], [3.5, 4.0]]


JSON, LINES, CSV = "application/json", "application/jsonlines", "text/csv"
TWO_ROWS: list[tuple[str, str]] = [
    ('{"a": 1.5, "b": 2}\n{"b": 4, "a": 3.5}\n', LINES),
    ('{"features": [1.5, 2]}\r\n\r\n{"features": [3.5, 4]}', LINES),
    ("[1.5, 2]\n[3.5, 4]", LINES),
    ('{"instances": [[1.5, 2]]}\n{"instances": [[3.5, 4]]}', LINES),
    ('{"dataframe_split": {"columns": ["a", "b"], "data": [[1.5, 2]]}}\n{"inputs": {"a": [3.5], "b": [4]}}', LINES),
    ('{"a": [1.5, 3.5], "b": [2, 4]}', JSON),
    ('[{"a": 1.5, "b": 2}, {"a": 3.5, "b": 4}]', JSON),
    ("[[1.5, 2], [3.5, 4]]", JSON),
    ('{"instances": [{"features": [1.5, 2]}, {"features": [3.5, 4]}]}', JSON),
    ('{"instances": [{"data": {"features": {"values": [1.5, 2]}}}, {"features": {"values": [3.5, 4]}}]}', JSON),
    ('{"instances": [{"a": 1.5, "b": 2}, {"a": 3.5, "b": 4}]}', "application/json; charset=utf-8"),
    ("a,b\n1.5,2\n3.5,4\n", CSV),
    ("1.5,2\n3.5,4", CSV),
]


def test_a_plain_row_is_read_from_files_and_as_a_message() -> None:
    row = b'{"a": 1.5, "kind": "x"}'
    for source in ("file", "kafka"):
        [found] = decode(source, {}, row)
        assert found.columns == {"a": 1.5, "kind": "x"}
    for content in (b'{"instances": []}', b'{"specversion": "1.0", "type": "t", "data": {"a": 1.5}}', b"[1.5]", b"{}"):
        with pytest.raises(CodecError):
            decode("kafka", {}, content)


@pytest.mark.parametrize("encoding", ["plain", "BASE64"])
@pytest.mark.parametrize("source", ["file", "mlflow", "v1", "cloudevents", "kafka"])
@pytest.mark.parametrize(("data", "content_type"), TWO_ROWS)
def test_every_form_of_a_captured_request(data: str, content_type: str, encoding: str, source: str) -> None:
    """In files, as a mirror's body and as a message."""
    sent = base64.b64encode(data.encode()).decode() if encoding == "BASE64" else data
    named = {CSV: "CSV", LINES: "JSON"}.get(content_type, "JSON")
    record = captured(sent, encoding if encoding == "BASE64" else named, content_type)
    found = decode(source, {"content-type": JSON}, json.dumps(record).encode())
    values = [row.tensor.tolist() if row.tensor is not None else [(row.columns or {})[name] for name in "ab"]
              for row in found]  # fmt: skip
    assert values == [[1.5, 2], [3.5, 4]]


@pytest.mark.parametrize(
    ("data", "columns"),
    [
        ('{"a": 1.5, "kind": "x", "missing": null}', {"a": 1.5, "kind": "x", "missing": None}),
        ("[1.5, 2, 3]", [1.5, 2, 3]),
        ('{"features": [1.5, 2, 3]}', [1.5, 2, 3]),
        ("red,circle\nblue,square", ["red", "circle"]),
        ("1.5,x\n2.5,y", [1.5, "x"]),
        ("a,kind\n1.5,x\n,y", {"a": 1.5, "kind": "x"}),
    ],
)
def test_the_first_row_of_a_captured_request(data: str, columns: Any) -> None:
    row = rows(captured(data, "CSV" if "\n" in data else "JSON", ""))[0]
    assert (row.tensor.tolist() if row.tensor is not None else row.columns) == columns


def test_text_in_a_captured_table() -> None:
    (row,) = rows(captured('1.5,"a,b",\n', "CSV", "text/csv"))
    assert row.tensor is not None and row.tensor.tolist() == [1.5, "a,b", None]


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"\xff", "not_utf8"),
        (b"{", "not_json"),
        ([], "not_an_object"),
        ({}, "empty"),
        ({"timestamp": 1, "request_id": 2, "trace_id": 3}, "empty"),
        ({"messages": [{"role": "user"}]}, "unsupported_llm"),
        ({"captureData": None}, "no_inputs"),
        ({"captureData": {"endpointOutput": {"data": "1"}}}, "no_inputs"),
        (captured("%%%", "BASE64", "text/csv"), "unsupported_content"),
        (captured('"1', "CSV", "text/csv"), "bad_csv"),
        (captured("", "CSV", "text/csv"), "empty"),
        (captured("hello", "JSON", "application/json"), "not_json"),
        (logged(ReqType=RESPONSE_EVENT), "response_event"),
        (logged(Bytes=None), "no_inputs"),
        (logged(Bytes=[1]), "no_inputs"),
        (logged(Bytes="%%%"), "unsupported_content"),
        (logged(b"hello"), "not_json"),
        (logged(Metadata={"Inference-Header-Content-Length": ["9999"]}), "bad_header_length"),
        (logged(gzip.compress(bytes(2**25))), "too_large_decompressed"),
    ],
)
def test_lines_that_are_refused(content: Any, reason: str) -> None:
    with pytest.raises(CodecError) as caught:
        rows(content)
    assert caught.value.reason == reason


def test_a_csv_row_of_numbers_is_one_for_tensors_too() -> None:
    (numeric,) = rows(b"a,b\n1.5,2", "text/csv")
    assert numeric.columns == {"a": 1.5, "b": 2} and numeric.reading == "table"
    (mixed,) = rows(b"a,b\n1.5,x", "text/csv")
    assert mixed.texts == {"a": "1.5", "b": "x"}


anything = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(["captureData", "endpointInput", "data", "encoding", "observedContentType", "inputs", "a"]),
            inner,
            max_size=4,
        )
        | st.fixed_dictionaries(
            dict.fromkeys(["Bytes", "ContentType", "ReqType", "SourceUri", "InferenceService"], inner)
        )
    ),
    max_leaves=12,
)


@given(
    content=anything | st.binary(max_size=60),
    content_type=st.sampled_from(["application/json", RECORD_TYPE, "text/csv"]),
)
def test_whatever_stands_there_is_rows_or_a_reason(content: Any, content_type: str) -> None:
    try:
        found = decode(
            "file",
            {"content-type": content_type},
            content if isinstance(content, bytes) else json.dumps(content).encode(),
        )
        for row in choose_rows(found, 2, seed=1):
            assert row.columns is not None or isinstance(row.tensor, np.ndarray)
    except CodecError as error:
        assert error.reason

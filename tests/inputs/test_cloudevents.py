"""Events as the CloudEvents SDK writes them, around bodies of every format; and what is no event of an input."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import pytest

from robmon.errors import CodecError
from robmon.inputs.codecs import Row, decode
from tests.inputs import senders
from tests.inputs.senders import CSV, JSON, PARQUET, RESPONSE_EVENT, Request, event

TABLE = Request("/invocations", b"a,b\n1,02139\n", {"content-type": CSV})


def rows_of(body: bytes | dict[str, Any], headers: dict[str, str] | None = None) -> list[Row]:
    return list(decode("cloudevents", headers or {}, body if isinstance(body, bytes) else json.dumps(body).encode()))


def reason_of(body: bytes | dict[str, Any]) -> str:
    with pytest.raises(CodecError) as caught:
        rows_of(body)
    return caught.value.reason


@pytest.mark.parametrize("structured", [False, True])
def test_csv_keeps_its_content_type(structured: bool) -> None:
    sent = event(TABLE, structured=structured)
    (row,) = rows_of(sent.body, dict(sent.headers))
    assert row.texts == {"a": "1", "b": "02139"}


@pytest.mark.parametrize("structured", [False, True])
def test_binary_tensors(structured: bool) -> None:
    sent = event(senders.v2([senders.tensor("x", np.array([[1.5, 2.5]]))]), structured=structured)
    assert ("data_base64" in sent.body.decode("latin-1")) == structured
    (row,) = rows_of(sent.body)
    assert row.tensor is not None
    assert row.tensor.tolist() == [1.5, 2.5]


def test_data_as_json_and_as_text_that_is_json() -> None:
    data = {"instances": [[1, 2]]}
    for value in (data, json.dumps(data)):
        (row,) = rows_of({"specversion": "1.0", "type": "x", "source": "/", "id": "1", "data": value})
        assert row.tensor is not None
        assert row.tensor.tolist() == [1, 2]


def test_a_structured_event_is_one_on_every_path() -> None:
    """KServe takes events as predict calls."""
    sent = event(senders.v1([[1, 2]]), structured=True)
    for path in ("v1", "v2", "cloudevents"):
        assert len(decode(path, dict(sent.headers), sent.body)) == 1
    assert len(decode("mlflow", {"content-type": JSON}, sent.body)) == 1


def test_the_answer_to_a_prediction_is_no_input() -> None:
    sent = event(Request("/", b'{"predictions": [1]}', {"content-type": JSON}), structured=True, kind=RESPONSE_EVENT)
    assert reason_of(sent.body) == "response_event"


@pytest.mark.parametrize(
    ("body", "reason"),
    [
        ({"specversion": "1.0", "data_base64": "!!!"}, "bad_event"),
        ({"specversion": "1.0", "data_base64": "ü"}, "bad_event"),
        ({"specversion": "1.0", "data_base64": 7}, "bad_event"),
        ({"specversion": "1.0", "data_base64": ""}, "not_json"),
        ({"specversion": "1.0", "data": None}, "not_an_object"),
        ({"specversion": "1.0", "data": "\ud800"}, "not_utf8"),
        ({"specversion": "1.0", "data": {"specversion": "1.0", "data": {}}}, "bad_event"),
        ({"specversion": "1.0"}, "no_inputs"),
        ({"specversion": "1.0", "datacontenttype": PARQUET, "data_base64": "UEFSMVBBUjE="}, "unsupported_content"),
        (b"[]", "not_an_object"),
        (b"", "not_json"),
    ],
)
def test_malformed(body: bytes | dict[str, Any], reason: str) -> None:
    assert reason_of(body) == reason


@pytest.mark.parametrize("content_type", [JSON, "application/cloudevents+json"])
def test_an_event_within_an_event(content_type: str) -> None:
    inner = event(senders.v1([[1]]), structured=True)
    outer = event(Request("/", inner.body, {"content-type": content_type}), structured=True)
    assert len(rows_of(inner.body)) == 1
    assert reason_of(outer.body) == "bad_event"

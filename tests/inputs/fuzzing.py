"""Bytes that no decent client sends, for all codecs and other readers, and what must hold for each of them."""

from __future__ import annotations

import base64
import gzip
import json
import zlib
from collections import Counter
from collections.abc import Callable, Iterator
from typing import Any

import ml_dtypes
import numpy as np
import pandas as pd
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from mlflow.types import ColSpec, Schema

from robmon.errors import CodecError
from robmon.inputs.codecs import choose_rows, decode
from robmon.models.signature.columns import Columns
from robmon.models.signature.signature import Signature
from robmon.models.signature.tensors import NamedTensors, Tensor, TensorSpec
from robmon.models.signature.unsigned import Unsigned
from tests.inputs import senders
from tests.inputs.fuzzed_readers import READERS, SECRET
from tests.inputs.reasons import REASONS
from tests.inputs.senders import CSV, JSON, PARQUET, Request, event

Sent = tuple[str, dict[str, str], bytes]
"""Format, headers and body, as the sample keeps them."""

FORMATS = ("mlflow", "v1", "v2", "cloudevents", "file", *READERS)


_SINGLE, _IMAGE = np.dtype(np.float32), (-1, 2, 2)
SIGNATURES: tuple[Signature, ...] = (
    Tensor(TensorSpec(_SINGLE, _IMAGE)),
    NamedTensors({"a": TensorSpec(_SINGLE, (-1, 2)), "b": TensorSpec(np.dtype(np.int64), (-1,))}),
    Unsigned(_SINGLE, None, as_matrix=True),
    Unsigned(np.dtype(np.float64), (4,), as_matrix=True),
)
TABLE = Columns(Schema([ColSpec("double", "a"), ColSpec("long", "b"), ColSpec("string", "c")]))


def check(sent: Sent, signatures: tuple[Signature, ...] = SIGNATURES) -> str:
    """Decode a request and give its rows to models; returns `rows`, or the reason why there are none."""
    if sent[0] in READERS:
        return READERS[sent[0]](*sent[1:])
    try:
        rows = choose_rows(decode(*sent), 3, seed=1)
    except CodecError as error:
        assert error.reason in REASONS
        assert SECRET not in str(error)
        return error.reason
    assert rows
    for signature in signatures:
        _, kept, rejected = signature.collect(rows)
        assert len(kept) + sum(rejected.values()) == len(rows)
        assert SECRET not in str(rejected)
    return "rows"


# --- what real clients send, as a beginning --------------------------------------------------------------------------

FRAME = pd.DataFrame({"a": [1.5, -2.0], "b": [3, 4], "c": [SECRET, "ü, x"]})
IMAGES = np.arange(8, dtype=np.float32).reshape(2, 2, 2)
RECORDS = FRAME.to_dict("records")


def _plain() -> list[Request]:
    texts = np.array([[SECRET], ["x"]], dtype=object)
    return [
        senders.mlflow(FRAME),
        senders.mlflow(IMAGES),
        Request("/invocations", json.dumps({"dataframe_records": RECORDS}).encode(), {"content-type": JSON}),
        Request("/invocations", json.dumps({"inputs": {"a": [1, 2], "b": [3, 4]}}).encode(), {"content-type": JSON}),
        Request("/invocations", FRAME.to_csv(index=False).encode(), {"content-type": CSV}),
        Request("/invocations", FRAME.to_parquet(), {"content-type": PARQUET}),
        senders.v1(RECORDS),
        senders.v1([{"a": {"0": 1.5}}, {"a": {"0": 2}}], "inputs"),
        senders.v1(IMAGES.tolist()),
        senders.v2([senders.tensor("x", IMAGES)]),
        senders.v2([senders.tensor("x", IMAGES.astype(ml_dtypes.bfloat16))]),
        senders.v2([senders.tensor("x", IMAGES.astype(np.float16)), senders.tensor("c", texts)]),
        senders.v2([senders.tensor("a", IMAGES[0], binary=False), senders.tensor("c", texts, binary=False)]),
    ]


def _seeds() -> list[Sent]:
    formats = {"/invocations": "mlflow", "/v1/models/digits:predict": "v1", "/": "cloudevents"}
    plain = _plain()
    structured = [event(request, structured=True) for request in plain if request.content_type != PARQUET]
    requests = [*plain, *map(event, plain), *structured]
    requests.append(Request("/v2/models/m/infer", IMAGES[0].tobytes(), {"inference-header-content-length": "0"}))
    sent = [(formats.get(request.path, "v2"), dict(request.headers), request.body) for request in requests]
    return sent + [("file", {"content-type": kind}, body) for kind, body in _lines()] + list(_read())


def _read() -> Iterator[Sent]:
    """What the other readers are for."""
    yield "answer", {}, b'{"predictions": [[0.5, 1.5], [2, 3]]}'
    yield "answer", {}, b"[1.5, 2]"
    outputs = {"name": "y", "datatype": "FP32", "shape": [2]}
    yield "answer", {}, json.dumps({"outputs": [outputs | {"data": [1.5, 2]}]}).encode()
    binary = outputs | {"parameters": {"binary_data_size": 8}}
    yield "answer", {}, json.dumps({"outputs": [binary]}).encode() + IMAGES[0, 0].tobytes()
    label = {"id": "order-1", "target": [[1.5, "cat"], True]}
    yield "feedback", {}, json.dumps(label).encode()
    yield "feedback", {}, json.dumps([label, label]).encode()
    yield "feedback", {}, b"\n".join([json.dumps(label).encode()] * 2)
    ids = {"x-request-id": "a", "ce-id": "b%20c", "traceparent": f"00-{'ab' * 16}-{'cd' * 8}-01"}
    yield "join_keys", ids, b'{"inputs": [{"id": "no"}], "id": "y\\u00e9s"}'
    lines = b"".join(body + b"\n" for kind, body in _lines() if kind == JSON)
    yield "lines of a file", {}, lines + b"[" + json.dumps(RECORDS[0]).encode() + b"]\n"
    yield "CSV file", {}, FRAME.to_csv(index=False).encode()
    yield "gzip file", {}, gzip.compress(lines)
    yield "Parquet file", {}, FRAME.to_parquet()


def _lines() -> list[tuple[str, bytes]]:
    """What stands in files: a row, a request, records of SageMaker's data capture."""
    row = base64.b64encode(b'{"inputs": [[1.5]]}').decode()
    captured = [
        {"observedContentType": CSV, "encoding": "CSV", "data": "1.5,-2,3\n4,5,6\n"},
        {"observedContentType": JSON, "encoding": "BASE64", "data": row},
        {"observedContentType": "", "encoding": "JSON", "data": '{"features": [1.5, 2]}\n{"a": 1.5, "b": [2]}'},
        {"observedContentType": JSON, "encoding": "JSON", "data": '[{"a": 1.5, "c": null}, {"a": NaN}]'},
    ]
    records = [{"captureData": {"endpointInput": request}} for request in captured]
    contents = [RECORDS[0], {"instances": RECORDS}, *records, senders.kserve_record(senders.v1(RECORDS))]
    return [*((JSON, json.dumps(content).encode()) for content in contents), (CSV, b"a,b,c\n1.5,3,x")]


SEEDS = _seeds()

# --- and what becomes of it ------------------------------------------------------------------------------------------

PIECES = [
    b"[", b"]", b"{", b"}", b",", b":", b'"', b"\\", b"\0", b"null", b"true", b"NaN", b"-Infinity", b"1e999", b"-1",
    b"[1000000000,1000000000]", b"9" * 400, b'{"a":', b"[" * 2000, b'"shape":', b'"data":', b'"binary_data_size":4',
    b'"shared_memory_region":"r"', b'"specversion":"1.0",', b'"inputs":', b"\xff\xfe", b"\xef\xbb\xbf", b"\n", b"PAR1",
    b"\x1f\x8b", b"BYTES", b"BF16", b"FP64", b"\xff\xff\xff\xff", b"\\ud800",
]  # fmt: skip
NUMBERS = st.integers() | st.floats() | st.sampled_from([2**63, -(2**63) - 1, 10**30, 0, -0.0]) | st.integers(-2, 5)
VALUES = st.recursive(
    st.none() | st.booleans() | NUMBERS | st.text(max_size=5) | st.sampled_from(["a", "b", SECRET]),
    lambda inner: (
        st.lists(inner, max_size=4) | st.dictionaries(st.sampled_from("abc") | st.text(max_size=3), inner, max_size=3)
    ),
    max_leaves=12,
)
KEYS = [
    "dataframe_split",
    "dataframe_records",
    "instances",
    "inputs",
    "data",
    "data_base64",
    "captureData",
    "endpointInput",
    "Bytes",
    "ContentType",
    "ReqType",
    "SourceUri",
    "InferenceService",
    "predictions",
    "outputs",
    "target",
    "specversion",
    "type",
    "id",
]
SPLIT_KEYS = ["columns", "data", "index"]
TENSORS = st.fixed_dictionaries(
    {
        "name": st.sampled_from(["a", "b", "x"]) | VALUES,
        "shape": st.lists(st.integers(0, 4), max_size=4) | VALUES,
        "datatype": st.sampled_from([*senders.DATATYPES, "BYTES", "BF16"]) | VALUES,
    },
    optional={
        "data": st.lists(NUMBERS, max_size=8) | VALUES,
        "parameters": st.dictionaries(st.sampled_from(["binary_data_size"]), st.integers(0, 64) | VALUES) | VALUES,
    },
)
LENGTHS = st.sampled_from(["0", "5", "40", "9999999", "-1", "x", ""])
HEADERS = st.fixed_dictionaries(
    {},
    optional={
        "content-type": st.sampled_from(
            [JSON, CSV, PARQUET, "", "application/octet-stream", "application/cloudevents+json"]
        )
        | st.text(max_size=20),
        "content-encoding": st.sampled_from(["gzip", "deflate", "identity", "br"]),
        "inference-header-content-length": LENGTHS,
        "ce-metadata": LENGTHS.map(lambda length: json.dumps({"Inference-Header-Content-Length": [length]}))
        | st.text(max_size=20),
    },
)


@st.composite
def mutated(draw: st.DrawFn) -> Sent:
    """A real request, some pieces of which are others, are gone, or are there twice."""
    request_format, headers, original = draw(st.sampled_from(SEEDS))
    body = bytearray(original)
    for _ in range(draw(st.integers(1, 4))):
        start = draw(st.integers(0, len(body)))
        end = draw(st.integers(start, min(start + draw(st.sampled_from([0, 1, 8, 300])), len(body))))
        body[start:end] = draw(st.sampled_from(PIECES) | st.binary(max_size=6) | st.just(bytes(body[start:end]) * 2))
    if draw(st.integers(0, 3)) == 0:
        headers = headers | draw(HEADERS)
    squeeze = draw(st.sampled_from([bytes, bytes, bytes, bytes, gzip.compress, zlib.compress]))
    return draw(st.sampled_from([request_format] * 3 + list(FORMATS))), headers, squeeze(bytes(body))


@st.composite
def any_json(draw: st.DrawFn) -> Sent:
    """JSON that has the keys of a format, and anything below them."""
    content = draw(
        st.dictionaries(st.sampled_from(KEYS), VALUES, max_size=3)
        | st.fixed_dictionaries({"inputs": st.lists(TENSORS, min_size=1, max_size=3)})
        | st.fixed_dictionaries(
            {"dataframe_split": st.dictionaries(st.sampled_from(["columns", "data", "index"]), VALUES)}
        )
        | VALUES
    )
    return draw(st.sampled_from(FORMATS)), draw(HEADERS), json.dumps(content).encode() + draw(st.binary(max_size=8))


anything = st.tuples(st.sampled_from(FORMATS), HEADERS, st.binary(max_size=200))
STRATEGIES: dict[str, st.SearchStrategy[Sent]] = {"mutated": mutated(), "json": any_json(), "bytes": anything}


def fuzz(strategy: str, examples: int, signatures: tuple[Signature, ...] = SIGNATURES) -> Counter[str]:
    """Check that many requests, always the same; how often what became of them."""
    outcomes: Counter[str] = Counter()

    @settings(
        max_examples=examples,
        derandomize=True,
        deadline=None,
        database=None,
        phases=[Phase.generate, Phase.shrink],
        suppress_health_check=list(HealthCheck),
    )
    @given(STRATEGIES[strategy])
    def run(sent: Sent) -> None:
        outcomes[check(sent, signatures)] += 1

    call: Callable[[], Any] = run
    call()
    return outcomes

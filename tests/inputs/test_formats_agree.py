"""The same rows, sent by real senders in every format over real HTTP, are the same rows to the last bit."""

from __future__ import annotations

import gzip
import http.client
import json
import zlib
from collections.abc import Iterator, Mapping
from contextlib import closing
from dataclasses import replace
from typing import Any

import ml_dtypes
import numpy as np
import pandas as pd
import pytest
import tritonclient.http as triton
from mlflow.types import ColSpec, Schema
from tritonclient.utils import InferenceServerException

from robmon.inputs.codecs import decode
from robmon.inputs.sample import Item
from robmon.models.signature import Columns, NamedTensors, Signature, Tensor, Unsigned, _Spec
from tests.inputs import senders
from tests.inputs.conftest import Served
from tests.inputs.senders import CSV, JSON, PARQUET, Array, Request, event

ROWS = 500
RANDOM = np.random.default_rng(0)
FRAME = pd.DataFrame(
    {
        "width": RANDOM.normal(size=ROWS),
        "length": 10.0 ** RANDOM.uniform(-300, 300, ROWS),
        "age": RANDOM.integers(0, 100, ROWS),
        "zip": [f"{number:05}" for number in RANDOM.integers(0, 99_999, ROWS)],
    }
)
SCHEMA = Schema(
    [ColSpec("double", "length"), ColSpec("long", "age"), ColSpec("string", "zip"), ColSpec("double", "width")]
)
RECORDS = FRAME.to_dict("records")
IMAGES: Array = RANDOM.normal(size=(ROWS, 3, 4)).astype(np.float32)
FP16: Array = IMAGES.astype(np.float16)
BF16: Array = IMAGES.astype(ml_dtypes.bfloat16)


def table_requests() -> Iterator[tuple[str, Request]]:
    columns = {name: FRAME[name].to_list() for name in FRAME}
    as_tensors = {name: FRAME[name].to_numpy() for name in ("age", "length", "width")}
    as_tensors["zip"] = np.array(FRAME["zip"], dtype=object)
    yield "dataframe_split", senders.mlflow(FRAME)
    for key, content in {"dataframe_records": RECORDS, "instances": RECORDS, "inputs": columns}.items():
        yield key, Request("/invocations", json.dumps({key: content}).encode(), {"content-type": JSON})
    yield "csv", Request("/invocations", FRAME.to_csv(index=False).encode(), {"content-type": CSV})
    yield "parquet", Request("/invocations", FRAME.to_parquet(), {"content-type": PARQUET})
    yield "v1", senders.v1(RECORDS)
    yield "v1 lists", senders.v1(FRAME[SCHEMA.input_names()].to_numpy().tolist())
    yield "v1 tables", senders.v1([{name: {"0": cell} for name, cell in row.items()} for row in RECORDS], "inputs")
    yield "v2 json", senders.v2([senders.tensor(name, array, binary=False) for name, array in as_tensors.items()])
    yield "v2 binary", senders.v2([senders.tensor(name, array) for name, array in as_tensors.items()])
    yield "v2 (rows, 1)", senders.v2([senders.tensor(name, array[:, None]) for name, array in as_tensors.items()])
    yield "v2 mixed", senders.v2([senders.tensor(name, as_tensors[name], binary=name > "b") for name in as_tensors])


def image_requests() -> Iterator[tuple[str, Request]]:
    yield "mlflow", senders.mlflow(IMAGES)
    yield "mlflow instances", senders.mlflow(IMAGES, "instances")
    yield "v1", senders.v1(IMAGES.tolist())
    yield "v1 inputs", senders.v1(IMAGES.tolist(), "inputs")
    yield "v2 json", senders.v2([senders.tensor("any name", IMAGES, binary=False)])
    yield "v2 binary", senders.v2([senders.tensor("any name", IMAGES)])
    yield "v2 double", senders.v2([senders.tensor("any name", IMAGES.astype(np.float64))])


def wrapped(name: str, request: Request) -> Iterator[tuple[str, Request]]:
    """A request as it is, compressed, and as KServe's logger and other senders of events pass it on."""
    length = request.headers.get("inference-header-content-length")
    yield name, request
    yield (
        f"{name}, gzip",
        replace(request, body=gzip.compress(request.body), headers={**request.headers, "content-encoding": "gzip"}),
    )
    yield (
        f"{name}, deflate",
        replace(request, body=zlib.compress(request.body), headers={**request.headers, "content-encoding": "deflate"}),
    )
    yield f"{name}, event", event(request)
    yield f"{name}, gzip without its header, event", event(replace(request, body=gzip.compress(request.body)))
    if request.content_type != PARQUET:
        yield f"{name}, structured", event(request, structured=True)
    if length is not None:
        told = event(request, metadata=json.dumps({"Inference-Header-Content-Length": [length]}))
        yield f"{name}, event that tells the length", told


def every(requests: Iterator[tuple[str, Request]]) -> dict[str, Request]:
    return {name: request for plain in requests for name, request in wrapped(*plain)}


@pytest.fixture(scope="module")
def roomy() -> Iterator[Served]:
    """A receiver with room for large bodies, and for each of them."""
    with Served(sample_rows=1000, max_body_bytes=2**22) as server:
        yield server


def received(served: Served, request: Request) -> Item:
    with closing(http.client.HTTPConnection(*served.address, timeout=20)) as client:
        client.request("POST", request.path, request.body, dict(request.headers))
        answer = client.getresponse()
        assert (answer.status, answer.read()) == (202, b"")
    (item,) = served.sample.snapshot(1000)
    served.sample.discard([item])
    return item


def collected(signature: Signature, item: Item) -> Any:
    inputs, kept, rejected = signature.collect(decode(item.format, item.headers, item.body))
    assert (kept, rejected) == (list(range(ROWS)), {})
    assert inputs is not None
    return inputs.assemble(inputs.array, slice(0, ROWS))


TABLES = every(table_requests())
TENSORS = every(image_requests())


@pytest.mark.parametrize("name", TABLES)
def test_tables(name: str, roomy: Served) -> None:
    frame = collected(Columns(SCHEMA), received(roomy, TABLES[name]))
    assert list(frame.columns) == SCHEMA.input_names()
    for column in ("width", "length", "age"):
        assert frame[column].dtype == FRAME[column].dtype
        assert frame[column].to_numpy().tobytes() == FRAME[column].to_numpy().tobytes(), column
    assert frame["zip"].to_list() == FRAME["zip"].to_list()


@pytest.mark.parametrize("name", TENSORS)
def test_tensors(name: str, roomy: Served) -> None:
    item = received(roomy, TENSORS[name])
    spec = _Spec(np.dtype(np.float32), (-1, 3, 4))
    for signature in (
        Tensor(spec),
        NamedTensors({"image": spec}),
        Unsigned(np.dtype(np.float32), None, as_matrix=True),
    ):
        taken = collected(signature, item)
        array = taken["image"] if isinstance(taken, dict) else taken
        assert (array.dtype, array.shape) == (IMAGES.dtype, IMAGES.shape)
        assert array.tobytes() == IMAGES.tobytes()


@pytest.mark.parametrize("halves", [FP16, BF16], ids=["FP16", "BF16"])
def test_half_precision_is_widened_without_loss(halves: Array, roomy: Served) -> None:
    item = received(roomy, senders.v2([senders.tensor("image", halves)]))
    array = collected(Tensor(_Spec(np.dtype(np.float32), (-1, 3, 4))), item)
    assert array.tobytes() == halves.astype(np.float32).tobytes()


@pytest.mark.parametrize("compression", [None, "gzip", "deflate"])
def test_tritonclient_itself(compression: str | None, roomy: Served) -> None:
    tensors = [senders.tensor("x", IMAGES)]
    with (
        closing(triton.InferenceServerClient("{}:{}".format(*roomy.address))) as client,
        pytest.raises(InferenceServerException, match="202"),  # an answer without predictions
    ):
        client.infer("digits", tensors, model_version="3", request_compression_algorithm=compression)
    (item,) = roomy.sample.snapshot(1000)
    roomy.sample.discard([item])
    assert (item.format, item.model, item.headers.get("content-encoding")) == ("v2", "digits", compression)
    assert "content-type" not in item.headers
    array = collected(Tensor(_Spec(np.dtype(np.float32), (-1, 3, 4))), item)
    assert array.tobytes() == IMAGES.tobytes()


def test_a_table_as_one_tensor_is_taken_in_the_order_of_the_signature(roomy: Served) -> None:
    schema = Schema([ColSpec("double", "width"), ColSpec("double", "length")])
    matrix = FRAME[["width", "length"]].to_numpy()
    for request in (
        senders.v2([senders.tensor("input-0", matrix)]),
        senders.mlflow(matrix),
        senders.v1(matrix.tolist()),
    ):
        frame = collected(Columns(schema), received(roomy, request))
        assert frame.to_numpy().tobytes() == matrix.tobytes()


def test_a_raw_tensor_is_read_by_the_signature(roomy: Served) -> None:
    """Triton's request without JSON: one row, the bytes of the only input."""
    request = Request("/v2/models/digits/infer", IMAGES[7].tobytes(), {"inference-header-content-length": "0"})
    item = received(roomy, request)
    rows = decode(item.format, item.headers, item.body)
    spec = _Spec(np.dtype(np.float32), (-1, 3, 4))
    for signature in (Tensor(spec), NamedTensors({"image": spec}), Tensor(_Spec(np.dtype(np.float32), (-1, -1, 4)))):
        inputs, kept, rejected = signature.collect(rows)
        assert (kept, rejected) == ([0], {})
        assert inputs is not None
        assert inputs.array.reshape(3, 4).tobytes() == IMAGES[7].tobytes()
    refused: Mapping[str, Signature] = {
        "wrong_shape": Tensor(_Spec(np.dtype(np.float32), (-1, 5))),
        "wrong_type": Columns(Schema([ColSpec("double", "width")])),
    }
    for reason, signature in refused.items():
        assert signature.collect(rows) == (None, [], {reason: 1})
    assert Unsigned(np.dtype(np.float32), None, as_matrix=True).collect(rows) == (None, [], {"wrong_type": 1})

"""The same rows in every format, sent by real senders over real HTTP and in files, are the same to the last bit."""

from __future__ import annotations

import gzip
import http.client
import io
import itertools
import json
import os
import zlib
from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from typing import Any

import ml_dtypes
import numpy as np
import pandas as pd
import pytest
import tritonclient.http as triton
from mlflow.types import ColSpec, Schema
from tritonclient.utils import InferenceServerException

from robmon.inputs.codecs import Row, decode
from robmon.inputs.readers.answers import FileRows, NoMoreRows
from robmon.inputs.sample import Item
from robmon.models.signature.columns import Columns
from robmon.models.signature.signature import Signature
from robmon.models.signature.tensors import NamedTensors, Tensor, TensorSpec
from robmon.models.signature.unsigned import Unsigned
from robmon.processes.messages.reader import Tail
from robmon.reader.tailer import Tailer
from tests.inputs import senders
from tests.inputs.conftest import Served
from tests.inputs.senders import CSV, JSON, PARQUET, Array, Request, event
from tests.patience import PATIENCE_SECONDS

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
    with closing(http.client.HTTPConnection(*served.address, timeout=PATIENCE_SECONDS)) as client:
        client.request("POST", request.path, request.body, dict(request.headers))
        answer = client.getresponse()
        assert (answer.status, answer.read()) == (202, b"")
    (item,) = served.sample.snapshot(1000)
    served.sample.discard([item])
    return item


def rows_of(item: Item) -> Sequence[Row]:
    return decode(item.format, item.headers, item.body)


def collected(signature: Signature, rows: Sequence[Row]) -> Any:
    inputs, kept, rejected = signature.collect(rows)
    assert (kept, rejected) == (list(range(ROWS)), {})
    assert inputs is not None
    return inputs.assemble(inputs.array, slice(0, ROWS))


TABLES = every(table_requests())
TENSORS = every(image_requests())


@pytest.mark.parametrize("name", TABLES)
def test_tables(name: str, roomy: Served) -> None:
    assert_is_the_table(collected(Columns(SCHEMA), rows_of(received(roomy, TABLES[name]))))


def assert_is_the_table(frame: Any) -> None:
    assert list(frame.columns) == SCHEMA.input_names()
    for column in ("width", "length", "age"):
        assert frame[column].dtype == FRAME[column].dtype
        assert frame[column].to_numpy().tobytes() == FRAME[column].to_numpy().tobytes(), column
    assert frame["zip"].to_list() == FRAME["zip"].to_list()


@pytest.mark.parametrize("name", TENSORS)
def test_tensors(name: str, roomy: Served) -> None:
    assert_are_the_images(rows_of(received(roomy, TENSORS[name])))


def assert_are_the_images(rows: Sequence[Row]) -> None:
    spec = TensorSpec(np.dtype(np.float32), (-1, 3, 4))
    for signature in (
        Tensor(spec),
        NamedTensors({"image": spec}),
        Unsigned(np.dtype(np.float32), None, as_matrix=True),
    ):
        taken = collected(signature, rows)
        array = taken["image"] if isinstance(taken, dict) else taken
        assert (array.dtype, array.shape) == (IMAGES.dtype, IMAGES.shape)
        assert array.tobytes() == IMAGES.tobytes()


@pytest.mark.parametrize("halves", [FP16, BF16], ids=["FP16", "BF16"])
def test_half_precision_is_widened_without_loss(halves: Array, roomy: Served) -> None:
    item = received(roomy, senders.v2([senders.tensor("image", halves)]))
    array = collected(Tensor(TensorSpec(np.dtype(np.float32), (-1, 3, 4))), rows_of(item))
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
    array = collected(Tensor(TensorSpec(np.dtype(np.float32), (-1, 3, 4))), rows_of(item))
    assert array.tobytes() == IMAGES.tobytes()


def test_a_table_as_one_tensor_is_taken_in_the_order_of_the_signature(roomy: Served) -> None:
    schema = Schema([ColSpec("double", "width"), ColSpec("double", "length")])
    matrix = FRAME[["width", "length"]].to_numpy()
    for request in (
        senders.v2([senders.tensor("input-0", matrix)]),
        senders.mlflow(matrix),
        senders.v1(matrix.tolist()),
    ):
        frame = collected(Columns(schema), rows_of(received(roomy, request)))
        assert frame.to_numpy().tobytes() == matrix.tobytes()


def test_a_raw_tensor_is_read_by_the_signature(roomy: Served) -> None:
    """Triton's request without JSON: one row, the bytes of the only input."""
    request = Request("/v2/models/digits/infer", IMAGES[7].tobytes(), {"inference-header-content-length": "0"})
    item = received(roomy, request)
    rows = decode(item.format, item.headers, item.body)
    spec = TensorSpec(np.dtype(np.float32), (-1, 3, 4))
    for signature in (
        Tensor(spec),
        NamedTensors({"image": spec}),
        Tensor(TensorSpec(np.dtype(np.float32), (-1, -1, 4))),
    ):
        inputs, kept, rejected = signature.collect(rows)
        assert (kept, rejected) == ([0], {})
        assert inputs is not None
        assert inputs.array.reshape(3, 4).tobytes() == IMAGES[7].tobytes()
    refused: Mapping[str, Signature] = {
        "wrong_shape": Tensor(TensorSpec(np.dtype(np.float32), (-1, 5))),
        "wrong_type": Columns(Schema([ColSpec("double", "width")])),
    }
    for reason, signature in refused.items():
        assert signature.collect(rows) == (None, [], {reason: 1})
    assert Unsigned(np.dtype(np.float32), None, as_matrix=True).collect(rows) == (None, [], {"wrong_type": 1})


# --- files -----------------------------------------------------------------------------------------------------------

LENGTH = "inference-header-content-length"


def json_lines(contents: Sequence[Any]) -> bytes:
    return "".join(json.dumps(content) + "\n" for content in contents).encode()


def parquet(table: pd.DataFrame) -> bytes:
    file = io.BytesIO()
    table.to_parquet(file, index=False, row_group_size=200)
    return file.getvalue()


def logged(name: str, requests: Sequence[Request]) -> Iterator[tuple[str, bytes]]:
    """Requests as loggers write them into files, several of them one behind another."""
    texts = [request for request in requests if request.content_type == JSON and LENGTH not in request.headers]
    if texts:
        yield f"{name}.jsonl", b"".join(request.body + b"\n" for request in texts)
        yield f"{name}-captured.jsonl", json_lines([senders.sagemaker(request, "JSON") for request in texts])
        events = [event(request, structured=True) for request in texts]
        yield f"{name}-events.jsonl", b"".join(request.body + b"\n" for request in events)
    if not any(request.content_type == CSV for request in requests):  # captured CSV has no header
        yield f"{name}-base64.jsonl", json_lines([senders.sagemaker(request, "BASE64") for request in requests])
    metadata = [{"Inference-Header-Content-Length": [length]} if (length := request.headers.get(LENGTH)) else None
                for request in requests]  # fmt: skip
    told = [{"metadata": each} for each in metadata]
    records = [senders.kserve_record(request, **fields) for request, fields in zip(requests, told, strict=True)]
    yield f"{name}-request.json", json.dumps(records[0] if len(records) == 1 else records).encode()
    lost = [senders.kserve_record(replace(request, body=gzip.compress(request.body))) for request in requests]
    yield f"{name}-zipped-request.json", json.dumps(lost).encode()
    table = pd.DataFrame(
        senders.kserve_table_row(request, **each) for request, each in zip(requests, told, strict=True)
    )
    yield f"{name}-request.csv", table.to_csv(index=False).encode()
    yield f"{name}-request.parquet", parquet(table)


def parts(count: int) -> Iterator[slice]:
    return (slice(at, at + ROWS // count) for at in range(0, ROWS, ROWS // count))


def table_files() -> Iterator[tuple[str, bytes]]:
    yield "rows.jsonl", json_lines(RECORDS)
    added = {"timestamp": "2026-01-01T00:00:00", "request_id": "1", "trace_id": "2"}
    yield "bentoml.jsonl", json_lines([record | added for record in RECORDS])
    yield "rows.csv", FRAME.to_csv(index=False).encode()
    yield "rows.parquet", parquet(FRAME)
    yield from logged("split", [senders.mlflow(FRAME[part]) for part in parts(5)])
    yield from logged("one", [senders.mlflow(FRAME)])
    yield from logged("v1", [senders.v1(RECORDS[part]) for part in parts(5)])
    for binary in (False, True):
        columns = [FRAME.astype({"zip": object})[part] for part in parts(5)]
        tensors = [[senders.tensor(name, frame[name].to_numpy(), binary=binary) for name in FRAME] for frame in columns]
        yield from logged("v2-binary" if binary else "v2", [senders.v2(each) for each in tensors])
    yield from logged("csv", [Request("", FRAME[part].to_csv(index=False).encode(), {"content-type": CSV})
                              for part in parts(5)])  # fmt: skip


def image_files() -> Iterator[tuple[str, bytes]]:
    yield "rows.jsonl", json_lines([{"image": image.tolist()} for image in IMAGES])
    yield "rows.parquet", parquet(pd.DataFrame({"image": [[list(line) for line in image] for image in IMAGES]}))
    yield from logged("mlflow", [senders.mlflow(IMAGES[part]) for part in parts(5)])
    yield from logged("v1", [senders.v1(IMAGES[part].tolist()) for part in parts(5)])
    for binary in (False, True):
        requests = [senders.v2([senders.tensor("image", IMAGES[part], binary=binary)]) for part in parts(5)]
        yield from logged("v2-binary" if binary else "v2", requests)


def compressed_too(files: Iterator[tuple[str, bytes]]) -> dict[str, bytes]:
    plain = dict(files)
    return plain | {f"{name}.gz": gzip.compress(content) for name, content in plain.items() if "parquet" not in name}


def read(folder: Path, name: str, content: bytes) -> Sequence[Row]:
    """The rows of a file, as the reading process hands them out."""
    (folder / name).write_bytes(content)
    os.utime(folder / name, (1000, 1000))
    tailer = Tailer(Tail(url=str(folder), max_age_seconds=3600, max_body_bytes=2**22, positions={}), lambda: 2000)
    rows: list[Row] = []
    while not isinstance((told := tailer.next())[0], NoMoreRows):
        if isinstance(answer := told[0], FileRows):
            assert not answer.rejected
            head, starts = told[1][: answer.head_bytes], itertools.accumulate(answer.sizes, initial=answer.head_bytes)
            for size, start in zip(answer.sizes, starts, strict=False):
                body = head + told[1][start : start + size]
                rows += decode("file", {"content-type": answer.content_type}, body)
    return rows


TABLE_FILES = compressed_too(table_files())
IMAGE_FILES = compressed_too(image_files())


@pytest.mark.parametrize("name", TABLE_FILES)
def test_tables_in_files(name: str, tmp_path: Path) -> None:
    assert_is_the_table(collected(Columns(SCHEMA), read(tmp_path, name, TABLE_FILES[name])))


@pytest.mark.parametrize("name", IMAGE_FILES)
def test_tensors_in_files(name: str, tmp_path: Path) -> None:
    assert_are_the_images(read(tmp_path, name, IMAGE_FILES[name]))


@pytest.mark.parametrize("encoding", ["CSV", "BASE64"])
def test_captured_csv_has_no_names(encoding: str, tmp_path: Path) -> None:
    """SageMaker's own algorithms take numbers without a header, in the model's order."""
    schema = Schema([ColSpec("double", "width"), ColSpec("double", "length"), ColSpec("long", "age")])
    table = FRAME[schema.input_names()]
    bodies = [table[part].to_csv(index=False, header=False).encode() for part in parts(5)]
    captured = [senders.sagemaker(Request("", body, {"content-type": CSV}), encoding) for body in bodies]
    rows = read(tmp_path, "captured.jsonl", json_lines(captured))
    frame = collected(Columns(schema), rows)
    for column in schema.input_names():
        assert frame[column].to_numpy().tobytes() == table[column].to_numpy().tobytes()
    array = collected(Tensor(TensorSpec(np.dtype(np.float64), (-1, 3))), rows)
    assert array.tobytes() == table.to_numpy(np.float64).tobytes()

"""A model server for tests: it speaks V1 and V2 as real servers do, or answers whatever a test tells it to.

What the V2 dialects say of themselves, of models, of versions and of what they cannot do was taken down from KServe
0.21, MLServer 1.7.1 and Triton 2.51. Its codec is its own, so that robmon's is not held against itself.
"""

from __future__ import annotations

import contextlib
import json
import re
import ssl
import struct
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import numpy as np
from numpy.typing import NDArray

Arrays = dict[str, NDArray[Any]]
Predict = Callable[[Arrays], Arrays]

TYPES = {
    "BOOL": "?", "INT8": "i1", "INT16": "<i2", "INT32": "<i4", "INT64": "<i8", "UINT8": "u1", "UINT16": "<u2",
    "UINT32": "<u4", "UINT64": "<u8", "FP16": "<f2", "FP32": "<f4", "FP64": "<f8",
}  # fmt: skip
LENGTH = "Inference-Header-Content-Length"


@dataclass(frozen=True)
class Request:
    """What arrived; `at` are seconds of the monotonic clock."""

    method: str
    path: str
    headers: Mapping[str, str]
    body: bytes
    at: float


@dataclass(frozen=True)
class Reply:
    """What is answered. `hangs_up`: the connection is closed after the body, whatever length was promised."""

    status: int = 200
    body: bytes = b""
    headers: Mapping[str, str] = field(default_factory=dict)
    hangs_up: bool = False


Answer = Callable[[Request], Reply]


@dataclass
class Server:
    """A running server: `answer` may be replaced at any time."""

    url: str
    answer: Answer
    requests: list[Request] = field(default_factory=list)

    @property
    def posts(self) -> list[Request]:
        """The prediction requests so far."""
        return [request for request in self.requests if request.method == "POST"]


def reply_json(content: Any, status: int = 200, **headers: str) -> Reply:
    """A reply in JSON."""
    return Reply(status, json.dumps(content).encode(), {"Content-Type": "application/json", **headers})


@contextlib.contextmanager
def serving(answer: Answer, tls: ssl.SSLContext | None = None) -> Iterator[Server]:
    """Serve on a free loopback port, each connection in a thread of its own, kept alive as HTTP/1.1 has it."""

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def handle_one_request(self) -> None:
            with contextlib.suppress(ConnectionError):
                super().handle_one_request()

        def _answer(self) -> None:
            body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
            headers = {name.lower(): value for name, value in self.headers.items()}
            request = Request(self.command, self.path, headers, body, time.monotonic())
            server.requests.append(request)
            reply = server.answer(request)
            self.send_response(reply.status)
            for name, value in {"Content-Length": str(len(reply.body)), **reply.headers}.items():
                self.send_header(name, value)
            self.end_headers()
            self.wfile.write(reply.body)
            self.close_connection = self.close_connection or reply.hangs_up

        do_GET = do_POST = _answer  # noqa: N815 - the library's names

        def log_message(self, *_: Any) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as http:
        http.daemon_threads = True
        if tls is not None:
            http.socket = tls.wrap_socket(http.socket, server_side=True, do_handshake_on_connect=False)
        server = Server(f"http{'s' if tls else ''}://127.0.0.1:{http.server_port}", answer)
        thread = threading.Thread(target=http.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        try:
            yield server
        finally:
            http.shutdown()
            thread.join()


@dataclass
class V2Model:
    """A model named `digits`, behind a server of that dialect.

    Attributes:
        predict: named arrays to named arrays.
        dialect: `kserve` tells neither inputs nor versions and takes binary though it does not say so; `mlserver` tells
            inputs, has JSON only, and names the version in its answers alone; `triton` tells and takes everything.
        inputs: of the metadata, as (name, datatype, shape).
        version: that is served; None: the server knows none.
    """

    predict: Predict
    dialect: str
    inputs: list[tuple[str, str, list[int]]]
    version: str | None = None

    def __call__(self, request: Request) -> Reply:
        """Answer a request."""
        match = re.fullmatch(r"/v2(?:/models/([^/]+)(?:/versions/([^/]+))?(/infer)?)?", request.path)
        if match is None:
            return reply_json({"error": "Not Found"}, 404)
        name, version, infer = match.groups()
        if name is None:
            binary = ["binary_tensor_data"] if self.dialect == "triton" else []
            return reply_json({"name": self.dialect, "version": "0", "extensions": ["model_repository", *binary]})
        if version is not None and self.dialect == "kserve":
            return reply_json({"error": "Model versioning not supported yet."}, 501)
        if name != "digits" or version not in (None, self.version):
            return reply_json({"error": f"Request for unknown model: '{name}' is not found"}, 404)
        return self._infer(request) if infer else reply_json(self._metadata())

    def _metadata(self) -> dict[str, Any]:
        inputs = [{"name": name, "datatype": datatype, "shape": shape} for name, datatype, shape in self.inputs]
        if self.dialect == "kserve":
            return {"name": "digits", "versions": None, "platform": "", "inputs": [], "outputs": []}
        versions = [self.version] if self.dialect == "triton" else []
        return {"name": "digits", "versions": versions, "platform": "", "inputs": inputs, "outputs": []}

    def _infer(self, request: Request) -> Reply:
        length = request.headers.get(LENGTH.lower())
        content = json.loads(request.body[: int(length)] if length else request.body)
        if length and self.dialect == "mlserver":
            return reply_json({"error": "JSON only"}, 422)
        tail = request.body[int(length) :] if length else b""
        arrays: Arrays = {}
        for tensor in content["inputs"]:
            if tensor["datatype"] == "FP16" and "data" in tensor:
                return reply_json({"error": f"receiving FP16 data via JSON is not supported: {tensor['data']}"}, 400)
            arrays[tensor["name"]], tail = read_tensor(tensor, tail)
        assert tail == b"", "nothing is left over"
        binary = content.get("parameters", {}).get("binary_data_output", False)
        tensors, blobs = [], []
        for name, array in self.predict(arrays).items():
            tensor, blob = write_tensor(name, array, binary)
            tensors.append(tensor)
            blobs.append(blob)
        head = json.dumps(
            {"model_name": "digits", "model_version": self.version, "id": content["id"], "outputs": tensors}
        ).encode()
        headers = {"Content-Type": "application/octet-stream", LENGTH: str(len(head))} if binary else {}
        return Reply(200, b"".join([head, *blobs]), headers or {"Content-Type": "application/json"})


def read_tensor(tensor: Mapping[str, Any], tail: bytes) -> tuple[NDArray[Any], bytes]:
    """A tensor of a request, and what follows it in the body."""
    size = tensor.get("parameters", {}).get("binary_data_size")
    if tensor["datatype"] != "BYTES":
        dtype = np.dtype(TYPES[tensor["datatype"]])
        flat = np.array(tensor["data"], dtype) if size is None else np.frombuffer(tail[:size], dtype)
        return flat.reshape(tensor["shape"]), tail[size or 0 :]
    if size is None:
        return np.array(tensor["data"], dtype=object).reshape(tensor["shape"]), tail
    texts, at = [], 0
    while at < size:
        (length,) = struct.unpack_from("<I", tail, at)
        texts.append(tail[at + 4 : at + 4 + length].decode())
        at += 4 + length
    return np.array(texts, dtype=object).reshape(tensor["shape"]), tail[size:]


def write_tensor(name: str, array: NDArray[Any], binary: bool) -> tuple[dict[str, Any], bytes]:
    """A tensor of an answer, and its bytes if it is binary."""
    names = {np.dtype(code): datatype for datatype, code in TYPES.items()}
    tensor = {"name": name, "shape": list(array.shape), "datatype": names.get(array.dtype, "BYTES")}
    if not binary:
        return {**tensor, "data": array.reshape(-1).tolist()}, b""
    if tensor["datatype"] != "BYTES":
        blob = array.tobytes()
    else:
        blob = b"".join(struct.pack("<I", len(text.encode())) + text.encode() for text in array.reshape(-1))
    return {**tensor, "parameters": {"binary_data_size": len(blob)}}, blob

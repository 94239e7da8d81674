"""Requests that no decent client sends, on every path, and what the daemon has to count for each of them.

What the codecs say is not foretold: they see a request only where the sample keeps it. What the input port itself
counts is, to the last request.
"""

from __future__ import annotations

import base64
import contextlib
import functools
import gzip
import json
import socket
import struct
import zlib
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from random import Random

from robmon.vocabulary import CONNECTION_REASONS
from tests.e2e.daemon import Daemon
from tests.inputs.fuzzing import REASONS
from tests.servers import wait_until

Key = tuple[str, ...]
"""("received", source), ("skipped", source) or ("rejected", source, reason), as the metrics are called."""
Headers = dict[str, str]

PATHS = {
    "/invocations": "mlflow",
    "/some/prefix/invocations?x=1": "mlflow",
    "/v1/models/odd:predict": "v1",
    "/v1/models/odd/versions/3:predict": "v1",
    "/v2/models/odd/infer": "v2",
    "/v2/models/odd/versions/3/infer": "v2",
    "/": "cloudevents",
}
LLM_PATHS = {"/v2/models/odd/generate": "v2", "/openai/v1/chat/completions": "none", "/v1/embeddings": "none"}
OTHER_PATHS = ("/nowhere", "/metrics", "/v2/health/live", "/%00%ff/..", "/" + "a" * 2000)

WORKER_REASONS = REASONS | {"does_not_fit_model", "other_shape", "extreme_value", "refused_by_model"}
DOOR_REASONS = {
    *CONNECTION_REASONS,
    "too_large",
    "inflight_full",
    "timeout",
    "disconnected",
    "unsupported_llm",
    "bad_feedback",
}
ALL_REASONS = WORKER_REASONS | DOOR_REASONS

MAX_BODY_BYTES = 2**20
"""The daemon's setting, which a few requests exceed."""

ANSWER_SECONDS = 240.0
SETTLE_SECONDS = 120.0
PIPELINED = 24
"""Most requests that are sent at once; the daemon lets 64 wait."""
REPEATS = 10
"""How often a request is sent that leaves its connection open; making one costs more than sending it."""


@dataclass(frozen=True, slots=True)
class Garbage:
    """One or more requests: their bytes, and what must be counted for them."""

    data: bytes
    counted: tuple[Key, ...]
    resets: bool = False
    """Whether the client throws the connection away at once. Whether the daemon has seen the request, nobody knows."""


def handled(counts: Counter[Key]) -> int:
    """Requests that were counted: what is rejected of a source is also among what was received of it.

    Labels that are well-formed, and events that tell an answer, are no requests in this sense: they are counted once it
    is clear whether their request was sampled.
    """
    return sum(count for key, count in counts.items() if key[0] != "rejected" or key[1] in ("none", "feedback"))


@dataclass
class Tally:
    """What was sent, and what has to be counted for it."""

    sent: int = 0
    certain: Counter[Key] = field(default_factory=Counter)
    possible: Counter[Key] = field(default_factory=Counter)
    """Beyond the certain ones: of connections that the client reset."""

    def add(self, garbage: Garbage) -> None:
        """Note that it was sent."""
        self.sent += handled(Counter(garbage.counted))
        (self.possible if garbage.resets else self.certain).update(garbage.counted)

    def __add__(self, other: Tally) -> Tally:
        return Tally(self.sent + other.sent, self.certain + other.certain, self.possible + other.possible)

    def differences(self, counted: Counter[Key]) -> list[str]:
        """What the daemon counted otherwise; nothing where every request is counted once, for what it is.

        Of what the worker refuses, which is among the requests received, only the possible reasons are known.
        """
        found = []
        for key in sorted({*counted, *self.certain, *self.possible}):
            low, high = self.certain[key], self.certain[key] + self.possible[key]
            if key[0] == "rejected" and key[1] in PATHS.values() and key[2] in WORKER_REASONS:
                high = max(high, counted[key])
            if not low <= counted[key] <= high:
                found.append(f"{' '.join(key)}: {counted[key]} instead of {low}{f' to {high}' if high > low else ''}")
        return found


def counted(daemon: Daemon) -> Counter[Key]:
    """What the daemon has counted so far."""
    found: Counter[Key] = Counter()
    for sample in daemon.metrics():
        event = _EVENTS.get(sample.name)
        if event is not None and sample.value:
            labels = sample.labels
            found[(event, labels["source"], *filter(None, (labels.get("reason"),)))] += int(sample.value)
    return found


def settled(daemon: Daemon, sent: Tally) -> Counter[Key]:
    """What it has counted once that agrees with what was sent, or after some seconds in which it did not.

    A connection that is cut is counted a moment after its client has gone.
    """
    with contextlib.suppress(TimeoutError):
        wait_until(lambda: not sent.differences(counted(daemon)), SETTLE_SECONDS, "all requests are counted")
    return counted(daemon)


_EVENTS = {f"robmon_inputs_{event}_total": event for event in ("received", "skipped", "rejected")}


# --- bodies ----------------------------------------------------------------------------------------------------------

PIECES = (
    b"[", b"]", b"{", b"}", b",", b":", b'"', b"\\", b"\0", b"null", b"true", b"NaN", b"-Infinity", b"1e999", b"-1",
    b'{"a":', b'"shape":', b'"data":', b'"instances":', b'"inputs":', b'"dataframe_split":', b'"specversion":"1.0",',
    b"\xff\xfe", b"\xef\xbb\xbf", b"\n", b"\r\n", b"PAR1", b"\x1f\x8b", b"BYTES", b"FP64", b"\xff\xff\xff\xff",
    b"\\ud800", b"9" * 400, b"[1000000000,1000000000]", b"length,width,serial\n",
)  # fmt: skip
ODD_NUMBERS = (
    "NaN", "Infinity", "-Infinity", "1e999", "-1e999", "1e-400", "-0.0", "9" * 5000, "true", "null", '"x"', "[]", "{}",
    "1", "2.5", str(2**63), '"NaN"', '"\\ud800"',
)  # fmt: skip
SHAPES = (
    [10**9, 10**9], [2**31, 2**31, 2**31], [2**63, 2], [10**9], [1, 10**9], [0, 10**9], [-1, 3], [3, -1], [], [True, 3],
    [1.5, 2], [[1], 3], "3", None, [1] * 100, [1, 3],
)  # fmt: skip
DATATYPES = ("FP64", "FP32", "FP16", "BF16", "INT64", "UINT8", "BOOL", "BYTES", "FP128", "", None, 7, ["FP32"])
VALUES = ([1.0], [1, 2, 3], [[1], [2, 3]], ["x", None], {}, "x", None, [[[[]]]], [1e308, -1e308, 10**400])
LENGTHS = ("0", "1", "40", "9999999", "-1", "x", "", "1e3", "9" * 200)
EVENT = "application/cloudevents+json"
ENCODINGS = ({}, {"Content-Encoding": "gzip"}, {"Content-Encoding": "deflate"}, {"Content-Encoding": "br"})


def _split(rows: list[list[float]]) -> bytes:
    return json.dumps({"dataframe_split": {"columns": ["length", "width", "serial"], "data": rows}}).encode()


def forms(row: list[float], event_id: str = "1") -> tuple[tuple[str, bytes, Headers], ...]:
    """What a decent client of the odd model sends for one row, in each of the formats: path, body and headers."""
    named = dict(zip(("length", "width", "serial"), row, strict=True))
    tensors = [
        {"name": name, "shape": [1], "datatype": "INT64" if name == "serial" else "FP64", "data": [value]}
        for name, value in named.items()
    ]
    binary = [
        {"name": t["name"], "shape": [1], "datatype": t["datatype"], "parameters": {"binary_data_size": 8}}
        for t in tensors
    ]
    head = json.dumps({"inputs": binary}).encode()
    event = {"specversion": "1.0", "id": event_id, "source": "x", "type": "org.kubeflow.serving.inference.request"}
    csv = f"length,width,serial\n{row[0]},{row[1]},{row[2]}\n".encode()
    v2 = "/v2/models/odd/infer"
    return (
        ("/invocations", _split([row]), {"Content-Type": "application/json"}),
        ("/v1/models/odd:predict", json.dumps({"instances": [named]}).encode(), {}),
        (v2, json.dumps({"inputs": tensors}).encode(), {}),
        (v2, head + struct.pack("<ddq", *row), {"Inference-Header-Content-Length": str(len(head))}),
        ("/invocations", csv, {"Content-Type": "text/csv"}),
        ("/", json.dumps(event | {"data": {"instances": [named]}}).encode(), {"Content-Type": EVENT}),
    )


def valid(random: Random) -> tuple[bytes, Headers]:
    """One of them, whose path does not matter."""
    row = [round(random.uniform(1, 9), 3), round(random.uniform(1, 9), 3), random.randrange(1000)]
    _, body, headers = random.choice(forms(row))
    return body, headers


def _mutated(random: Random) -> tuple[bytes, Headers]:
    original, headers = valid(random)
    body = bytearray(original)
    for _ in range(random.randint(1, 4)):
        start = random.randrange(len(body) + 1)
        body[start : start + random.choice((0, 1, 8, 300))] = random.choice((*PIECES, random.randbytes(3)))
    return bytes(body) or b"x", headers


def _odd_numbers(random: Random) -> tuple[bytes, Headers]:
    rows = [
        "[" + ",".join(random.choices(ODD_NUMBERS, k=random.choice((0, 1, 3, 3, 3, 50)))) + "]"
        for _ in range(random.randint(1, 5))
    ]
    text = f'{{"dataframe_split": {{"columns": ["length", "width", "serial"], "data": [{",".join(rows)}]}}}}'
    return (text if random.random() < 0.5 else f'{{"instances": [{",".join(rows)}]}}').encode(), {}


def _huge_shape(random: Random) -> tuple[bytes, Headers]:
    tensor = {"name": "length", "shape": random.choice(SHAPES), "datatype": random.choice(DATATYPES)}
    if random.random() < 0.5:
        tensor["data"] = random.choice(VALUES)
        return json.dumps({"inputs": [tensor] * random.randint(1, 3)}).encode(), {}
    tensor["parameters"] = {"binary_data_size": random.choice((0, 8, 24, 2**62, -8, "8", None))}
    head = json.dumps({"inputs": [tensor]}).encode()
    length = random.choice((str(len(head)), *LENGTHS))
    return head + random.randbytes(random.choice((0, 8, 24, 1000))), {"Inference-Header-Content-Length": length}


def _deep(random: Random) -> tuple[bytes, Headers]:
    depth = random.choice((100, 1000, 3000, 50_000))
    before, after = random.choice(((b"[", b"]"), (b'{"a":', b"}"), (b'{"inputs":[', b"]}"), (b"[", b"")))
    return before * depth + after * depth, {}


def _broken_compression(random: Random) -> tuple[bytes, Headers]:
    plain = valid(random)[0] * random.choice((1, 100))
    body = random.choice((gzip.compress, zlib.compress))(plain)
    broken = random.choice((body[: random.randrange(2, len(body))], body + b"x", body[:-4] + b"abcd", body[:2]))
    return broken, random.choice(ENCODINGS)


@functools.lru_cache
def bombs() -> tuple[bytes, ...]:
    """Bodies of some kilobytes that want to be 64 MiB, and one that is a bomb within a bomb."""
    numbers = gzip.compress(b'{"instances": [' + b"0," * 2**25)
    nothing = zlib.compress(bytes(2**26), 9)
    return numbers, nothing, gzip.compress(nothing * 4)


def _event(random: Random) -> tuple[bytes, Headers]:
    event = {"specversion": random.choice(("1.0", 1, None)), "type": random.choice(("x", None, 5)), "id": "1"}
    if random.random() < 0.5:
        event["data_base64"] = random.choice((base64.b64encode(random.randbytes(30)).decode(), "%%%", 7, None))
    else:
        event["data"] = random.choice((*VALUES, valid(random)[0].decode("latin-1"), dict(event, data={})))
    return json.dumps(event).encode(), {"Content-Type": EVENT}


BODIES: tuple[Callable[[Random], tuple[bytes, Headers]], ...] = (
    lambda random: (random.randbytes(random.choice((1, 10, 300, 5000))), {}),
    lambda random: (b"".join(random.choices(PIECES, k=random.randint(1, 60))), {}),
    lambda random: (b"".join(random.choices(PIECES, k=random.randint(1, 60))), {"Content-Type": "text/csv"}),
    lambda random: (b"PAR1" + random.randbytes(random.randrange(200)) + struct.pack("<I", 50) + b"PAR1", {}),
    lambda random: (random.choice(bombs()), random.choice(ENCODINGS)),
    valid, valid, _mutated, _mutated, _odd_numbers, _huge_shape, _huge_shape, _deep, _broken_compression, _event,
)  # fmt: skip

# --- requests that leave the connection open -------------------------------------------------------------------------


def _request(path: str, body: bytes, headers: Headers, *, method: str = "POST", chunk: int = 0) -> bytes:
    """The bytes of a request, its body in chunks of that size or in one piece."""
    framing = {"Transfer-Encoding": "chunked"} if chunk else {"Content-Length": str(len(body))}
    lines = [
        f"{method} {path} HTTP/1.1",
        "Host: x",
        *(f"{name}: {value}" for name, value in (headers | framing).items()),
    ]
    head = "\r\n".join([*lines, "", ""]).encode("latin-1")
    if not chunk:
        return head + body
    pieces = (body[start : start + chunk] for start in range(0, len(body), chunk))
    return head + b"".join(b"%x\r\n%b\r\n" % (len(piece), piece) for piece in pieces) + b"0\r\n\r\n"


def _odd_headers(random: Random) -> Headers:
    """Headers that mean nothing, and some that should mean something."""
    many = {f"X-{number}": random.randbytes(20).translate(_PRINTABLE).decode("latin-1") for number in range(60)}
    return random.choice((
        many,
        {"Authorization": "Bearer 1234", "Cookie": "a=b"},
        {"Content-Type": "a" * 5000},
        {"Ce-Metadata": random.choice(("{", "[]", '{"Inference-Header-Content-Length":[{}]}', "%7B%7D", "\xff" * 500))},
        {"Ce-Id": "\x80" * 1000, "X-Request-Id": "r" * 1000, "Traceparent": "00-x"},
        {"Inference-Header-Content-Length": random.choice(LENGTHS)},
    ))  # fmt: skip


_PRINTABLE = bytes(byte if byte >= 0x80 else 33 + byte % 94 for byte in range(256))


def _label(random: Random) -> tuple[bytes, Headers]:
    """Labels of requests that nobody has sent."""
    target = random.choice((1, 2.5, "cat", [1, 2], [[1], [2]], 10**400))
    labels = [{"id": str(random.random()), "target": target} for _ in range(random.choice((1, 1, 50)))]
    return json.dumps(labels).encode(), {"Content-Type": "application/json"}


def open_garbage(random: Random) -> Garbage:
    """A request that is HTTP, whatever its body is."""
    body, headers = random.choice(BODIES)(random)
    if random.random() < 0.2:
        headers = headers | _odd_headers(random)
    chunk = random.choice((1, 100, 10_000)) if random.random() < 0.1 and len(body) < 20_000 else 0
    if headers.get("Content-Type") == EVENT:
        path = random.choice((*PATHS, *LLM_PATHS, *OTHER_PATHS, "/feedback"))
        return Garbage(_request(path, body, headers, chunk=chunk), (("received", "cloudevents"),))
    return _on_a_path(random, body, headers, chunk)


def _on_a_path(random: Random, body: bytes, headers: Headers, chunk: int) -> Garbage:
    chance = random.random()
    if chance < 0.03:
        return Garbage(_request("/feedback", body, headers), (("rejected", "feedback", "bad_feedback"),))
    if chance < 0.06:
        return Garbage(_request("/feedback", *_label(random)), ())
    if chance < 0.09:
        event = {"Ce-Type": "org.kubeflow.serving.inference.response", "Ce-Id": str(random.random())}
        return Garbage(_request("/", body, headers | event), ())
    if chance < 0.8:
        path, source = random.choice(list(PATHS.items()))
        return Garbage(_request(path, body, headers, chunk=chunk), (("received", source),))
    if chance < 0.84:
        headers = headers | {"Ce-Type": "org.kubeflow.serving.inference.request"}
        return Garbage(_request(random.choice(list(PATHS)), body, headers), (("received", "cloudevents"),))
    if chance < 0.88:
        path, source = random.choice(list(LLM_PATHS.items()))
        received = () if source == "none" else (("received", source),)
        return Garbage(_request(path, body, headers), (*received, ("rejected", source, "unsupported_llm")))
    if chance < 0.92:
        path, source = random.choice(list(PATHS.items()))
        return Garbage(_request(path, b"", headers), (("skipped", source),))
    if chance < 0.96:
        method = random.choice(("GET", "PUT", "DELETE", "OPTIONS"))
        return Garbage(_request(random.choice(list(PATHS)), body, headers, method=method), (("skipped", "none"),))
    return Garbage(_request(random.choice(OTHER_PATHS), body, headers, chunk=chunk), (("skipped", "none"),))


# --- what ends the connection ----------------------------------------------------------------------------------------

_HEAD = b"POST /invocations HTTP/1.1\r\nHost: x\r\n"


def ending_garbage(random: Random) -> Garbage:
    """No HTTP, a request that is cut off, or one that is refused before its end."""
    path, source = random.choice(list(PATHS.items()))
    whole = _request(path, random.randbytes(500), {})
    too_large: tuple[Key, ...] = (("received", source), ("rejected", source, "too_large"))
    cut: tuple[Key, ...] = (("received", source), ("rejected", source, "disconnected"))
    kinds: tuple[tuple[bytes, tuple[Key, ...]], ...] = (
        *((data, (("rejected", "none", "not_http"),)) for data in (
            b"\x00" + random.randbytes(300),
            b"\x16\x03\x01" + random.randbytes(200),  # as TLS begins
            b"GET\r\n\r\n",
            b"POST /invocations HTTQ/1.1\r\n\r\n",
            b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
            _HEAD + b"Content-Length: 5\r\nContent-Length: 6\r\n\r\nhello",
            _HEAD + b"Content-Length: %b\r\n\r\n" % random.choice((b"-1", b"x", b"9" * 30, b"1e3")),
            _HEAD + b"Content-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n",
            _HEAD + b"\x00name: value\r\n\r\n",
            _HEAD + b"no colon\r\n\r\n",
        )),
        *((data, (("rejected", "none", "head_too_large"),)) for data in (
            _HEAD + b"X: " + b"a" * 70_000,
            _HEAD + b"".join(b"X-%d: 1\r\n" % number for number in range(200)) + b"\r\n",
        )),
        (whole[: random.randrange(1, whole.index(b"\r\n\r\n"))], (("rejected", "none", "disconnected"),)),
        (whole[: random.randrange(len(whole) - 500, len(whole))], cut),
        (_request(path, bytes(9), {}, chunk=3).replace(b"3\r\n", b"zz\r\n"), cut),
        (whole + b"\x00" * 20, (("received", source), ("rejected", "none", "not_http"))),  # longer than it says
        (_request(path, b"", {}).replace(b"Length: 0", b"Length: %d" % (MAX_BODY_BYTES + 1)), too_large),
        (_request(path, bytes(MAX_BODY_BYTES + 1), {}, chunk=100_000), too_large),
    )  # fmt: skip
    data, counted = random.choice(kinds)
    return Garbage(data, counted)


def reset_garbage(random: Random) -> Garbage:
    """A request whose client is gone before the answer."""
    whole = _request("/v2/models/odd/infer", random.randbytes(5000), {})
    cut = whole[: random.choice((100, 1000, len(whole)))]
    return Garbage(cut, (("received", "v2"), ("rejected", "v2", "disconnected")), resets=True)


# --- the client ------------------------------------------------------------------------------------------------------


def send(address: tuple[str, int], seed: int, requests: int) -> Tally:
    """Send that many requests: most of them on a connection that is kept open, several at a time."""
    random = Random(seed)
    tally = Tally()
    with socket.create_connection(address, ANSWER_SECONDS) as connection:
        while tally.sent < requests:
            kept_open = [open_garbage(random) for _ in range(150)] * REPEATS
            random.shuffle(kept_open)
            ending = [ending_garbage(random) for _ in range(40)]
            ending += [reset_garbage(random) for _ in range(4)]
            while kept_open and tally.sent < requests:
                group = [kept_open.pop() for _ in range(min(random.randint(1, PIPELINED), len(kept_open)))]
                group = group[: requests - tally.sent]
                _ask(connection, group)
                for garbage in group:
                    tally.add(garbage)
                if ending and tally.sent < requests:
                    tally.add(ending[-1])
                    _end(address, ending.pop())
    return tally


def silence(address: tuple[str, int], connections: int) -> Tally:
    """Begin that many requests at once, fall silent in a head or a body, and wait for the daemon to give them up."""
    tally = Tally()
    with contextlib.ExitStack() as stack:
        opened = []
        for number in range(connections):
            connection = stack.enter_context(socket.create_connection(address, ANSWER_SECONDS))
            if number % 2:
                garbage = Garbage(_HEAD, (("rejected", "none", "head_timeout"),))
            else:
                cut: tuple[Key, ...] = (("received", "v1"), ("rejected", "v1", "timeout"))
                garbage = Garbage(_request("/v1/models/odd:predict", bytes(100), {})[:-1], cut)
            connection.sendall(garbage.data)
            tally.add(garbage)
            opened.append(connection)
        for connection in opened:
            with contextlib.suppress(ConnectionError):
                while connection.recv(65536):
                    pass
    return tally


def _ask(connection: socket.socket, group: list[Garbage]) -> None:
    """Send some requests at once and read as many answers, in whose bodies there is no blank line."""
    connection.sendall(b"".join(garbage.data for garbage in group))
    answers = b""
    while (count := answers.count(b"\r\n\r\n")) < len(group):
        piece = connection.recv(65536)
        assert piece, f"the connection was closed after {count} of {len(group)} answers"
        answers += piece


def _end(address: tuple[str, int], garbage: Garbage) -> None:
    """Send it on a connection of its own and say that nothing follows, or throw the connection away."""
    with socket.create_connection(address, ANSWER_SECONDS) as connection:
        if garbage.resets:
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            connection.sendall(garbage.data)
            return
        with contextlib.suppress(ConnectionError):
            connection.sendall(garbage.data)
            connection.shutdown(socket.SHUT_WR)
            while connection.recv(65536):
                pass

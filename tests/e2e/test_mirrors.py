"""The mirrors of deploy/mirror, in front of a real model server: the client notices nothing, robmon gets everything."""

from __future__ import annotations

import contextlib
import json
import re
import socket
import statistics
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from pathlib import Path
from random import Random
from typing import Any

import httpx
import pytest
import yaml

from robmon.inputs.receiver import Receiver
from robmon.inputs.routing import NO_FILTERS, Kind, Router
from robmon.inputs.sample import Sample
from robmon.ports.access import Access
from robmon.ports.protocol import IDLE_SECONDS
from robmon.ports.server import PortServer
from robmon.settings import HttpSettings, InputsSettings
from tests.certificates import Authority
from tests.e2e.proxies import MIRROR, envoy, envoy_config, nginx
from tests.e2e.registry import COLUMNS
from tests.patience import PATIENCE_SECONDS
from tests.servers import free_port, wait_until

TOKEN = "bWlycm9yLXRva2Vu"
REQUESTS = 25
STALL_SECONDS = 0.25
"""What a client's median request may take more than without a mirror: far more than a proxy costs, half of the shortest
timeout in the files."""


class Robmon:
    """The input port on a given address, with the heads of the requests that reach it."""

    def __init__(self, port: int, access: Access | None = None) -> None:
        self.heads: list[tuple[str, str, dict[str, str]]] = []
        self.sample = Sample(sample_rows=1000, max_age_seconds=3600, sample_bytes=2**26, random=Random(0))
        self.receiver = Receiver(self.sample, max_body_bytes=2**23, max_inflight_bytes=2**26)
        self._listener = socket.create_server(("127.0.0.1", port))
        self._server = PortServer(self._application, self.receiver.refuse, max_connections=512, access=access)
        self._thread = threading.Thread(target=self._server.run, kwargs={"sockets": [self._listener]})

    async def _application(self, scope: Any, receive: Any, send: Any) -> None:
        headers = {name.decode(): value.decode() for name, value in scope["headers"]}
        self.heads.append((scope["method"], scope["path"], headers))
        await self.receiver(scope, receive, send)

    def __enter__(self) -> Robmon:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._server.should_exit = True
        self._thread.join(timeout=PATIENCE_SECONDS)
        assert not self._thread.is_alive()

    def bodies(self, count: int) -> list[bytes]:
        """The bodies kept, once there are so many; the sample is empty then."""
        wait_until(lambda: self.receiver.counts.sampled.total() == count, 90, f"{count} copies")
        items = self.sample.snapshot(time.time())
        self.sample.discard(items)
        self.receiver.counts.sampled.clear()
        return sorted(item.body for item in items)


@contextlib.contextmanager
def hanging(port: int) -> Iterator[list[socket.socket]]:
    """What accepts every connection and never answers; yields the connections."""
    held: list[socket.socket] = []
    with socket.create_server(("127.0.0.1", port), backlog=512) as listener:

        def accept() -> None:
            with contextlib.suppress(OSError):
                while True:
                    held.append(listener.accept()[0])

        thread = threading.Thread(target=accept)
        thread.start()
        try:
            yield held
        finally:
            listener.shutdown(socket.SHUT_RDWR)
            thread.join()
            for connection in held:
                connection.close()


def body(number: int, rows: int = 1) -> bytes:
    data = [[float(number), row / 7, row] for row in range(rows)]
    return json.dumps({"dataframe_split": {"columns": list(COLUMNS), "data": data}}).encode()


HEADERS = {"Content-Type": "application/json", "Authorization": "Bearer of-the-client", "Cookie": "session=1"}


def ask(client: httpx.Client, content: bytes, **headers: str) -> tuple[float, tuple[int, str, bytes]]:
    """One prediction: how many seconds it took, and the answer."""
    began = time.perf_counter()
    answer = client.post("/invocations?version=1", content=content, headers=HEADERS | headers)
    return time.perf_counter() - began, (answer.status_code, answer.headers["content-type"], answer.content)


def compare(proxy: str, model: str, count: int = REQUESTS) -> float:
    """By how many seconds the median request through the proxy is slower, each way on one connection that is kept."""
    with (
        httpx.Client(base_url=proxy, trust_env=False) as through,
        httpx.Client(base_url=model, trust_env=False) as direct,
    ):
        times: list[tuple[float, float]] = []
        for number in range(count):
            ours, answer = ask(through, body(number))
            theirs, expected = ask(direct, body(number))
            assert answer == expected
            assert answer[0] == 200
            times.append((ours, theirs))
    ours, theirs = (statistics.median(way) for way in zip(*times, strict=True))
    print(f"median {ours * 1e3:.1f} ms through the proxy, {theirs * 1e3:.1f} ms without")
    return ours - theirs


Proxy = Callable[[Path, str, int], AbstractContextManager[str]]


def shipped_envoy(folder: Path, model_url: str, robmon_port: int) -> AbstractContextManager[str]:
    return envoy(folder, envoy_config(int(model_url.rpartition(":")[2]), robmon_port, free_port()))


@pytest.mark.parametrize("proxy", [nginx, shipped_envoy], ids=["nginx", "envoy"])
def test_the_client_notices_nothing(proxy: Proxy, model_url: str, tmp_path: Path) -> None:
    port = free_port()
    sent = sorted(body(number) for number in range(REQUESTS))
    with proxy(tmp_path, model_url, port) as url:
        with Robmon(port) as robmon:
            assert compare(url, model_url) < STALL_SECONDS
            assert robmon.bodies(REQUESTS) == sent
        with hanging(port) as held:
            assert compare(url, model_url) < STALL_SECONDS
            assert held
            if proxy is shipped_envoy:  # nginx refuses them, with or without a mirror
                assert seconds_for_a_large_body(url) < 20
        assert compare(url, model_url) < STALL_SECONDS, "while nothing listens there"
        with Robmon(port) as robmon:
            wait_until(lambda: probe(url) and robmon.heads, 90, "a copy, now that robmon is back")


def seconds_for_a_large_body(url: str) -> float:
    """More than any buffer between client and robmon holds."""
    began = time.perf_counter()
    answer = httpx.post(
        f"{url}/invocations", content=b"x" * 2**25, headers=HEADERS, trust_env=False, timeout=PATIENCE_SECONDS
    )
    assert answer.status_code == 400, "the model server's own answer"
    return time.perf_counter() - began


def probe(url: str) -> bool:
    return httpx.post(f"{url}/invocations", content=body(1), headers=HEADERS, trust_env=False).status_code == 200


@pytest.mark.parametrize("proxy", [nginx, shipped_envoy], ids=["nginx", "envoy"])
def test_what_a_copy_has(proxy: Proxy, model_url: str, tmp_path: Path) -> None:
    port = free_port()
    large = body(0, rows=100_000)
    assert 2**21 < len(large) < 2**23
    with (
        Robmon(port) as robmon,
        proxy(tmp_path, model_url, port) as url,
        httpx.Client(base_url=url, trust_env=False, timeout=PATIENCE_SECONDS) as client,
    ):
        assert client.get("/ping").status_code == 200
        ask(client, body(1))
        ask(client, body(2), **{"X-Request-Id": "order-4711"})
        assert ask(client, large)[1][0] == 200
        for path in ("/v1/models/digits:predict", "/v2/models/digits/infer", "/elsewhere"):
            post_at_once(url, path)
        assert robmon.bodies(5) == sorted([body(1), body(2), large, b"{}", b"{}"])
    assert [method for method, _, _ in robmon.heads] == ["POST"] * 5, "no other requests"
    paths = sorted(path for _, path, _ in robmon.heads)
    assert paths == ["/invocations"] * 3 + ["/v1/models/digits:predict", "/v2/models/digits/infer"]
    for _, _, headers in robmon.heads:
        assert {"authorization", "cookie"}.isdisjoint(headers)
        assert headers["content-type"] == "application/json"
        assert not headers["host"].endswith("-shadow")
    ids = [headers["x-request-id"] for _, _, headers in robmon.heads]
    assert "order-4711" in ids and len(set(ids)) == 5


def post_at_once(url: str, path: str) -> None:
    """A request in one piece. MLflow's server refuses these paths at once, and Envoy then ends a copy half-way."""
    head = [f"POST {path} HTTP/1.1", "Host: x", "Connection: close", "Content-Length: 2"]
    lines = [*head, *(f"{name}: {value}" for name, value in HEADERS.items()), "", "{}"]
    with socket.create_connection(("127.0.0.1", int(url.rpartition(":")[2])), timeout=PATIENCE_SECONDS) as client:
        client.sendall("\r\n".join(lines).encode())
        while client.recv(4096):
            pass


@pytest.fixture
def secured(tmp_path: Path) -> Iterator[tuple[Robmon, Authority, int]]:
    """robmon with a token and TLS, and the authority that its certificate is of."""
    authority = Authority(tmp_path / "authority")
    certificate, token = authority.sign("robmon"), tmp_path / "token"
    token.write_text(TOKEN)
    settings = InputsSettings(token_file=token, tls_cert_file=certificate.cert, tls_key_file=certificate.key)
    port = free_port()
    with Robmon(port, Access("inputs", settings)) as robmon:
        yield robmon, authority, port


def test_nginx_sends_the_token_over_tls(secured: tuple[Robmon, Authority, int], model_url: str, tmp_path: Path) -> None:
    robmon, authority, port = secured
    folder = tmp_path / "nginx"
    folder.mkdir()
    access = (MIRROR / "robmon-access.conf").read_text().replace("Bearer TOKEN", f"Bearer {TOKEN}")
    (folder / "robmon-access.conf").write_text(access.replace("/etc/nginx/robmon-ca.crt", str(authority.ca)))
    https = {"http://127.0.0.1:9878$request_uri": "https://127.0.0.1:9878$request_uri"}
    with nginx(folder, model_url, port, https) as url, httpx.Client(base_url=url, trust_env=False) as client:
        assert ask(client, body(1))[1][0] == 200
        assert robmon.bodies(1) == [body(1)]
    assert robmon.receiver.counts.rejected.total() == 0


def test_envoy_sends_the_token_over_tls(secured: tuple[Robmon, Authority, int], model_url: str, tmp_path: Path) -> None:
    """By what the comments of the file say."""
    robmon, authority, port = secured
    config = envoy_config(int(model_url.rpartition(":")[2]), port, free_port())
    [hcm] = config["static_resources"]["listeners"][0]["filter_chains"][0]["filters"]
    route = hcm["typed_config"]["route_config"]["virtual_hosts"][0]["routes"][0]["route"]
    [mirror] = route["request_mirror_policies"]
    assert mirror["request_headers_mutations"][0] == {"remove": "authorization"}
    [append] = commented("If robmon asks for a token", "TOKEN", TOKEN)
    mirror["request_headers_mutations"][0] = append
    cluster = next(one for one in config["static_resources"]["clusters"] if one["name"] == "robmon")
    cluster |= commented("For TLS", "/etc/envoy/robmon-ca.crt", str(authority.ca))
    with envoy(tmp_path / "envoy", config) as url, httpx.Client(base_url=url, trust_env=False) as client:
        assert ask(client, body(1))[1][0] == 200
        assert robmon.bodies(1) == [body(1)]
    assert robmon.receiver.counts.rejected.total() == 0


def commented(after: str, key: str, value: str) -> Any:
    """The YAML that stands in a comment of envoy.yaml, below a line with these words, with a value filled in."""
    _, _, below = (MIRROR / "envoy.yaml").read_text().partition(after)
    lines = re.findall(r"\n +#( .*)", below[: re.search(r"\n +[^ #]", below).start()])  # type: ignore[union-attr]
    return yaml.safe_load("\n".join(line.replace(key, value) for line in lines))


def test_without_the_relay_the_next_request_waits(model_url: str, tmp_path: Path) -> None:
    """Why nginx.conf has it, and that the test above would notice."""
    port = free_port()
    (tmp_path / "nginx").mkdir()
    past_the_relay = {"127.0.0.1:9879$request_uri;": "127.0.0.1:9878$request_uri; proxy_read_timeout 2s;"}
    with hanging(port), nginx(tmp_path / "nginx", model_url, port, past_the_relay) as url:
        assert compare(url, model_url, count=5) > 4 * STALL_SECONDS


def test_copies_that_robmon_does_not_answer_are_bounded(model_url: str, tmp_path: Path) -> None:
    port = free_port()
    (tmp_path / "nginx").mkdir()
    small = {"limit_conn robmon_copies 128": "limit_conn robmon_copies 2", "read_timeout 100ms": "read_timeout 60s"}
    with hanging(port) as held, nginx(tmp_path / "nginx", model_url, port, small) as url:
        assert compare(url, model_url, count=8) < STALL_SECONDS
        assert len(held) == 2


PREDICTIONS = ["/invocations", "/v1/models/m:predict", "/v2/models/m/infer", "/x/v2/models/m/versions/1/infer"]
OTHERS = [
    "/",
    "/ping",
    "/version",
    "/metrics",
    "/v2/health/ready",
    "/v1/models/m",
    "/v1/models/m:explain",
    "/x/invocations",
]


def test_all_mirrors_copy_the_same_requests() -> None:
    """Those that robmon takes for predictions, and to the port on which it waits for them."""
    nginx_pattern = re.search(r"location ~ (\S+) \{", (MIRROR / "nginx.conf").read_text())
    assert nginx_pattern is not None
    configuration = envoy_config(1, 2, 3)["static_resources"]["listeners"][0]["filter_chains"][0]["filters"][0]
    envoy_match = configuration["typed_config"]["route_config"]["virtual_hosts"][0]["routes"][0]["match"]
    [service, rule, _, policy] = yaml.safe_load_all((MIRROR / "istio.yaml").read_text())
    route = service["spec"]["http"][0]
    whole = [envoy_match["safe_regex"]["regex"], route["match"][0]["uri"]["regex"]]
    for path in PREDICTIONS + OTHERS:
        copied = [re.search(nginx_pattern[1], path), *(re.fullmatch(pattern, path) for pattern in whole)]
        assert [match is not None for match in copied] == [path in PREDICTIONS] * 3, path
        kind = Router(NO_FILTERS).route("POST", path, {}).kind
        assert path not in PREDICTIONS or kind is Kind.PREDICTION

    inputs, http = InputsSettings().port, HttpSettings().port
    assert [mirror["destination"]["port"]["number"] for mirror in route["mirrors"]] == [inputs]
    assert route["mirrors"][0]["destination"]["host"] == rule["spec"]["host"]
    assert [to["operation"]["ports"] for one in policy["spec"]["rules"] for to in one["to"]] == [
        [str(inputs)],
        [str(http)],
    ]
    for file in ("nginx.conf", "envoy.yaml", "istio.yaml"):
        assert str(inputs) in (MIRROR / file).read_text()
    for file in ("envoy.yaml", "istio.yaml"):
        assert int(re.findall(r"(?:idle_timeout|idleTimeout): (\d+)s", (MIRROR / file).read_text())[0]) < IDLE_SECONDS

"""A daemon with tokens and TLS on both ports, and what a stranger can learn or write."""

from __future__ import annotations

import contextlib
import gzip
import json
import signal
import socket
import ssl
import struct
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import quote

import httpx
import pytest

from tests.browser import dom
from tests.certificates import Authority
from tests.e2e.daemon import CANARY, ROWS, Daemon, again_and_again, running_daemon
from tests.e2e.registry import COLUMNS, Registry
from tests.e2e.test_endpoint import AS_FAST, NO_REGISTRY
from tests.e2e.test_files import summed
from tests.endpoint import V2Model, serving
from tests.patience import PATIENCE_SECONDS
from tests.servers import wait_until
from tests.watching.prometheus import REPOSITORY, get_json, prometheus_server, query, secured_config

TOKEN = "bXktc2VjcmV0LXRva2Vu"
OTHER_TOKEN = "YW5vdGhlci10b2tlbg"


@pytest.fixture(scope="module")
def secrets(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with token, certificate, key and authority, named as in Kubernetes' Secrets."""
    folder = tmp_path_factory.mktemp("secrets")
    Authority(folder).sign("tls")
    (folder / "token").write_text(f"{TOKEN}\n")
    return folder


@contextlib.contextmanager
def secured_daemon(folder: Path, uri: str, secrets: Path) -> Iterator[Daemon]:
    """At an endpoint, because it takes no time to load."""
    files = {"token_file": "token", "tls_cert_file": "tls.crt", "tls_key_file": "tls.key"}
    settings = {f"{port}__{name}": secrets / file for port in ("http", "inputs") for name, file in files.items()}
    context = ssl.create_default_context(cafile=str(secrets / "ca.crt"))
    with running_daemon(folder, uri, NO_REGISTRY, **settings, **AS_FAST, inputs__sample_rows=200) as daemon:
        daemon.scheme = "https"
        authorized = {"Authorization": f"Bearer {TOKEN}"}
        daemon.client = httpx.Client(timeout=PATIENCE_SECONDS, trust_env=False, verify=context, headers=authorized)
        yield daemon


@contextlib.contextmanager
def connection(daemon: Daemon, port: str, server_name: str = "robmon", tls: bool = True) -> Iterator[socket.socket]:
    """A socket to one of the ports of a daemon whose certificate nobody checks."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    with contextlib.ExitStack() as stack:
        client = stack.enter_context(
            socket.create_connection(("127.0.0.1", daemon.port(port)), timeout=PATIENCE_SECONDS)
        )
        if tls and daemon.scheme == "https":
            client = stack.enter_context(context.wrap_socket(client, server_hostname=server_name))
        yield client


def exchange(daemon: Daemon, port: str, sent: bytes, **options: object) -> bytes:
    """Send bytes, say that there are no more where that can be said, and read what comes."""
    received = b""
    with contextlib.suppress(OSError), connection(daemon, port, **options) as client:  # type: ignore[arg-type]
        client.sendall(sent)
        if not isinstance(client, ssl.SSLSocket):
            client.shutdown(socket.SHUT_WR)
        client.settimeout(0.2)  # whether there is an answer does not matter
        while piece := client.recv(65536):
            received += piece
    return received


def test_tokens_and_tls_on_both_ports(tmp_path: Path, secrets: Path) -> None:
    with contextlib.ExitStack() as stack:
        server = stack.enter_context(serving(V2Model(summed, "kserve", [])))
        url = f"{server.url}/v2/models/digits/infer"
        daemon = stack.enter_context(secured_daemon(tmp_path / "daemon", url, secrets))
        daemon.send(ROWS[:60])
        daemon.wait_for_assessments()
        assert daemon.count("robmon_inputs_received_total", source="mlflow") == 60

        target = f"127.0.0.1:{daemon.port('http_port')}"
        right = secured_config(target, secrets / "token", secrets / "ca.crt")
        prometheus = stack.enter_context(prometheus_server(tmp_path / "prometheus", right))
        wait_until(lambda: query(prometheus, "robmon_noise_mse_bound"), 90, "a bound in Prometheus")
        assert get_json(f"{prometheus}/api/v1/targets")["data"]["activeTargets"][0]["health"] == "up"

        # A probe of the kubelet has no token and checks no certificate.
        probe = ["curl", "--silent", "--insecure", "--fail", f"https://{target}/healthz"]
        assert subprocess.run(probe, capture_output=True, text=True, check=True).stdout == "ok\n"
        asks = (REPOSITORY / "helm/robmon/files/answers.py").read_text(encoding="utf-8")  # what `helm test` runs
        subprocess.run([sys.executable, "-c", asks, f"https://{target}/healthz", "It is there"], check=True)
        with httpx.Client(verify=False, trust_env=False) as stranger:
            for path in ("metrics", "", "readyz", "nix"):
                assert stranger.get(f"https://{target}/{path}").status_code == 401
            url = f"https://127.0.0.1:{daemon.port('inputs_port')}/invocations"
            answer = stranger.post(url, json={"inputs": [[1.0]]}, headers={"Authorization": "Bearer guess"})
            assert (answer.status_code, answer.headers["www-authenticate"]) == (401, "Bearer")
        plain = b"POST /invocations HTTP/1.1\r\nHost: x\r\nContent-Length: 2\r\n\r\n{}"
        exchange(daemon, "inputs_port", plain, tls=False)
        exchange(daemon, "http_port", plain, tls=False)
        assert daemon.count("robmon_http_rejected_total", reason="unauthorized") == 4
        rejected = {"source": "none", "reason": "unauthorized"}
        assert daemon.count("robmon_inputs_rejected_total", **rejected) == 1
        daemon.wait_for(lambda: daemon.count("robmon_http_rejected_total", reason="not_http") == 1, "plain HTTP")
        rejected["reason"] = "not_http"
        daemon.wait_for(lambda: daemon.count("robmon_inputs_rejected_total", **rejected) == 1, "plain HTTP")

        # The token is replaced while Prometheus keeps scraping: both are good for a while.
        stack.enter_context(replaced(secrets / "token", f"{OTHER_TOKEN}\n{TOKEN}\n"))
        told = daemon.told("tokens replaced", 2)
        assert daemon.get("/metrics").status_code == 200
        daemon.client.headers["Authorization"] = f"Bearer {OTHER_TOKEN}"
        assert daemon.get("/metrics").status_code == 200
        assert {line["port"] for line in told} == {"http", "inputs"}
        write_everywhere(daemon)
        for secret in (TOKEN, OTHER_TOKEN):
            assert secret not in daemon.log_file.read_text()


@contextlib.contextmanager
def replaced(file: Path, text: str) -> Iterator[None]:
    """Other content, and at the end what it was before, each at once, as a mounted Secret changes."""

    def replace(content: str) -> None:
        new = file.with_suffix(".new")
        new.write_text(content)
        new.replace(file)

    before = file.read_text()
    replace(text)
    yield
    replace(before)


# --- what a stranger writes ------------------------------------------------------------------------------------------

COLUMN_NAMES = list(COLUMNS)
WORD = CANARY.encode()
REQUEST_ID = "id-20ab7"  # the status page names ids


def bodies() -> Iterator[tuple[str, dict[str, str], bytes]]:
    """Path, headers and body of requests that have the word in every place where a request can have one."""

    def as_json(value: object) -> bytes:
        return json.dumps(value).encode()

    row = list(ROWS[0])
    kind = {"Content-Type": "application/json"}
    yield "/invocations", kind, as_json({"dataframe_split": {"columns": COLUMN_NAMES, "data": [[CANARY, *row[1:]]]}})
    yield "/invocations", kind, as_json({"dataframe_split": {"columns": [CANARY, *COLUMN_NAMES[1:]], "data": [row]}})
    yield "/invocations", kind, as_json({"dataframe_records": [{CANARY: 1.0}]})
    yield "/invocations", kind, as_json({"inputs": {CANARY: [1.0]}, "params": {CANARY: CANARY}})
    yield "/invocations", kind, as_json({"instances": [dict.fromkeys(COLUMN_NAMES, CANARY)]})
    yield "/invocations", kind, as_json({CANARY: [row]})
    yield "/invocations", kind, b'{"inputs": [[' + WORD
    yield "/invocations", kind, as_json({"messages": [{"role": "user", "content": CANARY}]})
    yield "/invocations", {"Content-Type": f"text/csv; charset={CANARY}"}, WORD
    yield "/invocations", {"Content-Type": "text/csv"}, f"{','.join(COLUMN_NAMES)}\n{CANARY},1,2\n".encode()
    yield "/invocations", {"Content-Type": f"application/{CANARY}"}, as_json({"inputs": [row]})
    yield "/invocations", {**kind, "Content-Encoding": "gzip"}, gzip.compress(as_json({"inputs": [[CANARY]]}))
    yield "/invocations", {**kind, "Content-Encoding": "gzip"}, gzip.compress(WORD)[:-4] + WORD
    yield f"/v1/models/{CANARY}:predict", kind, as_json({"instances": [[CANARY, 1.0, 2]]})
    tensor = {"name": CANARY, "shape": [1], "datatype": CANARY, "data": [CANARY]}
    yield f"/v2/models/{CANARY}/infer", kind, as_json({"id": CANARY, "inputs": [tensor]})
    text = {"name": COLUMN_NAMES[0], "shape": [1, 1], "datatype": "BYTES", "parameters": {"binary_data_size": 15}}
    head = as_json({"inputs": [text]})
    binary = head + struct.pack("<I", len(WORD)) + WORD
    yield f"/v2/models/m/versions/{CANARY}/infer", {"Inference-Header-Content-Length": str(len(head))}, binary
    event = {
        "Ce-Specversion": CANARY,
        "Ce-Type": "org.kubeflow.serving.inference.request",
        "Ce-Id": CANARY,
        "Ce-Source": CANARY,
        "Ce-Metadata": json.dumps({CANARY: [CANARY]}),
    }
    yield "/", event, as_json({"instances": [[CANARY]]})
    yield "/", {"Ce-Type": CANARY, "Ce-Id": CANARY}, WORD
    structured = {"Content-Type": "application/cloudevents+json"}
    yield "/", structured, as_json({"specversion": "1.0", "id": CANARY, "type": CANARY, "data": CANARY})
    yield f"/{CANARY}", kind, WORD
    yield "/feedback", kind, as_json({"id": CANARY, "target": CANARY})
    yield "/feedback", kind, as_json({"id": CANARY, "target": {CANARY: CANARY}})
    yield "/feedback", kind, as_json({CANARY: CANARY})
    yield "/feedback", kind, WORD


BROKEN = [
    WORD * 10,
    b"GET /" + WORD,
    b"GET /\xff" + WORD + b" HTTP/1.1\r\n\r\n",
    b"POST /invocations HTTP/1.1\r\nContent-Length: " + WORD + b"\r\n\r\n",
    b"POST /invocations HTTP/1.1\r\n" + WORD + b" : x\r\n\r\n",
    b"POST /invocations HTTP/1.1\r\nX: " + WORD * 6000 + b"\r\n\r\n",
    b"POST /invocations HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n" + WORD + b"\r\n",
    b"POST /invocations HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n1;"
    + WORD
    + b"\r\nx\r\n0\r\nX: "
    + WORD
    + b"\r\n\r\n",
    b"GET / HTTP/1.1\r\nConnection: upgrade\r\nUpgrade: " + WORD + b"\r\n\r\n" + WORD,
    b"CONNECT " + WORD + b":443 HTTP/1.1\r\n\r\n" + WORD,
]


def test_what_a_stranger_writes_is_written_nowhere(tmp_path: Path, local: Registry) -> None:
    """At level debug, in logs, metrics, pages and files; `running_daemon` looks there at its end, too."""
    model = local.model()
    model.serve(model.add())
    with running_daemon(tmp_path, model.uri, local.tracking_uri, inputs__sample_rows=200) as daemon:
        daemon.send(ROWS[:60])
        daemon.wait_for_assessments()
        write_everywhere(daemon)
        for behaviour in ("raises", "ends"):
            daemon.model(behaviour)
            daemon.send(ROWS[:60])
            daemon.wait_for_assessments(outcome="failed", reason="model_raised")


def write_everywhere(daemon: Daemon) -> None:
    """All that a stranger can send, and time for the worker to try to read it."""
    for path, headers, body in bodies():
        url = f"{daemon.scheme}://127.0.0.1:{daemon.port('inputs_port')}{path}?{CANARY}={CANARY}"
        marked = {"Cookie": CANARY, "User-Agent": CANARY, "X-Request-Id": REQUEST_ID, CANARY: CANARY}
        answer = daemon.client.post(url, content=body, headers=headers | marked)
        assert answer.status_code in (200, 202, 400)
        assert CANARY not in answer.text
    for port in ("http_port", "inputs_port"):
        break_everywhere(daemon, port)
    assert daemon.count("robmon_http_rejected_total", reason="not_http") > 0
    assert daemon.count("robmon_inputs_rejected_total", source="none", reason="not_http") > 0

    def told() -> float:
        counts = [sample for sample in daemon.metrics() if sample.name == "robmon_inputs_rejected_total"]
        return sum(sample.value for sample in counts if sample.labels["source"] != "none")

    daemon.wait_for(lambda: told() >= 10, "the requests that the worker could not read")
    assert REQUEST_ID not in daemon.get("/metrics").text
    assert REQUEST_ID not in daemon.log_file.read_text()


def break_everywhere(daemon: Daemon, port: str) -> None:
    for sent in BROKEN:
        exchange(daemon, port, sent, server_name=CANARY)
        exchange(daemon, port, sent, tls=False)
    url = f"{daemon.scheme}://127.0.0.1:{daemon.port(port)}"
    headers = {"Accept": CANARY, "Cookie": CANARY}
    for path in (f"/{CANARY}", f"/?{CANARY}", "/metrics", "/healthz"):
        for method in ("GET", "POST", "DELETE", "OPTIONS"):
            answer = daemon.client.request(method, f"{url}{path}", headers=headers, content=WORD)
            assert CANARY not in answer.text
    assert CANARY not in daemon.client.get(url, headers={"Authorization": f"Bearer {CANARY}"}).text


@pytest.mark.long
def test_markup_of_strangers_stays_text_on_the_page_and_in_metrics(local: Registry, tmp_path: Path) -> None:
    """A model without a signature, so that columns are called what the requests say."""
    markup = "<script>document.title = 'owned'</script>"
    model = local.model("<script>'&")
    columns = [markup, 'quote"\\\n', "x" * 10_000]
    uri = f"models:/{model.name}/{model.add(has_signature=False)}"
    with running_daemon(tmp_path, uri, local.tracking_uri, baseline__min_rows=40) as daemon:
        inputs = f"http://127.0.0.1:{daemon.port('inputs_port')}"

        def send() -> None:
            for row in ROWS[:50]:
                body = json.dumps({"dataframe_split": {"columns": columns, "data": [[*row[:2], 0.5]]}})
                headers = {"X-Request-Id": f"{markup} {row[2] % 7}", "Content-Type": "application/json"}
                for path in ("/invocations", f"/v2/models/{quote(markup, safe='')}/infer", f"/{quote(markup)}"):
                    daemon.client.post(inputs + path, content=body, headers=headers)
            labels = [{"id": f"{markup} {number}", "target": markup} for number in range(7)]
            daemon.client.post(f"{inputs}/feedback", json=labels)

        with again_and_again(send, pause_seconds=0.1):
            daemon.wait_for(lambda: daemon.value("robmon_input_drift", feature=markup[:64]) is not None, "drift")
            daemon.wait_for(lambda: "Most fragile requests: &lt;script" in daemon.get("/").text, "ids on the page")
            text = daemon.get("/metrics").content
            found = dom(tmp_path / "profile", f"http://127.0.0.1:{daemon.port('http_port')}/")
        assert "Most fragile requests: &lt;script" in found
        assert "<script" not in found and "<title>robmon: &lt;script&gt;" in found
        names = {sample.labels["feature"] for sample in daemon.metrics() if sample.name == "robmon_input_drift"}
        assert names == {markup[:64], 'quote"\\?', "x" * 64, "all"}
        daemon.process.send_signal(signal.SIGUSR2)
        shared_out = "noise error shared out"
        daemon.wait_for(lambda: any(each.get("of") == "now" for each in daemon.log(shared_out)), "shares on request")
        groups = {sample.labels["group"] for sample in daemon.metrics() if sample.name == "robmon_noise_share"}
        assert (
            groups and groups <= names and "&lt;script&gt;" in found and daemon.value("robmon_canary_change_ratio") == 0
        )
        done = subprocess.run(["promtool", "check", "metrics"], input=text, capture_output=True, check=False)
        assert (done.returncode, done.stdout + done.stderr) == (0, b"")

"""Whatever model code, strangers on the input port or the disk do: the next assessment comes by itself.

One daemon takes all the blows, one after the other, in whatever order.
"""

from __future__ import annotations

import contextlib
import math
import os
import socket
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import unquote

import httpx
import psutil
import pytest

from robmon.history.store import History
from tests.e2e.daemon import PASSWORD, ROWS, Daemon, running_daemon
from tests.e2e.loading import patience_seconds
from tests.e2e.registry import Registry
from tests.patience import PATIENCE_SECONDS


@pytest.fixture(scope="module")
def uri(local: Registry) -> str:
    """Of an odd model."""
    model = local.model()
    return f"models:/{model.name}/{model.add()}"


@pytest.fixture(scope="module")
def shared_daemon(uri: str, local: Registry, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Daemon]:
    with running_daemon(
        tmp_path_factory.mktemp("survives"),
        uri,
        local.tracking_uri,
        inputs__max_body_bytes=100_000,
        worker__memory_bytes=500 * 2**20,
    ) as daemon:
        daemon.send()
        daemon.wait_for_assessments()
        yield daemon
        daemon.model("hangs with a process")  # and is ended in the midst of it
        daemon.wait_for(lambda: daemon.worker().children(), "the process that the hanging model starts")


def own_processes(daemon: Daemon) -> int:
    """Of the daemon, without the short ones that ask the registry."""
    found = 0
    for process in daemon.processes():
        with contextlib.suppress(psutil.Error):
            found += "robmon.fetch" not in process.cmdline()
    return found


@pytest.fixture
def daemon(shared_daemon: Daemon) -> Iterator[Daemon]:
    """The daemon while its model behaves; after the test the next good assessment must come by itself."""
    yield shared_daemon
    shared_daemon.model("behaves")
    shared_daemon.wait_for_assessments()
    shared_daemon.wait_for(lambda: own_processes(shared_daemon) == 2, "nothing but the daemon and its worker")
    shared_daemon.hold_to_promises()


@pytest.mark.parametrize("behaviour", ["raises", "ends"])
def test_exception(daemon: Daemon, behaviour: str) -> None:
    worker = daemon.worker()
    daemon.model(behaviour)
    daemon.wait_for_assessments(outcome="failed", reason="model_raised")
    assert daemon.worker() == worker, "one exception needs no new worker"


def test_output_that_is_none(daemon: Daemon) -> None:
    daemon.model("returns text")
    daemon.wait_for_assessments(2, outcome="failed", reason="invalid_output")


def test_no_number_at_all(daemon: Daemon) -> None:
    daemon.model("returns nan")
    daemon.wait_for_assessments(outcome="failed", reason="invalid_output")


def test_nan(daemon: Daemon) -> None:
    daemon.model("returns nan under noise")
    daemon.wait_for(lambda: daemon.value("robmon_noise_mse_bound", level="0.1") == math.inf, "an infinite bound")
    assert daemon.count("robmon_nonfinite_outputs_total", level="0.3") > 0
    assert daemon.value("robmon_robustness_index") is None
    assert not any(math.isnan(sample.value) for sample in daemon.metrics())
    daemon.model("behaves")
    daemon.wait_for(lambda: daemon.value("robmon_noise_mse_bound", level="0.1") != math.inf, "a finite bound")


@pytest.mark.long
def test_hanging(uri: str, local: Registry, shared_daemon: Daemon, tmp_path: Path) -> None:
    """The processes that the model started go with it. A busy machine takes minutes to load one that does not hang."""
    longest = patience_seconds(shared_daemon, at_least=10)
    with running_daemon(tmp_path, uri, local.tracking_uri, worker__timeout_seconds=longest) as daemon:
        daemon.send()
        daemon.wait_for_assessments()
        worker = daemon.worker()
        daemon.model("hangs with a process")
        daemon.wait_for_assessments(outcome="failed", reason="timeout")
        assert not worker.is_running()
        assert daemon.count("robmon_worker_restarts_total", reason="timeout") >= 1
        daemon.model("behaves")
        daemon.wait_for_assessments()
        daemon.wait_for(lambda: own_processes(daemon) == 2, "nothing but the daemon and its worker")


def test_model_that_is_too_slow(daemon: Daemon) -> None:
    worker = daemon.worker()
    daemon.model("is very slow")
    daemon.wait_for_assessments(outcome="skipped", reason="over_budget")
    assert daemon.worker() == worker


def test_leak(daemon: Daemon) -> None:
    daemon.model("leaks")
    daemon.wait_for_assessments(outcome="failed", reason="out_of_memory")
    assert daemon.count("robmon_worker_restarts_total", reason="memory") >= 1


@pytest.mark.parametrize("behaviour", ["exits", "closes descriptors"])
def test_crash(daemon: Daemon, behaviour: str) -> None:
    daemon.model(behaviour)
    daemon.wait_for_assessments(outcome="failed", reason="crash")
    assert daemon.count("robmon_worker_restarts_total", reason="crash") >= 1


def test_printing_inputs(daemon: Daemon) -> None:
    daemon.model("prints")
    daemon.wait_for_assessments(2)


def test_killed_worker(daemon: Daemon) -> None:
    worker = daemon.worker()
    worker.kill()
    daemon.wait_for(lambda: not worker.is_running(), "the end of the worker")
    daemon.wait_for_assessments()
    assert daemon.worker() != worker


def test_worker_has_no_credentials(daemon: Daemon) -> None:
    assert PASSWORD in psutil.Process(daemon.process.pid).environ().values()
    environment = daemon.worker().environ()
    assert PASSWORD not in environment.values()
    assert not [name for name in environment if "PASSWORD" in name or "SECRET" in name or "TRACKING" in name]


def test_worker_is_a_guest(daemon: Daemon) -> None:
    worker = daemon.worker()
    assert worker.nice() == min(psutil.Process(daemon.process.pid).nice() + 10, 19)
    group = Path(f"/proc/{worker.pid}/autogroup")
    if group.exists() and os.geteuid() == 0:  # the kernel refuses others that come soon after one another
        assert group.read_text().split()[-1] == "10", "nice counts among the processes of its own session only"
    assert int(Path(f"/proc/{worker.pid}/oom_score_adj").read_text(encoding="ascii")) == 1000


def test_no_core_is_dumped(daemon: Daemon) -> None:
    """It would hold production inputs."""
    for pid in (daemon.process.pid, daemon.worker().pid):
        assert psutil.Process(pid).rlimit(psutil.RLIMIT_CORE) == (0, 0)


def test_daemon_is_light(daemon: Daemon) -> None:
    """No library of the model's, not even numpy, is mapped into the daemon, and it stays small."""
    mapped = [entry.path for entry in psutil.Process(daemon.process.pid).memory_maps()]
    assert any("httptools" in path for path in mapped), "the daemon's own libraries are seen"
    heavy = ("numpy", "pandas", "torch", "pyarrow", "sklearn", "scipy", "mlflow")
    assert not [path for path in mapped for name in heavy if f"/{name}" in path]
    assert psutil.Process(daemon.process.pid).memory_info().rss < 100 * 2**20


def test_garbage(daemon: Daemon) -> None:
    value = str(ROWS[0][0])
    texts = [
        "",
        "{",
        "[" * 50_000,
        value,
        f'{{"inputs": [[{value}]]}}',
        f'{{"inputs": "{value}"}}',
        f"length\n{value}x",
    ]
    bodies = [b"\x00\xff" * 500, *(text.encode() for text in texts)]
    before = daemon.count("robmon_inputs_rejected_total", source="mlflow")
    for body in bodies * 5:
        assert daemon.post(body) in (200, 202)
        assert daemon.post(body, "text/csv") in (200, 202)
    daemon.send(ROWS)
    for port in ("http_port", "inputs_port"):
        with socket.create_connection(("127.0.0.1", daemon.port(port)), timeout=PATIENCE_SECONDS) as connection:
            connection.sendall(b"\x16\x03\x01" + b"garbage" * 100 + b"\r\n\r\n")
            assert connection.recv(100).startswith(b"HTTP/1.1 400")
    daemon.wait_for_assessments(2)
    # A quarter of what was sent is garbage, and the sample has 41 places: some of it was in.
    assert daemon.count("robmon_inputs_rejected_total", source="mlflow") > before


def test_oversized_bodies(daemon: Daemon) -> None:
    def endless() -> Iterator[bytes]:
        while True:
            yield b"[" * 10_000

    assert daemon.post(b"[" * 100_001) == 413
    with contextlib.suppress(httpx.TransportError):  # the connection may be closed before the client stops sending
        assert daemon.post(endless()) == 413
    daemon.wait_for(
        lambda: daemon.count("robmon_inputs_rejected_total", source="mlflow", reason="too_large") == 2, "both counted"
    )
    daemon.wait_for_assessments()


def test_bodies_that_never_end(daemon: Daemon) -> None:
    head = b"POST /invocations HTTP/1.1\r\nHost: robmon\r\n"
    with contextlib.ExitStack() as stack:
        for beginning in (
            head,
            head + b"Content-Length: 50000\r\n\r\n[[",
            head + b"Transfer-Encoding: chunked\r\n\r\n",
        ) * 10:
            connection = socket.create_connection(("127.0.0.1", daemon.port("inputs_port")), timeout=PATIENCE_SECONDS)
            stack.enter_context(connection).sendall(beginning)
        daemon.send()
        daemon.wait_for_assessments(2)


def test_a_data_folder_that_cannot_be_written(daemon: Daemon) -> None:
    """What was measured is published all the same, and written when that can be."""
    history = daemon.data_dir / "history"
    (state,) = history.glob("*.sqlite")
    temporary = next((daemon.data_dir / "baselines").rglob("1.json")).with_name(".1.json.tmp")
    history.rename(history.with_name("kept"))
    history.touch()
    temporary.symlink_to("/dev/full")
    daemon.send()  # so that the baseline changes
    daemon.wait_for_assessments(2)
    daemon.wait_for(lambda: daemon.count("robmon_history_write_failures_total") >= 2, "both failures")
    told = {line["error"] for line in daemon.told("data folder not written", 2)}
    assert told == {"No space left on device", "Not a directory"}
    history.unlink()
    history.with_name("kept").rename(history)
    temporary.unlink()
    assert len(daemon.told("data folder written again", 2)) == 2, "both are written"
    failures = daemon.count("robmon_history_write_failures_total")
    daemon.wait_for_assessments(2)
    assert daemon.count("robmon_history_write_failures_total") == failures
    told_numbers = [line["number"] for line in daemon.log("assessment") if line["outcome"] == "ok"]
    past = History(daemon.data_dir, unquote(state.stem)).past
    daemon.wait_for(lambda: len(past.assessments()) >= len(told_numbers), "the last of them on the disk")
    kept = [line["number"] for line in past.assessments()]
    assert kept[: len(told_numbers)] == told_numbers, "none is lost"

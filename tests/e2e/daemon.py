"""A real `robmon run` for tests, and what holds for every one of them.

Whatever a test does to its daemon: `/metrics` answers, the end comes within 10 seconds, no process is left, and no
input that was sent is in any log line, file, metric or page.
"""

from __future__ import annotations

import contextlib
import functools
import html
import json
import os
import re
import shlex
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from random import Random
from typing import Any

import httpx
import psutil
from prometheus_client.parser import text_string_to_metric_families
from prometheus_client.samples import Sample

from tests.e2e.registry import COLUMNS
from tests.servers import wait_until
from tests.starvation import Starvation

END_SECONDS = 10.0
ANSWER_SECONDS = 20.0
INTERPRETER = os.environ.get("ROBMON_CAMPAIGN_PYTHON", sys.executable)
"""Whose robmon is run: ours, or that of another commit (`tests/campaign/other_commit.py`)."""
WAIT_SECONDS = 240.0 if sys.executable == INTERPRETER else 120.0
"""For what comes within seconds, not counting those in which the daemon's processes wait for a processor."""
FORMER_MODULES = {"robmon.reader": "robmon.tail"}
"""What a commit that is older calls them."""
PASSWORD = "hands-off-9421"  # of the registry: nothing but the fetch process may have it
CANARY = "canary-5b1e"  # a word of strangers, to be sent wherever a stranger can write one

Row = tuple[float, float, int]


def _rows(count: int) -> list[Row]:
    """Numbers that are found again wherever they come up; noise leaves the last one as it is."""
    random = Random(77)
    return [
        (round(random.uniform(1e4, 1e5), 6), round(random.uniform(1e4, 1e5), 6), random.randrange(10**11, 10**12))
        for _ in range(count)
    ]


ROWS = _rows(200)
_NUMBERS = re.compile(r"(?<!\d)(?:\d{5}\.\d{5}|\d{12}(?!\d))")
_TOLD_NUMBERS = {number for row in ROWS for value in row for number in _NUMBERS.findall(f"{value:.6f}")}

QUICK = {
    "http.port": 0,
    "inputs.port": 0,
    "inputs.sample_rows": 41,
    "assess.interval_seconds": 0.3,
    "assess.min_rows": 20,
    "assess.levels": "0.1 0.3",
    "assess.trials": 19,
    "log.format": "json",
    "log.level": "debug",
}


def _poll_seconds(uri: str, tracking_uri: str) -> float:
    """As often as a look-up is cheap: a request to a server; at an endpoint a process; else one that imports MLflow."""
    if uri.startswith("http"):
        return 5
    return 1 if tracking_uri.startswith("http") else 30


@contextlib.contextmanager
def again_and_again(step: Callable[[], None], pause_seconds: float) -> Iterator[None]:
    """Do it in the background, until the end of the block."""
    over = threading.Event()

    def work() -> None:
        while not over.wait(pause_seconds):
            step()

    thread = threading.Thread(target=work)
    thread.start()
    try:
        yield
    finally:
        over.set()
        thread.join()


@dataclass
class Daemon:
    """A running daemon; its files lie below `folder`."""

    process: subprocess.Popen[bytes]
    folder: Path
    log_file: Path
    environment: dict[str, str]
    scheme: str = "http"

    @property
    def data_dir(self) -> Path:
        """The daemon's setting."""
        return self.folder / "data"

    @property
    def temporary(self) -> Path:
        """The temporary folder of the daemon and all that it starts."""
        return self.folder / "tmp"

    # --- what it says ------------------------------------------------------------------------------------------------

    def log(self, event: str | None = None) -> list[dict[str, Any]]:
        """Log lines so far, of one event or all. Every line is JSON."""
        text, _, _ = self.log_file.read_text(encoding="utf-8").rpartition("\n")
        lines = [json.loads(line) for line in text.splitlines()]
        return [line for line in lines if event is None or line["event"] == event]

    def told(self, event: str, count: int = 1) -> list[dict[str, Any]]:
        """The log lines of an event, once there are so many: they are written a little after metrics tell of it."""
        self.wait_for(lambda: len(self.log(event)) >= count, f"{count} lines of the log: {event}")
        return self.log(event)

    @functools.cached_property
    def _listening(self) -> dict[str, Any]:
        return self.log("listening")[0]

    def port(self, name: str) -> int:
        """`http_port` or `inputs_port`."""
        return int(self._listening[name])

    @functools.cached_property
    def client(self) -> httpx.Client:
        """Where every answer has to come within seconds."""
        return httpx.Client(timeout=ANSWER_SECONDS, trust_env=False)

    def get(self, path: str) -> httpx.Response:
        """GET of its own HTTP face."""
        return self.client.get(f"{self.scheme}://127.0.0.1:{self.port('http_port')}{path}")

    def post(self, body: bytes | Iterator[bytes], content_type: str = "application/json") -> int:
        """POST a body to the input port as a mirror does; the status of the answer."""
        url = f"{self.scheme}://127.0.0.1:{self.port('inputs_port')}/invocations"
        return self.client.post(url, content=body, headers={"Content-Type": content_type}).status_code

    def metrics(self, name: str = "") -> list[Sample]:
        """The samples of one scrape whose names begin like that."""
        answer = self.get("/metrics")
        assert answer.status_code == 200
        text = "\n".join(line for line in answer.text.split("\n") if line.startswith(name))
        return [sample for family in text_string_to_metric_families(text) for sample in family.samples]

    def value(self, name: str, **labels: str) -> float | None:
        """The sum of the samples with that name and these labels, None where there is none."""
        values = [
            sample.value
            for sample in self.metrics(name)
            if sample.name == name and labels.items() <= (sample.labels or {}).items()
        ]
        return sum(values) if values else None

    def count(self, name: str, **labels: str) -> float:
        """A counter, which is 0 before its labels were ever seen."""
        return self.value(name, **labels) or 0.0

    @property
    def assessed_version(self) -> str | None:
        """The version that it says it assesses."""
        info = [sample for sample in self.metrics("robmon_model_info") if sample.name == "robmon_model_info"]
        return info[0].labels["model_version"] if info else None

    @property
    def regression_stands(self) -> bool:
        """Whether the alert on a worse version would fire."""
        return self.value("robmon_regression_detected", kind="version") == 1

    # --- what is done to it ------------------------------------------------------------------------------------------

    def send(self, rows: Sequence[Row] = ROWS[:60]) -> None:
        """Mirror one request a row, as the model server's clients sent them."""
        for row in rows:
            body = {"dataframe_split": {"columns": list(COLUMNS), "data": [row]}}
            assert self.post(json.dumps(body).encode()) == 202

    @contextlib.contextmanager
    def traffic(self) -> Iterator[None]:
        """Requests in the background."""
        with again_and_again(lambda: self.send(ROWS[:25]), pause_seconds=0.2):
            yield

    def model(self, behaviour: str) -> None:
        """Let the odd model behave like that from its next call on."""
        told = self.temporary / "behaviour"
        told.with_suffix(".new").write_text(behaviour, encoding="ascii")
        told.with_suffix(".new").replace(told)

    def wait_for(self, condition: Callable[[], Any], what: str, timeout_seconds: float = WAIT_SECONDS) -> Any:
        """Wait until a condition holds; the daemon must live all the while."""

        def holds() -> Any:
            assert self.process.poll() is None, f"the daemon ended with status {self.process.returncode}"
            return condition()

        return wait_until(holds, timeout_seconds, what, Starvation(self.process.pid).seconds)

    def wait_for_assessments(self, count: int = 1, *, outcome: str = "ok", reason: str = "none") -> None:
        """Wait until so many more assessments have ended like that."""
        wanted = self.assessments(outcome, reason) + count
        self.wait_for(lambda: self.assessments(outcome, reason) >= wanted, f"{count} more {outcome} ({reason})")

    def assessments(self, outcome: str = "ok", reason: str = "none") -> float:
        """Assessments that have ended like that."""
        return self.count("robmon_assessments_total", outcome=outcome, reason=reason)

    def wait_for_call(self) -> None:
        """Wait until the slow model is called once more."""
        called = self.temporary / "called"
        called.unlink(missing_ok=True)
        self.wait_for(called.exists, "a call of the model")

    def printed_commands(self) -> list[str]:
        """What the page says to run, where robmon runs: all but `rollback`, which needs other credentials."""
        printed = re.findall("<code>((?:[A-Z_]+=[^<]*)?robmon [^<]*)</code>", self.get("/").text)
        return [command for command in map(html.unescape, printed) if "robmon rollback " not in command]

    def accept_command(self) -> str:
        """The one of them that accepts the version."""
        (command,) = [command for command in self.printed_commands() if command.endswith(" --accept")]
        return command

    def run_printed_command(self) -> str:
        """Accept the version as the page says, with this daemon's environment and nothing else; what it prints."""
        words = shlex.split(self.accept_command())
        first = words.index("robmon")
        variables = self.environment | dict(word.split("=", 1) for word in words[:first])
        command = [sys.executable, "-m", *words[first:]]
        done = subprocess.run(command, cwd="/", env=variables, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr
        return done.stdout

    # --- its processes -----------------------------------------------------------------------------------------------

    def children(self, module: str) -> list[psutil.Process]:
        """The processes that it runs of a module of robmon."""
        found, names = [], {module, FORMER_MODULES.get(module, module)}
        for child in psutil.Process(self.process.pid).children():
            with contextlib.suppress(psutil.NoSuchProcess):
                if not names.isdisjoint(child.cmdline()):
                    found.append(child)
        return found

    def worker(self) -> psutil.Process:
        """The worker, once it is there."""
        found: list[psutil.Process] = self.wait_for(lambda: self.children("robmon.worker"), "a worker")
        assert len(found) == 1, "two versions must never be loaded together"
        return found[0]

    def processes(self) -> list[psutil.Process]:
        """All processes that are, or descend from, this daemon: they know its temporary folder."""
        found = []
        for process in psutil.process_iter():
            with contextlib.suppress(psutil.Error):
                if process.environ().get("TMPDIR") == str(self.temporary) and process.status() != psutil.STATUS_ZOMBIE:
                    found.append(process)
        return found

    def terminate(self) -> None:
        """SIGTERM: it must end well within 10 seconds, and all its processes before it."""
        began = time.monotonic()
        self.process.terminate()
        status = self.process.wait(END_SECONDS + 5)
        assert time.monotonic() - began < END_SECONDS
        assert status == 0
        assert self.processes() == []

    def kill(self) -> None:
        """SIGKILL, as a container runtime or the kernel does: its processes must follow.

        One that has just been started sees it when its interpreter is up, which takes long on a busy machine.
        """
        self.process.kill()
        self.process.wait()
        wait_until(lambda: not self.processes(), WAIT_SECONDS, "the end of all processes of a killed daemon")

    def hold_public_face_to_promises(self) -> None:
        """No input is told to whoever asks."""
        for path in ("/metrics", "/"):
            text = self.get(path).text
            assert not _TOLD_NUMBERS & set(_NUMBERS.findall(text))
            assert CANARY not in text.lower()

    def hold_to_promises(self) -> None:
        """What holds for every daemon at its end, however it ended."""
        for file in (path for path in self.folder.rglob("*") if path.is_file()):
            content = file.read_bytes().decode("latin-1")
            told = _TOLD_NUMBERS & set(_NUMBERS.findall(content))
            assert not told, f"{len(told)} inputs are in {file.relative_to(self.folder)}"
            assert PASSWORD not in content, f"a credential is in {file.relative_to(self.folder)}"
            assert CANARY not in content.lower(), f"a stranger's word is in {file.relative_to(self.folder)}"
        assert self.log(), "it logged nothing"


@contextlib.contextmanager
def running_daemon(
    folder: Path,
    uri: str,
    tracking_uri: str,
    *,
    python: str | Path = INTERPRETER,
    by_environment: bool = False,
    **settings: object,
) -> Iterator[Daemon]:
    """`robmon run` on a data folder below `folder`, with quick settings and those given (`__` for the dot).

    They are given as flags, or all in the environment as in a container.

    At the end it is terminated, unless the test has ended it, and held to its promises.
    """
    flags = QUICK | {"model.poll_seconds": _poll_seconds(uri, tracking_uri)}
    flags |= {name.replace("__", "."): value for name, value in settings.items()}
    flags |= {"model.uri": uri, "mlflow.tracking_uri": tracking_uri, "data_dir": folder / "data"}
    if str(python) == INTERPRETER != sys.executable:
        flags = {name: value for name, value in flags.items() if name in _settings_of(INTERPRETER)}
    (folder / "tmp").mkdir(parents=True, exist_ok=True)
    log_file = folder / f"daemon-{len(list(folder.glob('daemon-*.log')))}.log"
    environment = _environment(folder / "tmp")
    words = [f"--{name}={value}" for name, value in flags.items()]
    if by_environment:
        environment |= {f"ROBMON_{name.replace('.', '__').upper()}": str(value) for name, value in flags.items()}
        words = []
    with log_file.open("wb") as output:
        process = subprocess.Popen(
            [str(python), "-m", "robmon", "run", *words],
            cwd=folder,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            env=environment,
        )
    daemon = Daemon(process, folder, log_file, environment)
    try:
        daemon.told("listening")
        yield daemon
        if process.poll() is None:
            daemon.hold_public_face_to_promises()
            daemon.terminate()
        daemon.hold_to_promises()
    except BaseException:
        print(log_file.read_text(encoding="utf-8", errors="replace")[-20_000:])
        for left in daemon.processes():
            with contextlib.suppress(psutil.Error):
                print(left.cmdline()[-4:], left.status(), left.cpu_times(), [t.system_time for t in left.threads()])
        raise
    finally:
        daemon.client.close()
        process.kill()
        process.wait()
        for left in daemon.processes():
            with contextlib.suppress(psutil.NoSuchProcess):
                left.send_signal(signal.SIGKILL)


@functools.cache
def _settings_of(python: str) -> frozenset[str]:
    """The settings that the robmon of that interpreter knows."""
    told = "from robmon.settings import leaves; print(*(leaf.name for leaf in leaves()))"
    done = subprocess.run([python, "-c", told], cwd="/", capture_output=True, text=True, check=True)
    return frozenset(done.stdout.split())


def _environment(temporary: Path) -> dict[str, str]:
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("ROBMON_", "MLFLOW_"))}
    credentials = {"MLFLOW_TRACKING_USERNAME": "robmon", "MLFLOW_TRACKING_PASSWORD": PASSWORD}
    return kept | credentials | {"TMPDIR": str(temporary), "AWS_SECRET_ACCESS_KEY": PASSWORD}

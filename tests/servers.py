"""Real servers for tests: MLflow's tracking server and its model server, each in its own process group.

A server that does not come up fails the test with the last lines it printed; every server is ended, whatever happens.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import shutil
import signal
import socket
import sqlite3
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TypeVar

from tests.patience import PATIENCE_SECONDS

STOP_SECONDS = 10
POLL_SECONDS = 0.05

# No test may call out, and MLflow's server needs neither its job runner nor its colours.
QUIET_MLFLOW = {
    "MLFLOW_DISABLE_TELEMETRY": "true",
    "DO_NOT_TRACK": "true",
    "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false",
    "MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR": "false",
    "GIT_PYTHON_REFRESH": "quiet",
}

Result = TypeVar("Result")


WEBHOOKS_ON_LOOPBACK = {
    "MLFLOW_WEBHOOK_ALLOWED_SCHEMES": "http",
    "MLFLOW_WEBHOOK_ALLOW_PRIVATE_IPS": "true",
    "MLFLOW_WEBHOOK_CACHE_TTL": "0",
}
"""MLflow's own settings: else its webhooks go to public addresses alone, and a new one counts after a minute."""


def free_port() -> int:
    """A loopback port that nothing listens on at this moment."""
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        port: int = sock.getsockname()[1]
        return port


def wait_until(
    condition: Callable[[], Result],
    timeout_seconds: float = PATIENCE_SECONDS,
    what: str = "the condition",
    lost_seconds: Callable[[], float] = lambda: 0.0,
) -> Result:
    """Call `condition` until it returns something true, and return that; fail after `timeout_seconds`.

    Of these it does not count what `lost_seconds` says is lost so far.

    It looks for an eleventh of the time at most: to read all metrics, again and again, slows what is waited for, and
    what runs beside it.
    """
    deadline = time.monotonic() + timeout_seconds
    while True:
        began = time.monotonic()
        if result := condition():
            return result
        if time.monotonic() > deadline + lost_seconds():
            raise TimeoutError(f"not within {timeout_seconds:g} s: {what}")
        time.sleep(min(1.0, max(POLL_SECONDS, 10 * (time.monotonic() - began))))


def answers(url: str) -> bool:
    """Whether a GET of `url` is answered with a status of 200."""
    try:
        with urllib.request.urlopen(url, timeout=2) as response:
            return bool(response.status == 200)
    except (OSError, urllib.error.URLError):
        return False


@contextlib.contextmanager
def process(
    command: Sequence[str], output: Path, environment: Mapping[str, str] | None = None
) -> Iterator[subprocess.Popen[bytes]]:
    """Run `command` in a session of its own, its output appended to a file; end its whole group afterwards."""
    with output.open("ab") as file:
        child = subprocess.Popen(
            command,
            stdin=subprocess.DEVNULL,
            stdout=file,
            stderr=subprocess.STDOUT,
            env=os.environ | QUIET_MLFLOW | dict(environment or {}),
            start_new_session=True,
        )
    try:
        yield child
    finally:
        end_group(child)


def end_group(child: subprocess.Popen[bytes]) -> None:
    """End a process that leads its own group, and all that it started: SIGTERM, then SIGKILL."""
    with contextlib.suppress(ProcessLookupError):
        os.killpg(child.pid, signal.SIGTERM)
    with contextlib.suppress(subprocess.TimeoutExpired):
        child.wait(STOP_SECONDS)
    with contextlib.suppress(ProcessLookupError):
        os.killpg(child.pid, signal.SIGKILL)
    child.wait()


@contextlib.contextmanager
def server(
    command: Sequence[str], health_url: str, output: Path, environment: Mapping[str, str] | None = None
) -> Iterator[subprocess.Popen[bytes]]:
    """Run a server and wait until its health URL answers."""

    def is_up() -> bool:
        if child.poll() is not None:
            raise RuntimeError(f"{command[1:4]} ended with status {child.returncode}:\n{_tail(output)}")
        return answers(health_url)

    with process(command, output, environment) as child:
        try:
            wait_until(is_up, PATIENCE_SECONDS, f"an answer of {health_url}")
        except TimeoutError as error:
            raise TimeoutError(f"{error}; it printed:\n{_tail(output)}") from None
        yield child


def _tail(file: Path) -> str:
    return "\n".join(file.read_text(errors="replace").splitlines()[-40:])


def template_database(folder: Path) -> Path:
    """An empty MLflow database under `folder`, made once: its migrations take seconds, a copy takes none."""
    template = folder / "mlflow-template.db"
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / "mlflow-template.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not template.exists():
            unfinished = template.with_suffix(".unfinished")
            with process([sys.executable, "-c", _CREATE, f"sqlite:///{unfinished}"], folder / "template.log") as child:
                if child.wait(PATIENCE_SECONDS) != 0:
                    raise RuntimeError(f"no database was made:\n{_tail(folder / 'template.log')}")
            unfinished.replace(template)
    return template


_CREATE = "import sys; from mlflow import MlflowClient; MlflowClient(sys.argv[1], sys.argv[1]).search_experiments()"


def local_registry(folder: Path, template: Path) -> str:
    """Tracking URI of a fresh SQLite registry in `folder`, which also gets the artifacts."""
    return f"sqlite:///{_copy_database(template, folder, artifacts=str(folder / 'artifacts'))}"


def _copy_database(template: Path, folder: Path, artifacts: str) -> Path:
    """A copy of the template whose default experiment keeps its artifacts at `artifacts`."""
    folder.mkdir(parents=True, exist_ok=True)
    database = folder / "mlflow.db"
    shutil.copyfile(template, database)
    with contextlib.closing(sqlite3.connect(database)) as connection, connection:
        connection.execute("UPDATE experiments SET artifact_location = ?", (artifacts,))
    return database


@contextlib.contextmanager
def mlflow_server(
    folder: Path, template: Path | None = None, port: int | None = None, admin_password: str | None = None
) -> Iterator[str]:
    """MLflow's tracking server, with registry and artifacts, on `folder`; yields its base URL.

    A folder that already holds a registry is served as it is, so that a server can be stopped and started again. With
    a password for `admin` it asks for users by MLflow's own basic authentication; what a user may do is to read.
    """
    folder.mkdir(parents=True, exist_ok=True)
    database = folder / "mlflow.db"
    if not database.exists():
        _copy_database(template or template_database(folder / "template"), folder, artifacts="mlflow-artifacts:/0")
    port = port or free_port()
    command = [sys.executable, "-m", "mlflow", "server", "--host", "127.0.0.1", "--port", str(port), "--workers", "1"]
    command += ["--backend-store-uri", f"sqlite:///{database}", "--artifacts-destination", str(folder / "artifacts")]
    url = f"http://127.0.0.1:{port}"
    environment = dict(WEBHOOKS_ON_LOOPBACK)
    if admin_password is not None:
        command += ["--app-name", "basic-auth"]
        configuration = folder / "basic-auth.ini"
        configuration.write_text(
            f"[mlflow]\ndefault_permission = READ\ndatabase_uri = sqlite:///{folder}/users.db\nadmin_username = admin\n"
            "authorization_function = mlflow.server.auth:authenticate_request_basic_auth\n"
        )
        environment |= {
            "MLFLOW_AUTH_CONFIG_PATH": str(configuration),
            "MLFLOW_AUTH_ADMIN_PASSWORD": admin_password,
            "MLFLOW_FLASK_SERVER_SECRET_KEY": admin_password,
        }
    with server(command, f"{url}/health", folder / "mlflow-server.log", environment):
        yield url


@contextlib.contextmanager
def shared_mlflow_server(folder: Path, template: Path) -> Iterator[str]:
    """One on `folder` for several processes: who needs it first starts it, and ends it when the others need it no more.

    That of a process that is killed counts as needed no more.
    """
    folder.mkdir(parents=True, exist_ok=True)
    address = folder / "address"
    with (
        (folder / "users.lock").open("w") as users,
        (folder / "start.lock").open("w") as start,
        contextlib.ExitStack() as stack,
    ):
        fcntl.flock(start, fcntl.LOCK_EX)
        if not address.exists():
            address.write_text(stack.enter_context(mlflow_server(folder, template)), encoding="ascii")
            stack.callback(address.unlink)
            stack.callback(fcntl.flock, users, fcntl.LOCK_EX)  # waits for the others
            stack.callback(fcntl.flock, start, fcntl.LOCK_EX)  # who comes now starts another
        fcntl.flock(users, fcntl.LOCK_SH)
        fcntl.flock(start, fcntl.LOCK_UN)
        yield address.read_text(encoding="ascii")


@contextlib.contextmanager
def model_server(
    model: str | Path, folder: Path, tracking_uri: str | None = None, port: int | None = None
) -> Iterator[str]:
    """MLflow's own model server (`mlflow models serve`) for a model's URI or folder; yields its base URL."""
    port = port or free_port()
    command = [sys.executable, "-m", "mlflow", "models", "serve", "--model-uri", str(model), "--env-manager", "local"]
    command += ["--host", "127.0.0.1", "--port", str(port), "--workers", "1"]
    environment = {"MLFLOW_TRACKING_URI": tracking_uri} if tracking_uri else {}
    # `serve` starts uvicorn by its bare name.
    environment["PATH"] = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    url = f"http://127.0.0.1:{port}"
    with server(command, f"{url}/ping", folder / "model-server.log", environment):
        yield url

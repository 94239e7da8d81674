"""Memory and latency of a daemon with its worker, on a small torch model: prints a table.

    python tests/benchmarks/footprint.py [--assessments 1000]

A real registry (SQLite), the real daemon and worker, real requests. Memory is the resident set of the process tree.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import httpx
import numpy as np
import psutil
from prometheus_client.parser import text_string_to_metric_families

sys.path.insert(0, str(Path(__file__).resolve().parent.parent.parent))

from tests.benchmarks._figures import MIB
from tests.servers import end_group, local_registry, template_database, wait_until

FEATURES = 64
ROWS = 256


@dataclass
class Running:
    """A daemon under measurement."""

    process: subprocess.Popen[bytes]
    log: Path
    started: float

    def ports(self) -> tuple[int, int]:
        """HTTP and inputs port, once it listens."""

        def listening() -> tuple[int, int] | None:
            for line in self.log.read_text().splitlines():
                event = json.loads(line)
                if event["event"] == "listening":
                    return event["http_port"], event["inputs_port"]
            return None

        return wait_until(listening, 30, "the daemon listens")

    def resident_mib(self) -> tuple[float, float]:
        """Resident memory of the daemon, and of all it started."""
        daemon = psutil.Process(self.process.pid)
        children = sum(child.memory_info().rss for child in daemon.children(recursive=True))
        return daemon.memory_info().rss / MIB, children / MIB


def register_model(tracking_uri: str) -> None:
    """A small torch classifier as version 1 of `small`."""
    import mlflow
    import torch
    from mlflow.models import infer_signature

    mlflow.set_tracking_uri(tracking_uri)
    torch.manual_seed(0)
    model = torch.nn.Sequential(torch.nn.Linear(FEATURES, 64), torch.nn.ReLU(), torch.nn.Linear(64, 10))
    example = np.zeros((1, FEATURES), dtype=np.float32)
    signature = infer_signature(example, model(torch.tensor(example)).detach().numpy())
    with mlflow.start_run():
        mlflow.pytorch.log_model(
            model,
            name="model",
            signature=signature,
            pip_requirements=["torch"],
            serialization_format="pickle",
            registered_model_name="small",
        )


@contextlib.contextmanager
def daemon(folder: Path, tracking_uri: str, interval_seconds: float) -> Iterator[Running]:
    """The real daemon on free ports."""
    settings = {
        "model.uri": "models:/small/1",
        "mlflow.tracking_uri": tracking_uri,
        "http.port": 0,
        "inputs.port": 0,
        "assess.interval_seconds": interval_seconds,
        "assess.task": "classification",
        "baseline.min_rows": ROWS,
        "log.format": "json",
        "data_dir": folder / "data",
    }
    flags = [word for name, value in settings.items() for word in (f"--{name}", str(value))]
    log = folder / "daemon.log"
    with log.open("wb") as file:
        process = subprocess.Popen([sys.executable, "-m", "robmon", "run", *flags], stderr=file, start_new_session=True)
    try:
        yield Running(process, log, time.monotonic())
    finally:
        end_group(process)


def good_assessments(http: httpx.Client) -> float:
    """How many assessments ended well so far."""
    for family in text_string_to_metric_families(http.get("/metrics").text):
        for sample in family.samples:
            if sample.name == "robmon_assessments_total" and sample.labels["outcome"] == "ok":
                return sample.value
    return 0.0


def send_rows(port: int) -> None:
    """Mirror as many requests as the sample holds."""
    rng = np.random.default_rng(0)
    with httpx.Client(base_url=f"http://127.0.0.1:{port}") as client:
        for row in rng.normal(size=(ROWS, 1, FEATURES)):
            client.post("/invocations", json={"inputs": row.tolist()}).raise_for_status()


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--assessments", type=int, default=1000, help="assessments to run (default 1000)")
    count = parser.parse_args().assessments
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        tracking_uri = local_registry(folder, template_database(folder / "template"))
        register_model(tracking_uri)
        with daemon(folder, tracking_uri, interval_seconds=0.05) as running:
            measure(running, count)


def measure(running: Running, count: int) -> None:
    """Print when it answers and assesses first, and what it holds as assessments go on."""
    http_port, inputs_port = running.ports()
    with httpx.Client(base_url=f"http://127.0.0.1:{http_port}") as http:
        wait_until(lambda: http.get("/healthz").status_code == 200, 10, "healthz")
        print(f"healthz answers after      {time.monotonic() - running.started:6.2f} s")
        wait_until(lambda: http.get("/readyz").status_code == 200, 120, "readyz")
        print(f"model loaded after         {time.monotonic() - running.started:6.2f} s")
        sent = time.monotonic()
        send_rows(inputs_port)
        wait_until(lambda: good_assessments(http) >= 1, 60, "the first assessment")
        print(f"first assessment           {time.monotonic() - sent:6.2f} s after the first of {ROWS} requests")
        print(f"\n{'assessments':>11} {'daemon MiB':>11} {'worker MiB':>11} {'together MiB':>13}")
        for step in sorted({1, count // 10, count // 4, count // 2, count} - {0}):
            wait_until(lambda step=step: good_assessments(http) >= step, 3600, f"{step} assessments")
            own, worker = running.resident_mib()
            print(f"{step:>11} {own:>11.1f} {worker:>11.1f} {own + worker:>13.1f}", flush=True)


if __name__ == "__main__":
    main()

"""What a model server feels of robmon beside it: latencies with robmon absent, idle and assessing all the time.

    python tests/benchmarks/neighbour.py [--rounds 10]

`mlflow models serve` serves a random forest of 20 trees on digits, and is asked 40 times a second, one request after
the other. In each round, in random order: no robmon; robmon with the model loaded and no input; robmon with the
requests mirrored and an assessment each second. It runs as it does by default: one thread, nice 10. The ratios are
those within one round, whose phases follow one another: between rounds the machine itself may move by more. Prints a
table.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import sys
import tempfile
import time
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from http.client import HTTPConnection
from multiprocessing import get_context
from pathlib import Path
from random import Random

sys.path.insert(0, str(Path(__file__).resolve().parent.parent.parent))

from tests.benchmarks._figures import quantile
from tests.e2e.daemon import Daemon, running_daemon
from tests.mlflow_client import quiet_mlflow, tracking
from tests.servers import local_registry, model_server, template_database

NAME = "digits"
TREES = 20
REQUESTS_PER_SECOND = 40
SAMPLE_ROWS = 256
SETTLE_SECONDS = 2.0
ANSWER_SECONDS = 30.0
PHASES = ("absent", "idle", "assessing")
QUANTILES = (0.5, 0.99)
DEFAULTS = {
    "inputs__sample_rows": SAMPLE_ROWS,
    "assess__interval_seconds": 60,
    "assess__min_rows": 64,
    "assess__levels": "0 0.05 0.1 0.2 0.4",
    "assess__trials": 39,
    "assess__task": "classification",
    "model__poll_seconds": 30,
    "log__level": "info",
}
"""The daemon's own, which the tests make quicker."""


def register(tracking_uri: str) -> tuple[Path, list[bytes]]:
    """A forest as version 1 of `digits`: the folder of its files, and the bodies of requests."""
    import mlflow
    from mlflow.models import infer_signature
    from sklearn.datasets import load_digits
    from sklearn.ensemble import RandomForestClassifier

    inputs, targets = load_digits(return_X_y=True)
    forest = RandomForestClassifier(TREES, random_state=0).fit(inputs, targets)
    with quiet_mlflow(), tracking(tracking_uri), mlflow.start_run():
        signature = infer_signature(inputs, forest.predict(inputs))
        info = mlflow.sklearn.log_model(
            forest,
            name="model",
            signature=signature,
            pip_requirements=[],
            serialization_format="cloudpickle",
            registered_model_name=NAME,
        )
        folder = Path(mlflow.artifacts.download_artifacts(info.model_uri))
    return folder, [json.dumps({"inputs": [row.tolist()]}).encode() for row in inputs]


# --- the load --------------------------------------------------------------------------------------------------------


def ask(port: int, mirror_port: int | None, bodies: list[bytes], seconds: float) -> list[float]:
    """Seconds that each answer of the model server took; each request is mirrored after its answer, as proxies do."""
    server, took = HTTPConnection("127.0.0.1", port, ANSWER_SECONDS), []
    mirror = HTTPConnection("127.0.0.1", mirror_port, ANSWER_SECONDS) if mirror_port is not None else None
    headers = {"Content-Type": "application/json"}
    began = time.monotonic()
    for number in range(int(seconds * REQUESTS_PER_SECOND)):
        time.sleep(max(began + number / REQUESTS_PER_SECOND - time.monotonic(), 0))
        body = bodies[number % len(bodies)]
        asked = time.perf_counter()
        server.request("POST", "/invocations", body, headers)
        answer = server.getresponse()
        answer.read()
        took.append(time.perf_counter() - asked)
        assert answer.status == 200
        if mirror is not None:
            mirror.request("POST", "/invocations", body, headers)
            mirror.getresponse().read()
    return took


@contextlib.contextmanager
def robmon(phase: str, folder: Path, tracking_uri: str, bodies: list[bytes]) -> Iterator[Daemon | None]:
    """What runs beside the model server in a phase, once it does nothing else than it does in that phase."""
    if phase == "absent":
        yield None
        return
    settings = DEFAULTS | ({"assess__interval_seconds": 1} if phase == "assessing" else {})
    with running_daemon(folder, f"models:/{NAME}/1", tracking_uri, **settings) as daemon:
        daemon.wait_for(lambda: daemon.get("/readyz").status_code == 200, "the model", 120)
        if phase == "assessing":
            for body in bodies[:SAMPLE_ROWS]:
                assert daemon.post(body) == 202
            daemon.wait_for_assessments(2)
        yield daemon


# --- what was found --------------------------------------------------------------------------------------------------


@dataclass
class Round:
    """Seconds of every answer, by phase, and how many assessments there were."""

    took: dict[str, list[float]]
    assessments: int

    def ratio(self, phase: str, share: float) -> float:
        """A quantile of a phase over that without robmon."""
        return quantile(self.took[phase], share) / quantile(self.took["absent"], share)


def report(rounds: list[Round], seconds: float) -> None:
    """Print quantiles over all rounds, and the ratios within them."""
    heads = "".join(f"{f'p{100 * share:g} ms':>9}{'ratio':>8}{'quartiles':>14}{'range':>14}" for share in QUANTILES)
    print(f"{'robmon':12}{'answers':>9}{heads}")
    for phase in PHASES:
        took = [each for one in rounds for each in one.took[phase]]
        line = f"{phase:12}{len(took):9,}"
        for share in QUANTILES:
            ratios = [one.ratio(phase, share) for one in rounds]
            low, middle, high = (quantile(ratios, each) for each in (0.25, 0.5, 0.75))
            spread = f"{low:.2f} - {high:.2f}", f"{min(ratios):.2f} - {max(ratios):.2f}"
            line += f"{quantile(took, share) * 1e3:9.2f}{middle:8.2f}{spread[0]:>14}{spread[1]:>14}"
        print(line)
    assessments = sum(one.assessments for one in rounds)
    print(f"{len(rounds)} rounds of {seconds:g} s a phase; {assessments} assessments in {len(rounds) * seconds:g} s")


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=10, help="rounds of all phases (default 10)")
    parser.add_argument("--seconds", type=float, default=20, help="seconds of each phase (default 20)")
    arguments = parser.parse_args()
    random, rounds = Random(0), []
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        tracking_uri = local_registry(folder / "registry", template_database(folder / "template"))
        model, bodies = register(tracking_uri)
        print(f"load average {os.getloadavg()[0]:.1f} on {os.cpu_count()} cores before the start", flush=True)
        with model_server(model, folder) as url, ProcessPoolExecutor(1, get_context("spawn")) as pool:
            port = int(url.rpartition(":")[2])
            pool.submit(ask, port, None, bodies, SETTLE_SECONDS).result()
            for number in range(arguments.rounds):
                took, assessments = {}, 0.0
                for phase in random.sample(PHASES, len(PHASES)):
                    with robmon(phase, folder / f"{number}-{phase}", tracking_uri, bodies) as daemon:
                        mirror = daemon.port("inputs_port") if daemon is not None and phase == "assessing" else None
                        before = daemon.assessments() if daemon is not None else 0.0
                        time.sleep(SETTLE_SECONDS)
                        took[phase] = pool.submit(ask, port, mirror, bodies, arguments.seconds).result()
                        assessments += daemon.assessments() - before if daemon is not None else 0.0
                rounds.append(Round(took, int(assessments)))
                ratios = ", ".join(f"{phase} {rounds[-1].ratio(phase, 0.99):.2f}" for phase in PHASES[1:])
                print(f"round {number + 1}: p99 of {ratios} times that without", file=sys.stderr, flush=True)
            report(rounds, arguments.seconds)


if __name__ == "__main__":
    main()

"""Requests with one row and with many, where several rows may be drawn from one: the sample follows what they have."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.e2e.daemon import ROWS, Daemon, running_daemon
from tests.e2e.test_endpoint import NO_REGISTRY, QUICK, weighted
from tests.endpoint import V2Model, serving


def send(daemon: Daemon, requests: int, rows_each: int) -> None:
    for number in range(requests):
        rows = [ROWS[(number + place) % len(ROWS)][:2] for place in range(rows_each)]
        assert daemon.post(json.dumps({"inputs": rows}).encode()) == 202


def wait_for_whole_samples(daemon: Daemon, why: str) -> None:
    """An assessment on as many rows as are asked for, and a gauge that says so, none but whole ones after it."""
    told = len(daemon.log())

    def sizes() -> list[int]:
        return [line["rows"] for line in daemon.log()[told:] if line["event"] == "assessment" and "rows" in line]

    daemon.wait_for(lambda: sizes()[-2:] == [40, 40], why)
    assert daemon.value("robmon_sample_rows") == 40


@pytest.mark.long
def test_samples_are_whole_whatever_number_of_rows_requests_have(tmp_path: Path) -> None:
    settings = QUICK | {"inputs__sample_rows": 40, "inputs__rows_per_request": 20}
    with serving(V2Model(weighted(1.0), "triton", [("x", "FP64", [-1, 2])], "1")) as server:
        url = f"{server.url}/v2/models/digits/infer"
        with running_daemon(tmp_path, url, NO_REGISTRY, **settings) as daemon:
            send(daemon, requests=2, rows_each=20)
            wait_for_whole_samples(daemon, "two requests of many rows")
            send(daemon, requests=10, rows_each=1)
            daemon.wait_for_assessments(outcome="skipped", reason="too_few_inputs")
            few = daemon.value("robmon_sample_rows")
            assert few is not None and few < 20
            send(daemon, requests=60, rows_each=1)
            wait_for_whole_samples(daemon, "requests of one row")
            send(daemon, requests=60, rows_each=20)
            wait_for_whole_samples(daemon, "requests of many rows")
        assert not [line for line in daemon.log("assessment") if line["outcome"] == "failed"]

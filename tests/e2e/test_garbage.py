"""Thousands of garbage requests: the daemon lives, and counts every one of them for what it is."""

from __future__ import annotations

import functools
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from tests.e2e.daemon import ROWS, running_daemon
from tests.e2e.garbage import MAX_BODY_BYTES, Tally, send, settled
from tests.e2e.registry import Registry
from tests.e2e.test_endpoint import AS_FAST, NO_REGISTRY
from tests.e2e.test_files import summed
from tests.endpoint import V2Model, serving

CLIENTS, REQUESTS = 4, 600


@pytest.mark.long
def test_every_request_is_counted_under_one_of_few_reasons(local: Registry, tmp_path: Path) -> None:
    """The sample is mostly garbage all the while; decent requests after it are assessed by the same worker."""
    model = local.model()
    version = model.add()
    uri = f"models:/{model.name}/{version}"
    with running_daemon(
        tmp_path, uri, local.tracking_uri, inputs__max_body_bytes=MAX_BODY_BYTES, assess__min_rows=2
    ) as daemon:
        worker = daemon.worker()
        address = ("127.0.0.1", daemon.port("inputs_port"))
        with ThreadPoolExecutor(CLIENTS) as clients:
            tallies = clients.map(lambda seed: send(address, seed, REQUESTS), range(CLIENTS))
            sent = sum(tallies, Tally())
        assert sent.sent >= CLIENTS * REQUESTS
        assert sent.differences(settled(daemon, sent)) == []
        daemon.send()  # by chance nothing of the last sample may be of use
        daemon.wait_for_assessments(2)
        assert daemon.worker() == worker, "garbage needs no new worker"


def test_an_extreme_value_costs_its_row_only(tmp_path: Path) -> None:
    """While the baseline is learnt: the row would decide all scales, or leave none."""
    with (
        serving(V2Model(summed, "kserve", [])) as server,
        running_daemon(tmp_path, f"{server.url}/v2/models/digits/infer", NO_REGISTRY, **AS_FAST) as daemon,
    ):
        daemon.send()
        daemon.wait_for_assessments()
        daemon.send([(1e308, 1e308, 1)])
        rejected = functools.partial(daemon.count, "robmon_inputs_rejected_total", source="mlflow")
        daemon.wait_for(lambda: rejected(reason="extreme_value") == 1, "the row to be left out")
        daemon.send(ROWS[60:120])
        daemon.wait_for_assessments(2)
        assert daemon.assessments("failed", "invalid_input") == 0
        assert rejected(reason="extreme_value") == 1

"""A daemon that reads its inputs from Kafka and is killed while it does. The brokers are the client's own double."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

from tests.e2e.daemon import ROWS, Daemon, Row, running_daemon
from tests.e2e.registry import COLUMNS
from tests.e2e.test_endpoint import NO_REGISTRY, QUICK
from tests.e2e.test_files import url
from tests.kafka import Brokers

__all__ = ["url"]
TOPIC = "digits.requests"


def bodies(rows: Sequence[Row]) -> list[bytes]:
    """As the model server gets them."""
    return [json.dumps({"dataframe_split": {"columns": list(COLUMNS), "data": [row]}}).encode() for row in rows]


def wait_for_messages(daemon: Daemon, count: int) -> None:
    def received() -> float:
        return daemon.count("robmon_inputs_received_total", source="kafka")

    daemon.wait_for(lambda: received() >= count, f"{count} messages")
    assert received() == count


def test_no_message_is_lost_or_used_twice(tmp_path: Path, url: str) -> None:
    brokers = Brokers(2)
    brokers.send(TOPIC, bodies(ROWS[:15]))
    settings = QUICK | {
        "kafka__bootstrap_servers": " ".join(brokers.addresses),
        "kafka__topics": TOPIC,
        "kafka__auto_offset_reset": "earliest",
    }
    group = "robmon-digits-pinned"

    with running_daemon(tmp_path, url, NO_REGISTRY, **settings) as daemon:
        wait_for_messages(daemon, 15)
        daemon.wait_for_assessments(outcome="skipped", reason="too_few_inputs")
        daemon.kill()
    assert brokers.committed(group, TOPIC) == {}

    with running_daemon(tmp_path, url, NO_REGISTRY, **settings) as daemon:
        wait_for_messages(daemon, 15)  # they were in the lost sample only
        brokers.send(TOPIC, bodies(ROWS[15:30]), partition=1)
        wait_for_messages(daemon, 30)
        brokers.send(TOPIC, [b"garbage"] * 3, partition=1)
        daemon.wait_for_assessments()
        daemon.wait_for(lambda: daemon.count("robmon_inputs_rejected_total", source="kafka") >= 3, "the garbage")
        daemon.wait_for_assessments()
        daemon.kill()
    assert brokers.committed(group, TOPIC) == {0: 15, 1: 18}

    with running_daemon(tmp_path, url, NO_REGISTRY, **settings) as daemon:
        brokers.send(TOPIC, bodies(ROWS[30:60]), partition=2)
        wait_for_messages(daemon, 30)
        daemon.wait_for_assessments()
        assert daemon.value("robmon_kafka_lag_messages") == 0
        assert daemon.get("/healthz").status_code == 200

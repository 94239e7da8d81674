"""A daemon that reads its inputs from Kafka and is killed while it does. The brokers are the client's own double."""

from __future__ import annotations

import json
from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path

import pytest

from tests.e2e.daemon import ROWS, Daemon, Row, running_daemon
from tests.e2e.registry import COLUMNS
from tests.e2e.test_endpoint import NO_REGISTRY, QUICK
from tests.e2e.test_files import summed, url
from tests.endpoint import Arrays, V2Model, serving
from tests.kafka import PARTITIONS, Brokers

__all__ = ["url"]
TOPIC = "digits.requests"


def bodies(rows: Sequence[Row]) -> list[bytes]:
    """As the model server gets them."""
    return [json.dumps({"dataframe_split": {"columns": list(COLUMNS), "data": [row]}}).encode() for row in rows]


def settings_of(brokers: Brokers) -> dict[str, object]:
    """Of a daemon that reads the topic from its beginning."""
    return QUICK | {
        "kafka__bootstrap_servers": " ".join(brokers.addresses),
        "kafka__topics": TOPIC,
        "kafka__auto_offset_reset": "earliest",
        "inputs__sample_rows": 200,
        "assess__max_seconds": 60,  # beyond what a busy machine takes
    }


def wait_for_messages(daemon: Daemon, count: int) -> None:
    def received() -> float:
        return daemon.count("robmon_inputs_received_total", source="kafka")

    daemon.wait_for(lambda: received() >= count, f"{count} messages")
    assert received() == count


def test_no_message_is_lost_or_used_twice(tmp_path: Path, url: str) -> None:
    brokers = Brokers(2)
    brokers.send(TOPIC, bodies(ROWS[:15]))
    settings = settings_of(brokers)
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


@pytest.mark.long
def test_brokers_that_come_later_go_away_and_come_back(tmp_path: Path, url: str) -> None:
    brokers = Brokers(2)
    for partition in range(PARTITIONS):
        brokers.send(TOPIC, bodies(ROWS[10 * partition : 10 * partition + 10]), partition=partition)

    def unavailable() -> float:
        return daemon.count("robmon_inputs_rejected_total", source="kafka", reason="unavailable")

    with ExitStack() as stack:
        with brokers.down():
            daemon = stack.enter_context(running_daemon(tmp_path, url, NO_REGISTRY, **settings_of(brokers)))
            daemon.wait_for(lambda: unavailable() >= 2, "a word that there are none")
            assert daemon.value("robmon_kafka_lag_messages") is None
        wait_for_messages(daemon, 40)
        daemon.wait_for_assessments()
        daemon.wait_for(lambda: daemon.value("robmon_kafka_lag_messages") == 0, "the lag")
        before = unavailable()
        daemon.wait_for_assessments(3)
        assert unavailable() == before, "it stops"

        with brokers.down():
            daemon.wait_for(lambda: unavailable() >= before + 2, "a word that they are gone")
            daemon.wait_for_assessments(3)
            assert daemon.get("/healthz").status_code == 200
        for partition in range(PARTITIONS):
            rows = ROWS[40 + 10 * partition : 50 + 10 * partition]
            brokers.send(TOPIC, bodies(rows), partition=partition)
        wait_for_messages(daemon, 80)
        daemon.wait_for_assessments()
        daemon.wait_for(lambda: daemon.value("robmon_kafka_lag_messages") == 0, "the lag")
        expected = dict.fromkeys(range(PARTITIONS), 20)
        daemon.wait_for(lambda: brokers.committed("robmon-digits-pinned", TOPIC) == expected, "the offsets")
        daemon.told("kafka available again", 2)
        told = [line["event"] for line in daemon.log() if line["event"].startswith("kafka")]
        assert told == ["kafka unavailable", "kafka available again"] * 2


def remembering(seen: set[float]) -> V2Model:
    """A model that keeps the lengths it is asked about."""

    def predict(arrays: Arrays) -> Arrays:
        seen.update(arrays["length"].reshape(-1).tolist())
        return summed(arrays)

    return V2Model(predict, "kserve", [])


@pytest.mark.long
def test_two_daemons_share_a_topic_and_one_is_killed(tmp_path: Path) -> None:
    """Each message is assessed by one of them; what the killed one had not assessed comes to the other, and no more."""
    brokers = Brokers()
    sent = 0

    def send(each: int) -> None:
        nonlocal sent
        for partition in range(PARTITIONS):
            brokers.send(TOPIC, bodies(ROWS[sent : sent + each]), partition=partition)
            sent += each

    def partitions(daemon: Daemon) -> list[str]:
        told = daemon.log("partitions of kafka")
        return told[-1]["partitions"].split() if told else []

    def received(daemon: Daemon) -> float:
        return daemon.count("robmon_inputs_received_total", source="kafka")

    def asked_by(daemon: int) -> set[int]:
        """The messages that a daemon has asked its endpoint about."""
        return {number for number, row in enumerate(ROWS) if row[0] in seen[daemon]}

    send(5)
    with ExitStack() as stack:
        seen: list[set[float]] = [set(), set()]
        servers = [stack.enter_context(serving(remembering(each))) for each in seen]
        first, second = (
            stack.enter_context(
                running_daemon(
                    tmp_path / name, f"{server.url}/v2/models/digits/infer", NO_REGISTRY, **settings_of(brokers)
                )
            )
            for name, server in zip(("first", "second"), servers, strict=True)
        )
        first.wait_for(lambda: [len(partitions(each)) for each in (first, second)] == [2, 2], "a share for each")
        assert set(partitions(first)).isdisjoint(partitions(second))
        had = received(first) + received(second)
        send(15)
        first.wait_for(lambda: received(first) + received(second) == had + 60, "all messages")
        for daemon in (first, second):
            daemon.wait_for_assessments()
        committed = dict.fromkeys(range(PARTITIONS), 20)
        first.wait_for(lambda: brokers.committed("robmon-digits-pinned", TOPIC) == committed, "the offsets")
        by_first, by_second = asked_by(0), asked_by(1)
        assert by_first | by_second == set(range(sent))
        assert by_first & by_second <= set(range(20)), "only what was not assessed when the second came"

        second.kill()
        before = received(first)
        send(5)
        first.wait_for(lambda: len(partitions(first)) == PARTITIONS, "the partitions of the killed one")
        first.wait_for(lambda: received(first) - before >= 20, "its messages")
        first.wait_for_assessments(2)
        assert received(first) - before == 20, "what the killed one had assessed does not come again"
        assert asked_by(0) == by_first | set(range(80, 100))

"""Inputs from Kafka: the client against the brokers of its own library's test double, and a sample that may be lost."""

from __future__ import annotations

import asyncio
import json
import ssl
import subprocess
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from structlog.testing import capture_logs

from robmon.daemon.inputs import kafka_consumer
from robmon.daemon.inputs.kafka_consumer import KafkaConsumer
from robmon.daemon.inputs.sources import kept_offsets
from robmon.daemon.memory.writer import Writer
from robmon.errors import SettingsError
from robmon.history.store import History
from robmon.inputs.counts import InputCounts
from robmon.inputs.labels import Labels
from robmon.inputs.repeats import Repeats
from robmon.inputs.routing import NO_FILTERS, Filters
from robmon.inputs.sample import Sample
from robmon.inputs.sources.kafka import Batch, KafkaSource
from robmon.settings import KafkaSettings
from tests.certificates import Authority
from tests.kafka import PARTITIONS, Brokers, relay
from tests.patience import PATIENCE_SECONDS
from tests.servers import free_port

TOPIC = "requests"
BYTES = 4096
HOUR = 3600


@pytest.fixture(autouse=True)
def short_sessions(monkeypatch: pytest.MonkeyPatch) -> None:
    """What the double is not told of members that leave it learns when their session ends."""
    monkeypatch.setattr(kafka_consumer, "SESSION_MILLISECONDS", 4000)


class Member:
    """What a daemon has of Kafka: sample, counts and source."""

    def __init__(
        self, folder: Path, brokers: Brokers, filters: Filters = NO_FILTERS, sample_rows: int = 100_000, **settings: Any
    ) -> None:
        given = {"bootstrap_servers": brokers.addresses, "topics": (TOPIC,), "auto_offset_reset": "earliest"}
        self.sample = Sample(sample_rows=sample_rows, max_age_seconds=HOUR, sample_bytes=2**26)
        self.counts = InputCounts(repeated=Counter())
        self.repeats = Repeats(4096)
        self.labels = Labels(max_bytes=2**20, window_seconds=HOUR)
        self.writer = Writer()
        folder.mkdir(exist_ok=True)
        self.consumer = KafkaConsumer(KafkaSettings(**given | settings), "robmon", 2**24)
        self.source = KafkaSource(
            *(self.consumer, kept_offsets("robmon", History(folder, "m"), self.writer), self.sample, self.counts),
            filters=filters, labels=self.labels, repeats=self.repeats, max_body_bytes=BYTES, max_age_seconds=HOUR,
        )  # fmt: skip
        self.sample.attach(self.source)

    @property
    def seen(self) -> int:
        """Messages so far."""
        return sum((self.counts.received + self.counts.skipped).values()) + self.counts.rejected["kafka", "bad_headers"]

    async def poll_until(self, is_enough: Callable[[], bool]) -> None:
        """Poll as the daemon does."""
        until = time.monotonic() + PATIENCE_SECONDS
        while not is_enough():
            assert time.monotonic() < until, (self.counts.received, self.counts.skipped, self.counts.rejected)
            await self.source.poll()

    async def assess(self, *, is_good: bool = True) -> list[bytes]:
        """The bodies that an assessment uses, which is good or not."""
        bodies = [item.body for item in self.sample.snapshot(time.time()) if not item.topped_up]
        if is_good:
            self.sample.turn_over(time.time())
            await self.writer.settle(PATIENCE_SECONDS)
        return bodies

    async def close(self) -> None:
        """As the daemon ends."""
        await self.source.close()
        await self.writer.close()


def numbered(start: int, stop: int) -> list[bytes]:
    return [b'{"inputs": [[%d]]}' % number for number in range(start, stop)]


async def test_messages_come_into_the_sample_once(tmp_path: Path) -> None:
    brokers = Brokers(3)
    for partition in range(PARTITIONS):
        brokers.send(TOPIC, numbered(100 * partition, 100 * partition + 100), partition=partition)
    member = Member(tmp_path, brokers)
    await member.poll_until(lambda: member.counts.received["kafka"] >= 400)
    await member.source.poll()
    assert sorted(await member.assess()) == sorted(numbered(0, 400))
    assert member.counts.received == member.counts.sampled | {"kafka": 400}
    assert member.counts.kafka_lag_messages == 0
    await member.close()
    assert brokers.committed("robmon", TOPIC) == dict.fromkeys(range(PARTITIONS), 100)


async def test_after_a_kill_what_was_assessed_does_not_come_again_and_the_rest_does(tmp_path: Path) -> None:
    brokers = Brokers()
    brokers.send(TOPIC, numbered(0, 50))
    first = Member(tmp_path, brokers)
    await first.poll_until(lambda: first.counts.received["kafka"] >= 50)
    assert len(await first.assess()) == 50
    brokers.send(TOPIC, numbered(50, 80))
    await first.poll_until(lambda: first.counts.received["kafka"] >= 80)
    assert len(await first.assess(is_good=False)) == 30
    await first.consumer.close()  # of a killed one the brokers hear nothing for as long as a session lasts

    second = Member(tmp_path, brokers)
    await second.poll_until(lambda: second.counts.received["kafka"] >= 30)
    await second.source.poll()
    assert sorted(await second.assess()) == numbered(50, 80)
    await second.close()
    assert brokers.committed("robmon", TOPIC) == {0: 80}


async def test_an_offset_that_did_not_reach_the_brokers_is_remembered(tmp_path: Path) -> None:
    brokers = Brokers()
    brokers.send(TOPIC, numbered(0, 50))
    first = Member(tmp_path, brokers)
    await first.poll_until(lambda: first.counts.received["kafka"] >= 50)
    first.consumer.commit = lambda offsets: None  # type: ignore[method-assign] # killed before it is sent
    await first.assess()
    await first.close()
    assert brokers.committed("robmon", TOPIC) == {}

    brokers.send(TOPIC, numbered(50, 60))
    second = Member(tmp_path, brokers)
    await second.poll_until(lambda: second.counts.received["kafka"] >= 10)
    assert sorted(await second.assess()) == numbered(50, 60)
    await second.close()


async def test_a_topic_that_was_made_anew_begins_anew(tmp_path: Path) -> None:
    before, after = Brokers(), Brokers()
    before.send(TOPIC, numbered(0, 50))
    first = Member(tmp_path, before)
    await first.poll_until(lambda: first.counts.received["kafka"] >= 50)
    await first.assess()
    await first.close()

    after.send(TOPIC, numbered(0, 20))
    second = Member(tmp_path, after)
    await second.poll_until(lambda: second.counts.received["kafka"] >= 20)
    assert sorted(await second.assess()) == sorted(numbered(0, 20))
    await second.close()
    assert after.committed("robmon", TOPIC) == {0: 20}


async def test_two_members_share_the_partitions(tmp_path: Path) -> None:
    """Whoever comes takes some, and who goes leaves them; nothing assessed is taken twice, and no offset goes back."""
    brokers = Brokers()
    for partition in range(PARTITIONS):
        brokers.send(TOPIC, numbered(100 * partition, 100 * partition + 50), partition=partition)
    first = Member(tmp_path / "1", brokers)
    await first.poll_until(lambda: first.counts.received["kafka"] >= 200)
    bodies = await first.assess()
    second = Member(tmp_path / "2", brokers)

    async def both_poll_until(is_enough: Callable[[], bool]) -> None:
        until = time.monotonic() + PATIENCE_SECONDS
        while not is_enough():
            assert time.monotonic() < until
            await first.source.poll()
            await second.source.poll()

    await both_poll_until(lambda: len(first.consumer._ours) == len(second.consumer._ours) == PARTITIONS // 2)
    for partition in range(PARTITIONS):
        brokers.send(TOPIC, numbered(100 * partition + 50, 100 * partition + 100), partition=partition)
    await both_poll_until(lambda: first.counts.received["kafka"] + second.counts.received["kafka"] >= 400)
    assert second.counts.received["kafka"] == 100
    bodies += await first.assess() + await second.assess()
    assert len(bodies) == 400
    assert len(set(bodies)) == 400
    await second.close()
    await first.poll_until(lambda: len(first.consumer._ours) == PARTITIONS)
    await first.source.poll()
    assert first.counts.kafka_lag_messages == 0
    assert await first.assess() == []
    await first.close()
    assert brokers.committed("robmon", TOPIC) == dict.fromkeys(range(PARTITIONS), 100)


async def test_events_are_told_from_other_messages(tmp_path: Path) -> None:
    """Binary and structured mode, of our model and of another one; answers are joined; a marked message is left out."""
    brokers = Brokers()
    brokers.send(TOPIC, [None])
    member = Member(tmp_path, brokers, Filters(model="digits", exclude_headers=("X-Synthetic",)))
    ours, other = {"ce_inferenceservicename": "digits"}, {"ce_inferenceservicename": "letters"}
    request = {"ce_specversion": "1.0", "ce_type": "org.kubeflow.serving.inference.request", "ce_id": "7"}
    brokers.send(TOPIC, [b'{"instances": [[1]]}'], headers=request | ours)
    brokers.send(TOPIC, [b'{"predictions": [1]}'], headers=request | ours | {"ce_type": "a.inference.response"})
    brokers.send(TOPIC, [b'{"instances": [[2]]}'], headers=request | other)
    structured = {"specversion": "1.0", "id": "8", "type": "org.kubeflow.serving.inference.request"}
    for name, number in (("digits", 3), ("letters", 4)):
        event = structured | {"inferenceservicename": name, "data": {"instances": [[number]]}}
        brokers.send(TOPIC, [json.dumps(event).encode()], headers={"content-type": "application/cloudevents+json"})
    brokers.send(TOPIC, [b'{"inputs": [[5]], "id": "nine"}'], headers={"content-type": "application/json"})
    brokers.send(TOPIC, [b'{"inputs": [[6]]}'], headers={"x-synthetic": "1"})
    brokers.send(TOPIC, [b""])
    await member.poll_until(lambda: member.seen >= 8)
    items = member.sample.snapshot(time.time())
    assert {item.body[-6:] for item in items} == {b'"nine"}'[-6:], b"[[1]]}", b"[3]]}}"}
    assert member.counts.received["kafka"] == 3
    assert member.counts.skipped["kafka"] == 5
    assert {item.feedback.ids for item in items} == {("7",), ("8",), ("nine",)}
    assert next(item for item in items if item.feedback.ids == ("7",)).feedback.answer == b'{"predictions": [1]}'
    await member.close()


async def test_garbage_is_counted_and_the_rest_is_taken(tmp_path: Path) -> None:
    brokers = Brokers()
    brokers.send(TOPIC, [b"x" * (BYTES + 1), b"\x00" * BYTES])
    brokers.send(TOPIC, [b"{}"], timestamp=int(time.time() - 2 * HOUR) * 1000)
    member = Member(tmp_path, brokers)
    await member.poll_until(lambda: member.seen >= 3)
    assert member.counts.rejected == {("kafka", "too_large"): 1}
    assert member.counts.skipped["kafka"] == 1
    assert [item.body for item in member.sample.snapshot(time.time())] == [b"\x00" * BYTES]
    await member.close()


async def test_bodies_that_come_again_are_counted_whether_they_are_sampled_or_not(tmp_path: Path) -> None:
    """Of whatever counts as received, among those of the port too."""
    brokers = Brokers()
    brokers.send(TOPIC, numbered(0, 64) * 3)
    brokers.send(TOPIC, numbered(0, 8), timestamp=int(time.time() - 2 * HOUR) * 1000)  # skipped
    brokers.send(TOPIC, [None, b"", b"x" * (BYTES + 1)] * 2)
    brokers.send(TOPIC, numbered(100, 102), partition=1, headers={"content-type": "application/cloudevents+json"})
    member = Member(tmp_path, brokers, sample_rows=4)
    assert not member.repeats.is_repeat(member.repeats.hasher(numbered(101, 102)[0]))
    await member.poll_until(lambda: member.seen >= 192 + 8 + 6 + 2)
    assert member.counts.repeated == {"kafka": 128 + 1}
    await member.close()


async def test_a_header_whose_name_is_no_text_costs_its_message_only(tmp_path: Path) -> None:
    brokers = Brokers()
    send = ["kcat", "-P", "-b", brokers.addresses[0], "-t", TOPIC, "-p", "0", "-H", b"n\xffme=v"]
    await asyncio.to_thread(subprocess.run, send, input=b"{}", check=True, timeout=PATIENCE_SECONDS)
    brokers.send(TOPIC, numbered(0, 2))
    member = Member(tmp_path, brokers)
    await member.poll_until(lambda: member.seen >= 3)
    assert member.counts.rejected == {("kafka", "bad_headers"): 1}
    assert member.counts.received["kafka"] == 2
    await member.close()


async def test_brokers_that_are_down_cost_a_counter(tmp_path: Path) -> None:
    """At the start and later, and the log a line when it begins, and one when it ends. Nothing is lost."""
    brokers = Brokers(2)
    brokers.send(TOPIC, numbered(0, 3))
    with capture_logs() as logs:
        with brokers.down():
            member = Member(tmp_path, brokers)
            await member.poll_until(lambda: member.counts.rejected["kafka", "unavailable"] >= 2)
            assert member.counts.kafka_lag_messages is None
        await member.poll_until(lambda: member.counts.received["kafka"] >= 3)
        await member.source.poll()
        before = member.counts.rejected["kafka", "unavailable"]
        with brokers.down():
            await member.poll_until(lambda: member.counts.rejected["kafka", "unavailable"] >= before + 2)
            assert len(await member.assess()) == 3, "the sample is assessed meanwhile"
            before = member.counts.rejected["kafka", "unavailable"]
        brokers.send(TOPIC, numbered(3, 7))
        await member.poll_until(lambda: member.counts.received["kafka"] >= 7)
        await member.source.poll()
        assert member.counts.kafka_lag_messages == 0 and member.counts.rejected["kafka", "unavailable"] <= before + 1
        assert sorted(await member.assess()) == numbered(3, 7)
    told = [line["event"] for line in logs if line["event"].startswith("kafka")]
    assert told == ["kafka unavailable", "kafka available again"] * 2
    await member.close()
    assert brokers.committed("robmon", TOPIC) == {0: 7}


async def test_a_topic_that_is_not_there_costs_a_counter_and_the_others_are_read(tmp_path: Path) -> None:
    brokers = Brokers()
    brokers.send(TOPIC, numbered(0, 3))
    brokers.send("other", numbered(3, 5))
    brokers.refuse("other")
    with capture_logs() as logs:
        member = Member(tmp_path, brokers, topics=(TOPIC, "other"))
        await member.poll_until(lambda: member.counts.rejected["kafka", "unavailable"] >= 2)
        await member.poll_until(lambda: member.counts.received["kafka"] == 3)
        brokers.send(TOPIC, numbered(5, 6))
        await member.poll_until(lambda: member.counts.received["kafka"] == 4)
        assert member.counts.kafka_lag_messages == 0
    (told,) = [line["error"] for line in logs if line["event"] == "kafka unavailable"]
    assert told == "topic other: Broker: Unknown topic or partition"
    await member.close()


async def test_certificates_come_from_files(tmp_path: Path) -> None:
    """By the first connection: the double speaks no TLS, so a relay does, and those that the brokers name are plain."""
    authority, other = Authority(tmp_path / "pki"), Authority(tmp_path / "pki", "other")
    server, client = authority.sign("broker", "localhost"), authority.sign("robmon")
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH, cafile=authority.ca)
    context.load_cert_chain(server.cert, server.key)
    context.verify_mode = ssl.CERT_REQUIRED
    brokers, port = Brokers(), free_port()
    files = {"tls_cert_file": client.cert, "tls_key_file": client.key}
    async with relay("127.0.0.1", port, brokers.addresses[0], context) as connected:
        given = {"bootstrap_servers": (f"localhost:{port}",), "tls": True, **files}
        stranger = Member(tmp_path / "stranger", brokers, tls_ca_file=other.ca, **given)
        await stranger.poll_until(lambda: stranger.counts.rejected["kafka", "unavailable"] >= 1)
        assert not connected
        await stranger.close()
        member = Member(tmp_path / "member", brokers, tls_ca_file=authority.ca, **given)
        await member.poll_until(lambda: bool(connected))
        await member.close()


async def test_a_password_comes_from_a_file_and_is_read_again(tmp_path: Path) -> None:
    password = tmp_path / "password"
    password.write_text("first secret\n")
    sasl = {"sasl_mechanism": "SCRAM-SHA-512", "sasl_username": "robmon", "sasl_password_file": password}
    with capture_logs() as logs:
        member = Member(tmp_path / "data", Brokers(), **sasl)
        assert member.consumer._configuration()["sasl.password"] == "first secret"
        await member.source.poll()
        before = member.consumer._consumer
        password.write_text("second secret\n")
        await member.source.poll()
        assert member.consumer._consumer is not before
        assert member.consumer._configuration()["sasl.password"] == "second secret"
        password.unlink()
        await member.source.poll()
        await member.source.poll()
        assert member.consumer._configuration()["sasl.password"] == "second secret"
        await member.close()
    assert [line["event"] for line in logs if "secrets" in line["event"]] == ["secrets of kafka not renewed"]
    assert "secret" not in str([line | {"event": ""} for line in logs if "secrets" not in line["event"]])


async def test_a_certificate_that_the_client_does_not_take_leaves_the_one_before(tmp_path: Path) -> None:
    ca = Authority(tmp_path / "pki").ca
    with capture_logs() as logs:
        member = Member(tmp_path / "data", Brokers(), tls=True, tls_ca_file=ca)
        before, good = member.consumer._consumer, ca.read_bytes()
        ca.write_text("this is no certificate")
        await member.source.poll()
        await member.source.poll()
        assert member.consumer._consumer is before
        assert member.consumer._configuration()["ssl.ca.pem"].encode() == good
        ca.write_bytes(good + b"\n")
        await member.source.poll()
        assert member.consumer._consumer is not before
        await member.close()
    assert [line["event"] for line in logs if "secrets" in line["event"]] == ["secrets of kafka not renewed"]


async def test_the_lag_is_told_while_messages_come_and_come(tmp_path: Path) -> None:
    """With traffic that never pauses a poll lasts for hours."""
    brokers = Brokers()
    brokers.send(TOPIC, numbered(0, 1))
    member = Member(tmp_path, brokers)
    await member.poll_until(lambda: member.counts.received["kafka"] >= 1)
    told: list[int | None] = []

    class Busy:
        """A batch at each call, four times."""

        def lag(self, next_offsets: object) -> int:
            return 4 - len(told)

        async def next(self, next_offsets: object) -> Batch:
            told.append(member.counts.kafka_lag_messages)
            return Batch(messages if len(told) < 4 else ())

    messages = member.consumer._consumer.consume(1, 0)  # type: ignore[union-attr]
    brokers.send(TOPIC, numbered(1, 2))
    while not messages:
        messages = member.consumer._consumer.consume(1, 1)  # type: ignore[union-attr]
    busy = KafkaSource(
        *(Busy(), kept_offsets("robmon", History(tmp_path, "m"), member.writer), member.sample, member.counts),  # type: ignore[arg-type]
        filters=NO_FILTERS, labels=member.labels, max_body_bytes=BYTES, max_age_seconds=HOUR,
    )  # fmt: skip
    await busy.poll()
    assert told[1:] == [3, 2, 1]
    await member.close()


def test_what_the_client_does_not_take_is_told_in_one_sentence(tmp_path: Path) -> None:
    no_key = tmp_path / "ca.pem"
    no_key.write_text("this is no certificate")
    settings = KafkaSettings(bootstrap_servers=("a:1",), topics=("t",), tls=True, tls_ca_file=no_key)
    with pytest.raises(SettingsError, match=r"^kafka: .*ssl\.ca\.pem"):
        KafkaConsumer(settings, "g", 2**20)
    with pytest.raises(SettingsError, match=r"^kafka\.tls_ca_file = '.*/none' cannot be read: No such file"):
        KafkaConsumer(settings.model_copy(update={"tls_ca_file": tmp_path / "none"}), "g", 2**20)


@pytest.mark.parametrize(
    ("content", "problem"),
    [
        (b"\n", "must hold the password in one line, not 0"),
        (b"one\ntwo\n", "must hold the password in one line, not 2"),
        (b"\xff", "is no text"),
    ],
)
def test_what_is_no_password_is_refused(content: bytes, problem: str, tmp_path: Path) -> None:
    (tmp_path / "password").write_bytes(content)
    sasl = {"sasl_mechanism": "SCRAM-SHA-512", "sasl_username": "u", "sasl_password_file": tmp_path / "password"}
    settings = KafkaSettings(bootstrap_servers=("a:1",), topics=("t",), **sasl)
    with pytest.raises(SettingsError, match=f"^what kafka.sasl_password_file names {problem}$"):
        kafka_consumer.check_client(settings)

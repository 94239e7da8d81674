"""The member of a consumer group, as the daemon holds it: Confluent's client, whose calls wait on another thread."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Iterable, Mapping
from pathlib import Path
from threading import Lock
from typing import Any, Final

import structlog
from confluent_kafka import OFFSET_BEGINNING, Consumer, KafkaError, KafkaException, TopicPartition

from robmon.errors import SettingsError
from robmon.inputs.sources.kafka import Batch, Partition
from robmon.ports.secret_files import SecretFiles
from robmon.settings import KafkaSettings

log = structlog.get_logger("robmon.daemon.kafka_consumer")

MESSAGES_AT_ONCE: Final = 500
WAIT_SECONDS: Final = 0.2
"""For the first message of a batch."""
ASK_SECONDS: Final = 2.0
"""For what a broker is asked."""
LOOK_SECONDS: Final = 5.0
"""Between two looks at what is wrong, while messages come."""
CLOSE_SECONDS: Final = 5.0
RECONNECT_MILLISECONDS: Final = 500
METADATA_MILLISECONDS: Final = 30_000
"""Within which a topic or a partition that is new is found."""
SESSION_MILLISECONDS: Final = 10_000
"""After which the partitions of a member that is not heard of go to others."""
_OF_ONE_LINE: Final = "kafka.sasl_password_file"
_NOT_HEARD: Final = logging.getLogger("robmon.librdkafka")
_NOT_HEARD.disabled = True  # it repeats itself twice a second; what matters comes as an error
_WHOLLY_DOWN: Final = frozenset(
    {
        KafkaError._ALL_BROKERS_DOWN,
        KafkaError._AUTHENTICATION,
        KafkaError._RESOLVE,
        KafkaError._SSL,
        KafkaError.SASL_AUTHENTICATION_FAILED,
    }
)
"""Errors after which it is asked whether anybody answers; from others the client recovers by itself."""


class KafkaConsumer:
    """A `Consumer`, which is made anew whenever a file of its secrets has changed.

    Args:
        settings: with brokers and topics.
        group_id: of the consumer group.
        most_bytes: that are fetched ahead.

    Raises:
        SettingsError: a file cannot be read, or the client does not take the settings.
    """

    def __init__(self, settings: KafkaSettings, group_id: str, most_bytes: int) -> None:
        self._settings = settings
        self._group_id = group_id
        self._most_bytes = most_bytes
        self._one_at_a_time = Lock()
        self._suspicion = ""
        self._is_down = False
        self._look_at = 0.0
        self._next_offsets: Mapping[Partition, int] = {}
        self._starts: dict[Partition, int | None] = {}
        self._ours: frozenset[Partition] = frozenset()
        self._secrets = SecretFiles(settings.files, self._checked_secrets)
        self._consumer: Consumer | None = self._joined()

    async def next(self, next_offsets: Mapping[Partition, int]) -> Batch:
        """The next messages; none where there are none yet."""
        self._next_offsets = next_offsets
        return await asyncio.to_thread(self._consumed)

    def commit(self, offsets: Mapping[Partition, int]) -> None:
        """Commit the offsets of those partitions that are ours, without waiting for it.

        Not those of the last batch's `starts`, from which another member may have come further than was known here.
        """
        ours = self._ours - self._starts.keys()
        places = [TopicPartition(*place, offset) for place, offset in offsets.items() if place in ours]
        if self._consumer is not None and places:
            self._consumer.commit(offsets=places, asynchronous=True)

    def lag(self, next_offsets: Mapping[Partition, int]) -> int | None:
        """Messages of our partitions that have not come yet, as the last answers of the brokers had it."""
        if self._consumer is None or self._is_down:
            return None
        behind = []
        for place in self._ours & next_offsets.keys():
            _, end = self._consumer.get_watermark_offsets(TopicPartition(*place), cached=True)
            if end >= 0:
                behind.append(max(end - next_offsets[place], 0))
        return sum(behind) if behind else None

    async def close(self) -> None:
        """Leave the group; a broker that does not answer is not waited for."""
        try:
            await asyncio.wait_for(asyncio.to_thread(self._left), CLOSE_SECONDS)
        except TimeoutError:
            return

    def _joined(self) -> Consumer:
        consumer = _client(self._configuration())
        consumer.subscribe(list(self._settings.topics), on_assign=self._assign, on_revoke=self._revoke)
        return consumer

    def _left(self) -> None:
        with self._one_at_a_time:
            self._leave()

    def _leave(self) -> None:
        """Meanwhile nobody else uses the client, which would raise for that."""
        consumer, self._consumer = self._consumer, None
        self._ours = frozenset()
        if consumer is not None:
            consumer.close()

    def _checked_secrets(self, files: Mapping[str, Path], contents: list[bytes]) -> dict[str, str]:
        """What the files hold, by the names of their settings, where the client takes it."""
        secrets = _texts(files, contents)
        _check(self._settings, secrets)
        return secrets

    def _configuration(self) -> dict[str, Any]:
        return {
            "bootstrap.servers": ",".join(self._settings.bootstrap_servers),
            "group.id": self._group_id,
            "client.id": "robmon",
            "enable.auto.commit": False,
            "auto.offset.reset": self._settings.auto_offset_reset,
            "queued.max.messages.kbytes": max(self._most_bytes // 1024, 1),
            "topic.metadata.refresh.interval.ms": METADATA_MILLISECONDS,
            "session.timeout.ms": SESSION_MILLISECONDS,
            "heartbeat.interval.ms": SESSION_MILLISECONDS // 4,
            "reconnect.backoff.ms": RECONNECT_MILLISECONDS,
            "error_cb": self._failed,
            **_security(self._settings, self._secrets.value),
        }

    def _consumed(self) -> Batch:
        with self._one_at_a_time:
            if self._consumer is not None and self._is_renewed():
                self._leave()
            if self._consumer is None:
                self._consumer = self._joined()
            self._starts = {}
            messages = []
            for message in self._consumer.consume(MESSAGES_AT_ONCE, WAIT_SECONDS):
                if (error := message.error()) is None:
                    messages.append(message)
                else:
                    self._suspicion = error.str()
            return Batch(messages, self._starts, self._looked(self._consumer, is_busy=bool(messages)))

    def _looked(self, consumer: Consumer, *, is_busy: bool) -> str | None:
        """What is wrong, as `Batch.problem`: looked for where something was, and not at each batch of many."""
        if not self._suspicion:
            return ""
        if is_busy and time.monotonic() < self._look_at:
            return None
        self._look_at = time.monotonic() + LOOK_SECONDS
        self._is_down = False
        try:
            for topic in self._settings.topics:
                error = consumer.list_topics(topic, timeout=ASK_SECONDS).topics[topic].error
                if error is not None:
                    return f"topic {topic}: {error.str()}"
        except KafkaException:
            self._is_down = True
            return self._suspicion
        self._suspicion = ""
        return ""

    def _is_renewed(self) -> bool:
        """Whether a file has changed, so that the client must be made anew."""
        try:
            return self._secrets.reload()
        except SettingsError as error:  # of which `SecretFiles` tells once; what was read last still stands
            log.error("secrets of kafka not renewed", error=str(error))
            return False

    def _failed(self, error: KafkaError) -> None:
        if error.code() in _WHOLLY_DOWN or error.fatal():
            self._suspicion = error.str()

    def _assign(self, consumer: Consumer, partitions: list[TopicPartition]) -> None:
        """Begin where the group ended, or where we did, whose offset may not have reached it."""
        try:
            partitions = consumer.committed(partitions, timeout=ASK_SECONDS)
        except KafkaException as error:
            self._suspicion = str(error.args[0].str())
        for each in partitions:
            place = (each.topic, each.partition)
            if (ours := self._next_offsets.get(place, each.offset)) > each.offset:
                each.offset = ours if self._is_there(consumer, each, ours) else OFFSET_BEGINNING
            self._starts[place] = each.offset if each.offset >= 0 else None
        self._ours = frozenset((each.topic, each.partition) for each in partitions)
        log.info("partitions of kafka", of=self._group_id, partitions=_partition_list(self._ours))
        consumer.assign(partitions)

    def _is_there(self, consumer: Consumer, partition: TopicPartition, offset: int) -> bool:
        """Whether the partition has that offset; one of a topic that was made anew under the same name has not."""
        try:
            _, end = consumer.get_watermark_offsets(partition, timeout=ASK_SECONDS)
        except KafkaException:
            return True
        return offset <= end

    def _revoke(self, consumer: Consumer, partitions: list[TopicPartition]) -> None:
        self._ours -= {(each.topic, each.partition) for each in partitions}


def check_client(settings: KafkaSettings) -> None:
    """Look whether the client takes the settings and what their files hold, without asking a broker.

    Raises:
        SettingsError: it does not, or a file cannot be read.
    """
    SecretFiles(settings.files, lambda files, contents: _check(settings, _texts(files, contents)))


def _check(settings: KafkaSettings, secrets: Mapping[str, str]) -> None:
    _client({"group.id": "robmon", **_security(settings, secrets)}).close()


def _security(settings: KafkaSettings, secrets: Mapping[str, str]) -> dict[str, str]:
    """What the client is told of certificates and passwords."""
    protocol = ("SASL_" if settings.sasl_mechanism else "") + ("SSL" if settings.tls else "PLAINTEXT")
    told = {
        "security.protocol": protocol.lower(),
        "ssl.ca.pem": secrets.get("kafka.tls_ca_file"),
        "ssl.certificate.pem": secrets.get("kafka.tls_cert_file"),
        "ssl.key.pem": secrets.get("kafka.tls_key_file"),
        "sasl.mechanism": settings.sasl_mechanism,
        "sasl.username": settings.sasl_username,
        "sasl.password": secrets.get(_OF_ONE_LINE),
    }
    return {name: value for name, value in told.items() if value is not None}


def _partition_list(places: Iterable[Partition]) -> str:
    """Partitions as a log has them, the first hundred.

    >>> _partition_list([("b", 0), ("a", 10), ("a", 2)])
    'a/2 a/10 b/0'
    """
    return " ".join(f"{topic}/{partition}" for topic, partition in sorted(places)[:100])


def _texts(files: Mapping[str, Path], contents: list[bytes]) -> dict[str, str]:
    return {name: _text(name, content) for name, content in zip(files, contents, strict=True)}


def _text(name: str, content: bytes) -> str:
    try:
        text = content.decode()
    except UnicodeDecodeError:
        raise SettingsError(f"what {name} names is no text") from None
    if name != _OF_ONE_LINE:
        return text
    if (lines := len(text.strip().splitlines())) != 1:
        raise SettingsError(f"what {name} names must hold the password in one line, not {lines}")
    return text.strip()


def _client(configuration: dict[str, Any]) -> Consumer:
    try:
        return Consumer(configuration, logger=_NOT_HEARD)
    except KafkaException as error:
        raise SettingsError(f"kafka: {error.args[0].str()}") from None

"""Brokers for tests: those that librdkafka, the client's own library, brings as its test double (its mock cluster).

They speak Kafka's protocol over TCP, keep messages, groups and offsets in memory, and live as long as the producer that
began them. No package brings a real broker.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import ssl
from collections.abc import AsyncIterator, Iterable, Mapping
from typing import Any

from confluent_kafka import Consumer, Producer, TopicPartition

from tests.patience import PATIENCE_SECONDS

PARTITIONS = 4
"""Of each topic, which is made by the first message."""


class Brokers:
    """A cluster, to which messages can be sent."""

    def __init__(self, count: int = 1) -> None:
        self._producer = Producer(
            {"bootstrap.servers": "none", "test.mock.num.brokers": count}, logger=logging.getLogger("kafka.brokers")
        )
        found = self._producer.list_topics(timeout=PATIENCE_SECONDS).brokers.values()
        self.addresses = tuple(f"{broker.host}:{broker.port}" for broker in found)
        """As `kafka.bootstrap_servers` takes them."""

    def send(self, topic: str, values: Iterable[bytes | None], *, partition: int = 0, **options: Any) -> None:
        """Send messages, and wait until they are there."""
        for value in values:
            self._producer.produce(topic, value, partition=partition, **options)
            self._producer.poll(0)
        assert self._producer.flush(PATIENCE_SECONDS) == 0

    def consumer(self, group: str, **configuration: Any) -> Consumer:
        """The bare client, for what it finds."""
        given = {"bootstrap.servers": ",".join(self.addresses), "group.id": group, "auto.offset.reset": "earliest"}
        return Consumer(given | {"enable.auto.commit": False} | configuration, logger=logging.getLogger("kafka.client"))

    def committed(self, group: str, topic: str, partitions: int = PARTITIONS) -> Mapping[int, int]:
        """The offsets that a group has committed, by partition; those of which it has none are left out."""
        consumer = self.consumer(group)
        try:
            places = [TopicPartition(topic, partition) for partition in range(partitions)]
            found = consumer.committed(places, timeout=PATIENCE_SECONDS)
        finally:
            consumer.close()
        return {each.partition: each.offset for each in found if each.offset >= 0}


@contextlib.asynccontextmanager
async def relay(host: str, port: int, to: str, tls: ssl.SSLContext | None = None) -> AsyncIterator[list[str]]:
    """Relay that port to a broker; a client that has got through is noted."""
    connected: list[str] = []

    async def copy(source: asyncio.StreamReader, sink: asyncio.StreamWriter) -> None:
        with contextlib.suppress(OSError):
            while piece := await source.read(2**16):
                sink.write(piece)
                await sink.drain()
        sink.close()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        connected.append(str(writer.get_extra_info("peername")))
        other_host, _, other_port = to.partition(":")
        broker, out = await asyncio.open_connection(other_host, int(other_port))
        await asyncio.gather(copy(reader, out), copy(broker, writer))

    server = await asyncio.start_server(serve, host, port, ssl=tls)
    try:
        yield connected
    finally:
        server.close()

"""Brokers for tests: those that librdkafka, the client's own library, brings as its test double (its mock cluster).

They speak Kafka's protocol over TCP, and keep messages, groups and offsets in memory. No package brings a real broker.
The library tells them through its C interface alone, which the client does not show: what it is called there stands at
its head, `rdkafka_mock.h`.
"""

from __future__ import annotations

import asyncio
import contextlib
import ctypes
import logging
import ssl
from collections.abc import AsyncIterator, Iterable, Iterator, Mapping
from typing import Any

from confluent_kafka import Consumer, KafkaError, Producer, TopicPartition, cimpl

from tests.patience import PATIENCE_SECONDS

PARTITIONS = 4
"""Of each topic, which is made by the first message."""
REBALANCE_MILLISECONDS = 50
"""That a new group waits for more members: three seconds at a real broker."""


def _library() -> Any:
    """The library that the client has loaded."""
    library = ctypes.CDLL(cimpl.__file__)
    for name, result, *given in (
        ("rd_kafka_new", ctypes.c_void_p, ctypes.c_int, ctypes.c_void_p, ctypes.c_char_p, ctypes.c_size_t),
        ("rd_kafka_conf_new", ctypes.c_void_p),
        ("rd_kafka_conf_set", ctypes.c_int, ctypes.c_void_p, *[ctypes.c_char_p] * 3, ctypes.c_size_t),
        ("rd_kafka_mock_cluster_new", ctypes.c_void_p, ctypes.c_void_p, ctypes.c_int),
        ("rd_kafka_mock_cluster_bootstraps", ctypes.c_char_p, ctypes.c_void_p),
        ("rd_kafka_mock_group_initial_rebalance_delay_ms", None, ctypes.c_void_p, ctypes.c_int32),
        ("rd_kafka_mock_broker_set_down", ctypes.c_int, ctypes.c_void_p, ctypes.c_int32),
        ("rd_kafka_mock_broker_set_up", ctypes.c_int, ctypes.c_void_p, ctypes.c_int32),
        ("rd_kafka_mock_topic_set_error", None, ctypes.c_void_p, ctypes.c_char_p, ctypes.c_int),
    ):
        function = getattr(library, name)
        function.restype, function.argtypes = result, given
    return library


_LIBRARY = _library()


class Brokers:
    """A cluster, to which messages can be sent. It lives as long as the process: its end, while clients still speak to
    it, now and then takes the process down."""

    def __init__(self, count: int = 1) -> None:
        self._count = count
        configuration, error = _LIBRARY.rd_kafka_conf_new(), ctypes.create_string_buffer(512)
        _LIBRARY.rd_kafka_conf_set(configuration, b"log_level", b"0", error, len(error))
        client = _LIBRARY.rd_kafka_new(0, configuration, error, len(error))
        self._cluster = _LIBRARY.rd_kafka_mock_cluster_new(client, count)
        assert self._cluster, error.value
        _LIBRARY.rd_kafka_mock_group_initial_rebalance_delay_ms(self._cluster, REBALANCE_MILLISECONDS)
        addresses = _LIBRARY.rd_kafka_mock_cluster_bootstraps(self._cluster).decode()
        self.addresses = tuple(addresses.split(","))
        """As `kafka.bootstrap_servers` takes them."""
        self._producer = Producer({"bootstrap.servers": addresses}, logger=logging.getLogger("kafka.brokers"))

    def send(self, topic: str, values: Iterable[bytes | None], *, partition: int = 0, **options: Any) -> None:
        """Send messages, and wait until they are there."""
        for value in values:
            self._producer.produce(topic, value, partition=partition, **options)
            self._producer.poll(0)
        assert self._producer.flush(PATIENCE_SECONDS) == 0

    @contextlib.contextmanager
    def down(self) -> Iterator[None]:
        """All of them: connections are cut and none is taken, until the end of the block. What they keep stays."""
        for broker in range(1, self._count + 1):
            assert _LIBRARY.rd_kafka_mock_broker_set_down(self._cluster, broker) == 0
        yield
        for broker in range(1, self._count + 1):
            assert _LIBRARY.rd_kafka_mock_broker_set_up(self._cluster, broker) == 0

    def refuse(self, topic: str, error: int = KafkaError.UNKNOWN_TOPIC_OR_PART) -> None:
        """Answer with that error whoever asks about a topic; `KafkaError.NO_ERROR`: with what is there."""
        _LIBRARY.rd_kafka_mock_topic_set_error(self._cluster, topic.encode(), error)

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

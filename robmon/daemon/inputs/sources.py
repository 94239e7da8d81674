"""The sources of inputs that the settings name, besides the port that requests are sent to."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from typing import Generic, TypeVar

import structlog

from robmon.daemon.inputs.file_reader import ReaderProcess, shown
from robmon.daemon.memory.writer import Writer
from robmon.history.store import History
from robmon.inputs.counts import InputCounts
from robmon.inputs.labels import Labels
from robmon.inputs.readers.position import FilePosition
from robmon.inputs.repeats import Repeats
from robmon.inputs.routing import Filters
from robmon.inputs.sample import Sample
from robmon.inputs.sources.files import FileSource
from robmon.inputs.sources.kafka import KafkaSource, Partition
from robmon.inputs.sources.protocol import Source
from robmon.settings import Settings

log = structlog.get_logger("robmon.daemon.sources")

Key = TypeVar("Key")
Value = TypeVar("Value")


def sources_of(
    settings: Settings,
    name: str,
    sample: Sample,
    counts: InputCounts,
    filters: Filters,
    labels: Labels,
    repeats: Repeats | None,
    history: History,
    writer: Writer,
) -> list[Source]:
    """Build them; the sample tells each what was used.

    Args:
        settings: which there are.
        name: of the model.
        sample: takes what comes.
        counts: of inputs.
        filters: which messages are left out.
        labels: where answers that messages tell are joined to their requests.
        repeats: the last bodies, among which messages are looked for too; None: they are not counted.
        history: keeps how far was read.
        writer: of the history.

    Raises:
        SettingsError: Kafka's client does not take the settings, or a file of its secrets cannot be read.
    """
    inputs, sources = settings.inputs, list[Source]()
    if inputs.files is not None:
        reader = ReaderProcess(inputs.files, inputs.max_age_seconds, inputs.max_body_bytes)
        positions = kept_positions(inputs.files, history, writer)
        files, every = shown(inputs.files), inputs.files_poll_seconds
        sources.append(FileSource(files, every, reader, positions, sample, counts))
    if settings.kafka.topics:
        from robmon.daemon.inputs.kafka_consumer import KafkaConsumer  # its client is an extra

        group = settings.kafka.group_id or f"robmon-{name}-{settings.scope}"
        sources.append(
            KafkaSource(
                KafkaConsumer(settings.kafka, group, inputs.max_inflight_bytes),
                kept_offsets(group, history, writer),
                sample,
                counts,
                filters=filters,
                labels=labels,
                repeats=repeats,
                max_body_bytes=inputs.max_body_bytes,
                max_age_seconds=inputs.max_age_seconds,
            )
        )
    for source in sources:
        sample.attach(source)
    return sources


def check_sources(settings: Settings) -> None:
    """Look whether Kafka's client takes the settings, without asking a broker; files are looked for again and again.

    Raises:
        SettingsError: it does not, or a file of its secrets cannot be read.
    """
    if settings.kafka.topics:
        from robmon.daemon.inputs.kafka_consumer import check_client

        check_client(settings.kafka)


def kept_positions(url: str, history: History, writer: Writer) -> KeptProgress[str, FilePosition]:
    """How far files have been read."""
    read, write = partial(history.read_positions, url), partial(history.write_positions, url)
    return KeptProgress("positions in files", "positions", read, write, writer)


def kept_offsets(group: str, history: History, writer: Writer) -> KeptProgress[Partition, int]:
    """Offsets of a consumer group."""
    read, write = partial(history.read_offsets, group), partial(history.write_offsets, group)
    return KeptProgress("offsets of kafka", "offsets", read, write, writer)


class KeptProgress(Generic[Key, Value]):
    """How far a source has been read, in the data folder.

    Args:
        what: that is, as a log names it.
        place: of what is written, as of `Writer.write`.
        read: reads it.
        write: replaces it.
        writer: of the history.
    """

    def __init__(
        self,
        what: str,
        place: str,
        read: Callable[[], dict[Key, Value]],
        write: Callable[[Mapping[Key, Value]], None],
        writer: Writer,
    ) -> None:
        self._what = what
        self._place = place
        self._read = read
        self._write = write
        self._writer = writer

    def read(self) -> dict[Key, Value]:
        """As written last; nothing where that cannot be read."""
        try:
            return self._read()
        except OSError as error:
            log.error(f"{self._what} not read", error=error.strerror)
            return {}

    def write(self, progress: Mapping[Key, Value]) -> None:
        """Write it soon; of several that wait, the newest."""
        self._writer.write(partial(self._write, dict(progress)), place=self._place)

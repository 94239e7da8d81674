"""The sources of inputs that the settings name, besides the port that requests are sent to."""

from __future__ import annotations

from collections.abc import Mapping

import structlog

from robmon.daemon.file_reader import ReaderProcess, shown
from robmon.daemon.writer import Writer
from robmon.history.store import History
from robmon.inputs.counts import InputCounts
from robmon.inputs.labels import Labels
from robmon.inputs.readers.position import FilePosition
from robmon.inputs.routing import Filters
from robmon.inputs.sample import Sample
from robmon.inputs.sources.files import FileSource
from robmon.inputs.sources.kafka import KafkaSource, Partition
from robmon.inputs.sources.protocol import Source
from robmon.settings import Settings

log = structlog.get_logger(__name__)


def sources_of(
    settings: Settings,
    name: str,
    sample: Sample,
    counts: InputCounts,
    filters: Filters,
    labels: Labels,
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
        history: keeps how far was read.
        writer: of the history.

    Raises:
        SettingsError: Kafka's client does not take the settings, or a file of its secrets cannot be read.
    """
    inputs, sources = settings.inputs, list[Source]()
    if inputs.files is not None:
        reader = ReaderProcess(inputs.files, inputs.max_age_seconds, inputs.max_body_bytes)
        positions = KeptPositions(inputs.files, history, writer)
        files, every = shown(inputs.files), inputs.files_poll_seconds
        sources.append(FileSource(files, every, reader, positions, sample, counts))
    if settings.kafka.topics:
        from robmon.daemon.kafka_consumer import KafkaConsumer  # its client is an extra

        group = settings.kafka.group_id or f"robmon-{name}-{settings.scope}"
        sources.append(
            KafkaSource(
                KafkaConsumer(settings.kafka, group, inputs.max_inflight_bytes),
                KeptOffsets(group, history, writer),
                sample,
                counts,
                filters=filters,
                labels=labels,
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
        from robmon.daemon.kafka_consumer import check_client

        check_client(settings.kafka)


class KeptPositions:
    """How far files have been read, in the data folder."""

    def __init__(self, url: str, history: History, writer: Writer) -> None:
        self._url = url
        self._history = history
        self._writer = writer

    def read(self) -> dict[str, FilePosition]:
        """As written last; nothing where that cannot be read."""
        try:
            return self._history.read_positions(self._url)
        except OSError as error:
            log.error("positions in files not read", error=error.strerror)
            return {}

    def write(self, positions: Mapping[str, FilePosition]) -> None:
        """Write them soon; of several that wait, the newest."""
        kept = dict(positions)
        self._writer.write(lambda: self._history.write_positions(self._url, kept), place="positions")


class KeptOffsets:
    """Offsets of a consumer group, in the data folder."""

    def __init__(self, group: str, history: History, writer: Writer) -> None:
        self._group = group
        self._history = history
        self._writer = writer

    def read(self) -> dict[Partition, int]:
        """As written last; nothing where that cannot be read."""
        try:
            return self._history.read_offsets(self._group)
        except OSError as error:
            log.error("offsets of kafka not read", error=error.strerror)
            return {}

    def write(self, offsets: Mapping[Partition, int]) -> None:
        """Write them soon; of several that wait, the newest."""
        kept = dict(offsets)
        self._writer.write(lambda: self._history.write_offsets(self._group, kept), place="offsets")

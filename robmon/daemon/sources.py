"""The sources of inputs that the settings name, besides the port that requests are sent to."""

from __future__ import annotations

from collections.abc import Mapping

import structlog

from robmon.daemon.file_reader import ReaderProcess, shown
from robmon.daemon.writer import Writer
from robmon.history.store import History
from robmon.inputs.counts import InputCounts
from robmon.inputs.readers.position import FilePosition
from robmon.inputs.sample import Sample
from robmon.inputs.sources.files import FileSource
from robmon.inputs.sources.protocol import Source
from robmon.settings import InputsSettings

log = structlog.get_logger(__name__)


def sources_of(
    inputs: InputsSettings, sample: Sample, counts: InputCounts, history: History, writer: Writer
) -> list[Source]:
    """Build them; the sample tells each what was used."""
    sources: list[Source] = []
    if inputs.files is not None:
        reader = ReaderProcess(inputs.files, inputs.max_age_seconds, inputs.max_body_bytes)
        positions = KeptPositions(inputs.files, history, writer)
        files, every = shown(inputs.files), inputs.files_poll_seconds
        sources.append(FileSource(files, every, reader, positions, sample, counts))
    for source in sources:
        sample.attach(source)
    return sources


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

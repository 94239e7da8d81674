"""Production inputs from files, which grow.

Rows are drawn into the same sample as mirrored requests. How far each file has been read is written down once the rows
have been in a good assessment, and not before: after a kill, rows that only the lost sample held are read again.
"""

from __future__ import annotations

import itertools
from collections.abc import Mapping
from typing import Final, Protocol

import structlog

from robmon import clock
from robmon.errors import ProtocolError, RobmonError
from robmon.inputs.counts import InputCounts
from robmon.inputs.readers.answers import Answer, FileOpened, FileRows, NoMoreRows, ReadFailure
from robmon.inputs.readers.position import FilePosition
from robmon.inputs.sample import Sample
from robmon.ports.rejections import RejectionLog
from robmon.vocabulary import DeathReason

log = structlog.get_logger(__name__)

SOURCE: Final = "file"
FILE_REASONS: Final = frozenset({"bad_file", "too_large_decompressed", "unreadable"})
"""Reasons that are said of a whole file, which the log then names."""
DEATHS_OF_A_BAD_FILE: Final = 3
"""So often in a row the reader must die at the same place of a file before the file is to blame."""
MAX_NAMED: Final = 10_000


class ReaderDiedError(RobmonError):
    """The reader did not answer, and is gone.

    Attributes:
        reason: `crash`, `timeout` or `memory`.
    """

    def __init__(self, reason: DeathReason, message: str) -> None:
        self.reason: DeathReason = reason
        super().__init__(message)


class FileReader(Protocol):
    """Reads the files in another process, which a damaged one may take down."""

    async def next(self, positions: Mapping[str, FilePosition]) -> tuple[Answer, bytes]:
        """The next answer, and the bytes that come with it.

        Args:
            positions: how far each file has been read: for a process that has to be started first.

        Raises:
            ReaderDiedError: the next call starts another process.
            ProtocolError: what came is no answer.
        """

    async def close(self) -> None:
        """End the process; the next call of `next` starts another one."""


class Positions(Protocol):
    """How far each file has been read, kept over restarts."""

    def read(self) -> dict[str, FilePosition]:
        """As written last; nothing where that is not known."""

    def write(self, positions: Mapping[str, FilePosition]) -> None:
        """Write them soon, without waiting for it."""


class FileSource:
    """Keeps the sample supplied from files. A `Source`.

    Args:
        files: their place, as a log may tell it.
        poll_seconds: between two looks at them.
        reader: of these files.
        positions: in them.
        sample: takes the rows.
        counts: of inputs.
        rejections: tells of rows and files that are no use.
    """

    def __init__(
        self,
        files: str,
        poll_seconds: float,
        reader: FileReader,
        positions: Positions,
        sample: Sample,
        counts: InputCounts,
        rejections: RejectionLog | None = None,
    ) -> None:
        self.poll_seconds = poll_seconds
        self._files = files
        self._reader = reader
        self._positions = positions
        self._sample = sample
        self._counts = counts
        self._rejections = rejections or RejectionLog("files")
        self._read = positions.read()
        self._marked = dict(self._read)
        self._opened: FileOpened | None = None
        self._deaths = _Deaths()
        self._named: dict[str, str] = {}  # states in which files were named in the log
        self._unavailable = ""
        self._lacks_files = False

    async def poll(self) -> None:
        """Take in all that is new. Never raises, whatever the files and their store do."""
        try:
            while self._take(*await self._reader.next(self._read)):
                pass
        except ReaderDiedError as error:
            log.warning("the process that reads files died", reason=error.reason, error=str(error))
            if self._opened is not None and error.reason != "timeout":
                self._died_at(self._opened)
            self._opened = None
        except ProtocolError:
            log.error("the process that reads files gave an answer that does not fit")
            await self._reader.close()
        self._rejections.tell()

    async def close(self) -> None:
        """End the reading process."""
        await self._reader.close()

    def mark(self) -> None:
        """What has been read so far is in the sample that is assessed now."""
        self._marked = dict(self._read)

    def commit(self) -> None:
        """The assessment was good: what was marked need not be read again."""
        self._positions.write(self._marked)

    def _take(self, answer: Answer, content: bytes) -> bool:
        """Take in one answer; whether there may be more of them in this round."""
        match answer:
            case FileOpened():
                self._opened = answer
            case FileRows():
                self._sample_rows(answer, content)
                self._read[answer.file] = answer.position
            case NoMoreRows():
                for file in answer.gone:
                    self._read.pop(file, None)
                    self._named.pop(file, None)
                self._opened = None
                self._is_available(answer.files)
                return False
            case ReadFailure():
                return self._failed(answer)
        return True

    def _died_at(self, opened: FileOpened) -> None:
        """Read on from there, unless the reader ended there again and again: one kill from outside says nothing."""
        position = self._read.get(opened.file, FilePosition())
        if self._deaths.at(opened.file, position) < DEATHS_OF_A_BAD_FILE:
            return
        self._read[opened.file] = position.model_copy(update={"state": opened.state, "done": True})
        self._reject("bad_file", 1)

    def _sample_rows(self, answer: FileRows, content: bytes) -> None:
        """Draw among the rows.

        Raises:
            ProtocolError: there are not as many bytes as the rows are said to have.
        """
        head = content[: answer.head_bytes]
        *starts, end = itertools.accumulate(answer.sizes, initial=answer.head_bytes)
        if end != len(content):
            raise ProtocolError("rows of other sizes than were announced")
        headers = {"content-type": answer.content_type}
        changed_at = clock.from_wall(answer.modified_at)
        for size, start in zip(answer.sizes, starts, strict=True):
            self._counts.received[SOURCE] += 1
            self._counts.body_bytes[SOURCE].observe(len(head) + size)
            key = self._sample.draw()
            if key is None:
                continue
            if self._sample.add(key, head + content[start : start + size], SOURCE, headers, changed_at) is not None:
                self._counts.sampled[SOURCE] += 1
        for reason, count in answer.rejected.items():
            self._counts.received[SOURCE] += count if reason == "too_large" else 0
            self._reject(reason, count)

    def _reject(self, reason: str, count: int) -> None:
        self._counts.rejected[SOURCE, reason] += count
        self._rejections.note(reason, count)
        if reason in FILE_REASONS and self._opened is not None:
            self._name(self._opened, reason)

    def _name(self, opened: FileOpened, reason: str) -> None:
        """Name a file in the log, once in each of its states: one that cannot be read is tried again and again."""
        if self._named.get(opened.file) == opened.state:
            return
        if len(self._named) >= MAX_NAMED:
            self._named.clear()
        self._named[opened.file] = opened.state
        self._rejections.name(opened.path, reason)

    def _failed(self, failure: ReadFailure) -> bool:
        """Count it; whether the round goes on."""
        self._reject(failure.reason, 1)
        if failure.reason != "unavailable":
            return True
        why = failure.message or f"they cannot be listed: {failure.error}"
        if why != self._unavailable:
            log.error("files of inputs unavailable", files=self._files, error=why)
        self._unavailable = why
        return False

    def _is_available(self, files: int) -> None:
        if self._unavailable:
            log.info("files of inputs available again", files=self._files)
        self._unavailable = ""
        if files == 0 and not self._lacks_files:
            log.warning("no file of inputs found so far", files=self._files)
        self._lacks_files = files == 0


class _Deaths:
    """How often in a row the reader has died at the same place."""

    def __init__(self) -> None:
        self._place: tuple[str, FilePosition] | None = None
        self._count = 0

    def at(self, file: str, position: FilePosition) -> int:
        """Count one more."""
        self._count = self._count + 1 if self._place == (file, position) else 1
        self._place = (file, position)
        return self._count

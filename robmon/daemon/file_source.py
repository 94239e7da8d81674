"""Production inputs from files: the daemon's handle on the process that reads them.

Rows are drawn into the same sample as mirrored requests. How far each file has been read is written down once the rows
have been in a good assessment, and not before: after a kill, rows that only the lost sample held are read again.
"""

from __future__ import annotations

import itertools
import sys

import structlog

from robmon import clock
from robmon.daemon.writer import Writer
from robmon.history.store import History
from robmon.inputs.counts import InputCounts
from robmon.inputs.readers.position import FilePosition
from robmon.inputs.sample import Sample
from robmon.models.uri import mask
from robmon.ports.rejections import RejectionLog
from robmon.processes.messages import Failure, FileOpened, FileRows, Message, NoMoreRows, ReadMore, Tail
from robmon.processes.supervisor import Child, ChildDiedError, Command, fetch_environment
from robmon.settings import Settings

log = structlog.get_logger("robmon.files")

ANSWER_SECONDS = 600.0
READER_MEMORY_BYTES = 768 * 2**20
SOURCE = "file"
FILE_REASONS = frozenset({"bad_file", "too_large_decompressed", "unreadable"})
"""Reasons that are said of a whole file, which the log then names."""
DEATHS_OF_A_BAD_FILE = 3
"""So often in a row the reader must die at the same place of a file before the file is to blame."""
MAX_NAMED = 10_000


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


class FileSource:
    """Keeps the sample supplied from `inputs.files`."""

    def __init__(
        self,
        settings: Settings,
        url: str,
        sample: Sample,
        counts: InputCounts,
        history: History,
        writer: Writer,
    ) -> None:
        self._settings = settings
        self._url = url
        self._sample = sample
        self._counts = counts
        self._rejections = RejectionLog("files")
        self._writer = writer
        self._history = history
        self._read = _read_positions(history, url)
        self._marked = dict(self._read)
        self._reader: Child | None = None
        self._opened: FileOpened | None = None
        self._deaths = _Deaths()
        self._named: dict[str, str] = {}  # states in which files were named in the log
        self._unavailable = ""
        self._lacks_files = False
        sample.checkpoint = self

    async def poll(self) -> None:
        """Take in all that is new. Never raises, whatever the files and their store do."""
        try:
            while await self._next():
                pass
        except ChildDiedError as error:
            self._reader = None
            log.warning("the process that reads files died", reason=error.reason, error=str(error))
            if self._opened is not None and error.reason != "timeout":
                self._died_at(self._opened)
            self._opened = None
        self._rejections.tell()

    async def close(self) -> None:
        """End the reading process."""
        if self._reader is not None:
            reader, self._reader = self._reader, None
            await reader.stop()

    def _died_at(self, opened: FileOpened) -> None:
        """Read on from there, unless the reader ended there again and again: one kill from outside says nothing."""
        position = self._read.get(opened.file, FilePosition())
        if self._deaths.at(opened.file, position) < DEATHS_OF_A_BAD_FILE:
            return
        self._read[opened.file] = position.model_copy(update={"state": opened.state, "done": True})
        self._reject("bad_file", 1)

    def mark(self) -> None:
        """What has been read so far is in the sample that is assessed now."""
        self._marked = dict(self._read)

    def commit(self) -> None:
        """The assessment was good: what was marked need not be read again."""
        url, marked = self._url, self._marked
        self._writer.write(lambda: self._history.write_positions(url, marked), place="positions")

    async def _next(self) -> bool:
        """Take in one answer of the reading process; whether there may be more of them."""
        answer, blobs = await self._ask()
        match answer:
            case FileOpened():
                self._opened = answer
            case FileRows() if answer.head_bytes + sum(answer.sizes) == sum(map(len, blobs)):
                self._sample_rows(answer, b"".join(blobs))
                self._read[answer.file] = answer.position
            case NoMoreRows():
                for file in answer.gone:
                    self._read.pop(file, None)
                    self._named.pop(file, None)
                self._opened = None
                self._is_available(answer.files)
                return False
            case Failure():
                return self._failed(answer)
            case _:
                await self.close()
                log.error("the process that reads files gave no answer that fits")
                return False
        return True

    async def _ask(self) -> tuple[Message, list[bytes]]:
        if self._reader is not None:
            return await self._reader.ask(ReadMore(), timeout_seconds=ANSWER_SECONDS)
        # s3fs tries again itself: five times five would be minutes for a store that does not answer.
        environment = {"AWS_MAX_ATTEMPTS": "1", **fetch_environment()}
        command = Command(sys.executable, "robmon.reader", environment, READER_MEMORY_BYTES)
        self._reader = await Child.start(command)
        question = Tail(
            url=self._url,
            max_age_seconds=self._settings.inputs.max_age_seconds,
            max_body_bytes=self._settings.inputs.max_body_bytes,
            positions=self._read,
        )
        return await self._reader.ask(question, timeout_seconds=ANSWER_SECONDS)

    def _sample_rows(self, answer: FileRows, rows: bytes) -> None:
        headers = {"content-type": answer.content_type}
        changed_at = clock.from_wall(answer.modified_at)
        head = rows[: answer.head_bytes]
        starts = itertools.accumulate(answer.sizes, initial=len(head))
        for size, start in zip(answer.sizes, starts, strict=False):
            self._counts.received[SOURCE] += 1
            self._counts.body_bytes[SOURCE].observe(len(head) + size)
            key = self._sample.draw()
            if key is None:
                continue
            if self._sample.add(key, head + rows[start : start + size], SOURCE, headers, changed_at) is not None:
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
        self._rejections.name(_shown(opened.path), reason)

    def _failed(self, failure: Failure) -> bool:
        """Count it; whether the round goes on."""
        self._reject(failure.reason, 1)
        if failure.reason != "unavailable":
            return True
        why = failure.message or f"they cannot be listed: {failure.error}"
        if why != self._unavailable:
            log.error("files of inputs unavailable", files=_shown(self._url), error=why)
        self._unavailable = why
        return False

    def _is_available(self, files: int) -> None:
        if self._unavailable:
            log.info("files of inputs available again", files=_shown(self._url))
        self._unavailable = ""
        if files == 0 and not self._lacks_files:
            log.warning("no file of inputs found so far", files=_shown(self._url))
        self._lacks_files = files == 0


def _shown(place: str) -> str:
    """Without what may open a store: user and password of a URL, and its query, which may be signed.

    >>> _shown("https://me:secret@host/a.jsonl?signature=1f"), _shown("s3://captures/2026-0?.jsonl")
    ('https://***@host/a.jsonl', 's3://captures/2026-0?.jsonl')
    """
    is_http = place.lower().startswith(("http://", "https://"))
    return mask(place.partition("?")[0] if is_http else place)


def _read_positions(history: History, url: str) -> dict[str, FilePosition]:
    try:
        return history.read_positions(url)
    except OSError as error:
        log.error("positions in files not read", error=error.strerror)
        return {}

"""One file after the other, from where each was left: what the reading process does."""

from __future__ import annotations

import hashlib
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from typing import BinaryIO, Final

from robmon.inputs.readers.answers import Answer, FileOpened, FileRows, NoMoreRows, ReadFailure
from robmon.inputs.readers.batches import BadFileError, Batch
from robmon.inputs.readers.compressed import BROKEN
from robmon.inputs.readers.lines import Start, read_csv, read_json_lines
from robmon.inputs.readers.listing import FoundFile, NoBucketError, find_files
from robmon.inputs.readers.parquet import read_parquet
from robmon.inputs.readers.position import FilePosition
from robmon.processes.messages.reader import Tail

BEGINNING_BYTES: Final = 1024
WHOLE_SECONDS: Final = 60.0
"""A file that nobody has written to for so long is taken for finished."""
REMEMBERED_SECONDS: Final = 600.0
"""So long after its last change a file that is gone is remembered: it may come back compressed."""


class Tailer:
    """Reads what is new, a batch at a time.

    Args:
        question: what to read, and how far each file has been read before.
        clock: Unix seconds, in which file systems tell when a file was changed.
        steady: seconds that never step.
    """

    def __init__(
        self,
        question: Tail,
        clock: Callable[[], float] = time.time,
        steady: Callable[[], float] = time.monotonic,
    ) -> None:
        self._question = question
        self._positions = dict(question.positions)
        self._clock = clock
        self._steady = steady
        self._seen: dict[str, tuple[str, float]] = {}
        self._left: list[FilePosition] = []
        self._plain: set[str] = set()
        self._answers: Iterator[tuple[Answer, bytes]] = iter(())

    def next(self) -> tuple[Answer, bytes]:
        """The next answer, with the bodies of its rows one behind another; `NoMoreRows` ends a round."""
        try:
            return next(self._answers)
        except StopIteration:
            self._answers = self._round()
            return next(self._answers)

    def _round(self) -> Iterator[tuple[Answer, bytes]]:
        try:
            files = find_files(self._question.url)
        except ImportError:
            raise
        except Exception as error:  # file systems raise what their drivers raise
            yield ReadFailure(reason="unavailable", error=type(error).__name__, message=_why(error)), b""
            return
        now = self._clock()
        present = {file.key for file in files}
        # An empty listing is more often a file system that is not there than files that are all gone.
        gone = [key for key in self._positions if key not in present] if files else []
        self._left += [self._positions.pop(key) for key in gone]
        self._left = [left for left in self._left if now - (left.modified_at or 0) < REMEMBERED_SECONDS]
        self._plain = {file.key for file in files if not file.is_compressed}
        self._see(files)
        for file in files:
            if self._has_news(file, now):
                yield from self._read(file, now)
        yield NoMoreRows(gone=gone, files=len(files)), b""

    def _has_news(self, file: FoundFile, now: float) -> bool:
        if file.is_compressed and not self._is_whole(file, now):
            return False
        position = self._positions.get(file.key)
        if position is None:
            return file.modified_at is None or now - file.modified_at <= self._question.max_age_seconds
        if position.state != file.state:
            return True
        return not position.done and self._is_whole(file, now)

    def _see(self, files: Sequence[FoundFile]) -> None:
        """Since when each file is as it is: its own time says nothing if the clock was set back since."""
        before, now = self._seen, self._steady()
        self._seen = {file.key: (file.state, now) for file in files}
        self._seen |= {key: seen for key, seen in before.items() if self._seen.get(key, ("",))[0] == seen[0]}

    def _is_whole(self, file: FoundFile, now: float) -> bool:
        """Whether it seems to be finished; where there are no times, whether it was the same in the round before."""
        if file.modified_at is not None:
            _, since = self._seen[file.key]
            return max(now - file.modified_at, self._steady() - since) >= WHOLE_SECONDS
        if file.is_compressed:
            return True
        position = self._positions.get(file.key)
        return position is not None and position.state == file.state

    def _read(self, file: FoundFile, now: float) -> Iterator[tuple[Answer, bytes]]:
        """What is new in one file. The daemon is told before, because a damaged one may take this process down."""
        is_whole = self._is_whole(file, now)
        yield FileOpened(file=file.key, path=file.path, state=file.state), b""
        position = self._positions.get(file.key)
        is_table = file.kind == "parquet"
        rejected: Counter[str] = Counter()
        try:
            with file.open() as opened:
                head = opened.read(BEGINNING_BYTES)
                position = position or self._before_compression(file, head)
                is_shorter = position.offset > file.size and not is_table and not file.is_compressed
                if is_shorter or _digest(head[: position.beginning_bytes]) != position.beginning:
                    self._left.append(position)
                    position = FilePosition()  # it was emptied, or is another file of that name
                for batch in _batches(file, opened, position, self._question.max_body_bytes, is_whole):
                    position = _behind(batch, file, head)
                    yield self._rows_message(file, batch, position, now)
                at_end = is_table or position.offset >= file.size
        except (BadFileError, *BROKEN) as error:
            at_end = False
            if is_whole:
                rejected[error.reason if isinstance(error, BadFileError) else "bad_file"] += 1
        except ImportError:
            raise
        except Exception as error:  # a file system that fails now may answer in the next round
            yield ReadFailure(reason="unreadable", error=type(error).__name__), b""
            return
        at_state = {"state": file.state, "modified_at": file.modified_at, "done": at_end or is_whole}
        last = (position or FilePosition()).model_copy(update=at_state)
        yield self._rows_message(file, Batch("", [], 0, rejected=rejected), last, now)

    def _before_compression(self, file: FoundFile, head: bytes) -> FilePosition:
        """How far a new file was read when it was not compressed yet.

        It begins as one that is gone now, or that has the same time, which gzip leaves as it was.
        """
        if not (file.is_compressed and file.is_local):
            return FilePosition()
        plain = [known for key, known in self._positions.items() if key in self._plain]
        for known in self._left + [known for known in plain if known.modified_at == file.modified_at]:
            if known.beginning and _digest(head[: known.beginning_bytes]) == known.beginning:
                return known
        return FilePosition()

    def _rows_message(self, file: FoundFile, batch: Batch, position: FilePosition, now: float) -> tuple[Answer, bytes]:
        self._positions[file.key] = position
        answer = FileRows(
            file=file.key,
            position=position,
            content_type=batch.content_type,
            modified_at=min(file.modified_at or now, now),
            head_bytes=len(batch.head),
            sizes=list(map(len, batch.records)),
            rejected=dict(batch.rejected),
        )
        return answer, b"".join([batch.head, *batch.records])


def _why(error: Exception) -> str:
    """What to change, where that is known. The text of a driver's error may tell a credential."""
    if isinstance(error, PermissionError):
        return "access is refused: check the credentials, and that they allow to list and read"
    return str(error) if isinstance(error, NoBucketError) else ""


def _batches(
    file: FoundFile, opened: BinaryIO, position: FilePosition, max_body_bytes: int, is_whole: bool
) -> Iterator[Batch]:
    if file.kind == "parquet":
        return read_parquet(opened, position.offset, max_body_bytes)
    start = Start(position.offset, position.within_record, max_body_bytes, is_whole)
    return read_csv(opened, start) if file.kind == "csv" else read_json_lines(opened, start)


def _behind(batch: Batch, file: FoundFile, head: bytes) -> FilePosition:
    """The position behind a batch, with the beginning of the file as far as it will not change any more."""
    known = head if file.kind == "parquet" else head[: batch.offset]
    return FilePosition(
        offset=batch.offset,
        within_record=batch.within_record,
        beginning=_digest(known),
        beginning_bytes=len(known),
    )


def _digest(beginning: bytes) -> str:
    """By which a file is known again; nobody can read the bytes from it."""
    return hashlib.blake2b(beginning, digest_size=8).hexdigest() if beginning else ""

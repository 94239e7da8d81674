"""The process that reads files of inputs, as the daemon holds it."""

from __future__ import annotations

import sys
from collections.abc import Mapping

from robmon.errors import ProtocolError
from robmon.inputs.readers.answers import Answer, FileOpened
from robmon.inputs.readers.position import FilePosition
from robmon.inputs.sources.files import ReaderDiedError
from robmon.models.uri import mask
from robmon.processes.channel import Frame
from robmon.processes.command import Command, fetch_environment
from robmon.processes.messages.reader import ReadMore, Tail
from robmon.processes.supervisor import Child, ChildDiedError

ANSWER_SECONDS = 600.0
READER_MEMORY_BYTES = 768 * 2**20


class ReaderProcess:
    """A `FileReader`: the process starts with the first question, and again with the first after its death.

    Args:
        url: of a folder, a glob or a file.
        max_age_seconds: files that have not changed for so long before they are first seen are not read.
        max_body_bytes: of one row.
    """

    def __init__(self, url: str, max_age_seconds: float, max_body_bytes: int) -> None:
        self._url = url
        self._max_age_seconds = max_age_seconds
        self._max_body_bytes = max_body_bytes
        self._child: Child | None = None

    @property
    def pid(self) -> int | None:
        """Process id, as long as there is one."""
        return self._child.pid if self._child is not None else None

    async def next(self, positions: Mapping[str, FilePosition]) -> tuple[Answer, bytes]:
        """The next answer, and its bytes; in a `FileOpened` the path is what a log may tell.

        Raises:
            ReaderDiedError: the next call starts another process.
            ProtocolError: what came is no answer.
        """
        try:
            answer, blobs = await self._ask(positions)
        except ChildDiedError as error:
            self._child = None
            raise ReaderDiedError(error.reason, str(error)) from None
        if not isinstance(answer, Answer):
            raise ProtocolError("that is nothing that a reader of files says")
        if isinstance(answer, FileOpened):
            answer = answer.model_copy(update={"path": shown(answer.path)})
        return answer, b"".join(blobs)

    async def close(self) -> None:
        """End the process."""
        if self._child is not None:
            child, self._child = self._child, None
            await child.stop()

    async def _ask(self, positions: Mapping[str, FilePosition]) -> Frame:
        if self._child is not None:
            return await self._child.ask(ReadMore(), timeout_seconds=ANSWER_SECONDS)
        # s3fs tries again itself: five times five would be minutes for a store that does not answer.
        environment = {"AWS_MAX_ATTEMPTS": "1", **fetch_environment()}
        self._child = await Child.start(Command(sys.executable, "robmon.reader", environment, READER_MEMORY_BYTES))
        question = Tail(
            url=self._url,
            max_age_seconds=self._max_age_seconds,
            max_body_bytes=self._max_body_bytes,
            positions=dict(positions),
        )
        return await self._child.ask(question, timeout_seconds=ANSWER_SECONDS)


def shown(place: str) -> str:
    """Without what may open a store: user and password of a URL, and its query, which may be signed.

    >>> shown("https://me:secret@host/a.jsonl?signature=1f"), shown("s3://captures/2026-0?.jsonl")
    ('https://***@host/a.jsonl', 's3://captures/2026-0?.jsonl')
    """
    is_http = place.lower().startswith(("http://", "https://"))
    return mask(place.partition("?")[0] if is_http else place)

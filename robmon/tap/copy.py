"""What is copied of one request: its body, its answer's, and the few headers that robmon needs."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final

from robmon.tap.account import Account

KEPT_HEADERS: Final = frozenset(
    (
        b"content-type",
        b"content-encoding",
        b"inference-header-content-length",
        b"x-request-id",
        b"x-amzn-sagemaker-inference-id",
        b"traceparent",
    )
)
MAX_HEADER_BYTES: Final = 256
"""robmon cuts them too."""


@dataclass(frozen=True)
class Copy:
    """One request and its answer, None where that is not copied."""

    path: str
    headers: list[tuple[str, str]]
    request: bytes
    answer: bytes | None
    answer_headers: list[tuple[str, str]]

    @property
    def held_bytes(self) -> int:
        """Of both bodies."""
        return len(self.request) + len(self.answer or b"")


def copied_headers(headers: Iterable[tuple[bytes, bytes]]) -> list[tuple[str, str]]:
    """Those that say how a body is read, or which request it was; no credential, no cookie.

    >>> copied_headers([(b"Content-Type", b"text/csv"), (b"authorization", b"Bearer x")])
    [('content-type', 'text/csv')]
    """
    lower = ((name.lower(), value) for name, value in headers)
    return [
        (name.decode("ascii"), _one_line(value[:MAX_HEADER_BYTES])) for name, value in lower if name in KEPT_HEADERS
    ]


def _one_line(value: bytes) -> str:
    return "".join(each if each.isprintable() else " " for each in value.decode("latin-1")).strip()


class Body:
    """A body as it comes, piece by piece, within the bounds.

    Args:
        account: of what is held.
        max_bytes: beyond it nothing of the body is kept.
    """

    def __init__(self, account: Account, max_bytes: int) -> None:
        self._account = account
        self._max_bytes = max_bytes
        self._pieces: list[bytes] | None = []
        self._size = 0
        self._is_whole = False

    def add(self, piece: bytes, *, is_last: bool) -> None:
        """Take a piece, unless the body is given up."""
        if self._pieces is None or self._is_whole:
            return
        if self._size + len(piece) > self._max_bytes:
            self._account.drop("too_large")
            self.forget()
        elif not self._account.reserve(len(piece)):
            self._account.drop("full")
            self.forget()
        else:
            self._size += len(piece)
            if piece:
                self._pieces.append(bytes(piece))
            self._is_whole = is_last

    def take(self) -> bytes | None:
        """The whole body, whose bytes whoever takes it gives back; None where it is not whole."""
        if self._pieces is None or not self._is_whole:
            self.forget()
            return None
        body = b"".join(self._pieces)
        self._pieces, self._size = None, 0
        return body

    def forget(self) -> None:
        """Give back what it holds, and take no more."""
        self._account.release(self._size)
        self._pieces, self._size = None, 0

"""The thread that sends copies to robmon, over one connection, and gives up at once what robmon does not take."""

from __future__ import annotations

import http.client
import ssl
import threading
import time
import uuid
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Final
from urllib.parse import quote, urlsplit

from robmon.errors import InvalidInputError
from robmon.tap.account import Account
from robmon.tap.copy import Copy

PAUSES_SECONDS: Final = (0.5, 30.0)
"""After robmon did not answer, before the next try: the first, and the longest."""
IDLE_SECONDS: Final = 2.0
"""A connection that was not used for longer is made anew: robmon closes it by then, or soon."""
_READ_BYTES: Final = 65_536
_TYPES: Final = {
    "request": "org.kubeflow.serving.inference.request",
    "answer": "org.kubeflow.serving.inference.response",
}


class Sender:
    """Sends copies, as `robmon.tap.middleware.Tap` says; its methods are for any thread, and wait for nothing.

    Raises:
        InvalidInputError: as `Tap`.
    """

    def __init__(
        self,
        url: str,
        account: Account,
        *,
        as_request: Callable[[bytes], bytes | None] | None,
        as_answer: Callable[[bytes], bytes | None] | None,
        timeout_seconds: float,
        token_file: str | None,
        ca_file: str | None,
    ) -> None:
        self._account = account
        self._address = _Address.of(url, token_file, ca_file)
        self._convert = {"request": as_request, "answer": as_answer}
        self._timeout_seconds = timeout_seconds
        self._changed = threading.Condition()
        self._waiting: deque[Copy] = deque()
        self._thread: threading.Thread | None = None
        self._is_closing = False
        self._pause_seconds = 0.0
        self._down_until = 0.0
        self._connection: http.client.HTTPConnection | None = None
        self._used_at = 0.0

    @property
    def takes(self) -> bool:
        """Whether copies are made: not for a while after robmon did not answer."""
        return time.monotonic() >= self._down_until

    def offer(self, copy: Copy) -> None:
        """Have it sent soon; its bytes are given back then."""
        self._account.count_copied()
        with self._changed:
            self._waiting.append(copy)
            self._is_closing = False
            if self._thread is None or not self._thread.is_alive():  # the first, or after a fork
                self._thread = threading.Thread(target=self._run, name="robmon-tap", daemon=True)
                self._thread.start()
            self._changed.notify()

    def close(self) -> None:
        """End the thread when it has sent what waits."""
        with self._changed:
            self._is_closing = True
            self._changed.notify()

    # --- the thread --------------------------------------------------------------------------------------------------

    def _run(self) -> None:
        while (copy := self._next()) is not None:
            try:
                self._send(copy)
            except Exception:
                self._account.drop("error")
                self._disconnect()
            self._account.release(copy.held_bytes)

    def _next(self) -> Copy | None:
        """The one that waits longest; None where the thread is to end."""
        with self._changed:
            while not self._waiting:
                if self._is_closing:
                    self._disconnect()  # before another thread may begin
                    self._thread = None
                    return None
                if not self._changed.wait(IDLE_SECONDS) and self._connection is not None:
                    self._disconnect()
            return self._waiting.popleft()

    def _send(self, copy: Copy) -> None:
        """Send both events of a copy, request first, or count why not."""
        if not self.takes:
            self._account.drop("down")
            return
        event = uuid.uuid4().hex
        for kind, body, headers in (
            ("request", copy.request, copy.headers),
            ("answer", copy.answer, copy.answer_headers),
        ):
            if body is None:
                continue
            convert = self._convert[kind]
            if convert is not None:
                try:
                    body = convert(body)
                except BaseException:  # SystemExit too would end the thread, and nothing else
                    self._account.drop("not_converted")
                    return
                if body is None:
                    return
            if not self._post(copy.path, _event_headers(kind, event, headers), body):
                return
        self._account.count_sent()

    def _post(self, path: str, headers: dict[str, str], body: bytes) -> bool:
        """Whether robmon took it."""
        try:
            status = self._status_of(path, headers, body)
        except (OSError, http.client.HTTPException):
            self._disconnect()
            first, longest = PAUSES_SECONDS
            self._pause_seconds = min(max(2 * self._pause_seconds, first), longest)
            self._down_until = time.monotonic() + self._pause_seconds
            self._account.drop("down")
            return False
        self._pause_seconds = 0.0
        if not 200 <= status < 300:
            self._account.drop("refused")
            return False
        return True

    def _status_of(self, path: str, headers: dict[str, str], body: bytes) -> int:
        """Raises OSError and HTTPException where robmon does not answer."""
        if self._connection is not None and time.monotonic() - self._used_at > IDLE_SECONDS:
            self._disconnect()
        if self._connection is None:
            self._connection = self._address.connect(self._timeout_seconds)
        connection = self._connection
        connection.request("POST", quote(path, safe="/:@!$&'()*+,;=~"), body, self._address.headers() | headers)
        answer = connection.getresponse()
        answer.read(_READ_BYTES)
        self._used_at = time.monotonic()
        if answer.will_close or not answer.isclosed():
            self._disconnect()
        return answer.status

    def _disconnect(self) -> None:
        if self._connection is not None:
            self._connection.close()
            self._connection = None


def _event_headers(kind: str, event: str, headers: list[tuple[str, str]]) -> dict[str, str]:
    """As KServe's inference logger has them, in binary mode."""
    return dict(headers) | {
        "ce-specversion": "1.0",
        "ce-id": event,
        "ce-type": _TYPES[kind],
        "ce-source": "robmon.tap",
    }


@dataclass(frozen=True)
class _Address:
    """Where robmon is, and how it is to be talked to."""

    host: str
    port: int | None
    tls: ssl.SSLContext | None
    token_file: Path | None

    @classmethod
    def of(cls, url: str, token_file: str | None, ca_file: str | None) -> _Address:
        try:
            parts = urlsplit(url)
            host, port, is_url = parts.hostname, parts.port, parts.scheme in ("http", "https")
        except ValueError:
            host, port, is_url = None, None, False
        if host is None or not is_url or parts.path not in ("", "/") or "@" in parts.netloc:
            raise InvalidInputError(
                "the url of robmon's port for inputs is one as http://127.0.0.1:9878, without a path"
            )
        tls = None
        if parts.scheme == "https":
            try:
                tls = ssl.create_default_context(cafile=ca_file)
            except (OSError, ssl.SSLError) as error:
                raise InvalidInputError(f"ca_file = {ca_file!r} cannot be used: {error.strerror or error}") from None
        found = cls(host, port, tls, None if token_file is None else Path(token_file))
        try:
            found.headers()
        except OSError as error:
            raise InvalidInputError(f"token_file = {token_file!r} cannot be read: {error.strerror}") from None
        return found

    def headers(self) -> dict[str, str]:
        """The token, read anew each time, since it may be replaced. Raises OSError where it cannot be read."""
        if self.token_file is None:
            return {}
        return {"authorization": f"Bearer {self.token_file.read_text(encoding='ascii').strip()}"}

    def connect(self, timeout_seconds: float) -> http.client.HTTPConnection:
        """A connection, which is made with the first request."""
        if self.tls is None:
            return http.client.HTTPConnection(self.host, self.port, timeout=timeout_seconds)
        return http.client.HTTPSConnection(self.host, self.port, timeout=timeout_seconds, context=self.tls)

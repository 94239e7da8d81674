"""The ASGI middleware: it looks on while a request is answered, and hands what it has seen to a thread."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Collection, MutableMapping
from typing import Any, Final

from robmon.errors import InvalidInputError
from robmon.tap.account import Account, Counts
from robmon.tap.copy import Body, Copy, copied_headers
from robmon.tap.sender import Sender
from robmon.vocabulary import PROBE_HEADER

Message = MutableMapping[str, Any]
Scope = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
ASGIApplication = Callable[[Scope, Receive, Send], Awaitable[None]]
Convert = Callable[[bytes], bytes | None]

_EVENTS: Final = b"text/event-stream"
_PROBE: Final = PROBE_HEADER.lower().encode()


class Tap:
    """ASGI middleware that copies an application's prediction requests and answers to robmon.

    The application's answers are passed on first, unchanged; a copy never delays a request or makes it fail. One thread
    sends the copies, as events of KServe's inference logger. What exceeds the bounds, or robmon does not accept, is
    dropped and counted; while robmon does not answer, nothing is copied at all. Only POST requests answered with a
    status from 200 to 299 are copied, and only whole; where the answer is an event stream, the request alone. Of the
    headers only those are copied that say how to read a body, or which request it was. WebSockets pass untouched.

    Args:
        app: the application.
        url: robmon's port for inputs.
        paths: paths of prediction requests, as in `scope["path"]`; None: all.
        as_request: converts a request body into one that robmon reads; runs in the sending thread. None: bodies are
            sent as they are. A body for which it returns None is left out.
        as_answer: the same for answers, which robmon compares with those of its own copy of the model.
        answers: whether answers are copied too.
        max_body_bytes: largest body that is copied.
        max_pending_bytes: most bytes held of bodies that are being gathered or wait to be sent.
        timeout_seconds: how long to wait for robmon; only the sending thread waits.
        token_file: file with the bearer token for robmon's port.
        ca_file: authorities by which robmon's certificate is checked; None: the system's.

    Raises:
        InvalidInputError: the url is not an http or https URL, a file cannot be used, a path does not begin with a
            slash, or a bound is not above 0.

    Attributes:
        counts: requests copied, sent and dropped, by reason.
    """

    def __init__(
        self,
        app: ASGIApplication,
        url: str = "http://127.0.0.1:9878",
        *,
        paths: Collection[str] | None = None,
        as_request: Convert | None = None,
        as_answer: Convert | None = None,
        answers: bool = True,
        max_body_bytes: int = 8 * 2**20,
        max_pending_bytes: int = 16 * 2**20,
        timeout_seconds: float = 2.0,
        token_file: str | None = None,
        ca_file: str | None = None,
    ) -> None:
        if min(max_body_bytes, max_pending_bytes, timeout_seconds) <= 0:
            raise InvalidInputError("max_body_bytes, max_pending_bytes and timeout_seconds must be above 0")
        if isinstance(paths, str):
            raise InvalidInputError(f"paths must be several paths, as ({paths!r},), not one")
        if (without := [path for path in paths or () if not path.startswith("/")]) != []:
            raise InvalidInputError(f"paths begin with a slash, as {'/' + without[0]!r}: no request has {without[0]!r}")
        self._app = app
        self._paths = None if paths is None else frozenset(paths)
        self._answers = answers
        self._max_body_bytes = max_body_bytes
        self._account = Account(max_pending_bytes)
        self._sender = Sender(
            url,
            self._account,
            as_request=as_request,
            as_answer=as_answer,
            timeout_seconds=timeout_seconds,
            token_file=token_file,
            ca_file=ca_file,
        )

    @property
    def counts(self) -> Counts:
        """Requests copied, sent and dropped, by reason."""
        return self._account.counts

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Have the application answer, and look on."""
        if scope["type"] == "lifespan":
            try:
                await self._app(scope, receive, send)
            finally:
                self.close()
        elif scope["type"] != "http" or not self._is_wanted(scope):
            await self._app(scope, receive, send)
        else:
            await self._look_on(scope, receive, send)

    def close(self) -> None:
        """End the thread once it has sent what is waiting; returns at once. The next copy starts another thread."""
        self._sender.close()

    def _is_wanted(self, scope: Scope) -> bool:
        if scope["method"] != "POST" or not self._sender.takes:
            return False
        if self._paths is not None and scope["path"] not in self._paths:
            return False
        return all(name != _PROBE for name, _ in scope["headers"])  # what robmon itself asks is no production input

    async def _look_on(self, scope: Scope, receive: Receive, send: Send) -> None:
        looking = _Looking(self._account, self._sender, self._max_body_bytes, self._answers)

        async def tapped_receive() -> Message:
            message = await receive()
            looking.see(looking.see_request, message)
            return message

        async def tapped_send(message: Message) -> None:
            await send(message)
            looking.see(looking.see_answer, message)

        try:
            await self._app(scope, tapped_receive, tapped_send)
        except BaseException:
            looking.forget()
            raise
        looking.see(looking.finish, scope)


class _Looking:
    """What is seen of one request and its answer. Whatever goes wrong here costs the copy alone."""

    def __init__(self, account: Account, sender: Sender, max_body_bytes: int, answers: bool) -> None:
        self._account, self._sender = account, sender
        self._request = Body(account, max_body_bytes)
        self._answer = Body(account, max_body_bytes) if answers else None
        self._status = 0
        self._answer_headers: Collection[tuple[bytes, bytes]] = ()

    def see(self, look: Callable[[Message], None], message: Message) -> None:
        try:
            look(message)
        except Exception:
            self._account.drop("error")
            self.forget()

    def see_request(self, message: Message) -> None:
        if message["type"] == "http.request":
            self._request.add(message.get("body", b""), is_last=not message.get("more_body", False))

    def see_answer(self, message: Message) -> None:
        if message["type"] == "http.response.start":
            self._status = message["status"]
            self._answer_headers = tuple(message.get("headers", ()))
            if not 200 <= self._status < 300:
                self.forget()
            elif self._answer is not None and _is_event_stream(self._answer_headers):
                self._answer.forget()
        elif message["type"] == "http.response.body" and self._answer is not None:
            self._answer.add(message.get("body", b""), is_last=not message.get("more_body", False))

    def finish(self, scope: Message) -> None:
        """Hand it over, where the request was read to its end and answered."""
        request, answer = self._request.take(), self._answer.take() if self._answer is not None else None
        if request is None or not 200 <= self._status < 300:
            self._account.release(len(request or b"") + len(answer or b""))
            return
        try:
            headers, answer_headers = copied_headers(scope["headers"]), copied_headers(self._answer_headers)
            self._sender.offer(Copy(scope["path"], headers, request, answer, answer_headers))
        except Exception:
            self._account.release(len(request) + len(answer or b""))
            raise

    def forget(self) -> None:
        """Give back what it holds, and gather no more."""
        self._request.forget()
        if self._answer is not None:
            self._answer.forget()


def _is_event_stream(headers: Collection[tuple[bytes, bytes]]) -> bool:
    """Whether an answer comes event by event, for as long as it likes: it is nothing that robmon could read."""
    return any(name.lower() == b"content-type" and value.lower().startswith(_EVENTS) for name, value in headers)

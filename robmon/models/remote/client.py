"""Asks a model's endpoint, as a polite guest of a server that has its own clients to serve.

One request at a time, at most so many rows a second, and never more than half of the time: the pause after an answer is
at least as long as the answer took. What fails for a moment is tried again a few times, later and later; what the
server refuses is not. No message holds anything of an answer's text, because servers repeat the inputs in their errors.
"""

from __future__ import annotations

import contextlib
import json
import random
import socket
import ssl
import threading
import time
import uuid
import weakref
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from email.utils import parsedate_to_datetime
from typing import Any, Final

import httpx

from robmon.errors import ModelLoadError, PredictionError, SettingsError
from robmon.models.access import EndpointAccess
from robmon.models.bearer import bearer_token
from robmon.models.uri import Endpoint
from robmon.vocabulary import PROBE_HEADER, PROBE_ID_PREFIX

MAX_ANSWER_BYTES: Final = 64 * 2**20
ATTEMPTS: Final = 4
FIRST_WAIT_SECONDS: Final = 0.25
LONGEST_WAIT_SECONDS: Final = 10.0
"""Longest wait for other attempts, all together; a server that asks for a longer one is given up."""
RETRIED_STATUSES: Final = (429, 502, 503, 504)
UNAVAILABLE_STATUSES: Final = (*RETRIED_STATUSES, 401, 403, 404, 405, 407)
"""These say nothing of the rows that were sent."""
_LOST_CONNECTION: Final = (httpx.NetworkError, httpx.RemoteProtocolError, httpx.ConnectTimeout)


@dataclass(frozen=True)
class Answer:
    """An answer of status 2xx: its body, and its headers by lower-case name."""

    headers: Mapping[str, str]
    body: bytes

    def json(self) -> Any:
        """The body as JSON; bare `NaN` and `Infinity` are numbers.

        Raises:
            PredictionError: it is no JSON (`invalid_output`).
        """
        return parse_json(self.body)


class StatusError(PredictionError):
    """An answer that is no success.

    Attributes:
        status: of the answer.
    """

    def __init__(self, place: str, status: int) -> None:
        self.status = status
        self.is_unavailable = status in UNAVAILABLE_STATUSES
        super().__init__(f"the endpoint at {place} answered {status}", "endpoint_status")


class _AgainError(Exception):
    """An attempt that failed for a moment.

    Attributes:
        failure: what to raise if it was the last one.
        wait_seconds: what the server asked for, if it did.
    """

    def __init__(self, failure: PredictionError, wait_seconds: float | None = None) -> None:
        self.failure = failure
        self.wait_seconds = wait_seconds
        super().__init__()


class Client:
    """The connection to one endpoint.

    Raises:
        ModelLoadError: the token's file cannot be used.
    """

    def __init__(self, endpoint: Endpoint, access: EndpointAccess) -> None:
        self._endpoint = endpoint
        self._access = access
        self._free_at = 0.0
        self._jitter = random.Random()  # noqa: S311 - spreads retries, no secret
        self._socket: socket.socket | None = None  # that was opened last: there is one at a time
        user = endpoint.credentials
        self._http = httpx.Client(
            auth=httpx.BasicAuth(*user) if user else None,
            timeout=access.timeout_seconds,
            follow_redirects=False,
            trust_env=False,  # no proxy: the model server is a neighbour
            # Without TLS there is nothing to verify, and to read all the authorities takes long.
            verify=httpx.create_ssl_context() if endpoint.base.startswith("https:") else False,
            headers={PROBE_HEADER: "1", "User-Agent": "robmon", "Accept-Encoding": "identity"},
        )
        weakref.finalize(self, self._http.close)
        try:
            self._authorization()
        except PredictionError as error:
            raise ModelLoadError(str(error)) from None

    def get(self, url: str) -> Answer:
        """GET what the server tells about itself or the model.

        Raises:
            StatusError: the server refuses.
            PredictionError: `endpoint_unreachable`, `invalid_output`.
        """
        return self._persist("GET", url, b"", {}, rows=0)

    def post(self, body: bytes, headers: Mapping[str, str], rows: int) -> Answer:
        """POST rows to the prediction URL.

        Raises:
            StatusError: the server refuses.
            PredictionError: `endpoint_unreachable`, `invalid_output`.
        """
        return self._persist("POST", self._endpoint.url, body, headers, rows)

    def _persist(self, method: str, url: str, body: bytes, headers: Mapping[str, str], rows: int) -> Answer:
        waited = 0.0
        for attempt in range(ATTEMPTS):
            self._wait_for_turn(rows)
            began = time.monotonic()
            try:
                return self._send(method, url, body, headers)
            except _AgainError as again:
                wait = self._wait_seconds(attempt, again.wait_seconds)
                if attempt == ATTEMPTS - 1 or waited + wait > LONGEST_WAIT_SECONDS:
                    raise again.failure from None
            finally:
                ended = time.monotonic()
                self._free_at = max(began + rows / self._access.rows_per_second, 2 * ended - began)
            time.sleep(wait)
            waited += wait
        raise AssertionError("the last attempt returns or raises")

    def _wait_for_turn(self, rows: int) -> None:
        """Rows are paced; questions about the model are few, and are not."""
        if rows:
            time.sleep(max(self._free_at - time.monotonic(), 0.0))

    def _wait_seconds(self, attempt: int, asked: float | None) -> float:
        """Exponential backoff with full jitter, after the wait that the server asked for."""
        return (asked or 0.0) + self._jitter.uniform(0, FIRST_WAIT_SECONDS * 2**attempt)

    def _send(self, method: str, url: str, body: bytes, headers: Mapping[str, str]) -> Answer:
        headers = {**headers, "Ce-Id": PROBE_ID_PREFIX + uuid.uuid4().hex, **self._authorization()}
        deadline = time.monotonic() + self._access.timeout_seconds
        asked = self._http.stream(method, url, content=body or None, headers=headers, extensions={"trace": self._note})
        try:
            with self._until_cut(), asked as response:
                if not response.is_success:
                    raise self._refusal(response)
                return Answer(dict(response.headers), self._read(response, deadline))
        except httpx.DecodingError:
            raise PredictionError("the endpoint's answer is not compressed as it says", "invalid_output") from None
        except _LOST_CONNECTION as error:
            if time.monotonic() > deadline:
                raise self._late() from None
            raise _AgainError(self._unreachable(_why(error))) from None
        except httpx.TimeoutException:
            raise self._late() from None
        except httpx.HTTPError as error:
            raise self._unreachable(type(error).__name__) from None

    def _read(self, response: httpx.Response, deadline: float) -> bytes:
        """The body, within its bounds: a server may send without end, or a byte now and then."""
        body = bytearray()
        for piece in response.iter_bytes():
            body += piece
            if len(body) > MAX_ANSWER_BYTES:
                raise PredictionError(f"the endpoint's answer exceeds {MAX_ANSWER_BYTES} bytes", "invalid_output")
            if time.monotonic() > deadline:
                raise self._late()
        if time.monotonic() > deadline:  # what looks like its end may be where it was cut
            raise self._late()
        return bytes(body)

    @contextlib.contextmanager
    def _until_cut(self) -> Iterator[None]:
        """End the connection at the deadline: httpx has one for each read, and a head may come byte by byte."""
        timer = threading.Timer(self._access.timeout_seconds, self._cut)
        timer.daemon = True
        timer.start()
        try:
            yield
        finally:
            timer.cancel()

    def _cut(self) -> None:
        if self._socket is not None:
            with contextlib.suppress(OSError):
                socket.socket.shutdown(self._socket, socket.SHUT_RDWR)  # TLS's own would not be for two threads

    def _note(self, event: str, info: Mapping[str, Any]) -> None:
        if event in ("connection.connect_tcp.complete", "connection.start_tls.complete"):
            self._socket = info["return_value"].get_extra_info("socket")

    def _refusal(self, response: httpx.Response) -> PredictionError | _AgainError:
        failure = StatusError(self._endpoint.place, response.status_code)
        if failure.status in RETRIED_STATUSES:
            return _AgainError(failure, _retry_after(response.headers.get("retry-after", "")))
        return failure

    def _unreachable(self, why: str) -> PredictionError:
        return PredictionError(f"the endpoint at {self._endpoint.place} did not answer ({why})", "endpoint_unreachable")

    def _late(self) -> PredictionError:
        return self._unreachable(f"not within {self._access.timeout_seconds:g} s")

    def _authorization(self) -> dict[str, str]:
        """Read for each request, because such files are renewed."""
        try:
            token = bearer_token(self._access)
        except SettingsError as error:
            raise PredictionError(str(error), "endpoint_status") from None
        return {} if token is None else {"Authorization": f"Bearer {token}"}


def parse_json(text: bytes) -> Any:
    """JSON of an answer.

    Raises:
        PredictionError: it is none (`invalid_output`).
    """
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        raise PredictionError("the endpoint's answer is no JSON", "invalid_output") from None


def _why(error: BaseException) -> str:
    """The exception's type, or what is wrong with the server's certificate."""
    cause: BaseException | None = error
    while cause is not None:
        if isinstance(cause, ssl.SSLCertVerificationError):
            return f"its certificate is not accepted: {cause.verify_message}"
        cause = cause.__cause__ or cause.__context__
    return type(error).__name__


def _retry_after(value: str) -> float | None:
    """Seconds to wait, given as a number or as a date."""
    if value.isdecimal():
        return float(value)
    try:
        return max(parsedate_to_datetime(value).timestamp() - time.time(), 0.0)
    except (ValueError, OverflowError):
        return None

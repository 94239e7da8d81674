"""Structured logs: one JSON object a line, or coloured text on a terminal."""

from __future__ import annotations

import asyncio
import logging
import os
import select
import sys
import threading
from collections import deque
from typing import Any, Final, Literal

import structlog

from robmon.models.strangers import place_word, type_word

MAX_WAITING_BYTES: Final = 2**20
"""Of lines that are not written yet: some minutes of a daemon that tells much."""
FLUSH_SECONDS: Final = 2.0


class LineWriter(logging.Handler):
    """Writes lines to a descriptor on a thread of its own, in order.

    Who reads them may stop, or write to a disk that is full: a pipe that is not read holds up whoever writes to it, and
    that is the event loop. Lines beyond `MAX_WAITING_BYTES` are left out, and their number is told once there is room.
    """

    def __init__(self, descriptor: int) -> None:
        super().__init__()
        self.left_out = 0
        """Lines that were never written."""
        self._descriptor = descriptor
        self._changed = threading.Condition()
        self._waiting: deque[bytes] = deque()
        self._waiting_bytes = 0
        self._told = 0  # of those left out
        threading.Thread(target=self._run, name="robmon-log", daemon=True).start()

    def emit(self, record: logging.LogRecord) -> None:
        """Have it written soon."""
        try:
            line = (self.format(record) + "\n").encode("utf-8", "backslashreplace")
        except Exception:  # as the library's own handlers: a line that cannot be made costs nobody else anything
            self.handleError(record)
            return
        with self._changed:
            if self._waiting_bytes + len(line) > MAX_WAITING_BYTES:
                self.left_out += 1
                return
            self._waiting.append(line)
            self._waiting_bytes += len(line)
            self._changed.notify_all()

    def flush(self) -> None:
        """Wait until all is written, but not for long: at the end of the process."""
        with self._changed:
            self._changed.wait_for(lambda: not self._waiting, FLUSH_SECONDS)

    def _run(self) -> None:
        while True:
            with self._changed:
                self._changed.wait_for(lambda: self._waiting)
                line = self._waiting[0]
            is_written = _write(self._descriptor, line)
            with self._changed:
                self._waiting.popleft()
                self._waiting_bytes -= len(line)
                self.left_out += not is_written
                lately, has_room = self.left_out - self._told, self._waiting_bytes < MAX_WAITING_BYTES / 2
                self._changed.notify_all()
            if is_written and lately and has_room:
                self._told += lately
                why = "standard error was not read, or could not be written"
                structlog.get_logger(__name__).warning("log lines left out", lines=lately, because=why)


def _write(descriptor: int, line: bytes) -> bool:
    """Write all of it, however long that takes; False where it cannot be written."""
    while line:
        try:
            line = line[os.write(descriptor, line) :]
        except BlockingIOError:  # whoever shares it has made it so
            select.select([], [descriptor], [])
        except OSError:
            return False
    return True


def _without_text(_logger: object, _method: str, event: structlog.typing.EventDict) -> structlog.typing.EventDict:
    """An exception as its type and place: its text may hold a production input."""
    info = event.pop("exc_info", None)
    error = info[1] if isinstance(info, tuple) else sys.exc_info()[1] if info is True else info
    if isinstance(error, BaseException):
        place = place_word(error.__traceback__)
        event["exception"] = type_word(type(error)) + (f" at {place}" if place else "")
    return event


def configure(level: str, form: Literal["json", "console"] | None) -> None:
    """Send robmon's log lines, and the warnings of the libraries under it, to standard error."""
    console = form == "console" or (form is None and sys.stderr.isatty())
    shared: list[structlog.typing.Processor] = [
        structlog.stdlib.add_log_level,
        structlog.stdlib.add_logger_name,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
    ]
    renderer = (
        structlog.dev.ConsoleRenderer(colors=sys.stderr.isatty()) if console else structlog.processors.JSONRenderer()
    )
    handler = LineWriter(sys.stderr.fileno())
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=shared,
            processors=[structlog.stdlib.ProcessorFormatter.remove_processors_meta, _without_text, renderer],
        )
    )
    logging.basicConfig(handlers=[handler], level=logging.WARNING, force=True)
    logging.getLogger("robmon").setLevel(level.upper())
    structlog.configure(
        processors=[*shared, structlog.stdlib.ProcessorFormatter.wrap_for_formatter],
        logger_factory=structlog.stdlib.LoggerFactory(),
        wrapper_class=structlog.stdlib.BoundLogger,
        cache_logger_on_first_use=True,
    )


def lines_left_out() -> int:
    """How many lines of this process's log were never written."""
    return sum(each.left_out for each in logging.getLogger().handlers if isinstance(each, LineWriter))


def tell_unexpected(_loop: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
    """An event loop's handler of exceptions that nobody caught. The loop's own would tell their text."""
    log = structlog.get_logger(__name__)
    log.error("unexpected", what=context["message"], exc_info=context.get("exception"))

"""Structured logs: one JSON object a line, or coloured text on a terminal."""

from __future__ import annotations

import asyncio
import logging
import sys
from typing import Any, Literal

import structlog

from robmon.models.strangers import place_word, type_word


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
    handler = logging.StreamHandler(sys.stderr)
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


def tell_unexpected(_loop: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
    """An event loop's handler of exceptions that nobody caught. The loop's own would tell their text."""
    log = structlog.get_logger(__name__)
    log.error("unexpected", what=context["message"], exc_info=context.get("exception"))

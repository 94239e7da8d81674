"""What a child process prints, in the daemon's log."""

from __future__ import annotations

import asyncio

import structlog

log = structlog.get_logger("robmon.supervisor")

MAX_LINE_BYTES = 4096
MAX_OUTPUT_BYTES_PER_SECOND = 128 * 1024
LINE_BYTES = 256
"""What a line counts besides its own: to write one takes as long as to write so much more of another."""
MAX_CHUNK_BYTES = 64 * 1024


class OutputLog:
    """What a child prints, line by line, up to a bound a second: the rest is read too, else the child would wait."""

    def __init__(self) -> None:
        self._rest = b""
        self._left = MAX_OUTPUT_BYTES_PER_SECOND
        self._second = 0.0
        self._dropped_bytes = 0

    def take(self, chunk: bytes, now: float) -> None:
        """Log the lines that end in it."""
        if now >= self._second + 1:
            self.tell_dropped()
            self._second, self._left = now, MAX_OUTPUT_BYTES_PER_SECOND
        pieces = (self._rest + chunk).split(b"\n")
        if len(pieces[-1]) > MAX_LINE_BYTES:
            pieces.append(b"")
        *lines, self._rest = pieces
        for place, line in enumerate(lines):
            self._left -= len(line) + LINE_BYTES
            if self._left < 0:
                self._dropped_bytes += sum(map(len, lines[place:])) + len(lines) - place
                return
            log.info("worker output", line=line[:MAX_LINE_BYTES].decode("utf-8", "replace"))

    def tell_dropped(self) -> None:
        """Tell how much was left out."""
        if self._dropped_bytes:
            log.warning("worker output left out", bytes=self._dropped_bytes, advice="it prints too much to be logged")
        self._dropped_bytes = 0

    def end(self) -> None:
        """Log what is left."""
        if self._rest:
            log.info("worker output", line=self._rest.decode("utf-8", "replace"))
        self.tell_dropped()


async def log_lines(output: asyncio.StreamReader) -> None:
    """Log what is read until it ends."""
    lines = OutputLog()
    try:
        while chunk := await output.read(MAX_CHUNK_BYTES):
            lines.take(chunk, asyncio.get_running_loop().time())
            await asyncio.sleep(0)  # a read of what is there already would give no other task its turn
    finally:
        lines.end()

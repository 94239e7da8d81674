"""What a child process prints, in the daemon's log."""

from __future__ import annotations

import pytest
from structlog.testing import capture_logs

from robmon.processes.output import LINE_BYTES, MAX_CHUNK_BYTES, MAX_OUTPUT_BYTES_PER_SECOND, OutputLog


@pytest.mark.parametrize(("line", "least"), [(b"", 100), (b"x", 100), (b"x" * 1000, 50)])
def test_however_short_the_lines_are_few_of_them_are_logged_a_second(line: bytes, least: int) -> None:
    """Each costs the event loop its time, an empty one too; what is left out is counted to the byte."""
    log = OutputLog()
    chunk = (line + b"\n") * (MAX_CHUNK_BYTES // (len(line) + 1))
    with capture_logs() as logged:
        for hundredth in range(200):
            log.take(chunk, hundredth / 100)
        log.end()
    lines = [each["line"] for each in logged if each["event"] == "worker output"]
    left_out = sum(each["bytes"] for each in logged if each["event"] == "worker output left out")
    assert set(lines) == {line.decode()}
    assert 2 * least < len(lines) <= 2 * MAX_OUTPUT_BYTES_PER_SECOND / LINE_BYTES
    assert left_out + len(lines) * (len(line) + 1) == 200 * len(chunk)

"""Few lines in the log, whatever arrives."""

from __future__ import annotations

from structlog.testing import capture_logs

from robmon.ports.rejections import RejectionLog


def test_rejections_are_one_line_a_minute() -> None:
    now = 0.0
    rejections = RejectionLog("inputs", clock=lambda: now)
    with capture_logs() as lines:
        for second in range(0, 130):
            now = float(second)
            rejections.add("too_large")
            rejections.add("timeout")
    assert [line["count"] for line in lines] == [1, 120, 120]
    assert lines[1]["reasons"] == {"timeout": 60, "too_large": 60}
    assert {line["port"] for line in lines} == {"inputs"}

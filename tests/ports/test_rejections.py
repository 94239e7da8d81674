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


def test_files_are_named_in_the_next_line() -> None:
    now = 0.0
    rejections = RejectionLog("files", clock=lambda: now)
    with capture_logs() as lines:
        for number in range(100):
            rejections.note("bad_file")
            rejections.name(f"/inputs/{number}.csv", "bad_file")
        rejections.tell()
        rejections.note("unreadable", 3)
        rejections.tell()
        now = 60.0
        rejections.tell()
        now = 120.0
        rejections.tell()
    assert [(line["count"], line["reasons"]) for line in lines] == [(100, {"bad_file": 100}), (3, {"unreadable": 3})]
    assert lines[0]["files"] == {f"/inputs/{number}.csv": "bad_file" for number in range(20)}
    assert "files" not in lines[1]

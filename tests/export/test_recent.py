"""The last day, as the status page shows it."""

from __future__ import annotations

from robmon.export.recent import DAY_SECONDS, Recent

NOW = 1_800_000_000.0


def row(at: float) -> dict[str, object]:
    return {"at": at, "number": 1, "version": "1", "levels": [{"level": 0.4, "mse": 1.0, "bound": 2.0}]}


def times(recent: Recent) -> list[float]:
    return [point.at - NOW for point in recent.points]


def test_an_hour_in_which_the_clock_was_wrong_hides_nothing_afterwards() -> None:
    """The newest is what came last, not what says the latest time; also after a restart."""
    recent, read = Recent(), Recent()
    for at in (0, 100, 30 * DAY_SECONDS, 200):
        read.add_assessment(row(NOW + at))
    assert times(read) == [0, 100, 200]
    recent.add_assessment(row(NOW + 300))
    recent.merge(read)
    assert times(recent) == [0, 100, 200, 300]


def test_what_is_older_than_a_day_is_not_shown() -> None:
    recent = Recent()
    for at in (0, 100, DAY_SECONDS + 50):
        recent.add_assessment(row(NOW + at))
    assert times(recent) == [100, DAY_SECONDS + 50]

"""However often the registry tells of something, it is asked once, soon, and never again and again."""

from __future__ import annotations

from datetime import datetime, timedelta

from robmon.daemon.early_poll import PAUSE_SECONDS, EarlyPoll
from robmon.daemon.schedule import STEADY

PAUSE = timedelta(seconds=PAUSE_SECONDS)


def test_many_events_are_one_look() -> None:
    due: list[datetime] = []
    poll, now = EarlyPoll(due.append), datetime.now(STEADY)
    for _ in range(100):
        poll.ask()
    (at,) = due
    assert now <= at <= datetime.now(STEADY), "at once"
    with poll.polling():
        pass
    for _ in range(100):
        poll.ask()
    assert len(due) == 2 and due[1] >= now + PAUSE


def test_what_is_told_while_it_is_looked_at_is_looked_at_again() -> None:
    due: list[datetime] = []
    poll, now = EarlyPoll(due.append), datetime.now(STEADY)
    with poll.polling():
        poll.ask()
        poll.ask()
        assert due == []
    (at,) = due
    assert at >= now + PAUSE
    with poll.polling():
        pass
    assert len(due) == 1

"""When shares of the noise error are asked for: once for a regression, once more where time was short, on request."""

from __future__ import annotations

from robmon.daemon.decisions.causes import CauseSearch
from robmon.processes.messages.findings import SharesResult
from robmon.processes.messages.question import AttributionQuestion

REGRESSION = ("version", "2", 100.0)
FOUND = SharesResult(groups=["a"], share=[1.0], stderr=[0.0], total=1.0, level=0.1, is_now=True)
NO_TIME = SharesResult(reason="the budget is 10 s", is_now=True)


def test_nothing_is_asked_now_without_a_regression() -> None:
    search = CauseSearch({"wheels": ["left", "right"]})
    before = {"shares": {"members": {}}, "rows": 3}
    assert search.question(None, before) == AttributionQuestion(
        groups={"wheels": ["left", "right"]}, before={"members": {}}
    )
    assert search.question(None, None).before is None


def test_a_regression_is_asked_for_until_it_is_answered_once() -> None:
    search = CauseSearch({})
    asked = search.question(REGRESSION, None)
    assert asked.now
    search.take(asked, REGRESSION, None)
    assert search.question(REGRESSION, None).now, "no answer came"
    search.take(asked, REGRESSION, NO_TIME)
    assert not search.question(REGRESSION, None).now, "it was tried with time kept for it"
    assert search.question(("time", "2", 200.0), None).now


def test_what_came_with_the_verdict_counts_where_it_holds_shares() -> None:
    search, asked = CauseSearch({}), AttributionQuestion()
    search.take(asked, REGRESSION, NO_TIME)
    assert search.question(REGRESSION, None).now
    search.take(asked, REGRESSION, FOUND)
    assert not search.question(REGRESSION, None).now


def test_on_request_it_is_asked_once() -> None:
    search = CauseSearch({})
    search.request()
    asked = search.question(None, None)
    assert asked.now
    search.take(asked, None, FOUND)
    assert not search.question(None, None).now

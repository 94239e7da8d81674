"""An assessment at an endpoint keeps to its time budget, and asks for nothing that could not be of use."""

from __future__ import annotations

import json
import time

import pytest

from robmon.errors import OverBudgetError, PredictionError
from robmon.models.remote import client
from robmon.processes.messages.assessed import Assessed
from robmon.processes.messages.every_process import Rejections
from robmon.worker.evaluation import evaluate
from tests.endpoint import Reply, Request, reply_json, serving
from tests.models.remote.conftest import connect
from tests.worker.test_evaluation import bodies, question


def answered(request: Request) -> Reply:
    table = json.loads(request.body)["dataframe_split"]
    return reply_json({"predictions": [sum(row) for row in table["data"]]})


def test_a_pace_that_is_too_slow_is_told_without_asking() -> None:
    with serving(answered) as server:
        model = connect(f"{server.url}/invocations", rows_per_second=50)
        # The pace alone takes 32 s; what the machine itself needs comes on top.
        told = r"needs 3\d(\.\d)? s, the budget is 10 s: raise .* model\.rows_per_second"
        with pytest.raises(OverBudgetError, match=told):
            evaluate(model, question(64, max_seconds=10), bodies(64))
    assert server.posts == []


def test_a_slow_server_is_asked_no_longer_than_the_budget() -> None:
    def slow(request: Request) -> Reply:
        time.sleep(0.3)
        return answered(request)

    with serving(slow) as server, pytest.raises(OverBudgetError, match="the budget is 1 s"):
        evaluate(connect(f"{server.url}/invocations"), question(64, max_seconds=1), bodies(64))
    assert len(server.posts) <= 3, "0.3 s, and after the pauses 0.6 s each: the third ends beyond the budget"


@pytest.mark.usefixtures("quick_retries")
@pytest.mark.parametrize(("status", "requests"), [(503, client.ATTEMPTS), (429, client.ATTEMPTS), (401, 1), (404, 1)])
def test_a_server_that_takes_nothing_is_not_asked_about_each_row(status: int, requests: int) -> None:
    with (
        serving(lambda request: Reply(status)) as server,
        pytest.raises(PredictionError, match=f"answered {status}"),
    ):
        evaluate(connect(f"{server.url}/invocations"), question(64), bodies(64))
    assert len(server.posts) == requests


def particular(request: Request) -> Reply:
    """Refuses tables with a large number."""
    table = json.loads(request.body)["dataframe_split"]
    return Reply(400) if any(row[0] > 100 for row in table["data"]) else answered(request)


def sample() -> list[bytes]:
    odd = {"dataframe_split": {"columns": ["a", "b", "c"], "data": [[1000.0, 1.0, 2.0]]}}
    return [json.dumps(odd).encode(), *bodies(64)]


def test_rows_that_the_server_refuses_do_not_cost_the_assessment() -> None:
    with serving(particular) as server:
        answer, _ = evaluate(connect(f"{server.url}/invocations"), question(65), sample())
    assert isinstance(answer, Assessed) and (answer.plan.rows, answer.rejections.unusable) == (64, [0])


def test_refused_rows_are_told_also_where_no_time_is_left_for_the_rest() -> None:
    model_seconds = 0.05

    def slow(request: Request) -> Reply:
        time.sleep(model_seconds)
        return particular(request)

    found = Rejections()
    with serving(slow) as server, pytest.raises(OverBudgetError):
        evaluate(connect(f"{server.url}/invocations", batch_rows=65), question(65, max_seconds=4), sample(), found)
    assert found == Rejections(counts={"mlflow": {"refused_by_model": 1}}, unusable=[0], rows=64)

"""Requests, answers and labels that come apart from one another, and what becomes of them in a real daemon."""

from __future__ import annotations

import functools
import itertools
import json
from contextlib import AbstractContextManager
from pathlib import Path

import pytest

from tests.e2e.daemon import ROWS, Daemon, Row, again_and_again, running_daemon
from tests.e2e.registry import COLUMNS, Registry
from tests.e2e.test_endpoint import NO_REGISTRY
from tests.inputs.senders import JSON, REQUEST_EVENT, RESPONSE_EVENT, Request, event

NOISE = "0.3"


class Server:
    """A model server behind KServe's logger, whose clients learn the truth a little later."""

    def __init__(self, daemon: Daemon, weight: float) -> None:
        self.weight = weight
        self._daemon = daemon
        self._url = f"http://127.0.0.1:{daemon.port('inputs_port')}"
        self._numbers = itertools.count()

    def serve(self, row: Row, target: object = None) -> None:
        """One request and its answer as events, the answer first every other time, in both modes; then its label."""
        number = next(self._numbers)
        asked = Request(
            "/",
            json.dumps({"dataframe_split": {"columns": list(COLUMNS), "data": [row]}}).encode(),
            {"content-type": JSON},
        )
        answer = {"predictions": [self.weight * (row[0] + row[1])]}
        answered = Request("/", json.dumps(answer).encode(), {"content-type": JSON})
        kinds, structured = ((asked, REQUEST_EVENT), (answered, RESPONSE_EVENT)), number % 4 > 1
        events = [event(sent, structured=structured, kind=kind, id=f"event {number}") for sent, kind in kinds]
        for sent in events if number % 2 else reversed(events):
            assert self._post(sent.path, sent.body, dict(sent.headers))[0] == 202
        self.label([{"id": f"event {number}", "target": 1.1 * (row[0] + row[1]) if target is None else target}])

    def label(self, labels: list[dict[str, object]]) -> None:
        """What the clients have learnt."""
        assert self._post("/feedback", json.dumps(labels).encode(), {}) == (202, {"accepted": len(labels)})

    def traffic(self) -> AbstractContextManager[None]:
        """Serve in the background."""
        rows = itertools.cycle(ROWS)
        return again_and_again(lambda: self.serve(next(rows)), pause_seconds=0.01)

    def _post(self, path: str, body: bytes, headers: dict[str, str]) -> tuple[int, object]:
        answer = self._daemon.client.post(self._url + path, content=body, headers=headers)
        return answer.status_code, json.loads(answer.content) if answer.content else None


def test_answers_of_another_version_and_errors_against_labels(local: Registry, tmp_path: Path) -> None:
    model = local.model()
    uri = f"models:/{model.name}/{model.add(weight=1.0)}"
    with running_daemon(tmp_path, uri, local.tracking_uri) as daemon:
        server = Server(daemon, weight=1.0)
        with server.traffic():
            daemon.wait_for(lambda: daemon.value("robmon_noise_mse", reference="label"), "errors against labels")
            daemon.wait_for(
                lambda: daemon.value("robmon_served_prediction_mismatch_ratio") == 0, "answers of the same version"
            )
            server.weight = 1.5
            daemon.wait_for(
                lambda: daemon.value("robmon_served_prediction_mismatch_ratio") == 1, "answers of another version"
            )
            server.weight = 1.0
            daemon.wait_for(
                lambda: daemon.value("robmon_served_prediction_mismatch_ratio") == 0, "answers of the same version"
            )
        daemon.told("served answers agree with this version's")
        told = [line["event"] for line in daemon.log() if line["event"].startswith("served answers ")]
        assert told == ["served answers differ from this version's", "served answers agree with this version's"]
        sums = [a + b for a, b, _ in ROWS]
        off_by_a_tenth = sum((0.1 * each) ** 2 for each in sums) / len(sums)
        clean, at_0, at_noise = (
            daemon.value("robmon_clean_mse"),
            daemon.value("robmon_noise_mse", reference="label", level="0"),
            daemon.value("robmon_noise_mse", reference="label", level=NOISE),
        )
        assert clean is not None
        assert at_0 == clean == pytest.approx(off_by_a_tenth, rel=0.5)
        assert at_noise is not None
        assert at_noise > clean
        assert (daemon.value("robmon_noise_mse_bound", reference="label", level=NOISE) or 0) > at_noise
        assert (daemon.value("robmon_robustness_area", reference="label") or 0) > (
            daemon.value("robmon_robustness_area", reference="prediction") or 0
        )
        assert daemon.value("robmon_noise_mse", reference="prediction", level="0") == 0
        assert daemon.count("robmon_labels_total", outcome="joined") > 20
        assert daemon.count("robmon_served_answers_total", outcome="joined") > 20
        assert daemon.count("robmon_inputs_rejected_total") == 0
        page = daemon.get("/").text
        assert "Against labels: " in page
        assert "Most fragile requests: event " in page


@pytest.mark.long
def test_that_another_version_answers_stands_while_no_newer_answer_comes(local: Registry, tmp_path: Path) -> None:
    """The registry is a local one, which a process of its own looks up."""
    model = local.model()
    model.serve(model.add(weight=1.0))
    with running_daemon(tmp_path, model.uri, local.tracking_uri, model__poll_seconds=10) as daemon:
        daemon.wait_for(lambda: daemon.assessed_version == "1", "a model")
        server = Server(daemon, weight=1.5)
        for row in ROWS[:25]:
            server.serve(row)
        mismatch = functools.partial(daemon.value, "robmon_served_prediction_mismatch_ratio", model_version="1")
        daemon.wait_for(lambda: mismatch() == 1, "answers of another version")
        daemon.send(ROWS[25:80])  # mirrored, without answers
        daemon.wait_for_assessments(3)
        assert mismatch() == 1
        assert "are not this version's" in daemon.get("/").text
        model.serve(model.add(weight=1.5))
        daemon.wait_for(lambda: daemon.assessed_version == "2", "the next version")
        daemon.wait_for_assessments(2)
        assert daemon.value("robmon_served_prediction_mismatch_ratio") is None, "these were answered before"
        for row in ROWS[:25]:
            server.serve(row)
        daemon.wait_for(
            lambda: daemon.value("robmon_served_prediction_mismatch_ratio") == 0, "answers of the same version"
        )


@pytest.mark.long
def test_labels_that_do_not_fit_are_counted_once_and_can_be_corrected(local: Registry, tmp_path: Path) -> None:
    model = local.model()
    uri = f"models:/{model.name}/{model.add()}"
    with running_daemon(tmp_path, uri, local.tracking_uri) as daemon:
        server = Server(daemon, weight=1.0)
        for target in ("cat", [1, 2], "1.5"):
            for row in ROWS[:10]:
                server.serve(row, target)
        unfit = functools.partial(daemon.count, "robmon_labels_total", outcome="does_not_fit")
        daemon.wait_for(lambda: unfit() == 30, "labels that do not fit")
        daemon.wait_for_assessments(3)
        assert (unfit(), daemon.count("robmon_labels_total", outcome="joined")) == (30, 30)
        server.label([{"id": f"event {number}", "target": 1.5} for number in range(30)])
        daemon.wait_for(lambda: daemon.value("robmon_labelled_rows") == 30, "the same requests with labels that fit")
        assert unfit() == 30


def test_labels_that_are_none_are_refused_in_one_sentence(tmp_path: Path) -> None:
    """Before a model is there, too: here nobody answers at its endpoint."""
    with running_daemon(tmp_path, f"{NO_REGISTRY}/v2/models/m/infer", NO_REGISTRY) as daemon:
        url = f"http://127.0.0.1:{daemon.port('inputs_port')}/feedback"
        refused = daemon.client.post(url, content=json.dumps({"id": 4, "target": ROWS[0][0]}))
        assert refused.status_code == 400
        assert refused.json()["error"].startswith("label 1 needs an id")
        assert daemon.count("robmon_inputs_rejected_total", source="feedback", reason="bad_feedback") == 1
        assert daemon.client.post(url, content=b'{"id": "never seen", "target": 1}').json() == {"accepted": 1}

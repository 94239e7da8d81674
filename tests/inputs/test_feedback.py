"""Labels and answers over HTTP: what is taken, what is refused in which words, and that the bounds hold."""

from __future__ import annotations

import asyncio
import contextlib
import gzip
import http.client
import itertools
import json
from collections.abc import Mapping
from math import inf
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from robmon.errors import CodecError
from robmon.inputs.codecs import answers
from robmon.inputs.feedback import MAX_FEEDBACK_BYTES, MAX_LABEL_CHARACTERS, MAX_LABELS, FeedbackError, Label, parse
from robmon.inputs.receiver import Receiver
from robmon.inputs.routing import Filters, Kind, Router
from robmon.inputs.sample import Sample
from robmon.vocabulary import PROBE_ID_PREFIX
from tests.inputs import senders
from tests.inputs.conftest import Served

SEND = 'send {"id": "...", "target": ...}, a list of these, or one a line'


def post(served: Served, path: str, body: bytes, headers: Mapping[str, str] | None = None) -> tuple[int, Any]:
    with contextlib.closing(http.client.HTTPConnection(*served.address)) as client:
        client.request("POST", path, body, dict(headers or {}))
        answer = client.getresponse()
        content = answer.read()
        return answer.status, json.loads(content) if content else None


# --- the body --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("target", [1, -2.5, "cat", True, [1, 2.5], [[0.1, 0.9], [0.5, 0.5]], ["a", "b"]])
def test_one_many_and_lines(target: Any) -> None:
    told = {"id": " a ", "target": target, "other": None}
    compact = json.dumps(target, separators=(",", ":")).encode()
    assert parse(json.dumps(told).encode()) == [Label("a", compact)]
    assert parse(json.dumps([told, told | {"id": "b"}]).encode()) == [Label("a", compact), Label("b", compact)]
    line = json.dumps(told).encode()
    assert parse(line + b"\r\n\n" + line + b"\n") == [Label("a", compact)] * 2


@pytest.mark.parametrize(
    ("body", "sentence"),
    [
        (b"", "the body is empty"),
        (b" \n", "the body is empty"),
        (gzip.compress(b'{"id": "a", "target": 1}', mtime=0), "the body is compressed, which is not read here"),
        (b'{"id": "a", "target": 1}\n{"id": "b", "targ', "line 2 is not JSON"),
        (b'{\n"id": "a", "target": 1', "the body is not JSON"),
        (b"id=a&target=1", "the body is not JSON"),
        (b"\xff", "the body is not JSON"),
        *[
            (body % number, "NaN and Infinity are neither JSON nor labels, leave out what has no value")
            for number in (b"NaN", b"Infinity", b"-Infinity")
            for body in (
                b'{"id": "a", "target": %b}',
                b'[{"id": "a", "target": 1}, {"id": "b", "target": [[1, %b]]}]',
                b'{"id": "a", "target": 1}\n{"id": "b", "target": %b}',
            )
        ],
        (b'{"id": "a", "target": ' + b"9" * 5000 + b"}", "the body is not JSON"),
        (b"[" * 100_000, "the JSON is nested too deeply"),
        (b"[]", "there is no label in the body"),
        (b"7", "label 1 is no object with an id and a target"),
        (b'[{"id": "a", "target": 1}, {"id": "b"}]', "label 2 has no target"),
        (b"[[]]", "label 1 is no object with an id and a target"),
        (b'{"target": 1}', "label 1 needs an id, a text of 1 to 256 characters"),
        (b'{"id": 1, "target": 1}', "label 1 needs an id, a text of 1 to 256 characters"),
        (b'{"id": " ", "target": 1}', "label 1 needs an id, a text of 1 to 256 characters"),
        (b'{"id": "' + b"a" * 257 + b'", "target": 1}', "label 1 needs an id, a text of 1 to 256 characters"),
        *[
            (
                b'{"id": "a", "target": %b}' % target,
                "the target of label 1 must be a finite number, a text, or a list of them",
            )
            for target in (b"null", b"{}", b"[]", b"1e999", b"[1, null]", b"[" * 9 + b"1" + b"]" * 9)
        ],
    ],
)
def test_garbage_is_refused_in_one_sentence_that_says_what_to_send(body: bytes, sentence: str) -> None:
    with pytest.raises(FeedbackError) as caught:
        parse(body)
    assert str(caught.value) == f"{sentence}: {SEND}"


@pytest.mark.parametrize("body", [b'{"id": "a", "target": [%b0]}', b'[{"id": "a", "target": [%b0]}]'])
@pytest.mark.parametrize("piece", [b"0,", b"[0],", b"0.123456789,"])
def test_a_label_has_a_limit_of_its_own(body: bytes, piece: bytes) -> None:
    """It is read in one go: of a whole mebibyte of numbers that would take as long as a probe waits."""
    number = MAX_LABEL_CHARACTERS // len(piece)
    [largest] = parse(body % (piece * (number - 20)))
    assert largest.target == b"[" + piece * (number - 20) + b"0]"
    with pytest.raises(FeedbackError, match="not JSON, or one label of it is longer than 131072 characters"):
        parse(body % (piece * number))


@pytest.mark.parametrize("length", range(1010, 1040))
def test_labels_are_told_apart_wherever_they_end(length: int) -> None:
    body = b'{"target": 1, "id": "a", "x": "%b"}' % (b"x" * (length - 33))
    assert parse(body) == [Label("a", b"1")]
    for twice in (body + b"\n" + body, b"[" + body + b"," + body + b"]"):
        assert parse(twice) == [Label("a", b"1")] * 2


def test_too_many_labels() -> None:
    line = b'{"id": "a", "target": 1}'
    assert len(parse(b"[" + b",".join([line] * MAX_LABELS) + b"]")) == MAX_LABELS
    for body in (b"[" + b",".join([line] * (MAX_LABELS + 1)) + b"]", b"\n".join([line] * (MAX_LABELS + 1))):
        with pytest.raises(FeedbackError, match="more than 10000 labels"):
            parse(body)


@pytest.mark.parametrize(
    ("body", "sentence"),
    [
        (b'[{"id": "a", "target": 1} {"id": "b", "target": 1}]', "the body is not JSON"),
        (b'[{"id": "a", "target": 1}, ]', "the body is not JSON"),
        (b'[{"id": "a", "target": 1}', "the body is not JSON"),
        (b'[{"id": "a", "target": 1}] {}', "the body is not JSON"),
        (b'{"id": "a", "target": 1} {"id": "b", "target": 1}', "the body is not JSON"),
        (b'{"id": "a", "target": 1}\n\n{"id": "b", "target": 1}}', "line 2 is not JSON"),
        (b'{"id": "a", "target": 1}\n{"id": "b", "target": 1}\n[', "line 3 is not JSON"),
    ],
)
def test_labels_that_come_apart_on_the_way_are_none(body: bytes, sentence: str) -> None:
    with pytest.raises(FeedbackError, match=sentence):
        parse(body)


VALUES = st.recursive(
    st.none() | st.booleans() | st.floats() | st.text(),
    lambda each: st.lists(each) | st.dictionaries(st.sampled_from(["id", "target"]), each),
)


@given(st.binary() | VALUES.map(lambda value: json.dumps(value).encode()))
def test_any_body_is_labels_or_one_sentence(body: bytes) -> None:
    try:
        labels = parse(body)
    except FeedbackError as error:
        assert str(error).endswith(SEND)
    else:
        assert all(label.id and json.loads(label.target) is not None for label in labels)


# --- over HTTP -------------------------------------------------------------------------------------------------------


def test_labels_join_the_requests_of_every_protocol(served: Served) -> None:
    tensor = senders.tensor("x", senders.np.ones((1, 2), "f4"))
    sent = senders.triton.InferenceServerClient.generate_request_body([tensor], request_id="from v2")
    length = {"inference-header-content-length": str(sent[1])}
    assert post(served, "/v2/models/digits/infer", sent[0], length)[0] == 202
    assert post(served, "/invocations", b'{"inputs": [1]}', {"X-Request-Id": "from mlflow"})[0] == 202
    structured = senders.event(senders.v1([[1]]), structured=True, id="from event")
    assert post(served, structured.path, structured.body, structured.headers)[0] == 202
    labels = [{"id": f"from {name}", "target": name} for name in ("v2", "mlflow", "event")]
    assert post(served, "/feedback", json.dumps([*labels, {"id": "unknown", "target": 1}]).encode()) == (
        202,
        {"accepted": 4},
    )
    found = {item.feedback.ids[0]: item.feedback.target for item in served.sample.snapshot(1000)}
    assert found == {"from v2": b'"v2"', "from mlflow": b'"mlflow"', "from event": b'"event"'}
    assert served.counts.labels.target == {"joined": 3, "late": 0, "unknown": 0, "dropped": 0, "does_not_fit": 0}
    assert set(served.counts.received) == set(served.counts.sampled) == {
        "mlflow", "v1", "v2", "cloudevents", "file", "kafka",
    }  # fmt: skip


@pytest.mark.parametrize("path", ["/", "/invocations"])
@pytest.mark.parametrize("modes", list(itertools.product((False, True), repeat=2)))
def test_answers_join_by_the_id_of_their_event_in_any_order(
    served: Served, path: str, modes: tuple[bool, bool]
) -> None:
    asked = senders.event(senders.v1([[1]]), structured=modes[0], id="ä 1")
    answer = senders.Request("/", b'{"predictions": [1.5]}', {"content-type": senders.JSON})
    answered = senders.event(answer, structured=modes[1], kind=senders.RESPONSE_EVENT, id="ä 1")
    other = senders.event(answer, structured=modes[1], kind=senders.RESPONSE_EVENT, id="2")
    for sent in (answered, asked, other):
        assert post(served, path, sent.body, sent.headers) == (202, None)
    (item,) = served.sample.snapshot(1000)
    assert (item.feedback.ids, item.feedback.answer) == (("ä 1",), answered.body)
    assert item.feedback.answer is not None
    assert [row.tensor for row in answers.decode(item.feedback.answer)] == [1.5]
    assert served.counts.received["cloudevents"] == served.counts.sampled["cloudevents"] == 1
    assert served.counts.rejected == {}
    assert served.counts.labels.answer["joined"] == 1
    served.receiver.labels.expire(2000)
    assert served.counts.labels.answer["unknown"] == 1


def test_an_event_in_structured_mode_that_is_left_out_is_skipped(served: Served) -> None:
    ours = senders.event(senders.v1([[1]]), structured=True, id=PROBE_ID_PREFIX + "1")
    assert post(served, "/", ours.body, ours.headers) == (200, None)
    assert post(served, "/", b"", ours.headers) == (200, None)
    assert served.counts.skipped["cloudevents"] == 2
    assert sum(served.counts.received.values()) == served.sample.rows(1000) == 0


def test_answers_in_structured_mode_around_binary_tensors(served: Served) -> None:
    tensor = senders.np.array([[1.5, 2.5]])
    body, _ = senders.triton.InferenceServerClient.generate_request_body([senders.tensor("y", tensor)])
    answer = body.replace(b'"inputs"', b'"outputs"')
    for content in (answer, gzip.compress(answer)):
        sent = senders.event(senders.Request("/", content), structured=True, kind=senders.RESPONSE_EVENT)
        assert [senders.np.ravel(row.tensor).tolist() for row in answers.decode(sent.body)] == [[1.5, 2.5]]
    with pytest.raises(CodecError) as caught:
        answers.decode(sent.body + b"\x00")
    assert caught.value.reason == "not_json"


def test_refused_labels_are_counted_and_told_why(served: Served) -> None:
    status, content = post(served, "/feedback", b"garbage")
    assert (status, content) == (400, {"error": f"the body is not JSON: {SEND}"})
    assert post(served, "/feedback", b"")[0] == 400
    assert served.counts.rejected == {("feedback", "bad_feedback"): 2}
    assert sum(served.counts.received.values()) == 0


def test_a_body_of_labels_has_a_limit_of_its_own(served: Served) -> None:
    assert MAX_FEEDBACK_BYTES > 100_000, "the receiver of the tests has the smaller limit"
    too_long = "the body is larger than 100000 bytes: send the labels in several requests"
    assert post(served, "/feedback", bytes(100_001)) == (413, {"error": too_long})
    assert post(served, "/invocations", bytes(100_001)) == (413, None)
    assert served.counts.rejected == {("feedback", "too_large"): 1, ("mlflow", "too_large"): 1}
    assert sum(served.counts.received.values()) == 1


async def told(receiver: Receiver, body: bytes) -> int:
    """Post labels to a receiver on this very event loop; the status of its answer."""
    sent: list[dict[str, Any]] = []

    async def receive() -> dict[str, Any]:
        return {"type": "http.request", "body": body, "more_body": False}

    async def send(message: dict[str, Any]) -> None:
        sent.append(message)

    await receiver({"type": "http", "method": "POST", "path": "/feedback", "headers": []}, receive, send)
    return int(sent[0]["status"])


async def test_everybody_has_turns_while_many_labels_are_taken() -> None:
    """Else whoever sends them would hold up the probe of the pod."""
    receiver = Receiver(
        Sample(sample_rows=1, max_age_seconds=1, sample_bytes=1), max_body_bytes=2**20, max_inflight_bytes=2**20
    )
    body = json.dumps([{"id": f"request {number}", "target": number} for number in range(MAX_LABELS)]).encode()
    many = [asyncio.create_task(told(receiver, body)) for _ in range(3)]
    turns = 0
    while not all(each.done() for each in many):
        await asyncio.sleep(0)
        turns += 1
    assert turns > 10
    assert sorted([await each for each in many]) == [202, 202, 503], "those that wait are bounded"
    assert receiver.inflight_bytes == 0
    receiver.labels.expire(inf)
    assert receiver.counts.labels.target["unknown"] == 2 * MAX_LABELS


def test_filters_leave_labels_alone() -> None:
    router = Router(Filters(model="digits", exclude_paths=("/",)))
    assert {router.route("POST", path, {}).kind for path in ("/feedback", "/feedback/", "/prefix/feedback")} == {
        Kind.FEEDBACK
    }
    assert router.route("GET", "/feedback", {}).kind is Kind.OTHER

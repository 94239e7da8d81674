"""What a request is taken for, before its body is looked at; and what the filters leave out."""

from __future__ import annotations

import http.client
import json
from collections.abc import Mapping
from contextlib import closing

import pytest
from structlog.testing import capture_logs

from robmon.inputs.kept_headers import KEPT_HEADERS
from robmon.inputs.routing import (
    MAX_PATH_CHARACTERS,
    NO_FILTERS,
    REMEMBERED_PATHS,
    Filters,
    Kind,
    Route,
    Router,
    event_headers,
)
from robmon.inputs.sample import Item
from robmon.vocabulary import PROBE_HEADER, PROBE_ID_PREFIX
from tests.inputs import senders
from tests.inputs.conftest import Served
from tests.inputs.senders import REQUEST_EVENT as REQUEST
from tests.inputs.senders import RESPONSE_EVENT as RESPONSE
from tests.inputs.senders import event
from tests.patience import PATIENCE_SECONDS

BODY = json.dumps({"inputs": [[1.0, 2.0]]}).encode()
REQUEST_EVENT = {"ce-type": REQUEST, "ce-id": "1", "ce-specversion": "1.0"}
RESPONSE_EVENT = REQUEST_EVENT | {"ce-type": RESPONSE}
STRUCTURED = "application/cloudevents+json"


def route_sent(router: Router, path: str, headers: Mapping[str, str], body: bytes) -> Route:
    """As the receiver goes about it."""
    route = router.route("POST", path, router.pick([(n.lower().encode(), v.encode()) for n, v in headers.items()])[1])
    return router.route_event(route, path, event_headers(body)) if route.kind is Kind.EVENT else route


def routed_event(path: str, filters: Filters = NO_FILTERS, kind: str = REQUEST, **attributes: str) -> Route:
    """An event in structured mode."""
    sent = event(senders.v1([[1]]), structured=True, kind=kind, **attributes)
    return route_sent(Router(filters), path, sent.headers, sent.body)


def routed(
    path: str, headers: Mapping[str, str] | None = None, *, method: str = "POST", filters: Filters = NO_FILTERS
) -> Route:
    router = Router(filters)
    raw = [(name.lower().encode(), value.encode()) for name, value in (headers or {}).items()]
    return router.route(method, path, router.pick(raw)[1])


@pytest.mark.parametrize(
    ("path", "expected"),
    [
        ("/invocations", Route(Kind.PREDICTION, "mlflow")),
        ("/serving-endpoints/digits/invocations", Route(Kind.PREDICTION, "mlflow")),
        ("/v1/models/digits:predict", Route(Kind.PREDICTION, "v1", "digits")),
        ("/v1/models/digits/versions/3:predict", Route(Kind.PREDICTION, "v1", "digits")),
        ("/v2/models/digits/infer", Route(Kind.PREDICTION, "v2", "digits")),
        ("/v2/models/digits/versions/3/infer", Route(Kind.PREDICTION, "v2", "digits")),
        ("/team/a/v2/models/digits/infer", Route(Kind.PREDICTION, "v2", "digits")),
        ("/v2/models/v2/models/infer", Route(Kind.OTHER)),
        ("/", Route(Kind.EVENT, "cloudevents")),
        ("/v2/models/llama/generate", Route(Kind.LLM, "v2", "llama")),
        ("/v2/models/llama/versions/1/generate_stream", Route(Kind.LLM, "v2", "llama")),
        ("/openai/v1/chat/completions", Route(Kind.LLM)),
        ("/v1/chat/completions", Route(Kind.LLM)),
        ("/v1/models/digits:explain", Route(Kind.OTHER)),
        ("/v1/models/digits", Route(Kind.OTHER)),
        ("/v2/models/digits/ready", Route(Kind.OTHER)),
        ("/v2/health/ready", Route(Kind.OTHER)),
        ("/v2/repository/index", Route(Kind.OTHER)),
        ("/ping", Route(Kind.OTHER)),
        ("/invocations/", Route(Kind.OTHER)),
        ("/xinvocations", Route(Kind.OTHER)),
        ("", Route(Kind.OTHER)),
        ("/" + "x" * MAX_PATH_CHARACTERS + "/invocations", Route(Kind.OTHER)),
    ],
)
def test_paths(path: str, expected: Route) -> None:
    assert routed(path) == expected


@pytest.mark.parametrize("method", ["GET", "HEAD", "PUT", "OPTIONS"])
def test_only_posts_are_predictions(method: str) -> None:
    assert routed("/v2/models/digits/infer", REQUEST_EVENT, method=method) == Route(Kind.OTHER)


@pytest.mark.parametrize(
    ("path", "model"),
    [("/", None), ("/anything", None), ("/invocations", None), ("/v1/models/digits:predict", "digits")],
)
def test_an_event_is_one_on_any_path(path: str, model: str | None) -> None:
    assert routed(path, REQUEST_EVENT) == Route(Kind.PREDICTION, "cloudevents", model)
    assert routed(path, RESPONSE_EVENT) == Route(Kind.RESPONSE, "cloudevents", model)


def test_an_event_names_its_service() -> None:
    assert routed("/", REQUEST_EVENT | {"Ce-Inferenceservicename": "digits"}).model == "digits"


@pytest.mark.parametrize("content_type", [STRUCTURED, STRUCTURED + "; charset=utf-8"])
@pytest.mark.parametrize(("path", "model"), [("/", None), ("/anything", None), ("/v1/models/digits:predict", "digits")])
def test_an_event_in_structured_mode_is_told_by_its_body(path: str, model: str | None, content_type: str) -> None:
    assert routed(path, {"Content-Type": content_type}) == Route(Kind.EVENT, "cloudevents", model)
    for kind, expected in ((REQUEST, Kind.PREDICTION), (RESPONSE, Kind.RESPONSE)):
        assert routed_event(path, kind=kind) == Route(expected, "cloudevents", model)
    service = routed_event(path, inferenceservicename="grüße")
    assert service.model == (model or "grüße")


def test_other_content_types_say_nothing() -> None:
    for content_type in ("application/json", "application/cloudevents-batch+json", "text/csv", ""):
        assert routed("/invocations", {"Content-Type": content_type}) == Route(Kind.PREDICTION, "mlflow")


def test_the_same_event_is_routed_alike_in_both_modes() -> None:
    router = Router(Filters(model="digits", exclude_headers=("X-Synthetic-Test",), exclude_paths=("/canary",)))
    told: list[dict[str, str]] = [{}, {"inferenceservicename": "digits"}, {"inferenceservicename": "other"}]
    told += [told[1] | {"id": PROBE_ID_PREFIX + "7"}, told[1] | {"metadata": json.dumps({PROBE_HEADER: ["1"]})}]
    told += [told[1] | {"metadata": json.dumps({header: ["1"]})} for header in ("x-synthetic-test", "X-Other")]
    kinds = []
    for kind in (REQUEST, RESPONSE):
        for path in ("/", "/canary/", "/v2/models/digits/infer", "/v2/models/other/infer"):
            for attributes in told:
                both = [event(senders.v1([[1]]), structured=mode, kind=kind, **attributes) for mode in (False, True)]
                binary, structured = (route_sent(router, path, sent.headers, sent.body) for sent in both)
                assert (binary.kind, binary.source) == (structured.kind, structured.source), (kind, path, attributes)
                kinds.append(binary.kind)
    assert {kind: kinds.count(kind) for kind in kinds} == {Kind.OTHER: 44, Kind.PREDICTION: 6, Kind.RESPONSE: 6}


def test_unknown_paths_are_remembered_within_bounds() -> None:
    router = Router(NO_FILTERS)
    for number in range(2 * REMEMBERED_PATHS):
        assert router.route("POST", f"/{number}", {}).kind is Kind.OTHER
    assert router._by_path.cache_info().currsize == REMEMBERED_PATHS


# --- filters ---------------------------------------------------------------------------------------------------------


def test_another_model_is_left_out() -> None:
    filters = Filters(model="digits")
    assert routed("/v2/models/digits/infer", filters=filters).kind is Kind.PREDICTION
    assert routed("/v2/models/other/infer", filters=filters) == Route(Kind.OTHER, "v2", "other", True)
    assert routed("/invocations", filters=filters) == Route(Kind.OTHER, "mlflow", None, True)
    for ours in ({PROBE_HEADER: "1"}, REQUEST_EVENT | {"Ce-Id": PROBE_ID_PREFIX}):
        assert not routed("/invocations", ours, filters=filters).is_of_another_model
    assert not routed("/", RESPONSE_EVENT, filters=filters).is_of_another_model
    assert routed("/", REQUEST_EVENT, filters=filters) == Route(Kind.OTHER, "cloudevents", None, True)
    assert routed("/ping", filters=filters) == Route(Kind.OTHER)
    of_service = REQUEST_EVENT | {"Ce-Inferenceservicename": "digits"}
    assert routed("/", of_service, filters=filters).kind is Kind.PREDICTION
    assert routed("/", of_service, filters=Filters(model="other")).kind is Kind.OTHER


@pytest.mark.parametrize("path", ["/invocations", "/v2/models/digits/infer", "/"])
@pytest.mark.parametrize(
    "headers",
    [
        {"Content-Type": STRUCTURED, "X-Synthetic-Test": ""},
        {"X-Synthetic-Test": ""},
        {PROBE_HEADER: "1"},
        {"Ce-Id": PROBE_ID_PREFIX + "7"},
        REQUEST_EVENT | {"Ce-Id": PROBE_ID_PREFIX + "7"},
        REQUEST_EVENT | {"Ce-Metadata": json.dumps({"X-Synthetic-Test": ["1"]})},
        REQUEST_EVENT | {"Ce-Metadata": json.dumps({PROBE_HEADER: ["1"]})},
        RESPONSE_EVENT | {"x-synthetic-test": "1"},
    ],
)
def test_marked_requests_are_left_out(path: str, headers: dict[str, str]) -> None:
    assert routed(path, headers, filters=Filters(exclude_headers=("x-Synthetic-test",))).kind is Kind.OTHER


def test_the_marks_of_others_are_not_ours() -> None:
    headers = {"X-Synthetic-Test": "1", "Ce-Id": "robmon", "Ce-Metadata": json.dumps({"X-Request-Id": ["1"]})}
    assert routed("/", REQUEST_EVENT | headers).kind is Kind.PREDICTION


@pytest.mark.parametrize("headers", [{}, REQUEST_EVENT])
def test_excluded_paths(headers: dict[str, str]) -> None:
    filters = Filters(exclude_paths=("/canary/", "/v1/"))
    assert routed("/canary/v2/models/digits/infer", headers, filters=filters).kind is Kind.OTHER
    assert routed("/v1/models/digits:predict", headers, filters=filters).kind is Kind.OTHER
    assert routed("/v2/models/digits/infer", headers, filters=filters).kind is Kind.PREDICTION


# --- on a real server ------------------------------------------------------------------------------------------------


def post(served: Served, path: str, headers: Mapping[str, str], body: bytes = BODY) -> int:
    with closing(http.client.HTTPConnection(*served.address, timeout=PATIENCE_SECONDS)) as client:
        client.request("POST", path, body, dict(headers))
        return client.getresponse().status


def sampled(served: Served) -> list[Item]:
    return served.sample.snapshot(1000)


def test_only_headers_of_the_allow_list_are_kept(served: Served) -> None:
    kept = {name.decode(): "7" for name in KEPT_HEADERS}
    secrets = {
        "Authorization": "Bearer x",
        "Cookie": "x",
        "X-Api-Key": "x",
        "Ce-Namespace": "x",
        "X-Forwarded-For": "x",
    }
    assert (
        post(served, "/v2/models/digits/infer", {name.title(): value for name, value in kept.items()} | secrets) == 202
    )
    (item,) = sampled(served)
    assert item.headers == kept
    assert (item.format, item.model) == ("cloudevents", "digits")


def test_kept_headers_are_cut(served: Served) -> None:
    assert (
        post(served, "/invocations", {name.decode(): "7" * 5000 for name in KEPT_HEADERS if name != b"ce-type"}) == 202
    )
    (item,) = sampled(served)
    assert {name: len(value) for name, value in item.headers.items()} == {
        name.decode(): limit for name, limit in KEPT_HEADERS.items() if name != b"ce-type"
    }


def test_response_events_are_no_requests(served: Served) -> None:
    assert post(served, "/", REQUEST_EVENT) == 202
    assert post(served, "/", RESPONSE_EVENT) == 202
    assert [item.headers["ce-type"] for item in sampled(served)] == [REQUEST_EVENT["ce-type"]]
    assert served.counts.skipped["cloudevents"] == 0
    assert served.counts.labels.answer["joined"] == 1
    assert served.counts.received == {**dict.fromkeys(served.counts.received, 0), "cloudevents": 1}


def test_requests_to_language_models_are_told_by_their_path(served: Served) -> None:
    assert post(served, "/v2/models/llama/generate", {}, b'{"text_input": "x"}') == 202
    assert post(served, "/openai/v1/chat/completions", {}, b'{"messages": []}') == 202
    assert served.counts.rejected == {("v2", "unsupported_llm"): 1, ("none", "unsupported_llm"): 1}
    assert served.counts.received["v2"] == 1
    assert sampled(served) == []


def test_probes_of_our_own_are_skipped(served: Served) -> None:
    assert post(served, "/invocations", {PROBE_HEADER: "1"}) == 200
    assert (served.counts.skipped["mlflow"], served.counts.received.total()) == (1, 0)
    assert sampled(served) == []


def test_sizes_of_bodies_are_counted(served: Served) -> None:
    for size in (1, 1024, 1025, 70_000):
        assert post(served, "/invocations", {}, bytes(size)) == 202
    assert post(served, "/ping", {}, bytes(5000)) == 200
    histogram = served.counts.body_bytes["mlflow"]
    assert (histogram.counts[:5], histogram.total) == ([2, 1, 0, 0, 1], 1 + 1024 + 1025 + 70_000)
    assert sum(sum(sizes.counts) for sizes in served.counts.body_bytes.values()) == 4


def test_a_filter_that_leaves_out_what_names_no_model_says_so_once() -> None:
    with Served(filters=Filters(model="digits")) as served, capture_logs() as lines:
        assert served.receiver.problem == ""
        assert post(served, "/v2/models/other/infer", {}) == 200
        assert served.receiver.problem == (
            "Left out because inputs.model = 'digits' is set: all requests so far (1), which name other models."
        )
        assert post(served, "/v2/models/digits/infer", {}) == 202
        assert post(served, "/invocations", {PROBE_HEADER: "1"}) == post(served, "/ping", {}) == 200
        assert (served.receiver.problem, lines) == ("", [])
        assert post(served, "/invocations", {}) == post(served, "/invocations", {}) == 200
        assert "is set: 2 requests that name no model" in served.receiver.problem
        assert [(line["event"], line["model"], line["source"]) for line in lines] == [
            ("requests that name no model are left out", "digits", "mlflow")
        ]
        assert (served.counts.skipped["mlflow"], served.counts.skipped["v2"]) == (3, 1)

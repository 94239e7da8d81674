"""The HTTP face and the status page."""

from __future__ import annotations

import asyncio
import base64
import hashlib
import math
import time
from collections.abc import Iterator
from dataclasses import replace
from itertools import pairwise

import httpx
import pytest
from prometheus_client import CollectorRegistry, Metric

from robmon.export.http import http_application
from robmon.export.published import Published
from robmon.export.status import status_page
from robmon.history.memory import Entry
from robmon.history.scope import Judged
from robmon.history.standing import Pending, VersionState, version_state
from robmon.processes.messages.model import LoadedModel
from robmon.vocabulary import PENDING_REASONS, PendingReason
from tests.export.published import NOW, change, everything, state_of, table_of


def client(published: Published) -> httpx.AsyncClient:
    transport = httpx.ASGITransport(http_application(published, CollectorRegistry()))  # type: ignore[arg-type]
    return httpx.AsyncClient(transport=transport, base_url="http://robmon")


async def test_healthz_and_metrics_answer_before_a_model_is_loaded() -> None:
    async with client(Published("digits", 60, 3600)) as http:
        assert (await http.get("/healthz")).status_code == 200
        assert (await http.get("/readyz")).status_code == 503
        assert (await http.get("/")).status_code == 200
        metrics = await http.get("/metrics")
        assert metrics.status_code == 200
        assert metrics.headers["content-type"].startswith("text/plain; version=")


async def test_a_browser_is_allowed_nothing_but_to_show_the_page() -> None:
    async with client(everything()) as http:
        for path in ("/", "/metrics", "/healthz", "/readyz", "/nix"):
            headers = (await http.get(path)).headers
            assert headers["x-content-type-options"] == "nosniff" and headers["referrer-policy"] == "no-referrer"
            policy = dict(each.split(" ", 1) for each in headers["content-security-policy"].split("; "))
            assert policy.pop("default-src") == policy.pop("base-uri") == policy.pop("form-action") == "'none'"
            assert policy.pop("frame-ancestors") == "'none'"
            assert set(policy) == ({"style-src", "img-src"} if path == "/" else set())
        text = (await http.get("/")).text
        digest = base64.b64encode(hashlib.sha256(text.split("<style>")[1].split("</style>")[0].encode()).digest())
        assert f"style-src 'sha256-{digest.decode()}'" in (await http.get("/")).headers["content-security-policy"]


async def test_the_page_is_held_still_where_that_is_asked_for() -> None:
    async with client(everything()) as http:
        assert 'http-equiv="refresh"' in (await http.get("/?refresh=yes")).text
        assert 'http-equiv="refresh"' not in (await http.get("/?refresh=off")).text


async def test_what_is_wrong_is_said_on_the_page_and_by_readyz() -> None:
    published = Published("digits", 60, 3600)
    published.publish(
        published.view.with_outcome("skipped", "model_not_ready", "the registry at mlflow did not answer")
    )
    async with client(published) as http:
        for path in ("/", "/readyz"):
            assert "the registry at mlflow did not answer" in (await http.get(path)).text
    published.publish(published.view.with_outcome("ok", "none"))
    assert "did not answer" not in status_page(published, NOW)


def test_what_may_be_wrong_with_the_inputs_is_said_on_the_page() -> None:
    published = everything(inputs_problem=lambda: "2 requests name <b>")
    assert "<strong>2 requests name &lt;b&gt;</strong>" in status_page(published, NOW)


def test_a_version_that_is_served_and_not_judged_is_told() -> None:
    published = everything()
    assert published.view.model is not None
    change(published, model=published.view.model.model_copy(update={"version": "3"}))
    change(published, state=state_of(("3", None), ("1", True), ("2", False)))
    assert "Version 3 is served now and not judged yet" in status_page(published, NOW)


async def test_readyz_once_a_model_is_loaded() -> None:
    async with client(everything()) as http:
        assert (await http.get("/readyz")).status_code == 200


def test_the_page_says_how_the_device_is_used() -> None:
    published = everything()
    assert "Version 2, torch on cpu. Baseline" in status_page(published, NOW)
    why = "device.name is auto, and <b>"
    loaded = LoadedModel(flavor="torch", device="cuda:1", precision="bfloat16", remarks=[why])
    change(published, loaded=loaded)
    page = status_page(published, NOW)
    assert "Version 2, torch on cuda:1 in bfloat16. Baseline" in page
    assert "<p>device.name is auto, and &lt;b&gt;.</p>" in page


async def test_openmetrics_where_it_is_asked_for() -> None:
    async with client(everything()) as http:
        answer = await http.get("/metrics", headers={"accept": "application/openmetrics-text; version=1.0.0"})
        assert answer.text.endswith("# EOF\n")


@pytest.mark.parametrize("version", ["x", "1.x", "", "-1"])
async def test_a_version_that_is_none_is_answered_all_the_same(version: str) -> None:
    async with client(everything()) as http:
        accept = f"application/openmetrics-text; version={version}"
        assert (await http.get("/metrics", headers={"accept": accept})).status_code == 200


async def test_who_asks_at_once_gets_the_same_answer_and_leaves_a_place_and_half_of_the_time() -> None:
    """Each answer takes time that probes are without."""
    made = []

    class Slow(CollectorRegistry):
        def collect(self) -> Iterator[Metric]:
            made.append(time.monotonic())
            time.sleep(0.02)
            return iter(())

    transport = httpx.ASGITransport(http_application(everything(), Slow(), most_waiting=20))  # type: ignore[arg-type]
    async with httpx.AsyncClient(transport=transport, base_url="http://robmon") as http:
        for _ in range(3):
            answers = await asyncio.gather(*(http.get("/metrics") for _ in range(25)))
            assert sorted(answer.status_code for answer in answers) == [200] * 20 + [503] * 5
    assert len(made) == 3
    assert all(later - earlier >= 0.04 for earlier, later in pairwise(made))


@pytest.mark.parametrize(("method", "path", "status"), [("GET", "/nix", 404), ("POST", "/metrics", 405)])
async def test_anything_else_is_refused(method: str, path: str, status: int) -> None:
    async with client(everything()) as http:
        assert (await http.request(method, path)).status_code == status


def test_the_page_tells_the_regression_and_the_curve() -> None:
    page = status_page(everything(), NOW + 5)
    assert "Robustness regressed: version 2 against 1, 1.4 times its noise MSE (98 % interval 1.25 to 1.75, p" in page
    assert "Compared: squared changes of the probabilities at a common confidence of 0.9." in page
    assert "Without noise 6.25 % of the rows get another class." in page
    assert table_of(page, "Version 2 against version 1, by level") == [
        ["level", "version 1", "version 2", "MSE ratio", "98 % interval", "flip ratio", "agreement of version 1",
         "agreement of version 2"],
        ["0.05", "0.02", "0.03", "1.5", "1.25 to 1.75", "1.12", "0.75", "0.5"],
        ["all", "", "", "1.4", "1.25 to 1.75", "", "", ""],
    ]  # fmt: skip
    assert "<code>robmon baseline --model models:/digits/2 --accept</code>" in page
    assert "Assessed 5 s ago: 256 rows, 39 trials, robustness index 0.9" in page
    assert "Levels of gaussian noise count standard deviations of each feature. Not perturbed: 2 indicator" in page
    assert table_of(page, "The version served, now")[1:] == [
        ["0", "0", "0", "0", "1", ""],
        ["0.05", "0.25", "infinite", "2", "0.75", "1.5"],
    ]
    assert '<ul class="quiet"><li>output is probability: one row of &lt;shares&gt; that sum to 1</li></ul>' in page


def test_the_page_tells_of_labels_served_answers_and_fragile_requests() -> None:
    page = status_page(everything(), NOW + 5)
    assert "Against labels: 100 rows, mean MSE 0.5 without noise, 0.625 at level 0.05, bound 0.875." in page
    assert "Served answers: 2 of 8 are not this version's; 1 have another form than its outputs.</p>" in page
    assert "Most fragile requests: order 7 &lt;b&gt;, order 9" in page
    assert "Requests left out, without a finite output even without noise: order 3 &lt;i&gt;</p>" in page
    published = everything()
    assert published.view.measurement is not None
    told = {"labels": None, "label_problem": "3 are <needed>"}
    result = published.view.measurement.result.model_copy(update=told)
    change(published, measurement=replace(published.view.measurement, result=result, fragile_requests=()))
    change(published, served=())
    page = status_page(published, NOW + 5)
    assert "Labels: 3 are &lt;needed&gt;." in page
    assert "Served answers" not in page and "Most fragile requests" not in page


def test_the_page_of_a_version_that_passed_tells_what_could_have_been_found() -> None:
    published = everything()
    verdict = published.view.state.verdict
    assert verdict is not None
    held = verdict.model_copy(update={"worse": False, "pvalue": 0.4, "pooled_ratio": 1.02, "pooled_low": 0.9})
    told = (("2", None), ("1", True), ("2", True))
    change(published, state=state_of(*told, judged=Judged(version="2", verdict=held)))
    page = status_page(published, NOW)
    assert "compared with version 1: 1.02 times its noise MSE (98 % interval 0.9 to 1.75, p = 0.4)" in page
    assert "only errors at least 1.1 times as large are found with 90 % power" in page
    few = held.model_copy(update={"detectable_ratio": math.inf})
    change(published, state=state_of(*told, judged=Judged(version="2", verdict=few)))
    assert "no worsening with 90 % power, however large" in status_page(published, NOW)
    flips = held.model_copy(update={"score": "flips", "agreement_a": None, "reason": "labels"})
    change(published, state=state_of(*told, judged=Judged(version="2", verdict=flips)))
    page = status_page(published, NOW)
    assert "1.02 times its share of changed classes" in page
    assert "flip ratio" in table_of(page, "Version 2 against version 1, by level")[0]
    change(published, state=state_of(("2", None), ("2", True)))
    assert "90 % power" not in status_page(published, NOW)


def accepted_state(by: str, worse: bool, is_reference: bool = False) -> VersionState:
    """Version 2 was judged against version 1, and then accepted at 2026-11-26 19:41:40 UTC."""
    verdict = everything().view.state.verdict
    assert verdict is not None
    verdict = verdict.model_copy(update={"worse": worse, "flip_note": "Classes <say> no."})
    judged = Judged(version="2", verdict=verdict)
    told = {"version": "2", "accepted": True, "by": by, "at": 1795722100}
    return version_state(
        (Entry.model_validate(told),) if by else (), ("2", None), judged=judged, is_reference=is_reference
    )


def test_a_version_that_was_judged_worse_and_accepted_by_a_person_is_told_as_that() -> None:
    published = everything()
    change(published, state=accepted_state("person", worse=True))
    page = status_page(published, NOW)
    assert (
        "Version 2 was judged worse than version 1 (1.4 times its noise MSE, 98 % interval 1.25 to 1.75, p = 0.001) "
        "and accepted by a person at 2026-11-26 19:41 UTC." in page
    )
    assert "No regression" not in page and "90 % power" not in page and 'class="good"' not in page
    assert "Compared: squared changes" in page and "Classes &lt;say&gt; no." in page


@pytest.mark.parametrize(
    ("by", "is_reference", "told"),
    [
        ("person", False, "It was accepted by a person at 2026-11-26 19:41 UTC."),
        ("person", True, "It was accepted by a person at 2026-11-26 19:41 UTC."),
        ("verdict", False, "It was accepted by the verdict at 2026-11-26 19:41 UTC."),
        ("first", True, "It was accepted because model.reference names it."),
        ("", True, "It was accepted because model.reference names it."),
    ],
)
def test_who_accepted_a_version_and_when_is_told(by: str, is_reference: bool, told: str) -> None:
    published = everything()
    change(published, state=accepted_state(by, worse=False, is_reference=is_reference))
    page = status_page(published, NOW)
    assert f"No regression. Accepted version: 2. {told}</p>" in page and "90 % power" in page


def test_names_from_the_registry_are_escaped() -> None:
    published = everything("<script>")
    change(published, state=state_of(("<b>", None), ("<b>", True)))
    page = status_page(published, NOW)
    assert "<script>" not in page and "<b>" not in page


@pytest.mark.parametrize("reason", PENDING_REASONS)
def test_a_verdict_that_cannot_be_made_is_told_and_not_green(reason: PendingReason) -> None:
    """And never that nothing was assessed, above a table of what was."""
    published = everything()
    for told in ((), (("2", True),)):
        state = state_of(("2", None), *told)
        change(published, state=replace(state, pending=(Pending(reason, "It is not known <why>."),)))
        page = status_page(published, NOW)
        assert '<p class="unknown">It is not known &lt;why&gt;.</p>' in page
        assert 'class="good"' not in page and "No version has been assessed" not in page
        assert ("--accept</code>" in page) == (reason in ("no_reference", "failed", "other_units"))


def test_how_far_small_steps_have_led_is_told() -> None:
    published = everything()
    change(published, state=replace(state_of(("2", None), ("2", True)), ratio_since=("1", 2.8126)))
    assert "Since version 1 the accepted versions have come to 2.81 times its noise MSE." in status_page(published, NOW)

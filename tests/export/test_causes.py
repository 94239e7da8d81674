"""Causes as metrics and on the page: named only where they are known, escaped, and gone with what they speak of."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from prometheus_client import CollectorRegistry

from robmon.export.causes import CausesCollector, causes_html, named_cause
from robmon.export.page.pieces import bar
from robmon.export.published import Published
from robmon.export.status import status_page
from robmon.history.verdict import Causes
from robmon.processes.messages.findings import CanaryResult, SharesResult
from tests.export.published import NOW, assessed, change, detection, everything, state_of, table_of

VERSION = {"model_name": "digits", "model_version": "2"}


def scrape(published: Published, now: float = NOW + 1) -> CollectorRegistry:
    registry = CollectorRegistry()
    registry.register(CausesCollector(published, now=lambda: now))
    return registry


def value(published: Published, name: str, now: float = NOW + 1, **labels: str) -> float | None:
    return scrape(published, now).get_sample_value(name, {"model_name": "digits", **labels})


def test_values_and_labels() -> None:
    published = everything()
    assert value(published, "robmon_canary_change_ratio") == 0.0
    assert value(published, "robmon_change_share", model_version="2", cause="model") == 0.75
    assert value(published, "robmon_change_share", model_version="2", cause="traffic") == 0.25
    assert value(published, "robmon_noise_share", model_version="2", group="<size>") == 0.75
    assert value(published, "robmon_regression_cause_info", cause="model", group="<size>") == 1


def test_shares_go_with_the_measurement_and_causes_with_the_regression() -> None:
    published = everything()
    assert value(published, "robmon_noise_share", NOW + 1e6, model_version="2", group="<size>") is None
    assert value(published, "robmon_change_share", NOW + 1e6, model_version="2", cause="model") == 0.75
    change(published, state=state_of(("2", None), ("1", True), ("2", True)))
    assert value(published, "robmon_change_share", model_version="2", cause="model") is None
    assert value(published, "robmon_regression_cause_info", cause="model", group="<size>") is None
    assert value(published, "robmon_noise_share", model_version="2", group="age") == 0.5, "those of the baseline"
    change(published, canary=None, shares=None)
    assert list(scrape(published).collect()) == []


def test_what_is_not_beyond_chance_is_not_named() -> None:
    published = everything()
    verdict = published.view.state.verdict
    assert verdict is not None and verdict.causes is not None
    unsure = Causes(model=verdict.causes.model, traffic=None, cause=None)
    state = replace(published.view.state, verdict=verdict.model_copy(update={"causes": unsure}))
    shares = SharesResult(groups=["a", "b"], share=[0.6, 0.4], stderr=[0.1, 0.1], total=1.0, level=0.05, is_now=True)
    change(published, state=state, alert_shares=shares)
    assert named_cause(published.view) == (None, None)
    assert value(published, "robmon_regression_cause_info", cause="unknown", group="unknown") == 1
    assert "Cause" not in causes_html(published) and "carries" not in causes_html(published)


def test_all_other_features_together_are_not_named_as_what_carries_it() -> None:
    published = everything()
    shares = SharesResult(
        groups=["a", "all others"], share=[0.1, 0.9], stderr=[0.01, 0.01], total=1.0, level=0.05, is_now=True,
        largest="all others",
    )  # fmt: skip
    change(published, alert_shares=shares)
    assert named_cause(published.view) == ("model", None)
    assert value(published, "robmon_regression_cause_info", cause="model", group="unknown") == 1
    assert "carries" not in causes_html(published)
    assert ["all others", bar(0.9), "90 %", "1 %"] in table_of(status_page(published, NOW + 1), "Where it comes from")


def test_over_time_it_is_the_traffic_unless_the_canary_has_changed_or_is_silent() -> None:
    published = everything()
    change(published, state=state_of(("2", None), ("1", True), ("2", True)), detection=detection(since=NOW - 60))
    assert published.view.worse_since == ("time", "2", NOW - 60)
    assert named_cause(published.view) == ("traffic", "<size>")
    assert value(published, "robmon_regression_cause_info", cause="traffic", group="<size>") == 1
    assert value(published, "robmon_change_share", model_version="2", cause="traffic") == 1.0
    change(published, canary=CanaryResult(rows=64, ratio=1.0, is_changed=True))
    assert named_cause(published.view).cause == "runtime"
    assert value(published, "robmon_change_share", model_version="2", cause="traffic") is None
    change(published, canary=CanaryResult(reason="the model is itself random"))
    assert named_cause(published.view).cause is None


def test_of_a_changed_runtime_nothing_else_is_the_cause() -> None:
    published = everything()
    change(published, canary=CanaryResult(rows=64, ratio=0.25, is_changed=True, notes=["outputs are <f4>"]))
    assert named_cause(published.view).cause == "runtime"
    assert value(published, "robmon_canary_change_ratio") == 0.25
    page = status_page(published, NOW + 1)
    assert '<p class="bad">The same version gives other outputs than before: 25 % of those for 64 drawn rows' in page
    assert "outputs are &lt;f4&gt;" in page and "<f4>" not in page and "Cause: the runtime." in page


def test_the_page_names_cause_and_features() -> None:
    page = status_page(everything(), NOW + 1)
    assert "Synthetic canary: 64 drawn rows give the outputs that they gave before." in page
    assert (
        "Cause: the model. Since the baseline the model multiplies the noise error by 2 (75 % of the change) and"
        in page
    )
    assert (
        "the traffic multiplies the noise error by 1.25 (25 % of the change), at the highest level. "
        "&lt;size&gt; carries 100 % of the" in page
    )
    assert table_of(page, "Where it comes from") == [
        ["features", "", "share of the noise error", "standard error", "share of its rise"],
        ["<size>", bar(0.75), "75 %", "6.25 %", "100 %"],
        ["age", bar(0.25), "25 %", "6.25 %", "0 %"],
    ]
    assert "<size>" not in page


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"canary": CanaryResult(reason="the model is <random>")}, "No synthetic canary: the model is &lt;random&gt;."),
        (
            {"alert_shares": SharesResult(reason="no <time>", is_now=True)},
            "Which features carry it is not known: no &lt;time&gt;.",
        ),
        (
            {"alert_shares": None, "shares": SharesResult(reason="'x' is none of them")},
            "Which features carry the noise error is not known: &#x27;x&#x27; is none of them.",
        ),
    ],
)
def test_why_something_is_not_known_is_told(changes: dict[str, Any], sentence: str) -> None:
    published = everything()
    change(published, **changes)
    assert sentence in status_page(published, NOW + 1)


def test_a_view_keeps_what_an_assessment_did_not_look_at() -> None:
    view = everything().view
    nothing = view.with_causes(assessed())
    assert (nothing.canary, nothing.shares, nothing.alert_shares) == (view.canary, view.shares, view.alert_shares)
    now = SharesResult(reason="no time", is_now=True)
    assert view.with_causes(assessed().model_copy(update={"shares": now})).alert_shares == now
    baseline = SharesResult(groups=["a"], share=[1.0], stderr=[0.0], total=1.0, level=0.1)
    after = view.with_causes(assessed().model_copy(update={"shares": baseline}))
    assert after.shares == baseline and after.alert_shares == view.alert_shares
    gone = view.without_causes()
    assert (gone.canary, gone.shares, gone.alert_shares) == (None, None, None)

"""The detector over time, as it is exported and shown."""

from __future__ import annotations

import math

import pytest
from prometheus_client import CollectorRegistry

from robmon.export.measured import PublishedCollector
from robmon.export.published import Published
from robmon.export.status import status_page
from robmon.vocabulary import DETECTION_STATES
from tests.export.published import NOW, change, detection, everything

MODEL = {"model_name": "digits"}
VERSION = {**MODEL, "model_version": "2"}


OF_ANOTHER = detection().model_copy(update={"identity": {"version": ["1", "abc"], "threshold": [1.0, 60.0]}})


def scrape(published: Published) -> CollectorRegistry:
    registry = CollectorRegistry()
    registry.register(PublishedCollector(published, clock=lambda: NOW + 1))
    return registry


def state(registry: CollectorRegistry) -> str:
    values = {
        name: registry.get_sample_value("robmon_detection_state", {**MODEL, "state": name}) for name in DETECTION_STATES
    }
    (now,) = [name for name, value in values.items() if value]
    assert set(values.values()) == {None, 1.0}
    return now


def test_evidence_its_threshold_and_what_can_be_seen_are_exported() -> None:
    registry = scrape(everything())
    assert registry.get_sample_value("robmon_regression_evidence", VERSION) == 12.5
    assert registry.get_sample_value("robmon_regression_evidence_threshold", VERSION) == 43_200
    assert registry.get_sample_value("robmon_detectable_ratio", {**MODEL, "within": "60"}) == 1.375
    assert registry.get_sample_value("robmon_regression_detected", {**MODEL, "kind": "time"}) == 0
    assert registry.get_sample_value("robmon_regression_since_timestamp_seconds", {**MODEL, "kind": "time"}) is None
    assert state(registry) == "week"


def test_an_alarm_that_stands_is_a_regression_in_time() -> None:
    published = everything()
    change(published, detection=detection(60_000.0, since=NOW - 60, detectable_ratio=math.inf))
    registry = scrape(published)
    assert registry.get_sample_value("robmon_regression_detected", {**MODEL, "kind": "time"}) == 1
    assert registry.get_sample_value("robmon_regression_since_timestamp_seconds", {**MODEL, "kind": "time"}) == NOW - 60
    assert registry.get_sample_value("robmon_detectable_ratio", {**MODEL, "within": "60"}) == math.inf
    page = status_page(published, NOW)
    assert 'class="bad">Worse than its baseline&#x27;s worst hour since 1970-01-12 13:45 UTC: evidence 60000' in page


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({"detection": None}, "its baseline spans 0 of the 24 hours that a limit needs"),
        ({"detection": detection(detector=None, basis=None, span_hours=7)}, "its baseline spans 7 of the 24 hours"),
        (
            {"detection": detection(detector=None, basis=None, problem="there is no error above 0")},
            "Nothing says whether this version becomes worse over time: there is no error above 0.",
        ),
        (
            {"detection": OF_ANOTHER},
            "its baseline spans 0 of the 24 hours",
        ),
    ],
)  # fmt: skip
def test_a_detector_that_is_silent_says_so_and_exports_nothing_else(changes: dict[str, object], told: str) -> None:
    published = everything()
    change(published, **changes)
    registry = scrape(published)
    assert state(registry) == "learning"
    names = {sample.name for family in registry.collect() for sample in family.samples}
    assert not {"robmon_regression_evidence", "robmon_regression_evidence_threshold", "robmon_detectable_ratio"} & names
    assert registry.get_sample_value("robmon_regression_detected", {**MODEL, "kind": "time"}) is None
    assert told in status_page(published, NOW)


def test_the_page_says_what_is_seen_and_names_an_hour_that_hides_the_rest() -> None:
    published = everything()
    page = status_page(published, NOW)
    assert "evidence 12.5 of 43200" in page
    assert "The limit is of a week, with a tolerance of 10%; x1.38 of that hour is seen within 60 assessments." in page
    assert "worst hour, 2026-11-26T19, is 3 times as bad as its median hour" in page
    assert "robmon baseline --model models:/digits/2 --without-hour 2026-11-26T19" in page
    change(published, detection=detection(basis="inherited", worst_hour=None, detectable_ratio=math.inf))
    page = status_page(published, NOW)
    assert "inherited from the version before, until a day of its own is there" in page
    assert "with so few requests nothing is seen within 60 assessments" in page and "median hour" not in page

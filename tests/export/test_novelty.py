"""Unusual queries, as metrics and on the status page."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from typing import Any

import pytest
from prometheus_client import CollectorRegistry

from robmon.export.measured import PublishedCollector
from robmon.export.metrics import Metrics
from robmon.export.novelty import unusual_queries
from robmon.inputs.counts import InputCounts
from tests.export.published import NOW, change, everything

VERSION = {"model_name": "digits", "model_version": "2"}
NAMES = ("robmon_input_novel_ratio", "robmon_input_novelty_pvalue", "robmon_input_near_duplicate_rows")


def values(**found: Any) -> list[float | None]:
    published, registry = everything(), CollectorRegistry()
    measurement = published.view.measurement
    assert measurement is not None and measurement.result.novelty is not None
    novelty = None if found.pop("none", False) else measurement.result.novelty.model_copy(update=found)
    result = measurement.result.model_copy(update={"novelty": novelty})
    change(published, measurement=replace(measurement, result=result))
    registry.register(PublishedCollector(published, clock=lambda: NOW + 1))
    return [registry.get_sample_value(name, VERSION) for name in NAMES]


def test_what_is_known_is_exported_and_nothing_else() -> None:
    assert values() == [0.024, 0.0625, 13]
    assert values(ratio=None, pvalue=None) == [None, None, 13]
    assert values(near_duplicates=None) == [0.024, 0.0625, None]
    assert values(none=True) == [None] * 3


@pytest.mark.parametrize("counted", [True, False])
def test_repeats_begin_at_zero_where_they_are_counted(counted: bool) -> None:
    counts = InputCounts(repeated=Counter() if counted else None)
    value = Metrics("m", counts, lambda: (0, None)).registry.get_sample_value
    assert value("robmon_inputs_repeated_total", {"source": "v2"}) == (0 if counted else None)
    assert value("robmon_inputs_repeated_total", {"source": "file"}) is None, "only bodies that arrive are hashed"
    for source in ("mlflow", "kafka"):
        counts.received[source] += 3
        counts.count_repeated(source)
        assert value("robmon_inputs_repeated_total", {"source": source}) == (1 if counted else None)


def test_the_page_names_requests_and_says_what_it_does_not_see() -> None:
    measurement = everything().view.measurement
    assert measurement is not None
    page = unusual_queries(replace(measurement, near_requests=("req-7",)))
    assert (
        "Of 250 new rows 2.4 % are farther out than nearly all of the baseline&#x27;s (p 0.0625), 13 are nearer to "
        "another one than the baseline&#x27;s ever were, 4 have the same content as another." in page
    )
    assert "Near-duplicates, requests: req-7" in page and "Novel, requests" not in page
    assert "Small adversarial noise is not seen this way." in page and "attack" not in page
    nothing = measurement.result.model_copy(update={"novelty": None})
    assert unusual_queries(replace(measurement, result=nothing)) == ""

"""Everything that reads robmon's metrics names metrics and labels that exist, and never summarises bounds over pods."""

from __future__ import annotations

import re
from collections.abc import Iterator

import pytest
import yaml

from tests.watching import dashboards
from tests.watching.contract import BOUNDS, HISTOGRAMS, LABELS, TARGET_LABELS
from tests.watching.prometheus import PROMETHEUS_FILES, REPOSITORY
from tests.watching.promql import aggregations, matchers, parse, selectors

NAME = re.compile(r"(?<![\w:])robmon_[a-z0-9_]+\b(?!:)")
TEXT = {".yaml", ".md", ".json", ".tpl", ".txt", ".py", ""}


def named() -> set[str]:
    files = [file for folder in ("deploy", "grafana", "helm") for file in (REPOSITORY / folder).rglob("*")]
    texts = [file.read_text() for file in files if file.is_file() and file.suffix in TEXT]
    return {name for text in texts for name in NAME.findall(text)}


def rules() -> list[dict[str, str]]:
    files = [PROMETHEUS_FILES / "rules.yaml", PROMETHEUS_FILES / "alerts.yaml"]
    return [rule for file in files for group in yaml.safe_load(file.read_text())["groups"] for rule in group["rules"]]


RECORDED = {rule["record"] for rule in rules() if "record" in rule}


def expressions() -> Iterator[str]:
    for rule in rules():
        yield rule["expr"]
    yield from (expression for _, expression in dashboards.expressions())


EXPRESSIONS = list(expressions())


def test_every_metric_named_anywhere_exists() -> None:
    assert len(named()) > 20
    assert named() - set(LABELS) - set(HISTOGRAMS) == set()


@pytest.mark.parametrize("expression", EXPRESSIONS)
def test_expressions_name_metrics_and_labels_that_exist(expression: str) -> None:
    for selector in selectors(parse(expression)):
        if selector.name in RECORDED:
            continue
        assert set(matchers(selector)) <= LABELS[selector.name] | TARGET_LABELS, selector.name


@pytest.mark.parametrize("expression", EXPRESSIONS)
def test_no_bound_is_aggregated(expression: str) -> None:
    for aggregation in aggregations(parse(expression)):
        assert BOUNDS.isdisjoint(selector.name for selector in selectors(aggregation.expr))


def test_every_recording_rule_is_read_by_an_alert_or_by_one_that_is() -> None:
    read, before = {"alert"}, set[str]()
    while read != before:
        before = set(read)
        for rule in rules():
            if "alert" in rule or rule["record"] in read:
                read |= {selector.name for selector in selectors(parse(rule["expr"]))}
    assert read & RECORDED == RECORDED

"""Alerts as values of the chart: as the files have them by default, and each thing of them changed."""

from __future__ import annotations

import copy
import re
import shutil
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.watching.kubernetes import CHART, helm, of_kind, render, rule_groups
from tests.watching.prometheus import PROMETHEUS_FILES
from tests.watching.test_rules import ALERTS, promtool

RUNBOOKS, GRAFANA = "https://docs.example.org/robmon", "https://grafana.example.org/team/"

Groups = list[dict[str, Any]]


def alerts_of(groups: Groups) -> dict[str, dict[str, Any]]:
    return {rule["alert"]: rule for group in groups for rule in group["rules"] if "alert" in rule}


def files() -> Groups:
    names = ("rules.yaml", "alerts.yaml")
    return [group for name in names for group in yaml.safe_load((PROMETHEUS_FILES / name).read_text())["groups"]]


def test_by_default_they_are_those_of_the_files_and_link_nowhere(tmp_path: Path) -> None:
    expected = files()
    for rule in alerts_of(expected).values():
        del rule["annotations"]["runbook_url"], rule["annotations"]["dashboard_url"]
    assert rule_groups(tmp_path) == expected


def test_links_are_absolute(tmp_path: Path) -> None:
    found = alerts_of(rule_groups(tmp_path, runbookBaseUrl=RUNBOOKS, dashboardBaseUrl=GRAFANA))
    for name, rule in found.items():
        assert rule["annotations"]["runbook_url"] == f"{RUNBOOKS}/docs/operate/runbooks/{name}.md"
        assert rule["annotations"]["dashboard_url"].startswith(
            "https://grafana.example.org/team/d/robmon-model?var-job="
        )
    only_runbooks = alerts_of(rule_groups(tmp_path, runbookBaseUrl=RUNBOOKS))
    assert all("dashboard_url" not in rule["annotations"] for rule in only_runbooks.values())


def test_everything_of_every_alert_can_be_changed_and_nothing_else_is(tmp_path: Path) -> None:
    change = {
        "severity": "info",
        "for": "7m",
        "keepFiringFor": "1h30m",
        "labels": {"team": "ml"},
        "annotations": {"summary": "Mine.", "runbook_url": "https://wiki/{{ $labels.job }}"},
    }
    rules = {name: {**change, **({"threshold": 0.125} if has_threshold(name) else {})} for name in ALERTS}
    expected = copy.deepcopy(ALERTS)
    for rule in expected.values():
        rule |= {"for": "7m", "keep_firing_for": "1h30m"}
        rule["labels"] |= {"severity": "info", "team": "ml"}
        rule["annotations"] |= change["annotations"]
        del rule["annotations"]["dashboard_url"]
        rule["expr"] = re.sub(r"\S+ # threshold", "0.125 # threshold", rule["expr"])
    assert alerts_of(rule_groups(tmp_path, rules=rules)) == expected
    assert sum(map(has_threshold, ALERTS)) == 13


def has_threshold(name: str) -> bool:
    return "# threshold" in ALERTS[name]["expr"]


def test_an_alert_that_is_not_wanted_is_not_there(tmp_path: Path) -> None:
    found = rule_groups(tmp_path, rules={"RobmonTooFewInputs": {"enabled": False}, "RobmonInputDrift": None})
    assert set(alerts_of(found)) == set(ALERTS) - {"RobmonTooFewInputs"}
    none = rule_groups(tmp_path, rules={name: {"enabled": False} for name in ALERTS})
    assert [group["name"] for group in none] == ["robmon-rules"]
    assert set(alerts_of(rule_groups(tmp_path, rules=None))) == set(ALERTS)


@pytest.mark.parametrize(
    ("value", "complaint"),
    [
        ("rules.RobmonRobustnesRegression.severity=info", "RobmonRobustnesRegression"),
        ("rules.RobmonInputDrift.treshold=0.3", "treshold"),
        ("rules.RobmonInputDrift.threshold=much", "threshold"),
        ("rules.RobmonComparisonPending.threshold=1", "threshold"),
        ("rules.RobmonInputDrift.for=5 minutes", "for"),
        ("rules.RobmonInputDrift.keepFiringFor=5", "keepFiringFor"),
        ("rules.RobmonInputDrift.for=5m5m", "for"),
        ("rules.RobmonInputDrift.keepFiringFor=30s5m", "keepFiringFor"),
        ("rules.RobmonInputDrift.for=300y", "for"),
        ("rules.RobmonInputDrift.for=", "for"),
        ("rules.RobmonInputDrift.labels.a-b=x", "a-b"),
        ("rules.RobmonInputDrift.labels.__name__=x", "__name__"),
        ("rules.RobmonInputDrift.annotations.1a=x", "1a"),
        ("rules.RobmonInputDrift.annotations.run book=x", "run book"),
        ("rules.RobmonInputDrift.severity=Not so bad", "severity"),
        ("rules.RobmonInputDrift.enabled=off", "enabled"),
        ("rules.RobmonInputDrift.labels.team=1", "team"),
        ("runbookBaseUrl=docs/operate", "runbookBaseUrl"),
        ("dashboardBaseUrl=//grafana", "dashboardBaseUrl"),
        ("regressionOverTimeSeverity=info", "regressionOverTimeSeverity"),
    ],
)
def test_what_cannot_be_is_refused(value: str, complaint: str, tmp_path: Path) -> None:
    done = helm(
        "template", "release", CHART, "--set", f"prometheusRule.enabled=true,prometheusRule.{value}", home=tmp_path
    )
    assert done.returncode != 0
    assert complaint in done.stderr


CHANGED = {
    "RobmonInputDrift": {"threshold": 0.4, "for": "5m"},
    "RobmonAssessmentsStale": {"threshold": 3000, "severity": "critical"},
    "RobmonBoundOverLimit": {"threshold": 0.1, "keepFiringFor": "1h"},
    "RobmonTooFewInputs": {"enabled": False},
}
FIRES = {
    "RobmonInputDrift": {"29m": False, "34m": False, "40m": True, "100m": False},
    "RobmonAssessmentsStale": {"55m": False, "65m": True},
    "RobmonBoundOverLimit": {"14m": False, "20m": True, "80m": True, "95m": False},
    "RobmonTooFewInputs": {"5h": False},
}
_OF = 'job="robmon", instance="a:9877", model_name="digits"'
SERIES = {
    f"robmon_last_assessment_timestamp_seconds{{{_OF}}}": "0x300",
    f'robmon_input_drift{{{_OF}, model_version="1", feature="weight", statistic="js"}}': "0.3x30 0.6x30 0.3x240",
    f'robmon_input_drifted_features{{{_OF}, model_version="1"}}': "1x300",
    f'robmon_noise_margin_level{{{_OF}, model_version="1"}}': "0.1x30 0.2x270",
    'robmon_assessments_total{job="robmon", instance="a:9877", outcome="skipped", reason="too_few_inputs"}': "0x100 "
    "0+1x200",
}


def test_what_is_changed_fires_otherwise(tmp_path: Path) -> None:
    """By promtool, on what the chart renders: when, not in which words."""
    groups = rule_groups(tmp_path, rules=CHANGED)
    for rule in alerts_of(groups).values():
        del rule["annotations"]
    (tmp_path / "rules.yaml").write_text(yaml.safe_dump({"groups": groups}))

    def firing(name: str) -> list[dict[str, Any]]:
        severity = "critical" if name == "RobmonAssessmentsStale" else "warning"
        return [{"exp_labels": {"severity": severity, "job": "robmon", "model_name": "digits"}}]

    case = {
        "interval": "1m",
        "input_series": [{"series": series, "values": values} for series, values in SERIES.items()],
        "alert_rule_test": [
            {"eval_time": at, "alertname": name, "exp_alerts": firing(name) if fires else []}
            for name, times in FIRES.items()
            for at, fires in times.items()
        ],
    }
    tests = {"rule_files": ["rules.yaml"], "evaluation_interval": "1m", "tests": [case]}
    (tmp_path / "tests.yaml").write_text(yaml.safe_dump(tests))
    done = promtool("test", "rules", "tests.yaml", cwd=tmp_path)
    assert done.returncode == 0, done.stdout + done.stderr


def test_two_charts_that_differ_in_rules_alone_have_the_same_pods(tmp_path: Path) -> None:
    """An upgrade of the rules restarts nobody's robmon."""
    chart = tmp_path / "robmon"
    shutil.copytree(CHART, chart)
    alone = ("--set", "settings.model.uri=models:/digits@champion,standalone.enabled=true")
    before = render(chart, *alone, home=tmp_path)
    described = (chart / "Chart.yaml").read_text()
    (chart / "Chart.yaml").write_text(re.sub(r"(?m)^version: .*$", "version: 9.9.9", described))
    alerts = chart / "files" / "alerts.yaml"
    alerts.write_text(alerts.read_text().replace("for: 15m", "for: 20m"))
    changed = ("--set", "prometheusRule.enabled=true,prometheusRule.rules.RobmonInputDrift.threshold=0.5")
    after = render(chart, *alone, *changed, home=tmp_path)
    assert len(of_kind(after, "PrometheusRule")) == 1
    [old], [new] = of_kind(before, "Deployment"), of_kind(after, "Deployment")
    assert old["spec"] == new["spec"]

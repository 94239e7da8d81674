"""The Prometheus files: valid, complete, and tested by promtool with series that must and must not fire."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml

from robmon.vocabulary import OUTCOMES
from tests.watching.prometheus import PROMETHEUS_FILES, REPOSITORY

RULE_TESTS = sorted((PROMETHEUS_FILES / "tests").glob("*.yaml"))


def promtool(*arguments: str | Path, cwd: Path = PROMETHEUS_FILES) -> subprocess.CompletedProcess[str]:
    """It lives for a second, of which a third would go to looking for garbage."""
    command, environment = ["promtool", *map(str, arguments)], os.environ | {"GOGC": "800"}
    return subprocess.run(command, cwd=cwd, env=environment, text=True, capture_output=True, check=False)


def alert_rules() -> list[dict[str, Any]]:
    groups = yaml.safe_load((PROMETHEUS_FILES / "alerts.yaml").read_text())["groups"]
    return [rule for group in groups for rule in group["rules"]]


ALERTS = {rule["alert"]: rule for rule in alert_rules()}


def test_files_are_valid() -> None:
    for arguments in (["check", "rules", "rules.yaml", "alerts.yaml"], ["check", "config", "scrape.yaml"]):
        result = promtool(*arguments)
        assert result.returncode == 0, result.stdout + result.stderr


def test_a_pod_is_one_of_its_cluster_and_namespace() -> None:
    """An address alone is no pod where one Prometheus watches several clusters."""
    texts = [(PROMETHEUS_FILES / name).read_text() for name in ("rules.yaml", "alerts.yaml")]
    pods = [labels for text in texts for labels in re.findall(r"\b(?:on|by) \(([^)]*\binstance\b[^)]*)\)", text)]
    assert len(pods) > 30
    assert all(labels.startswith("cluster, namespace, job, instance") for labels in pods)
    of = '{{ $of := printf "cluster=%q,namespace=%q,job=%q,model_name=%q"'
    assert all(rule["annotations"]["description"].startswith(of) for rule in ALERTS.values())


@pytest.mark.parametrize("file", RULE_TESTS, ids=lambda file: file.stem)
def test_rules_fire_and_do_not_fire(file: Path, tmp_path: Path) -> None:
    folder = tmp_path / "prometheus"
    shutil.copytree(PROMETHEUS_FILES, folder)
    keep_what_is_asked(folder, file.stem)
    result = promtool("test", "rules", f"tests/{file.name}", cwd=folder)
    assert result.returncode == 0, result.stdout + result.stderr


MUTATIONS = {
    "the regression waits for nothing": ("regression", r"for: 2m\n", "for: 0m\n"),
    "the regression keeps no firing": ("regression", r"keep_firing_for: 10m", "keep_firing_for: 0s"),
    "any ratio is a regression": ("regression", r"regression_detected:max == 1", "regression_detected:max >= 0"),
    "evidence of one pod is that of all": (
        "over_time",
        r"sum without (.*) \(robmon_regression_e",
        r"max without \1 (robmon_regression_e",
    ),
    "pods that went are forgotten": ("over_time", r"/ max_over_time\((.*:pods)\[30d\]\)", r"/ \1"),
    "pods that come end an alarm": (
        "over_time",
        r"or \(\n +model:robmon_regression_over_time",
        "and ( model:robmon_regression_over_time",
    ),
    "an alarm never ends": ("over_time", r'kind="time"\}\) == 1', 'kind="time"}) >= 0'),
    "any evidence is a regression": ("over_time", r">= max without", "< max without"),
    "a regression in time is one of the version": ("over_time", r'\{kind="version"\}', ""),
    "evidence waits for nothing": (
        "over_time",
        r"over_time:standing == 1\n        for: 2m",
        "over_time:standing == 1\n        for: 0m",
    ),
    "pending waits for nothing": ("pending", r"for: 60m\n", "for: 0m\n"),
    "no reason is a reason": ("pending", r"pending:max == 1", "pending:max >= 0"),
    "a reason in one pod is none": (
        "pending",
        r"max without (.*) \(robmon_comparison",
        r"min without \1 (robmon_comparison",
    ),
    "the regression is any version's": (
        "regression",
        r"\{%s,model_version=%q,reference_version=%q\}",
        "{%s,model_version!=%q,reference_version=%q}",
    ),
    "the regression began with another": ("regression", r",kind='version'\}%s", "}%s"),
    "clusters are one in the rules": ("broken", r"(on|by) \(cluster, ", r"\1 ("),
    "namespaces are one in the rules": ("broken", r"(on|by) \(cluster, namespace, ", r"\1 (cluster, "),
    "clusters are one in the texts": ("regression", r"cluster=%q,(.*) \$labels\.cluster ", r"\1 "),
    "a target down in another cluster counts": ("stale", r"on \(cluster, (.*) up == 0", r"on (\1 up == 0"),
    "the interval is any pod's": ("regression", r"ratio_(upper|lower)\{%s\} and %s", r"ratio_\1{%s} or %s"),
    "the alias is any pod's": ("regression", r"robmon_served_alias_info\{%s\}%s", "robmon_served_alias_info{%s}%.0s"),
    "names are no words of a shell": ("regression", r"if not \(match", "if (match"),
    "staleness has no age": ("stale", r"> 600", "> 60"),
    "staleness knows no interval": ("intervals", r"<= 3 \* model", "<= 0 * model"),
    "counts look back for minutes only": ("intervals", r"\[1h\]", "[10m]"),
    "drift need not last": ("intervals", r"min_over_time", "max_over_time"),
    "a limit is kept by some pod": (
        "outputs",
        r"min without (.*) \(robmon_noise_margin",
        r"max without \1 (robmon_noise_margin",
    ),
    "any limit is broken": ("outputs", r"margin_level:min <= 0", "margin_level:min <= 1"),
    "the limit waits for nothing": ("outputs", r"(margin_level:min <= 0 # threshold\n +)for: 15m", r"\1for: 0m"),
    "all outputs are finite": ("outputs", r"nonfinite_outputs:increase\) > 0", "nonfinite_outputs:increase) > 100"),
    "predictions drift by a little": (
        "outputs",
        r"prediction_drift_psi:lasting > 0\.25",
        "prediction_drift_psi:lasting > 0.05",
    ),
    "predictions of a pod are those of all": ("outputs", r"avg without (.*\n +robmon_prediction)", r"max without \1"),
    "a registry may never be away": ("broken", r"for: 20m", "for: 2m"),
    "comparisons are loads": ("broken", r'\{stage=~"fetch\|load"\}', ""),
    "another version is a death": ("broken", r'\{reason!="new_version"\}', ""),
    "one death is a loop": ("broken", r">= 3 # threshold", ">= 1 # threshold"),
    "one write is many": ("broken", r">= 2 # threshold\n(.*)for: 15m", r">= 1 # threshold\n\1for: 2m"),
    "strangers are clients": ("broken", r'source!~"none\|feedback", ', ""),
    "a burst is a state": ("broken", r"(ratio10m\) > 0\.05 # threshold\n +)for: 15m", r"\1for: 0m"),
    "staleness waits for nothing": ("stale", r"for: 10m\n", "for: 0m\n"),
    "a target down is forgotten": ("stale", r"up == 0", "up == 2"),
    "a target gone is remembered": ("stale", r"and on \((.*)\) up == 0", r"or on (\1) up == 0"),
    "every pod must be fresh": ("stale", r"max without (.*) \(\n +robmon_last", r"min without \1 ( robmon_last"),
    "want of inputs is staleness": (
        "inputs",
        r"(max\n +)unless ignoring \(outcome, reason\) \(",
        r"\1and ignoring (outcome, reason) (",
    ),
    "other reasons do not matter": ("inputs", r"\{reason!=\"too_few_inputs\"\}", '{reason="none"}'),
    "models are mixed up": ("inputs", r"group_left \(model_name\)", "group_left ()"),
    "counters do not restart": ("inputs", r"increase\(", "delta("),
    "drift is the worst pod's": ("inputs", r"avg without", "max without"),
    "drift is per version": ("inputs", r", model_version\b", ""),
    "drift is any statistic's": ("inputs", r'robmon_input_drift\{statistic="js"\}', "robmon_input_drift"),
    "drift is any feature's": ("inputs", r'feature="all", statistic="psi"', 'statistic="psi"'),
    "drift waits for nothing": ("inputs", r"for: 15m\n", "for: 0m\n"),
    "drift has no effect": ("inputs", r"js:lasting > 0\.2", "js:lasting > 0.1"),
    "drift is no count": ("inputs", r"drifted_features:avg >= 0\.5", "drifted_features:avg >= 0"),
    "drift is one pod's": ("inputs", r"drifted_features:avg >= 0\.5", "drifted_features:avg > 0"),
    "the mean decides everywhere": ("inputs", r" unless model:robmon_input_drifted_features:avg", ""),
    "any attack is the worst": ("attack", r'\{attack="worst"\}', ""),
    "a version before is served still": ("attack", r"unless model:robmon_attack_agreement_ratio:avg", ""),
    "chance is a drop": ("attack", r"ratio:drop\) > 0\.25", "ratio:drop) > 0.1"),
    "an attack waits for nothing": ("attack", r"for: 5m\n( +)keep_firing_for: 15m", r"for: 0m\n\1keep_firing_for: 15m"),
    "near-duplicates need not last": ("unusual", r"min_over_time\((model:robmon_input_near)", r"max_over_time(\1"),
    "two near-duplicates are many": ("unusual", r"duplicate_rows:lasting >= 3", "duplicate_rows:lasting >= 2"),
    "near-duplicates are a version's": (
        "unusual",
        r", model_version\) \(robmon_input_near_duplicate_rows",
        ") (robmon_input_near_duplicate_rows",
    ),
    "near-duplicates are those of every pod": (
        "unusual",
        r"max without (.*) \(robmon_input_near_duplicate_rows",
        r"min without \1 (robmon_input_near_duplicate_rows",
    ),
    "drift has a lower mean": ("inputs", r"input_drift_psi:lasting > 0\.25", "input_drift_psi:lasting > 0.2"),
}


def dumped(content: object) -> str:
    """As YAML, quickly."""
    text: str = yaml.dump(content, Dumper=yaml.CSafeDumper)
    return text


def contents_of(folder: Path) -> dict[str, Any]:
    """What the files of rules hold, by name."""
    return {name: yaml.load((folder / name).read_text(), yaml.CSafeLoader) for name in ("alerts.yaml", "rules.yaml")}


def rules_of(contents: dict[str, Any]) -> list[dict[str, Any]]:
    return [rule for content in contents.values() for group in content["groups"] for rule in group["rules"]]


def standing_on(changed: list[dict[str, Any]], rules: list[dict[str, Any]]) -> set[str]:
    """The alerts among some rules and among those that stand on one of them."""
    reached = list(changed)
    for rule in reached:  # which grows
        if "record" in rule:
            reached += [each for each in rules if each not in reached and rule["record"] in dumped(each)]
    return {rule["alert"] for rule in reached if "alert" in rule}


def keep_asked_of(alerts: set[str], file: Path) -> None:
    """Only the tests of those alerts; a file that asks for more than alerts stays as it is."""
    content = yaml.load(file.read_text(), yaml.CBaseLoader)  # 0x60 is no number, but 60 times another 0
    if any("promql_expr_test" in test for test in content["tests"]):
        return
    for test in content["tests"]:
        test["alert_rule_test"] = [each for each in test["alert_rule_test"] if each["alertname"] in alerts]
    content["tests"] = [test for test in content["tests"] if test["alert_rule_test"]]
    file.write_text(dumped(content))


def keep_what_is_asked(folder: Path, tests: str) -> None:
    """Only the alerts of those tests, and what they stand on: promtool evaluates every rule at every step."""
    asked = set(re.findall(r"alertname: (\w+)", (folder / "tests" / f"{tests}.yaml").read_text()))
    contents = contents_of(folder)
    rules = rules_of(contents)
    kept = [rule for rule in rules if rule.get("alert") in asked]
    for rule in kept:  # which grows
        text = dumped(rule)
        kept += [each for each in rules if "record" in each and each not in kept and each["record"] in text]
    for name, content in contents.items():
        for group in content["groups"]:
            group["rules"] = [rule for rule in group["rules"] if rule in kept]
        (folder / name).write_text(dumped(content))


@pytest.mark.parametrize("name", MUTATIONS)
def test_rule_tests_notice_a_wrong_rule(name: str, tmp_path: Path) -> None:
    tests, pattern, replacement = MUTATIONS[name]
    folder = tmp_path / "prometheus"
    shutil.copytree(PROMETHEUS_FILES, folder)
    right, replaced = rules_of(contents_of(folder)), 0
    for file in (folder / "rules.yaml", folder / "alerts.yaml"):
        text, count = re.subn(pattern, replacement, file.read_text())
        file.write_text(text)
        replaced += count
    assert replaced, "the mutation no longer applies"
    rules = rules_of(contents_of(folder))
    keep_asked_of(standing_on([rule for rule in rules if rule not in right], rules), folder / "tests" / f"{tests}.yaml")
    keep_what_is_asked(folder, tests)
    done = promtool("test", "rules", f"tests/{tests}.yaml", cwd=folder)
    assert done.returncode == 1 and re.search("(alertname|expr|rule): ", done.stdout + done.stderr), done.stderr


@pytest.mark.parametrize("name", ALERTS)
def test_every_alert_says_what_the_person_on_call_needs(name: str) -> None:
    rule = ALERTS[name]
    annotations = rule["annotations"]
    assert name.startswith("Robmon")
    assert rule["labels"]["severity"] in {"critical", "warning", "info"}
    assert "{{" not in annotations["summary"]
    assert annotations["summary"].endswith(".")
    assert annotations["summary"].count(".") == 1
    assert "$labels.model_name" in annotations["description"]
    assert rule["keep_firing_for"]
    assert minutes(rule["for"]) >= 2, "two assessment intervals by default"

    runbook = REPOSITORY / annotations["runbook_url"]
    headings = re.findall(r"^##? (.*)$", runbook.read_text(), flags=re.MULTILINE)
    assert headings == [name, "Meaning", "Impact", "Diagnosis", "Mitigation"]


def test_the_alerts_and_no_runbook_without_one() -> None:
    assert set(ALERTS) == {
        "RobmonRobustnessRegression",
        "RobmonUnusualQueries",
        "RobmonRegressionOverTime",
        "RobmonComparisonPending",
        "RobmonAssessmentsStale",
        "RobmonTooFewInputs",
        "RobmonServedPredictionMismatch",
        "RobmonOutputsChanged",
        "RobmonInputDrift",
        "RobmonBoundOverLimit",
        "RobmonNonFiniteOutputs",
        "RobmonPredictionDrift",
        "RobmonInputsRejected",
        "RobmonModelNotLoadable",
        "RobmonWorkerCrashLoop",
        "RobmonHistoryNotWritten",
        "RobmonAttackAgreementDropped",
    }
    assert {file.stem for file in (REPOSITORY / "docs" / "operate" / "runbooks").glob("*.md")} == set(ALERTS)


def test_the_runbook_of_staleness_explains_every_reason() -> None:
    text = (REPOSITORY / "docs" / "operate" / "runbooks" / "RobmonAssessmentsStale.md").read_text()
    rows = [line.split("|")[1] for line in text.splitlines() if line.startswith("|")]
    explained = {word for row in rows for word in re.findall(r"\w+", row)}
    reasons = {reason for reasons in OUTCOMES.values() for reason in reasons} - {"none", "too_few_inputs"}
    assert reasons <= explained


def minutes(duration: str) -> int:
    assert duration.endswith("m")
    return int(duration.removesuffix("m"))

"""Settings: their sources, their checks, and how a bad one is told."""

from __future__ import annotations

import os
import re
from decimal import ROUND_CEILING
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from robmon.errors import OverBudgetError, SettingsError, duration
from robmon.model_uri import mask
from robmon.robustness.checks import needed_trials
from robmon.robustness.engine.plan import plan_assessment
from robmon.robustness.engine.predictor import FunctionPredictor
from robmon.settings import as_text, leaves, load
from robmon.vocabulary import PLANNED_SHARE

MODEL = {"model.uri": "models:/digits@champion"}
ENDPOINT = {"model.uri": "http://host/v2/models/digits/infer"}


@pytest.fixture(autouse=True)
def no_robmon_variables(monkeypatch: pytest.MonkeyPatch) -> None:
    for variable in list(os.environ):
        if variable.startswith("ROBMON_"):
            monkeypatch.delenv(variable)


def test_defaults_are_those_of_the_contract() -> None:
    settings = load(MODEL).settings
    assert settings.model.follow == "alias" and settings.model.poll_seconds == 30
    assert (settings.inputs.host, settings.inputs.port) == ("127.0.0.1", 9878)
    assert (settings.http.host, settings.http.port) == ("127.0.0.1", 9877)
    assert (settings.inputs.sample_rows, settings.inputs.max_age_seconds, settings.inputs.rows_per_request) == (
        256,
        3600,
        1,
    )
    assert (settings.inputs.max_body_bytes, settings.inputs.sample_bytes, settings.inputs.max_inflight_bytes) == (
        8 * 2**20,
        32 * 2**20,
        16 * 2**20,
    )
    assert (settings.assess.interval_seconds, settings.assess.min_rows, settings.assess.max_seconds) == (60, 64, 10)
    assert settings.assess.levels == (0, 0.05, 0.1, 0.2, 0.4)
    assert (settings.assess.trials, settings.assess.confidence, settings.assess.task) == (39, 0.95, "regression")
    assert (settings.compare.alpha, settings.compare.tolerance) == (0.01, 0.10)
    assert settings.baseline.min_rows == 1024 and settings.worker.timeout_seconds == 600
    assert (settings.device.name, settings.device.threads) == ("cpu", 1)
    assert settings.data_dir == Path("robmon-data")


def test_flags_win_over_the_environment_over_the_file(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    file = tmp_path / "robmon.yaml"
    file.write_text("model: {uri: 'models:/a/1'}\nassess: {trials: 99, confidence: 0.9, min_rows: 32}\n")
    monkeypatch.setenv("ROBMON_ASSESS__TRIALS", "59")
    monkeypatch.setenv("ROBMON_ASSESS__CONFIDENCE", "0.8")
    loaded = load({"assess.confidence": "0.95"}, file)
    assert (loaded.settings.assess.trials, loaded.settings.assess.confidence) == (59, 0.95)
    assert loaded.sources["assess.confidence"] == "flag"
    assert loaded.sources["assess.trials"] == "environment"
    assert loaded.sources["assess.min_rows"] == "file"
    assert loaded.sources["assess.noise"] == "default"


@pytest.mark.parametrize("text", ["0 0.1 0.2", "0,0.1,0.2", "[0, 0.1, 0.2]", "0.2, 0.1", "0.1  0.2"])
def test_lists_are_json_or_words(text: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ROBMON_ASSESS__LEVELS", text)
    assert load(MODEL).settings.assess.levels == (0.0, 0.1, 0.2)


@pytest.mark.parametrize(
    ("flags", "words"),
    [
        ({}, ["model.uri", "required", "ROBMON_MODEL__URI"]),
        ({**MODEL, "assess.trails": "5"}, ["assess.trails", "assess.trials"]),
        ({**MODEL, "http.port": "abc"}, ["http.port", "'abc'", "integer"]),
        ({**MODEL, "http.port": "70000"}, ["http.port", "70000", "65535"]),
        ({**MODEL, "assess.confidence": "1.5"}, ["assess.confidence", "1.5", "less than 1"]),
        ({**MODEL, "assess.trials": "9"}, ["9 trials", "0.95", "19"]),
        ({**MODEL, "assess.levels": "0 -1"}, ["assess.levels", "at least 0"]),
        ({**MODEL, "assess.levels": "0 x"}, ["assess.levels", "'x'", "number"]),
        ({**MODEL, "assess.task": "ranking"}, ["assess.task", "'ranking'", "regression", "classification"]),
        ({**MODEL, "inputs.sample_rows": "16"}, ["assess.min_rows", "64", "inputs.sample_rows", "16"]),
        ({**MODEL, "device.name": "tpu"}, ["device.name", "'tpu'", "cpu, cuda, cuda:1 or auto"]),
        ({**MODEL, "model.require_tags": "a=b checked"}, ["model.require_tags", "checked", "key=value"]),
        ({"model.uri": "digits"}, ["model.uri", "'digits'", "models:/name@alias"]),
        ({"model.uri": "http://me:secret@h/predict"}, ["model.uri", "http://***@h/predict", "/v2/models/name/infer"]),
        ({"model.uri": "http://me:secret@h/invocations"}, ["model.name is required"]),
        ({**MODEL, "model.name": "digits"}, ["model.name", "for endpoints"]),
        ({**MODEL, "model.token_file": "token"}, ["model.token_file", "for endpoints"]),
        ({**ENDPOINT, "model.require_tags": "a=b"}, ["model.require_tags", "for models that are loaded"]),
        ({**ENDPOINT, "worker.python": "/usr/bin/python3"}, ["worker.python", "for models that are loaded"]),
        ({**ENDPOINT, "model.token_file": "x", "model.uri": "http://me:secret@h/v1/models/m:predict"}, ["exclude"]),
        ({**ENDPOINT, "model.rows_per_second": "0"}, ["model.rows_per_second", "greater than 0"]),
        ({**ENDPOINT, "model.rows_per_second": "50"}, ["needs 125 s, the budget is 10 s", "model.rows_per_second"]),
        ({**MODEL, "http.port": "9878"}, ["http.port", "inputs.port", "9878"]),
        ({**MODEL, "asses.trials": "5"}, ["asses", "assess"]),
        ({**MODEL, "model.poll_seconds": "inf"}, ["model.poll_seconds", "finite"]),
        ({**MODEL, "inputs.exclude_paths": "/smoke health"}, ["inputs.exclude_paths", "begin with /"]),
        ({**MODEL, "inputs.exclude_headers": "X-Synthetic:yes"}, ["inputs.exclude_headers", "without their values"]),
        ({**MODEL, "inputs.share": "0"}, ["inputs.share", "it must be greater than 0"]),
    ],
)
def test_a_bad_setting_is_told_in_one_sentence(flags: dict[str, str], words: list[str]) -> None:
    with pytest.raises(SettingsError) as caught:
        load(flags)
    message = str(caught.value)
    assert "\n" not in message
    assert "secret" not in message
    for word in words:
        assert word in message


def test_misspelt_variables_are_refused_and_those_of_kubernetes_are_not(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ROBMON_PORT_9877_TCP_ADDR", "10.0.0.1")
    monkeypatch.setenv("ROBMON_SERVICE_HOST", "10.0.0.1")
    load(MODEL)
    for variable in ("ROBMON_ASSESS__TRAILS", "ROBMON_ASESS__TRIALS"):
        monkeypatch.setenv(variable, "39")
        with pytest.raises(SettingsError, match=f"{variable}.*did you mean ROBMON_ASSESS__TRIALS"):
            load(MODEL)
        monkeypatch.delenv(variable)


@pytest.mark.parametrize(
    ("content", "words"),
    [
        ("- a\n- b\n", "sections"),
        ("model: [", "not YAML"),
        ("model: {uri: 'models:/a/1'}\nasses: {trials: 39}\n", "asses is no setting; did you mean assess"),
        ("model: {uri: 'models:/a/1', flow: x}\n", "model.flow is no setting"),
    ],
)
def test_bad_files(content: str, words: str, tmp_path: Path) -> None:
    file = tmp_path / "robmon.yaml"
    file.write_text(content)
    with pytest.raises(SettingsError, match=words):
        load({}, file)
    with pytest.raises(SettingsError, match="cannot be read"):
        load({}, tmp_path / "none.yaml")


def test_users_and_passwords_are_masked() -> None:
    assert mask("http://me:secret@mlflow:5000/x") == "http://***@mlflow:5000/x"
    assert mask("postgresql://me:s@cret@db/x") == "postgresql://***@db/x"
    assert mask("http://me:sec/ret@mlflow:5000/x") == "http://***@mlflow:5000/x"
    assert mask("http://mlflow:5000/a@b") == "http://mlflow:5000/a@b"
    assert mask("models:/digits@champion") == "models:/digits@champion"


def test_every_setting_has_a_description_and_a_default_that_reads_back() -> None:
    for leaf in leaves():
        assert leaf.field.description, leaf.name
        if leaf.field.is_required() or leaf.field.default in (None, ()) or leaf.name == "worker.python":
            continue
        loaded = load({**MODEL, leaf.name: as_text(leaf.field.default)})
        assert loaded.value(leaf.name) == leaf.field.default, leaf.name


@pytest.mark.parametrize("flags", [{}, {"assess.levels": "0.1"}, {"assess.confidence": 0.9, "assess.min_rows": 8}])
def test_the_slowest_pace_agrees_with_the_plan(flags: dict[str, Any]) -> None:
    """What is refused at once is what would be refused before the first request."""
    assess = load({**MODEL, **flags}).settings.assess
    with pytest.raises(OverBudgetError) as planned:
        plan_assessment(
            FunctionPredictor(lambda x, rows: x, rows_per_second=1),
            np.ones((64, 1)),
            assess.specification(),
            min_rows=assess.min_rows,
            max_seconds=assess.max_seconds,
        )
    needed = planned.value.needed_seconds
    for factor in (0.99, 1.01):
        pace = {"model.rows_per_second": 1, "assess.max_seconds": factor * needed}
        if factor > 1:
            load({**ENDPOINT, **flags, **pace})
        else:
            planned_seconds = round(needed * PLANNED_SHARE) / PLANNED_SHARE  # without the time that planning took
            told = re.escape(f"needs {duration(planned_seconds, ROUND_CEILING)}, the budget is")
            with pytest.raises(SettingsError, match=told):
                load({**ENDPOINT, **flags, **pace})


@pytest.mark.parametrize("confidence", [0.5, 0.8, 0.9, 0.95, 0.99, 0.999, 0.9999, 0.999999])
def test_trials_needed_agree_with_the_bound(confidence: float) -> None:
    needed = needed_trials(confidence, "order_statistic")
    load({**MODEL, "assess.confidence": confidence, "assess.trials": needed})
    if needed > 1:
        with pytest.raises(SettingsError, match=f"at least {needed}"):
            load({**MODEL, "assess.confidence": confidence, "assess.trials": needed - 1})

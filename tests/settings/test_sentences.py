"""How a bad setting is told: in one sentence, with its name, and without secrets."""

from __future__ import annotations

from pathlib import Path

import pytest

from robmon.errors import SettingsError
from robmon.settings import load
from tests.settings.flags import ENDPOINT, MODEL

KAFKA = {**MODEL, "kafka.bootstrap_servers": "a:9092", "kafka.topics": "t"}
PASSWORD = {"kafka.sasl_username": "me", "kafka.sasl_password_file": "password"}


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
        ({**MODEL, "assess.noises": "fog"}, ["assess.noises", "'fog' is not known", "thumbnail"]),
        ({**MODEL, "assess.noises": "jpeg@50,x"}, ["assess.noises", "numbers behind its name", "jpeg@0.1,0.2"]),
        ({**MODEL, "assess.noises": "uniform jpeg@120"}, ["assess.noises", "steps of quality below 100, at most 99"]),
        ({**MODEL, "assess.noises": "jpeg@50 jpeg@75"}, ["assess.noises", "jpeg is named twice", "jpeg@level,level"]),
        ({**MODEL, "assess.noises": "jpeg gaussian@0.8"}, ["assess", "gaussian is assess.noise"]),
        ({**MODEL, "assess.noises": '["jpeg", '}, ["assess.noises", "a list is JSON"]),
        ({**MODEL, "assess.noises": "jpeg,crop"}, ["assess.noises", "'jpeg,crop' is not known"]),
        ({**MODEL, "assess.noise": "crop", "images.mean": "0.5"}, ["clients normalise", "images.range"]),
        ({**MODEL, "assess.noises": "rotate", "images.std": "0.2 0.2 0.2"}, ["clients normalise", "images.range"]),
        ({**MODEL, "assess.noise": "jpeg", "assess.trials": "5", "assess.noises": "uniform"}, ["assess", "19"]),
        ({**MODEL, "assess.task": "ranking"}, ["assess.task", "'ranking'", "regression", "classification"]),
        ({**MODEL, "inputs.sample_rows": "16"}, ["assess.min_rows", "64", "inputs.sample_rows", "16"]),
        ({**MODEL, "device.name": "tpu"}, ["device.name", "'tpu'", "cpu, cuda, cuda:1 or auto"]),
        ({**MODEL, "device.memory_fraction": "1.5"}, ["device.memory_fraction", "1.5", "less than or equal to 1"]),
        ({**MODEL, "device.duty_cycle": "0"}, ["device.duty_cycle", "greater than 0"]),
        ({**MODEL, "device.max_utilization": "50"}, ["device.max_utilization", "50", "less than or equal to 1"]),
        ({**MODEL, "device.precision": "int8"}, ["device.precision", "'int8'", "bfloat16", "float16"]),
        ({**MODEL, "device.compile": "always"}, ["device.compile", "'always'", "auto", "never"]),
        ({**MODEL, "device.idle_release_seconds": "0"}, ["device.idle_release_seconds", "greater than 0"]),
        ({**ENDPOINT, "device.precision": "bfloat16"}, ["device.precision", "for models that are loaded"]),
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
        ({**MODEL, "kafka.topics": "t"}, ["kafka", "bootstrap_servers and topics must be given together"]),
        ({**KAFKA, "kafka.bootstrap_servers": "http://a:9"}, ["kafka.bootstrap_servers", "'http://a:9' is no broker"]),
        ({**KAFKA, "kafka.bootstrap_servers": "a:99999"}, ["kafka.bootstrap_servers", "'a:99999' is no broker"]),
        ({**KAFKA, "kafka.topics": "^digits.*"}, ["kafka.topics", "'^digits.*' is no topic", "one by one"]),
        ({**KAFKA, "kafka.tls_ca_file": "ca"}, ["kafka", "need tls = true"]),
        ({**KAFKA, "kafka.tls": "true", "kafka.tls_key_file": "key"}, ["kafka", "must be given together"]),
        ({**KAFKA, "kafka.sasl_username": "me"}, ["kafka", "sasl_password_file must be given together"]),
        ({**KAFKA, **PASSWORD, "kafka.sasl_mechanism": "PLAIN"}, ["kafka", "PLAIN sends the password as it is"]),
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


@pytest.mark.parametrize(
    ("content", "words"),
    [
        ("- a\n- b\n", "sections"),
        ("model: [", "not YAML"),
        ("model: {uri: 2026-13-01}", "not YAML"),
        ("[" * 5000, "not YAML"),
        ("model: {uri: 'models:/a/1'}\nasses: {trials: 39}\n", "asses is no setting; did you mean assess"),
        ("model: {uri: 'models:/a/1', flow: x}\n", "model.flow is no setting"),
        (
            "model: {uri: 'models:/a/1'}\nAssess: {trials: 39}\nassess: {}\n",
            "Assess is no setting; did you mean assess?",
        ),
        ("model: {uri: 'models:/a/1'}\nassess:\n", "assess is a section: .* such as assess.interval_seconds"),
        (
            "model: {uri: 'models:/a/1'}\nassess: {levels: [0, x]}\n",
            "assess.levels = 'x', from the settings file, is not allowed",
        ),
        (
            "model: {uri: 'models:/a/1'}\nworker: {memory_bytes: 0}\n",
            "worker.memory_bytes = '0', from the settings file, is not allowed",
        ),
        ("_env_file: x\n", "_env_file is no setting"),
    ],
)
def test_bad_files(content: str, words: str, tmp_path: Path) -> None:
    file = tmp_path / "robmon.yaml"
    file.write_text(content)
    with pytest.raises(SettingsError, match=words):
        load({}, file, otherwise=MODEL)


def test_files_that_cannot_be_read(tmp_path: Path) -> None:
    for file, why in ((tmp_path / "none.yaml", "No such file"), (tmp_path, "Is a directory")):
        with pytest.raises(SettingsError, match=f"the settings file .* cannot be read: {why}"):
            load({}, file)


def test_a_bad_variable_is_named(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Also where the file has the same setting, over which it wins."""
    file = tmp_path / "robmon.yaml"
    file.write_text("http: {port: abc}\n")
    monkeypatch.setenv("ROBMON_HTTP__PORT", "def")
    with pytest.raises(SettingsError, match=r"^http\.port = 'def', from ROBMON_HTTP__PORT, is not allowed: it must be"):
        load(MODEL, file)
    with pytest.raises(SettingsError, match=r"^http\.port = 'ghi' is not allowed: it must be"):
        load({**MODEL, "http.port": "ghi"}, file)

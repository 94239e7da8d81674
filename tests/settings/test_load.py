"""Where settings come from, and which source wins."""

from __future__ import annotations

import os
import threading
from pathlib import Path

import pytest

from robmon.errors import SettingsError
from robmon.settings import as_text, leaves, load
from robmon.settings.sources import MAX_FILE_BYTES
from tests.settings.flags import MODEL


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


def test_misspelt_variables_are_refused_and_those_of_kubernetes_are_not(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ROBMON_PORT_9877_TCP_ADDR", "10.0.0.1")
    monkeypatch.setenv("ROBMON_SERVICE_HOST", "10.0.0.1")
    for variable in ("SERVICE_HOST", "SERVICE_PORT", "SERVICE_PORT_HTTP", "PORT", "PORT_80_TCP", "PORT_80_TCP_ADDR"):
        monkeypatch.setenv(f"ROBMON__X_{variable}", "10.0.0.1")
    load(MODEL)
    for variable in ("ROBMON_ASSESS__TRAILS", "ROBMON_ASESS__TRIALS"):
        monkeypatch.setenv(variable, "39")
        with pytest.raises(SettingsError, match=f"{variable}.*did you mean ROBMON_ASSESS__TRIALS"):
            load(MODEL)
        monkeypatch.delenv(variable)


@pytest.mark.parametrize("variable", ["ROBMON_HTP__PORT", "ROBMON_HTTP__SERVICE_HOST", "ROBMON__X_PORT"])
def test_what_only_looks_like_a_services_variable_is_refused(variable: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(variable, "39")
    with pytest.raises(SettingsError, match=f"{variable} is no setting"):
        load(MODEL)


def test_every_setting_is_read_from_every_source(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """As the same text, by which a value is written in a flag."""
    file = tmp_path / "robmon.yaml"
    for leaf in leaves():
        text = MODEL.get(leaf.name) or as_text(leaf.field.default)
        if leaf.field.default in (None, ()):
            continue
        expected = load({**MODEL, leaf.name: text})
        assert expected.sources[leaf.name] == "flag"
        section, _, key = leaf.name.rpartition(".")
        file.write_text(f"{section}:\n  {key}: {text}\n" if section else f"{key}: {text}\n")
        from_file = load({}, file, otherwise=MODEL)
        assert (from_file.value(leaf.name), from_file.sources[leaf.name]) == (expected.value(leaf.name), "file")
        monkeypatch.setenv(leaf.variable, text)
        from_environment = load({}, file, otherwise=MODEL)
        assert from_environment.settings == expected.settings
        assert from_environment.sources[leaf.name] == "environment"
        monkeypatch.delenv(leaf.variable)


def test_what_stands_in_is_a_default_and_loses_against_everything(monkeypatch: pytest.MonkeyPatch) -> None:
    loaded = load({}, otherwise=MODEL)
    assert (loaded.settings.model.uri, loaded.sources["model.uri"]) == ("models:/digits@champion", "default")
    monkeypatch.setenv("ROBMON_MODEL__URI", "models:/a/1")
    loaded = load({}, otherwise=MODEL)
    assert (loaded.settings.model.uri, loaded.sources["model.uri"]) == ("models:/a/1", "environment")


@pytest.mark.parametrize("variable", ["ROBMON_ASSESS", "robmon_assess__trials", "Robmon_Assess__Trials"])
def test_variables_that_only_resemble_a_setting_are_not_read(variable: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(variable, '{"trials": 59}')
    loaded = load(MODEL)
    assert (loaded.settings.assess.trials, loaded.sources["assess.trials"]) == (39, "default")


def test_a_file_may_be_a_pipe(tmp_path: Path) -> None:
    """As in `--config <(helm template ...)`."""
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    writer = threading.Thread(target=pipe.write_text, args=("model: {uri: 'models:/a/1'}\n",))
    writer.start()
    assert load({}, pipe).settings.model.uri == "models:/a/1"
    writer.join()


@pytest.mark.parametrize(
    ("content", "told"),
    [
        (b"#" * (MAX_FILE_BYTES + 1), "is larger than 256 KiB"),
        (b"[" * 100_000, "is not YAML"),
        (b"model: {uri: 'models:/a/1'}\nmodel: {follow: alias}", r"says model twice \(line 2\): only the later one"),
        (b'model: {"a\\n": 1, "a\\n": 2}', r"says a\\n twice \(line 1\)"),
        (b"x: &x {follow: alias}\nmodel: {<<: *x, follow: pinned}", "model.uri is required"),  # merged, not twice
        (b"model: {uri: 'models:/a/1', poll_seconds: 0x" + b"f" * 9000 + b"}", "a number of thousands of digits"),
        (b'model: {uri: "models:/a/1", "\\e[31m\\n": 1}', r"model\.\\x1b\[31m\\n is no setting"),
    ],
)
def test_a_file_without_end_or_sense_is_told_in_one_short_sentence(content: bytes, told: str, tmp_path: Path) -> None:
    """Such as /dev/zero, which would be read until the memory is full."""
    file = tmp_path / "settings.yaml"
    file.write_bytes(content)
    with pytest.raises(SettingsError, match=told) as caught:
        load({}, file)
    assert str(caught.value).isprintable() and len(str(caught.value)) < 1000

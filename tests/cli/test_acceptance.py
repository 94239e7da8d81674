"""A person accepts a version: where that is written, by the daemon's own settings."""

from __future__ import annotations

import json
import time
from pathlib import Path

import pytest
from click.testing import CliRunner

from robmon.cli.daemon import command_prefix
from robmon.cli.main import main
from robmon.history.memory import Entry, reference
from robmon.history.store import History
from robmon.models.uri import history_key, parse
from robmon.settings import load
from tests.e2e.registry import RegisteredModel, Registry
from tests.servers import local_registry

pytestmark = pytest.mark.usefixtures("no_settings")


@pytest.fixture(scope="module")
def registry(tmp_path_factory: pytest.TempPathFactory, mlflow_template: Path) -> Registry:
    folder = tmp_path_factory.mktemp("registry")
    return Registry(local_registry(folder, mlflow_template), folder)


def accept(*words: str, **environment: str) -> str:
    done = CliRunner().invoke(main, ["baseline", "--accept", *words], env=environment)
    assert done.exit_code == 0, done.output
    return done.output


def refusal(*words: str, **environment: str) -> str:
    done = CliRunner().invoke(main, ["baseline", "--accept", *words], env=environment)
    assert done.exit_code == 2
    return done.output


def scopes(model: RegisteredModel) -> dict[str, list[str]]:
    with model.registry.client() as client:
        tags = client.get_registered_model(model.name).tags
    return {tag.removeprefix("robmon.memory."): [each["version"] for each in json.loads(tags[tag])] for tag in tags}


def test_the_printed_command_needs_the_daemons_environment_alone(registry: Registry, tmp_path: Path) -> None:
    model = registry.model()
    version = model.add()
    environment = {
        "ROBMON_MODEL__URI": model.uri,
        "ROBMON_MLFLOW__TRACKING_URI": registry.tracking_uri,
        "ROBMON_DATA_DIR": str(tmp_path / "data"),
    }
    words = ("--model", f"models:/{model.name}/{version}")
    assert f"accepted: {model.name}/{version} (scope champion, in the registry)" in accept(*words, **environment)
    assert scopes(model) == {"champion": [version]}
    assert not (tmp_path / "data").exists(), "a daemon reads the registry"

    history = History(tmp_path / "data", model.name)
    run = model.memory()[0]["run_id"]
    history.write_scope("champion", [Entry(version=version, run_id=run, accepted=False, by="verdict", at=1)])
    assert f"in the registry and {tmp_path / 'data'})" in accept(*words, **environment)
    (entry,) = history.read_scope("champion").entries
    assert (entry.accepted, entry.by, entry.run_id) == (True, "person", run)

    accept(*words, **environment, ROBMON_HISTORY__SCOPE="release.shop.champion")
    assert set(scopes(model)) == {"champion", "release.shop.champion"}
    file = tmp_path / "robmon.yaml"
    where = f"mlflow: {{tracking_uri: '{registry.tracking_uri}'}}"
    file.write_text(f"model: {{uri: '{model.uri}'}}\n{where}\nhistory: {{scope: filed}}\n")
    accept(*words, ROBMON_CONFIG=str(file))
    assert "filed" in scopes(model)


def test_away_from_the_daemon_the_scope_is_clear_or_asked_for(registry: Registry) -> None:
    model = registry.model()
    version = model.add()
    words = ("--model", f"models:/{model.name}/{version}", "--tracking-uri", registry.tracking_uri)
    assert "(scope release.shop, in the registry)" in accept(*words, "--scope", "release.shop")
    assert "(scope release.shop, in the registry)" in accept(*words), "the only one there is"
    model.serve(version)
    assert "(scope champion," in accept("--model", model.uri, "--tracking-uri", registry.tracking_uri)
    assert "in the scopes champion, release.shop: name one with --scope" in refusal(*words)
    assert "history.scope = 'a b' is not allowed" in refusal(*words, "--scope", "a b")


def test_where_nothing_could_be_written_that_is_told(registry: Registry, tmp_path: Path) -> None:
    model = registry.model()
    version = model.add()
    words = ("--model", f"models:/{model.name}/{version}")
    settings = {"ROBMON_MLFLOW__TRACKING_URI": registry.tracking_uri, "ROBMON_HISTORY__STORE": "folder"}
    assert f"robmon-data holds no history of {model.name}" in refusal(*words, **settings)
    assert "give --model, or run this where the daemon's settings are" in refusal()
    (tmp_path / "file").touch()
    settings |= {"ROBMON_MODEL__URI": model.uri, "ROBMON_DATA_DIR": str(tmp_path / "file")}
    assert "file' cannot be written" in refusal(*words, **settings)
    assert scopes(model) == {}


def test_a_version_at_an_endpoint_by_its_url_or_its_name(tmp_path: Path) -> None:
    """The alert knows no URL, and the page shows none with a password."""
    url = "http://me:secret@127.0.0.1:1/v2/models/digits/infer"
    history = History(tmp_path / "data", history_key(parse(url), "digits"))
    environment = {"ROBMON_MODEL__URI": url, "ROBMON_DATA_DIR": str(tmp_path / "data")}
    assert "holds no history of the model digits at 127.0.0.1:1" in refusal(
        "--model", "models:/digits/2", **environment
    )
    history.write_scope("pinned", [Entry(version="2", accepted=False, by="verdict", at=1)])
    for word in ("models:/digits/2", "http://***@127.0.0.1:1/v2/models/digits/versions/2/infer"):
        assert "accepted: digits/2 (scope pinned, in " in accept("--model", word, **environment)
        (entry,) = history.read_scope("pinned").entries
        assert (entry.version, entry.by) == ("2", "person")


def test_what_a_person_accepts_is_the_newest_though_the_clock_was_set_back(tmp_path: Path) -> None:
    url = "http://127.0.0.1:1/v2/models/digits/infer"
    history = History(tmp_path / "data", history_key(parse(url), "digits"))
    history.write_scope("pinned", [Entry(version="3", accepted=True, by="verdict", at=time.time() + 86_400)])
    accept("--model", "models:/digits/2", **{"ROBMON_MODEL__URI": url, "ROBMON_DATA_DIR": str(tmp_path / "data")})
    newest = reference(history.read_scope("pinned").entries)
    assert newest is not None and newest.version == "2"


def test_what_flags_told_the_daemon_stands_before_the_printed_command(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A shell that has the daemon's environment has not its flags; what the environment says is not said again."""
    config = Path("robmon.yaml")
    config.write_text("data_dir: elsewhere\n", encoding="utf-8")
    flags = {
        "model.uri": "models:/m@champion",
        "mlflow.tracking_uri": "sqlite:///a folder/m.db",
        "data_dir": "data",
    }
    told = (
        f"ROBMON_CONFIG={tmp_path}/robmon.yaml ROBMON_MODEL__URI=models:/m@champion "
        f"ROBMON_MLFLOW__TRACKING_URI='sqlite:///a folder/m.db' ROBMON_DATA_DIR={tmp_path}/data "
    )
    assert command_prefix(load(flags, config), config) == told
    monkeypatch.setenv("ROBMON_CONFIG", "robmon.yaml")
    monkeypatch.setenv("ROBMON_MODEL__URI", "models:/m@champion")
    assert command_prefix(load({}, config), config) == ""
    secret = load({"mlflow.tracking_uri": "https://me:hidden@mlflow"}, config)
    assert command_prefix(secret, config) == ""

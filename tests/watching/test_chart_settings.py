"""Settings on their way from the chart's values to robmon: loaded as the container would load them."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import yaml

from robmon import settings
from tests.watching.kubernetes import CHART, environment, pod_spec, render, validate
from tests.watching.test_chart import ALONE, NEWEST, SYNC, robmon_container


def test_secrets_are_where_the_settings_look_for_them(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """In every file's place, the Secret and key that the values name; none of them in the environment."""
    values = CHART / "ci" / "secured-values.yaml"
    spec = pod_spec(render(CHART, "--values", values, home=tmp_path))
    container = robmon_container(spec)
    for name, value in environment(container).items():
        monkeypatch.setenv(name, value)
    secrets = {volume["name"]: volume["secret"]["secretName"] for volume in spec["volumes"] if "secret" in volume}
    folders = {mount["mountPath"]: secrets.get(mount["name"]) for mount in container["volumeMounts"]}

    def found(file: Path | None) -> tuple[str | None, str]:
        assert file is not None
        return folders[str(file.parent)], file.name

    loaded = settings.load().settings
    assert found(loaded.http.token_file) == ("robmon-http-token", "token")
    assert found(loaded.inputs.token_file) == ("robmon-inputs-token", "tokens")
    for section in (loaded.http, loaded.inputs):
        assert found(section.tls_cert_file) == ("robmon-tls", "tls.crt")
        assert found(section.tls_key_file) == ("robmon-tls", "tls.key")
    assert found(loaded.inputs.tls_client_ca_file) == ("mirror-ca", "ca.crt")
    assert all("valueFrom" not in variable for variable in container["env"])


def test_settings_arrive_as_they_are_meant(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    values = CHART / "ci" / "standalone-values.yaml"
    container = robmon_container(pod_spec(render(CHART, "--values", values, home=tmp_path)))
    for name, value in environment(container).items():
        monkeypatch.setenv(name, value)
    loaded = settings.load()
    assert loaded.settings.model.allowed_flavors == ("pytorch", "sklearn")
    assert loaded.settings.inputs.max_body_bytes == 8 * 2**20
    assert loaded.settings.assess.levels == (0, 0.05, 0.1)
    assert loaded.settings.assess.mse_limit is None
    assert loaded.settings.http.host == loaded.settings.inputs.host == "0.0.0.0"
    assert loaded.sources["assess.mse_limit"] == "default"
    for name in yaml.safe_load(values.read_text())["settings"]["assess"]:
        assert loaded.sources[f"assess.{name}"] == ("default" if name == "mse_limit" else "environment")


@pytest.mark.parametrize(
    ("uri", "scope"),
    [
        ("models:/digits@champion", "release.models.champion"),
        ("models:/digits/3", "release.models.pinned"),
        ("http://me:secret@host/v2/models/digits/infer", "release.models.pinned"),
    ],
)
def test_releases_do_not_judge_for_each_other(
    uri: str, scope: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    arguments = ("--set", "standalone.enabled=true", "--set", f"settings.model.uri={uri}")
    for name, value in environment(robmon_container(pod_spec(render(CHART, *arguments, home=tmp_path)))).items():
        monkeypatch.setenv(name, value)
    assert settings.load().settings.scope == scope
    arguments += ("--set", "settings.history.scope=shop")
    assert (
        environment(robmon_container(pod_spec(render(CHART, *arguments, home=tmp_path))))["ROBMON_HISTORY__SCOPE"]
        == "shop"
    )


@pytest.mark.parametrize("words", [["a=b c", "x=y"], ["a=b"], ["a=1, 2", "b=<&>"], []])
def test_words_of_a_list_may_have_spaces(words: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    values = json.dumps({"require_tags": words, "allowed_flavors": ["sklearn", "pytorch"]})
    given = ("--set-json", f"settings.model={values}", *ALONE)
    container = robmon_container(pod_spec(render(CHART, *given, home=tmp_path)))
    for name, value in environment(container).items():
        monkeypatch.setenv(name, value)
    model = settings.load().settings.model
    assert model.require_tags == tuple(words) and model.allowed_flavors == ("sklearn", "pytorch")


@pytest.mark.parametrize(
    "source",
    [
        ("--set", "envFrom[0].configMapRef.name=robmon-settings"),
        ("--set", "env[0].name=ROBMON_MODEL__URI,env[0].value=models:/digits@champion"),
    ],
)
def test_the_model_may_be_named_in_the_environment(source: tuple[str, ...], tmp_path: Path) -> None:
    manifests = render(CHART, "--set", "standalone.enabled=true", *source, home=tmp_path)
    validate(manifests, NEWEST)
    names = [variable["name"] for variable in robmon_container(pod_spec(manifests))["env"]]
    assert names.count("ROBMON_MODEL__URI") == ("env[0]" in source[1])


def test_the_schema_has_every_setting_that_the_chart_does_not_decide() -> None:
    sections = json.loads((CHART / "values.schema.json").read_text())["properties"]["settings"]["properties"]
    names = {f"{section}.{name}" for section, schema in sections.items() for name in schema["properties"]}
    assert names == {leaf.name for leaf in settings.leaves()} - SYNC["FIXED_SETTINGS"]

"""Names of models: parsed, told without passwords, and refused in one sentence."""

from __future__ import annotations

import pytest

from robmon.errors import ModelError, ModelNotFoundError
from robmon.models.uri import ModelUri, mask, parse, parse_endpoint, parse_registry


@pytest.mark.parametrize(
    ("url", "protocol", "name", "version"),
    [
        ("http://127.0.0.1:8080/invocations", "mlflow", "", None),
        ("https://gateway/models/digits/invocations", "mlflow", "", None),
        ("http://host/v1/models/digits:predict", "v1", "digits", None),
        ("http://host/v1/models/digits/versions/3:predict", "v1", "digits", "3"),
        ("http://host/v2/models/digits/infer", "v2", "digits", None),
        ("http://host/v2/models/two%20words/versions/2024-05/infer", "v2", "two words", "2024-05"),
        ("http://[::1]:8080/a/b/v2/models/infer/infer", "v2", "infer", None),
        ("HTTPS://host/v2/models/v2/infer", "v2", "v2", None),
    ],
)
def test_endpoints(url: str, protocol: str, name: str, version: str | None) -> None:
    endpoint = parse_endpoint(url)
    assert (endpoint.protocol, endpoint.name, endpoint.version) == (protocol, name, version)
    assert endpoint.url == url.replace("HTTPS", "https")
    assert parse(url) == endpoint and endpoint.credentials is None


def test_user_and_password_are_in_no_url_that_is_told() -> None:
    endpoint = parse_endpoint("https://me%40home:p%2Fss@host:8443/x/v2/models/digits/infer")
    assert endpoint.credentials == ("me@home", "p/ss")
    told = (endpoint.url, endpoint.model_url, endpoint.base, endpoint.place)
    assert not any("ss" in text or "home" in text for text in told)
    assert endpoint.url == "https://host:8443/x/v2/models/digits/infer"
    versioned = parse_endpoint(endpoint.with_version("4"))
    assert (versioned.version, versioned.credentials) == ("4", endpoint.credentials)
    assert versioned.with_version("5").endswith("@host:8443/x/v2/models/digits/versions/5/infer")


def test_versions_by_name() -> None:
    assert parse_endpoint("http://h/v1/models/d:predict").with_version("1") == "http://h/v1/models/d/versions/1:predict"
    assert parse_registry("models:/digits@champion").with_version("7") == "models:/digits/7"
    with pytest.raises(ModelNotFoundError, match="one version only"):
        parse_endpoint("http://h/invocations").with_version("1")


@pytest.mark.parametrize(
    "url",
    [
        "http://secret@host",
        "http://secret@host/predict",
        "http://secret@host/v2/models/digits",
        "http://secret@host/v2/models//infer",
        "http://secret@host/v1/models/:predict",
        "http://secret@host/invocations/",
        "http://secret@host/invocations?key=secret",
        "http://secret@host/invocations#secret",
        "http://secret@host:port/invocations",
        "http://secret@host:0/invocations",
        "http://secret@[::1/invocations",
        "http:///invocations",
        "http:/invocations",
        "http://host/in\nvocations",
        "https:",
    ],
)
def test_no_endpoint(url: str) -> None:
    with pytest.raises(ModelError, match="is not a model's endpoint: give http") as caught:
        parse(url)
    assert "secret" not in str(caught.value)


@pytest.mark.parametrize(
    "uri",
    ["", "model", "models:/name", "models:/", "runs:/abc", "s3://x/y", "ftp://x/invocations"],
)
def test_no_uri_of_a_model(uri: str) -> None:
    with pytest.raises(ModelError, match="is not a model URI: give models:/name@alias"):
        parse(uri)


def test_an_endpoint_is_in_no_registry() -> None:
    with pytest.raises(ModelError, match="an endpoint is in no registry"):
        parse_registry("http://host/invocations")


@pytest.mark.parametrize(("uri", "moves"), [("models:/d@prod", True), ("models:/d/3", False), ("runs:/r/m", False)])
def test_only_an_alias_moves(uri: str, moves: bool) -> None:
    parsed = parse(uri)
    assert isinstance(parsed, ModelUri) and parsed.may_move is moves


@pytest.mark.parametrize("word", ["latest", "Production"])
def test_words_that_stand_for_another_version_tomorrow_are_told_as_not_supported(word: str) -> None:
    with pytest.raises(ModelError, match=rf"models:/name/{word} is not supported: .* models:/name/3, or an alias"):
        parse(f"models:/name/{word}")


def test_users_and_passwords_are_masked() -> None:
    assert mask("http://me:secret@mlflow:5000/x") == "http://***@mlflow:5000/x"
    assert mask("postgresql://me:s@cret@db/x") == "postgresql://***@db/x"
    assert mask("http://me:sec/ret@mlflow:5000/x") == "http://***@mlflow:5000/x"
    assert mask("http://mlflow:5000/a@b") == "http://mlflow:5000/a@b"
    assert mask("models:/digits@champion") == "models:/digits@champion"

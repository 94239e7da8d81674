"""Addresses of a registry that are none: refused before anybody is asked."""

from __future__ import annotations

import re
from typing import ClassVar

import pytest

from robmon.errors import RegistryError
from robmon.models.registry.asking import asking
from robmon.models.registry.registry_access import check_named


@pytest.mark.parametrize(
    "given", ["mlflow:5000", "mlflow.example:443/base", "mlflow.example", "https:/mlflow", "http://", "http://x:99999"]
)
@pytest.mark.parametrize("by_variable", [False, True])
def test_what_mlflow_would_refuse_by_a_code_is_refused_in_words(
    given: str, by_variable: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", given if by_variable else "http://other")
    with pytest.raises(RegistryError, match=r"no model registry at .*: (an address|it names no host)"):
        check_named(None if by_variable else given)


@pytest.mark.parametrize(
    "given",
    [
        "http://mlflow:5000/base",
        "HTTPS://u:p@[::1]:5000",
        "sqlite:///m.db",
        "postgresql://h:5/d",
        "databricks",
        "./runs",
    ],
)
def test_others_are_mlflows_own_matter(given: str) -> None:
    check_named(given)


class _ClientError(Exception):
    """As botocore's, whose sentence names bucket and key."""

    response: ClassVar = {"Error": {"Code": "AccessDenied", "Message": "hush"}}


class _NoCredentialsError(Exception):
    pass


@pytest.mark.parametrize(
    ("raised", "why"),
    [
        (_NoCredentialsError("hush"), "there are no credentials for it"),
        (type("ClientError", (_ClientError,), {})("hush"), "AccessDenied"),
        (type("ClientError", (Exception,), {"response": {"Error": {"Code": "a b"}}})("hush"), "ClientError"),
        (type("ClientError", (Exception,), {"response": None})("hush"), "ClientError"),
    ],
)
def test_a_store_that_refuses_is_told_as_such(raised: Exception, why: str) -> None:
    told = f"the registry at http://mlflow, or the store that has its files, did not answer: {why}"
    with pytest.raises(RegistryError, match=f"^{re.escape(told)}$"), asking("http://mlflow", "-", for_files=True):
        raise raised

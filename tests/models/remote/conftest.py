"""What the tests of remote models share."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pytest

from robmon.inputs.codecs import Row
from robmon.models import remote
from robmon.models.access import EndpointAccess
from robmon.models.remote import client
from robmon.models.served.served import ServedModel
from robmon.models.uri import parse_endpoint

FAST = {"rows_per_second": 1e9, "timeout_seconds": 5.0}


def connect(url: str, *, version: str | None = None, **access: Any) -> ServedModel:
    """The model behind a prediction URL, asked as fast as it answers."""
    return remote.load(parse_endpoint(url), EndpointAccess(**(FAST | access)), version=version)


def outputs(model: ServedModel, rows: Sequence[Row]) -> Any:
    """What the model answers for these rows, none of which may be rejected."""
    inputs, kept, rejected = model.collect(rows)
    assert inputs is not None and kept == list(range(len(rows))) and not rejected
    return model.predict(inputs.assemble(model.put(inputs.array), slice(0, inputs.rows)))


@pytest.fixture
def quick_retries(monkeypatch: pytest.MonkeyPatch) -> None:
    """The waits between attempts are short."""
    monkeypatch.setattr(client, "FIRST_WAIT_SECONDS", 0.01)

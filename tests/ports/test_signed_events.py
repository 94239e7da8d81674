"""The registry's webhooks: which deliveries count. They are signed by MLflow's own function."""

from __future__ import annotations

import itertools
from pathlib import Path
from typing import Any

import pytest
from mlflow.webhooks.constants import (
    WEBHOOK_DELIVERY_ID_HEADER,
    WEBHOOK_SIGNATURE_HEADER,
    WEBHOOK_TIMESTAMP_HEADER,
)
from mlflow.webhooks.delivery import _generate_hmac_signature

from robmon.errors import SettingsError
from robmon.ports.secret_files import SecretFiles
from robmon.ports.signed_events import FRESH_SECONDS, REMEMBERED, Headers, SignedEvents, secrets_of

NOW = 1_795_700_000.0
BODY = '{"entity": "model_version_alias", "action": "created", "data": {"name": "digits"}}'
SECRET, OTHER_SECRET = "wh-secret-1", "wh-secret-2"


def delivery(
    number: object = 1, at: float = NOW, secret: str = SECRET, body: str = BODY, **changed: bytes | None
) -> Headers:
    """The headers of one, as MLflow sends them; `changed` ones by the last word of their names, None: without it."""
    timestamp = str(int(at))
    told: dict[str, Any] = {
        WEBHOOK_DELIVERY_ID_HEADER: f"delivery-{number}".encode(),
        WEBHOOK_TIMESTAMP_HEADER: timestamp.encode(),
        WEBHOOK_SIGNATURE_HEADER: _generate_hmac_signature(secret, f"delivery-{number}", timestamp, body).encode(),
    }
    told |= {f"X-MLflow-{name.title().replace('_', '-')}": value for name, value in changed.items()}
    return [(name.lower().encode(), value) for name, value in told.items() if value is not None]


@pytest.fixture
def secret_file(tmp_path: Path) -> Path:
    file = tmp_path / "secret"
    file.write_text(f"{SECRET}\n")
    return file


@pytest.fixture
def files(secret_file: Path) -> SecretFiles[tuple[bytes, ...]]:
    return SecretFiles({"mlflow.webhook_secret_file": secret_file}, secrets_of)


@pytest.fixture
def events(files: SecretFiles[tuple[bytes, ...]]) -> SignedEvents:
    return SignedEvents(files, now=lambda: NOW)


def test_each_delivery_counts_once(events: SignedEvents) -> None:
    assert events.check(delivery(1), BODY.encode()) == "accepted"
    assert events.check(delivery(1), BODY.encode()) == "replayed"
    assert events.check(delivery(2), BODY.encode()) == "accepted"
    assert events.check(delivery(1), BODY.encode()) == "replayed"


@pytest.mark.parametrize(
    "headers",
    [
        delivery(secret=OTHER_SECRET),
        delivery(body=BODY + " "),
        delivery(delivery_id=b"another"),
        delivery(timestamp=b"%d" % (NOW + 1)),
        delivery(timestamp=b"%d.0" % NOW),
        delivery(timestamp=b"-1"),
        delivery(timestamp=b"1" * 400),
        delivery(signature=b"v1,"),
        delivery(signature=b""),
        delivery(signature=None),
        delivery(timestamp=None),
        delivery(delivery_id=None),
        delivery() + delivery(),
        [],
    ],
)
def test_what_is_not_signed_by_the_registry_is_refused_and_leaves_nothing(
    events: SignedEvents, headers: Headers
) -> None:
    assert events.check(headers, BODY.encode()) == "bad_signature"
    assert events.check(delivery(), BODY.encode()) == "accepted"


@pytest.mark.parametrize(("seconds", "outcome"), [(0, "accepted"), (1, "stale")])
@pytest.mark.parametrize("way", [-1, 1])
def test_five_minutes_either_way(events: SignedEvents, way: int, seconds: int, outcome: str) -> None:
    at = NOW + way * (FRESH_SECONDS + seconds)
    assert events.check(delivery(at=at), BODY.encode()) == outcome


def test_only_so_many_are_remembered(events: SignedEvents) -> None:
    for number in range(REMEMBERED + 10):
        assert events.check(delivery(number), BODY.encode()) == "accepted"
    assert len(events._told) == REMEMBERED
    assert events.check(delivery(REMEMBERED), BODY.encode()) == "replayed"


def test_a_secret_is_replaced_smoothly(
    secret_file: Path, files: SecretFiles[tuple[bytes, ...]], events: SignedEvents
) -> None:
    numbers = itertools.count()
    secret_file.write_text(f"{OTHER_SECRET}\n{SECRET}\n")
    files.reload()
    for secret in (SECRET, OTHER_SECRET):
        assert events.check(delivery(next(numbers), secret=secret), BODY.encode()) == "accepted"
    secret_file.write_text(f"{OTHER_SECRET}\n")
    files.reload()
    assert events.check(delivery(next(numbers)), BODY.encode()) == "bad_signature"


def test_an_empty_file_is_refused_in_one_sentence(tmp_path: Path) -> None:
    file = tmp_path / "empty"
    file.write_text("\n")
    with pytest.raises(SettingsError, match=r"mlflow\.webhook_secret_file = .* must hold a secret a line"):
        SecretFiles({"mlflow.webhook_secret_file": file}, secrets_of)

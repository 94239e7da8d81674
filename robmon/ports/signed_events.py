"""Events that MLflow's registry sends, with its signature: whether one is its own, new, and not told before.

The scheme is that of MLflow 3.17 (`mlflow.webhooks.delivery`), after Standard Webhooks (standardwebhooks.com): the
signature is `v1,` and the Base64 of HMAC-SHA256 over `delivery id.timestamp.body`, the secret as the key.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import re
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Final

from robmon.errors import SettingsError
from robmon.ports.secret_files import SecretFiles
from robmon.vocabulary import EventOutcome

Headers = list[tuple[bytes, bytes]]
Secrets = tuple[bytes, ...]

MAX_EVENT_BYTES: Final = 64 * 1024
"""Of a body, which is not read but for its signature."""
FRESH_SECONDS: Final = 300.0
"""How far the time of a delivery may be from ours, either way."""
REMEMBERED: Final = 4096
"""Deliveries that are told from new ones: only such as were signed, and MLflow sends far fewer in five minutes."""
_NAMES: Final = (b"x-mlflow-delivery-id", b"x-mlflow-timestamp", b"x-mlflow-signature")
_DELIVERY: Final = re.compile(rb"[!-~]{1,128}")
_TIMESTAMP: Final = re.compile(rb"[0-9]{1,12}")


def webhook_secrets(file: Path | None) -> SecretFiles[Secrets] | None:
    """What `mlflow.webhook_secret_file` holds, None where it names none. Raises SettingsError if it cannot be used."""
    return None if file is None else SecretFiles({"mlflow.webhook_secret_file": file}, secrets_of)


def secrets_of(files: Mapping[str, Path], contents: list[bytes]) -> Secrets:
    """The secrets that a file holds, one a line: any of them signs, so that one can replace another smoothly.

    Raises:
        SettingsError: there is none.
    """
    [(name, file)], [content] = files.items(), contents
    secrets = tuple(line.strip() for line in content.splitlines() if line.strip())
    if not secrets:
        raise SettingsError(f"{name} = {str(file)!r} must hold a secret a line (openssl rand -hex 32 makes one)")
    return secrets


class SignedEvents:
    """Tells which deliveries count: each signed, sent within five minutes, and once.

    Args:
        secrets: any of which signs.
        now: Unix time.
    """

    def __init__(self, secrets: SecretFiles[Secrets], now: Callable[[], float] = time.time) -> None:
        self._secrets = secrets
        self._now = now
        self._told: dict[bytes, None] = {}

    def check(self, headers: Headers, body: bytes) -> EventOutcome:
        """What becomes of a delivery. One that is refused leaves nothing behind."""
        given = [[value for name, value in headers if name == wanted] for wanted in _NAMES]
        if any(len(values) != 1 for values in given):
            return "bad_signature"
        delivery, timestamp, signature = (values[0] for values in given)
        if not _DELIVERY.fullmatch(delivery) or not _TIMESTAMP.fullmatch(timestamp):
            return "bad_signature"
        signed = b".".join((delivery, timestamp, body))
        right = [hmac.compare_digest(signature, _signature(secret, signed)) for secret in self._secrets.value]
        if not any(right):
            return "bad_signature"
        if abs(self._now() - int(timestamp)) > FRESH_SECONDS:
            return "stale"
        if delivery in self._told:
            return "replayed"
        self._told[delivery] = None
        if len(self._told) > REMEMBERED:
            self._told.pop(next(iter(self._told)))
        return "accepted"


def _signature(secret: bytes, signed: bytes) -> bytes:
    return b"v1," + base64.b64encode(hmac.new(secret, signed, hashlib.sha256).digest())

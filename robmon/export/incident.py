"""`GET /incident`: the bundle, and who may have one with production inputs in it."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, MutableMapping
from dataclasses import dataclass
from typing import Any, Final
from urllib.parse import parse_qsl

PATH: Final = "/incident"
GZIP: Final = "application/gzip"
BUNDLE_HEADERS: Final = [
    (b"content-disposition", b"attachment; filename=incident.tar.gz"),
    (b"cache-control", b"no-store"),
]
LOOPBACK: Final = frozenset({"127.0.0.1", "::1", "::ffff:127.0.0.1"})
OWN_NAMES: Final = frozenset({b"127.0.0.1", b"localhost", b"[::1]"})
"""What whoever is on this machine calls it. A web page that has its own name lead here calls it by that."""
_FORWARDED: Final = (b"forwarded", b"via", b"x-forwarded-", b"x-envoy-", b"x-real-ip")
"""Headers of a proxy, which comes from this machine and speaks for another."""


@dataclass(frozen=True)
class IncidentAnswers:
    """How `/incident` is answered.

    Attributes:
        bundle: makes an archive, with inputs or without.
        needs_token: whether the port lets nobody in without its token, so that whoever has come has it.
        refuse: counts, by reason, what is refused.
    """

    bundle: Callable[[bool], Awaitable[bytes]]
    needs_token: bool
    refuse: Callable[[str], None]

    def wants_inputs(self, query: bytes) -> bool | None:
        """Whether inputs are asked for; None where that is not clear.

        >>> answers = IncidentAnswers(None, False, print)
        >>> answers.wants_inputs(b""), answers.wants_inputs(b"inputs=true"), answers.wants_inputs(b"inputs=perhaps")
        (False, True, None)
        """
        asked = [value for name, value in parse_qsl(query.decode("latin-1")) if name == "inputs"]
        if asked in ([], ["false"]):
            return False
        return True if asked == ["true"] else None

    def may_have_inputs(self, scope: MutableMapping[str, Any]) -> bool:
        """Whether production inputs are given to whoever asks: with the port's token, or from this machine itself."""
        if self.needs_token:
            return True
        client = scope.get("client")
        hosts = [value.rpartition(b":")[0] or value for name, value in scope["headers"] if name == b"host"]
        is_own_name = len(hosts) == 1 and hosts[0].lower() in OWN_NAMES
        is_forwarded = any(name.startswith(_FORWARDED) for name, _ in scope["headers"])
        return client is not None and client[0] in LOOPBACK and is_own_name and not is_forwarded

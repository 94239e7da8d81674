"""The two ports of the daemon: what answers at each, and who may come in."""

from __future__ import annotations

import contextlib
import resource
import socket
from collections.abc import Iterator

from robmon.daemon.incident import Incidents
from robmon.daemon.registry.early_poll import EarlyPoll
from robmon.export.http import http_application
from robmon.export.incident import IncidentAnswers
from robmon.export.metrics import Metrics
from robmon.export.published import Published
from robmon.export.registry_events import PATH as REGISTRY_EVENT
from robmon.export.registry_events import RegistryEvents
from robmon.inputs.receiver import Receiver
from robmon.ports.access import Access, renew
from robmon.ports.rejections import RejectionLog
from robmon.ports.server import PortServer, bound, within
from robmon.ports.signed_events import SignedEvents, webhook_secrets
from robmon.settings import Settings

MAX_HTTP_CONNECTIONS = 64
MAX_INPUT_CONNECTIONS = 512


class Servers:
    """One of metrics, page and events, and one of inputs.

    Args:
        settings: of both ports.
        receiver: answers at that of inputs.
        published: what metrics and page are made of.
        metrics: has the counters.
        incidents: makes bundles.
        early_poll: is asked where the registry tells of a change.

    Raises:
        SettingsError: a token, a certificate or a secret cannot be used.
    """

    def __init__(
        self,
        settings: Settings,
        receiver: Receiver,
        published: Published,
        metrics: Metrics,
        incidents: Incidents,
        early_poll: EarlyPoll,
    ) -> None:
        http, inputs, secret_file = settings.http, settings.inputs, settings.mlflow.webhook_secret_file
        self._settings = settings
        self._metrics = metrics
        self._rejections = RejectionLog("http")
        self._secrets = webhook_secrets(secret_file)
        self._access = {"http": Access("http", http), "inputs": Access("inputs", inputs)}
        descriptors, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
        http_connections, input_connections = within(descriptors, MAX_HTTP_CONNECTIONS, MAX_INPUT_CONNECTIONS)
        self._http = PortServer(
            http_application(
                published,
                metrics.registry,
                most_waiting=max(http_connections // 2, 1),
                incident=IncidentAnswers(
                    incidents.bundle, needs_token=self._access["http"].tokens is not None, refuse=self._refuse
                ),
                events=self._registry_events(early_poll),
            ),
            self._refuse,
            max_connections=http_connections,
            access=self._access["http"],
            open_paths={"/healthz", *([REGISTRY_EVENT] if secret_file is not None else [])},
        )
        self._inputs = PortServer(
            receiver, receiver.refuse, max_connections=input_connections, access=self._access["inputs"]
        )

    @contextlib.contextmanager
    def bound(self) -> Iterator[list[tuple[PortServer, socket.socket]]]:
        """Both with their sockets, that of metrics first, until the end of the block.

        Raises:
            SettingsError: one cannot be bound.
        """
        http, inputs = self._settings.http, self._settings.inputs
        with bound("http", http.host, http.port) as http_socket, bound("inputs", inputs.host, inputs.port) as in_socket:
            yield [(self._http, http_socket), (self._inputs, in_socket)]

    def renew(self) -> None:
        """Take over tokens, certificates and secrets that have been replaced."""
        for access in self._access.values():
            access.renew()
        renew("webhook secret", "http", self._secrets)

    def _registry_events(self, early_poll: EarlyPoll) -> RegistryEvents | None:
        if self._secrets is None:
            return None
        count = self._metrics.registry_events
        return RegistryEvents(SignedEvents(self._secrets), early_poll.ask, lambda outcome: count.labels(outcome).inc())

    def _refuse(self, reason: str) -> None:
        self._metrics.http_rejected.labels(reason).inc()
        self._rejections.add(reason)

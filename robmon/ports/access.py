"""Who may use a port, and how it is encrypted: its settings as what they name."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Final

import structlog

from robmon.errors import SettingsError
from robmon.ports.secret_files import SecretFiles
from robmon.ports.tls import server_context
from robmon.ports.tokens import tokens_of
from robmon.settings import HttpSettings, InputsSettings

RENEW_SECONDS: Final = 5

log = structlog.get_logger(__name__)


class Access:
    """Tokens and TLS of one port, None where its settings name none.

    Args:
        section: the settings' name, for messages.
        settings: of the port.

    Raises:
        SettingsError: a file cannot be read, or what it holds cannot be used.
    """

    def __init__(self, section: str, settings: InputsSettings | HttpSettings) -> None:
        def files(*names: str) -> dict[str, Path]:
            named: dict[str, Any] = {f"{section}.{name}": getattr(settings, name, None) for name in names}
            return {name: file for name, file in named.items() if file is not None}

        token_files = files("token_file")
        tls_files = files("tls_cert_file", "tls_key_file", "tls_client_ca_file")
        self.tokens = SecretFiles(token_files, tokens_of) if token_files else None
        self.tls = SecretFiles(tls_files, server_context) if tls_files else None
        self._section = section

    def renew(self) -> None:
        """Take over what has been replaced; what cannot be used is told once, and the one before stays."""
        renew("tokens", self._section, self.tokens)
        renew("certificate", self._section, self.tls)


def renew(what: str, port: str, files: SecretFiles[Any] | None) -> None:
    """Take over what files of secrets hold by now, if there are any; what cannot be used is told once."""
    try:
        if files is not None and files.reload():
            log.info(f"{what} replaced", port=port)
    except SettingsError as error:
        log.error(f"{what} not replaced", error=str(error))

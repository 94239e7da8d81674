"""What sections have in common."""

from __future__ import annotations

from pathlib import Path

from pydantic import BaseModel, ConfigDict


class Section(BaseModel):
    """A group of settings. Unknown keys are refused; values do not change once read."""

    model_config = ConfigDict(extra="forbid", frozen=True)


def check_tls(cert_file: Path | None, key_file: Path | None) -> None:
    """Refuse one of both alone. Raises ValueError."""
    if (cert_file is None) != (key_file is None):
        raise ValueError("tls_cert_file and tls_key_file must be given together")

"""The port of metrics and status page."""

from __future__ import annotations

from pydantic import Field, model_validator

from robmon.settings.sections.section import Section, check_tls
from robmon.settings.values import CertFile, KeyFile, Port, TokenFile


class HttpSettings(Section):
    host: str = Field("127.0.0.1", description="Address of /metrics, /healthz, /readyz and the status page")
    port: Port = Field(9877, description="Port of /metrics, /healthz, /readyz and the status page; 0: any free one")
    histograms: bool = Field(
        False,
        description="Whether durations and sizes have histograms (120 more series), not only sums and counts",
    )
    token_file: TokenFile = None
    tls_cert_file: CertFile = None
    tls_key_file: KeyFile = None

    @model_validator(mode="after")
    def _tls(self) -> HttpSettings:
        check_tls(self.tls_cert_file, self.tls_key_file)
        return self

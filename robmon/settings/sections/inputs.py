"""Where production inputs come from, and what is kept of them."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field, model_validator

from robmon.settings.sections.section import Section, check_tls
from robmon.settings.values import (
    Brokers,
    CertFile,
    HeaderNames,
    KeyFile,
    NonEmpty,
    Paths,
    Port,
    PositiveInt,
    PositiveSeconds,
    Share,
    TokenFile,
    Topics,
)


class InputsSettings(Section):
    host: str = Field("127.0.0.1", description="Address on which mirrored requests arrive")
    port: Port = Field(9878, description="Port on which mirrored requests arrive; 0: any free one")
    sample_rows: PositiveInt = Field(256, description="Most rows of the input sample")
    max_age_seconds: PositiveSeconds = Field(
        3600,
        description="Age in seconds beyond which an input is not used, except up to a week for a verdict that lacks "
        "rows",
    )
    rows_per_request: PositiveInt = Field(1, description="Most rows drawn at random from one request")
    max_body_bytes: PositiveInt = Field(8 * 2**20, description="Largest request body in bytes; beyond it, 413")
    sample_bytes: PositiveInt = Field(
        32 * 2**20,
        description="Most bytes of the sample, as Python holds it; where it would be larger, fewer requests are kept",
    )
    max_inflight_bytes: PositiveInt = Field(
        16 * 2**20, description="Most bytes of bodies still arriving; beyond it, 503"
    )
    share: Share = Field(1.0, description="Share of the requests to consider")
    model: str | None = Field(
        None,
        description="Use only requests that name this model, in path (/invocations names none) or event; unset: all",
    )
    exclude_headers: HeaderNames = Field(
        (), description="Requests with one of these headers are left out (synthetic tests)"
    )
    exclude_paths: Paths = Field((), description="Requests whose path begins with one of these are left out")
    files: NonEmpty | None = Field(
        None,
        description="Read inputs from files too: a folder, a glob or a file (JSON lines, CSV, Parquet), or their URL",
    )
    files_poll_seconds: PositiveSeconds = Field(30, description="Seconds between two looks at the files")
    label_window_seconds: PositiveSeconds = Field(
        86_400, description="Seconds that an assessed request waits for its label"
    )
    label_bytes: Annotated[int, Field(ge=2**16)] = Field(
        16 * 2**20,
        description="Most bytes of labels, served answers and requests waiting for a label, as Python holds them",
    )
    token_file: TokenFile = None
    tls_cert_file: CertFile = None
    tls_key_file: KeyFile = None
    tls_client_ca_file: Path | None = Field(
        None, description="PEM file of the CAs that must have signed clients' certificates; unset: clients need none"
    )

    @model_validator(mode="after")
    def _tls(self) -> InputsSettings:
        check_tls(self.tls_cert_file, self.tls_key_file)
        if self.tls_client_ca_file is not None and self.tls_cert_file is None:
            raise ValueError("tls_client_ca_file needs tls_cert_file and tls_key_file")
        return self

    @model_validator(mode="after")
    def _sample_holds_a_body(self) -> InputsSettings:
        if self.sample_bytes < self.max_body_bytes:
            raise ValueError(
                f"sample_bytes ({self.sample_bytes}) must not be less than max_body_bytes ({self.max_body_bytes})"
            )
        return self


class KafkaSettings(Section):
    bootstrap_servers: Brokers = Field(
        (), description="Brokers to connect to first, as host:port; unset: no inputs from Kafka"
    )
    topics: Topics = Field((), description="Topics of requests: bodies as the model server gets them, or CloudEvents")
    group_id: NonEmpty | None = Field(
        None,
        description="Consumer group, whose members share the topics' partitions; unset: robmon, the model's name and "
        "the scope of its verdicts, with hyphens between",
    )
    auto_offset_reset: Literal["latest", "earliest"] = Field(
        "latest", description="Where a group starts for which the brokers have no offset"
    )
    tls: bool = Field(False, description="Whether to use TLS with the brokers")
    tls_ca_file: Path | None = Field(
        None, description="PEM file of the CAs of the brokers' certificates; unset: the system's"
    )
    tls_cert_file: Path | None = Field(None, description="PEM file of robmon's own certificate; unset: it has none")
    tls_key_file: Path | None = Field(None, description="PEM file of that certificate's private key")
    sasl_mechanism: Literal["PLAIN", "SCRAM-SHA-256", "SCRAM-SHA-512"] | None = Field(
        None, description="How to log in with a password; unset: without one"
    )
    sasl_username: NonEmpty | None = Field(None, description="User to log in as")
    sasl_password_file: Path | None = Field(None, description="File with the user's password, in one line")

    @model_validator(mode="after")
    def _goes_together(self) -> KafkaSettings:
        if bool(self.bootstrap_servers) != bool(self.topics):
            raise ValueError("bootstrap_servers and topics must be given together")
        if not self.tls and (self.tls_ca_file or self.tls_cert_file or self.tls_key_file):
            raise ValueError("tls_ca_file, tls_cert_file and tls_key_file need tls = true")
        check_tls(self.tls_cert_file, self.tls_key_file)
        sasl = (self.sasl_mechanism, self.sasl_username, self.sasl_password_file)
        if len({each is None for each in sasl}) > 1:
            raise ValueError("sasl_mechanism, sasl_username and sasl_password_file must be given together")
        if self.sasl_mechanism == "PLAIN" and not self.tls:
            raise ValueError("sasl_mechanism PLAIN sends the password as it is, and needs tls = true")
        return self

    @property
    def files(self) -> dict[str, Path]:
        """The files that hold secrets or certificates, by setting."""
        names = ("tls_ca_file", "tls_cert_file", "tls_key_file", "sasl_password_file")
        return {f"kafka.{name}": file for name in names if (file := getattr(self, name)) is not None}

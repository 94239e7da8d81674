"""What a daemon needs before it starts: packages, and a registry to ask."""

from __future__ import annotations

from robmon.extras import Need, check_all_installed
from robmon.models.registry.registry_access import check_named
from robmon.models.uri import is_endpoint
from robmon.settings import Settings


def check_packages(settings: Settings) -> None:
    """Look whether what the settings need is installed in this interpreter, from which models are fetched.

    Raises:
        MissingPackageError: it is not.
        MissingPackagesError: several packages are not.
    """
    uri, files = settings.model.uri, settings.inputs.files
    needs = [] if is_endpoint(uri) else [Need("mlflow", f"model.uri = {uri!r}")]
    if files is not None:
        needs.append(Need("fsspec", "inputs.files"))
        if files.startswith(("s3://", "s3a://")):
            needs.append(Need("s3fs", "inputs.files"))
    if settings.kafka.topics:
        needs.append(Need("confluent_kafka", "kafka.topics"))
    check_all_installed(needs)


def check_registry(settings: Settings) -> None:
    """Look whether the settings, or the environment, name a registry where the model is of one.

    Raises:
        RegistryError: they do not, and there is no default one.
    """
    if not is_endpoint(settings.model.uri):
        check_named(settings.mlflow.tracking_uri)

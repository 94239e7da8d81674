"""How MLflow is asked: what it raises becomes one sentence, and it draws no bars."""

from __future__ import annotations

import contextlib
import errno
import os
from collections.abc import Iterator
from urllib.parse import urlsplit

from mlflow.exceptions import MlflowException
from mlflow.protos import databricks_pb2 as codes

from robmon.errors import ModelNotFoundError, RegistryError, RobmonError
from robmon.models.registry.registry_access import behind, why_unreachable
from robmon.models.uri import mask

MISSING = {codes.ErrorCode.Name(codes.RESOURCE_DOES_NOT_EXIST), codes.ErrorCode.Name(codes.NOT_FOUND)}
"""What MLflow calls it where something does not exist."""
_BARS = "MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR"
_DISK_ERRORS = (errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EIO, errno.EMFILE)


@contextlib.contextmanager
def asking(registry_uri: str, not_found: str, *, for_files: bool = False) -> Iterator[None]:
    """Turn what MLflow and its stores raise into one sentence without credentials.

    Args:
        registry_uri: where the registry is.
        not_found: the sentence of what does not exist.
        for_files: whether files are asked for, which MLflow takes from another store.

    Raises:
        ModelNotFoundError, RegistryError: the registry says so, or does not answer.
        RobmonError: our own disk cannot be written.
    """
    place = mask(registry_uri)
    who = f"the registry at {place}{', or the store that has its files,' if for_files else ''}"
    try:
        yield
    except MlflowException as error:
        raise _translated(error, registry_uri, place, who, not_found) from error
    except ModuleNotFoundError as error:
        raise RegistryError(f"the registry at {place} needs the package {error.name}") from error
    except RobmonError:
        raise
    except Exception as error:  # stores raise what their drivers raise
        if (why := _why_not_written(error)) is not None:
            raise RobmonError(f"the files cannot be written: {why}") from error
        raise RegistryError(f"{who} did not answer: {why_unreachable(error)}") from error


def _translated(error: MlflowException, registry_uri: str, place: str, who: str, not_found: str) -> RobmonError:
    if (why := _why_not_written(error)) is not None:
        return RobmonError(f"the files cannot be written: {why}")
    no_alias = "alias" in error.message and "not found" in error.message
    if error.error_code in MISSING or no_alias:
        return ModelNotFoundError(not_found)
    status: int = error.get_http_status_code()  # type: ignore[no-untyped-call]
    if status in (401, 403):
        return RegistryError(f"the registry at {place} refused the credentials (status {status})")
    if status == 404:
        return RegistryError(f"what answers at {place} is not an MLflow registry (status 404)")
    if urlsplit(registry_uri).scheme == "sqlite":
        return RegistryError(f"the registry at {place} cannot be used: {error.message.splitlines()[0][:200]}")
    why = why_unreachable(error)
    told = f": {why}" if why != type(error).__name__ else f" ({error.error_code})"
    return RegistryError(f"{who} did not answer{told}")


def _why_not_written(error: BaseException) -> str | None:
    """What is wrong with our own disk, if that is what went wrong: MLflow tells it as an error of the registry."""
    told = error.message if isinstance(error, MlflowException) else ""
    for each in behind(error):
        if isinstance(each, OSError) and each.errno in _DISK_ERRORS:
            return os.strerror(each.errno)
    return next((os.strerror(number) for number in _DISK_ERRORS if f"[Errno {number}]" in told), None)


@contextlib.contextmanager
def without_bars() -> Iterator[None]:
    """Let MLflow draw no bars of its own beside robmon's, unless its user says that it is to."""
    if _BARS in os.environ:
        yield
        return
    os.environ[_BARS] = "false"
    try:
        yield
    finally:
        os.environ.pop(_BARS, None)

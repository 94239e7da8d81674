"""A person leaves an hour out of what limits in time are made from: on disk, and beside the model."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Any

from robmon.clock import utc_hour
from robmon.errors import InvalidInputError, RegistryError, SettingsError
from robmon.history.baseline.checksum import is_intact
from robmon.history.baseline.files import BaselineFiles
from robmon.history.baseline.hours import hours_of
from robmon.history.baseline.sharing import leave_out
from robmon.history.folder import DamagedStateError
from robmon.history.shared import settle
from robmon.history.store import History
from robmon.library.baselines import key_of, version_of
from robmon.models.access import EndpointAccess
from robmon.models.loading import RemoteModel
from robmon.models.uri import ModelUri, parse


def leave_out_hour(
    model: str | RemoteModel, hour: int, *, name: str | None, data_dir: Path, is_shared: bool
) -> list[str]:
    """Leave out an hour of a version's; gives where that was written.

    Args:
        model: the version, as MLflow names it, or at its endpoint.
        hour: whole hours of Unix time.
        name: of a model at an endpoint whose URL has none.
        data_dir: the daemon's data folder, where it reads it at its next assessment.
        is_shared: whether hours are shared in the registry too.

    Raises:
        InvalidInputError: nobody knows that hour.
        RegistryError: the registry did not answer, and there is nothing on disk.
        SettingsError: the data folder cannot be read or written.
    """
    parsed = model.endpoint if isinstance(model, RemoteModel) else parse(model)
    version = version_of(parsed, model.access if isinstance(model, RemoteModel) else EndpointAccess())
    key = key_of(parsed, name)
    try:
        places, known = _leave_out_on_disk(data_dir, key, version, hour)
    except (OSError, DamagedStateError) as error:
        raise SettingsError(f"data_dir = {str(data_dir)!r} cannot be used: {error}") from None
    if is_shared and isinstance(parsed, ModelUri) and parsed.is_registered:
        try:
            known |= _leave_out_in_registry(parsed.text, hour, places)
        except RegistryError:
            if not places:
                raise
    if not places:
        raise InvalidInputError(f"{utc_hour(hour)} is not among the hours of version {version}: {_known_hours(known)}")
    return places


def _leave_out_on_disk(data_dir: Path, key: str, version: str, hour: int) -> tuple[list[str], set[int]]:
    history = History(data_dir, key)
    known = history.known_hours(version) | _hours_in(BaselineFiles(data_dir, key).read(version))
    if hour not in known:
        return [], known
    history.leave_out(version, hour)
    return [str(data_dir)], known


def _leave_out_in_registry(uri: str, hour: int, places: list[str]) -> set[int]:
    from robmon.models.registry.baseline_artifact import read_learnt, write_learnt
    from robmon.models.registry.registry import Registry

    registry = Registry()
    model = registry.resolve(uri)

    def without(learnt: dict[str, Any] | None) -> dict[str, Any] | None:
        return leave_out(learnt, hour) if learnt is not None and hour in _hours_in(learnt) else learnt

    shared = _hours_in(read_learnt(registry, model))
    if hour in shared:
        settle(lambda: read_learnt(registry, model), lambda each: write_learnt(registry, model, each or {}), without)
        places.append("the registry")
    return shared


def _hours_in(baseline: dict[str, Any] | None) -> set[int]:
    if baseline is None or not is_intact(baseline):
        return set()
    hours = hours_of(baseline)
    return set() if hours is None else set(hours.errors.hours)


def _known_hours(hours: Iterable[int]) -> str:
    known = sorted(hours)
    if not known:
        return "there are none yet"
    return f"they are {len(known)}, from {utc_hour(known[0])} to {utc_hour(known[-1])}"

"""Which package belongs to which extra of robmon, and the sentence for one that is not installed."""

from __future__ import annotations

import importlib.util
from collections.abc import Iterable, Sequence
from typing import Final, NamedTuple

from robmon.errors import RobmonError

EXTRAS: Final = {
    "mlflow": "mlflow",
    "torch": "torch",
    "onnxruntime": "onnx",
    "matplotlib": "plot",
    "jinja2": "report",
    "markupsafe": "report",
    "fsspec": "files",
    "pandas": "files",
    "pyarrow": "files",
    "s3fs": "s3",
    "confluent_kafka": "kafka",
    "pynvml": "gpu",
    "PIL": "images",
    "art": "attacks",
    "ray": "ray",
    "onnx": "advise",
}
"""Modules that robmon imports only where they are needed, each with the extra that brings it."""


class MissingPackageError(RobmonError):
    """A package that an extra brings is not installed.

    Attributes:
        module: the module that cannot be imported.
    """

    def __init__(self, module: str, what_for: str = "", *, extra: str | None = None, instead: str = "") -> None:
        self.module = module
        needs = f"{what_for} needs {module}, which is not installed" if what_for else f"{module} is not installed"
        super().__init__(f"{needs}: {how_to_install(module, extra)}{instead and f', or {instead}'}")


def how_to_install(module: str, extra: str | None = None) -> str:
    """The command that brings a module, as a part of its own extra or of another one.

    >>> how_to_install("matplotlib"), how_to_install("gcsfs")
    ("pip install 'robmon[plot]'", 'pip install gcsfs')
    """
    extra = extra or EXTRAS.get(module)
    return f"pip install 'robmon[{extra}]'" if extra is not None else f"pip install {module}"


def check_installed(module: str, what_for: str = "", *, extra: str | None = None, instead: str = "") -> None:
    """Look whether a module can be imported, without importing it.

    Args:
        module: its top-level name.
        what_for: the subject of the sentence that refuses it.
        extra: that is to be installed; None: the module's own.
        instead: what to do without it.

    Raises:
        MissingPackageError: it is not installed.
    """
    if importlib.util.find_spec(module) is None:
        raise MissingPackageError(module, what_for, extra=extra, instead=instead)


class Need(NamedTuple):
    """What needs a module, and what to do without that; as for `check_installed`."""

    module: str
    what_for: str
    instead: str = ""


class MissingPackagesError(RobmonError):
    """Several packages that extras bring are not installed: all at once, with one command.

    Attributes:
        modules: the modules that cannot be imported.
    """

    def __init__(self, missing: Sequence[Need]) -> None:
        self.modules = tuple(need.module for need in missing)
        told = [f"{need.what_for} needs {need.module}{need.instead and f' (or {need.instead})'}" for need in missing]
        names = ",".join(dict.fromkeys(EXTRAS[need.module] for need in missing))
        super().__init__(f"{', '.join(told)}, which are not installed: pip install 'robmon[{names}]'")


def check_all_installed(needs: Iterable[Need]) -> None:
    """Look whether modules of `EXTRAS` can be imported, without importing them.

    Raises:
        MissingPackageError: one is not installed.
        MissingPackagesError: several are not.
    """
    missing = [need for need in needs if importlib.util.find_spec(need.module) is None]
    if len(missing) > 1:
        raise MissingPackagesError(missing)
    for need in missing:
        raise MissingPackageError(need.module, need.what_for, instead=need.instead)


def missing_extra(error: ImportError) -> MissingPackageError | None:
    """The sentence for an import that failed because an extra is not installed; None for any other reason."""
    module = (error.name or "").partition(".")[0]
    if module not in EXTRAS or importlib.util.find_spec(module) is not None:
        return None
    return MissingPackageError(module)

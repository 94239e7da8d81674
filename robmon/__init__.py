"""robmon watches how robust a served model is. This is its Python API; names resolve when they are first used."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from robmon import noise
    from robmon.api import assess, compare, drift, endpoint
    from robmon.errors import (
        InvalidInputError,
        ModelError,
        ModelLoadError,
        ModelNotFoundError,
        OverBudgetError,
        PredictionError,
        RegistryError,
        RobmonError,
        TooFewTrialsError,
    )
    from robmon.ranking import rank
    from robmon.robustness.bounds import upper_bound
    from robmon.robustness.mean_bound import mean_upper_bound
    from robmon.robustness.noise import Noise

    __version__: str

__all__ = [
    "InvalidInputError",
    "ModelError",
    "ModelLoadError",
    "ModelNotFoundError",
    "Noise",
    "OverBudgetError",
    "PredictionError",
    "RegistryError",
    "RobmonError",
    "TooFewTrialsError",
    "__version__",
    "assess",
    "compare",
    "drift",
    "endpoint",
    "mean_upper_bound",
    "noise",
    "rank",
    "upper_bound",
]

_HOMES = {
    "assess": "robmon.api",
    "compare": "robmon.api",
    "endpoint": "robmon.api",
    "rank": "robmon.ranking",
    "upper_bound": "robmon.robustness.bounds",
    "mean_upper_bound": "robmon.robustness.mean_bound",
    "Noise": "robmon.robustness.noise",
}


def __getattr__(name: str) -> Any:
    if name == "__version__":
        from importlib.metadata import PackageNotFoundError, version

        try:
            return version("robmon")
        except PackageNotFoundError:  # on the path of another environment, not installed in it
            return "unknown"
    if name in ("drift", "noise"):
        return import_module(f"robmon.{name}")
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(_HOMES.get(name, "robmon.errors")), name)


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})

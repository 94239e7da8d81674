"""robmon watches how robust a served model is. This is its Python API; names resolve when they are first used."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from robmon import noise
    from robmon.drift.blame import blame
    from robmon.drift.detector import RegressionDetector
    from robmon.drift.two_sample import drift
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
    from robmon.hardening.stabilise import stabilise
    from robmon.library.advise import advise
    from robmon.library.assess import assess
    from robmon.library.attack import attack
    from robmon.library.attribute import attribute
    from robmon.library.certify import certify
    from robmon.library.compare import compare
    from robmon.library.endpoint import endpoint
    from robmon.library.rank import rank
    from robmon.robustness.noise.base import Noise
    from robmon.robustness.noise.images.layout import ImageLayout
    from robmon.robustness.statistics.bounds import upper_bound
    from robmon.robustness.statistics.mean_bound import mean_upper_bound
    from robmon.tap.middleware import Tap as tap  # noqa: N813 - the package is called, which makes one

    __version__: str

__all__ = [
    "ImageLayout",
    "InvalidInputError",
    "ModelError",
    "ModelLoadError",
    "ModelNotFoundError",
    "Noise",
    "OverBudgetError",
    "PredictionError",
    "RegistryError",
    "RegressionDetector",
    "RobmonError",
    "TooFewTrialsError",
    "__version__",
    "advise",
    "assess",
    "attack",
    "attribute",
    "blame",
    "certify",
    "compare",
    "drift",
    "endpoint",
    "mean_upper_bound",
    "noise",
    "rank",
    "stabilise",
    "tap",
    "upper_bound",
]

_HOMES = {
    "advise": "robmon.library.advise",
    "assess": "robmon.library.assess",
    "attack": "robmon.library.attack",
    "attribute": "robmon.library.attribute",
    "blame": "robmon.drift.blame",
    "certify": "robmon.library.certify",
    "compare": "robmon.library.compare",
    "endpoint": "robmon.library.endpoint",
    "rank": "robmon.library.rank",
    "stabilise": "robmon.hardening.stabilise",
    "upper_bound": "robmon.robustness.statistics.bounds",
    "mean_upper_bound": "robmon.robustness.statistics.mean_bound",
    "ImageLayout": "robmon.robustness.noise.images.layout",
    "Noise": "robmon.robustness.noise.base",
    "RegressionDetector": "robmon.drift.detector",
}


def __getattr__(name: str) -> Any:
    if name == "__version__":
        from importlib.metadata import PackageNotFoundError, version

        try:
            return version("robmon")
        except PackageNotFoundError:  # on the path of another environment, not installed in it
            return "unknown"
    if name in ("drift", "noise", "tap"):
        return import_module(f"robmon.{name}")
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(_HOMES.get(name, "robmon.errors")), name)


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})

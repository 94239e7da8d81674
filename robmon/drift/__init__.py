"""Numerics of drift: two-sample statistics. The package can be called, as `robmon.drift(baseline, current)`."""

from __future__ import annotations

import sys
from types import ModuleType
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from robmon.drift.two_sample import DriftResult


class _Drift(ModuleType):
    """Importing any of its modules binds the package to `robmon.drift`, so the package itself can be called."""

    def __call__(self, baseline_inputs: Any, current_inputs: Any) -> DriftResult:
        """See `robmon.drift.two_sample.drift`."""
        from robmon.drift.two_sample import drift

        return drift(baseline_inputs, current_inputs)


sys.modules[__name__].__class__ = _Drift

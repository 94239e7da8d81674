"""Numerics of drift: two-sample statistics. The package can be called, as `robmon.drift(baseline, current)`."""

from __future__ import annotations

import inspect
import sys
from types import ModuleType
from typing import Any

from robmon.drift.two_sample import DriftResult, drift


class _Drift(ModuleType):
    """Importing any of its modules binds the package to `robmon.drift`, so the package itself can be called."""

    def __call__(self, baseline_inputs: Any, current_inputs: Any) -> DriftResult:
        """See `robmon.drift.two_sample.drift`."""
        return drift(baseline_inputs, current_inputs)


sys.modules[__name__].__class__ = _Drift
# What `help(robmon.drift)` shows; the example is run where the function is.
__doc__ = f"{__doc__}\n\n{drift.__name__}{inspect.signature(drift)}\n\n" + inspect.getdoc(drift).split(">>>")[0]  # type: ignore[union-attr]  # it has one

"""Numerics of drift: two-sample statistics. The package can be called, as `robmon.drift(baseline, current)`.

It is both a room and a public function because importing any module of it binds the package to `robmon.drift`: a
function of that name would be replaced by whoever imports `robmon.drift.statistics` first, and a package of another
name would be a second word for one thing. So the package itself can be called, whichever was imported before.
"""

from __future__ import annotations

import inspect
import sys
from types import ModuleType
from typing import Any

from robmon.drift.two_sample import DriftResult, drift


class _Drift(ModuleType):
    """The package as a function."""

    def __call__(self, baseline_inputs: Any, current_inputs: Any, q: float = 0.01) -> DriftResult:
        """See `robmon.drift.two_sample.drift`."""
        return drift(baseline_inputs, current_inputs, q)


sys.modules[__name__].__class__ = _Drift
# What `help(robmon.drift)` shows; the example is run where the function is.
__doc__ = f"{__doc__}\n\n{drift.__name__}{inspect.signature(drift)}\n\n" + inspect.getdoc(drift).split(">>>")[0]  # type: ignore[union-attr]  # it has one

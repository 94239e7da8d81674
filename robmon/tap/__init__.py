"""A tap for model servers that people write themselves. The package can be called, as `robmon.tap(app)`.

It is both a room and a public function, as `robmon.drift` is.
"""

from __future__ import annotations

import inspect
import sys
from types import ModuleType
from typing import Any

from robmon.tap.middleware import ASGIApplication, Tap

__all__ = ["Tap"]


class _Tap(ModuleType):
    """The package as a function."""

    def __call__(self, app: ASGIApplication, url: str = "http://127.0.0.1:9878", **options: Any) -> Tap:
        """See `robmon.tap.middleware.Tap`."""
        return Tap(app, url, **options)


sys.modules[__name__].__class__ = _Tap
# What `help(robmon.tap)` shows.
__doc__ = f"{__doc__}\n\ntap{inspect.signature(Tap)}\n\n{inspect.getdoc(Tap)}"

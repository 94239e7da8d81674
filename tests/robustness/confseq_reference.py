"""confseq's betting interval, the reference of the mean bound: `tools/install_confseq.py` puts it there."""

from __future__ import annotations

import sys
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any
from unittest import mock

import numpy as np

FOLDER = Path(__file__).resolve().parents[2] / ".tools" / "python"


def upper_limit(errors: np.ndarray, confidence: float, steps: int) -> float:
    """The upper end of `confseq.betting.betting_ci` with its own defaults, one-sided, on a grid of so many steps.

    The grid adds up to one step to it.
    """
    return float(_betting_ci()(errors, alpha=1.0 - confidence, theta=0.0, breaks=steps)[1])


@cache
def _betting_ci() -> Callable[..., Any]:
    if not (FOLDER / "confseq").is_dir():
        raise FileNotFoundError("confseq is missing: run make tools")
    # Its annotations use a name that NumPy 2 has dropped.
    with mock.patch.object(sys, "path", [*sys.path, str(FOLDER)]), mock.patch.object(np, "float_", float, create=True):
        from confseq.betting import betting_ci
    return betting_ci

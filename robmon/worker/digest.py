"""By what a sample is known again without being told: a digest of its rows as the model takes them."""

from __future__ import annotations

import hashlib
from typing import Any

import numpy as np

from robmon.models.inputs.model_inputs import ModelInputs


def sample_sha256(inputs: ModelInputs, rows: int) -> str:
    """SHA-256 of the first rows: what is perturbed, and what passes through, by name.

    >>> from robmon.models.inputs.split import split
    >>> inputs = split(np.array([[1.0, 2.0], [3.0, 4.0]]))
    >>> sample_sha256(inputs, 2) == sample_sha256(inputs.take([0, 1]), 2) != sample_sha256(inputs, 1)
    True
    """
    digest = hashlib.sha256()
    _add(digest, "", np.asarray(inputs.array[:rows]))
    for name, values in inputs.passed().items():
        _add(digest, name, np.asarray(values[:rows]))
    return digest.hexdigest()


def _add(digest: Any, name: str, values: np.ndarray[Any, Any]) -> None:
    digest.update(repr((name, values.dtype.str, values.shape)).encode())
    if values.dtype.hasobject:
        digest.update(repr(values.tolist()).encode())
    else:
        digest.update(np.ascontiguousarray(values).tobytes())

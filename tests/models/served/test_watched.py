"""Model inputs as drift reads them."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
import pytest

from robmon.models.inputs.split import split
from robmon.models.served.watched import MOST_FEATURES, not_watched, watched


def names_and_rest(inputs: Any) -> tuple[list[str], int]:
    parts = split(inputs)
    axis = parts.axis(refuses=False)
    columns = watched(parts, axis)
    assert all(column.rows == parts.rows for column in columns.values())
    return list(columns), not_watched(parts, axis)


def test_every_column_or_tensor_is_there_whether_it_is_perturbed_or_not() -> None:
    r = np.random.default_rng(0)
    frame = pd.DataFrame(
        {"x": r.normal(size=9), "n": np.arange(9), "all": list("abcabcabc"), "y\n" * 50: r.normal(size=9)}
    )
    assert names_and_rest(frame) == (["x", "y?" * 32, "n", "all (2)"], 0)
    tensors = {"x": r.normal(size=(9, 2)), "ids": np.zeros((9, 3), dtype=np.int64), "word": np.array(["a"] * 9)}
    assert names_and_rest(tensors) == (["x[0]", "x[1]", "ids[0]", "ids[1]", "ids[2]", "word"], 0)
    image = {"x": r.normal(size=(9, 1, 4, 4)), "k": np.zeros(9, dtype=np.int64)}
    assert names_and_rest(image) == (["x.channel_0.mean", "x.channel_0.std", "x.channel_0.contrast", "k"], 0)
    two = {"x": r.normal(size=(9, 1, 4, 4)), "y": r.normal(size=(9, 1))}
    assert names_and_rest(two) == (["x.channel_0.mean", "x.channel_0.std", "y[0]"], 0)


@pytest.mark.parametrize(
    ("inputs", "rest"),
    [
        (np.zeros((3, 5000)), 5000 - MOST_FEATURES),
        ({"x": np.zeros((3, 2)), "ids": np.zeros((3, 2000), dtype=np.int64)}, 2002 - MOST_FEATURES),
    ],
)
def test_what_is_beyond_a_bound_is_counted(inputs: Any, rest: int) -> None:
    names, found = names_and_rest(inputs)
    assert (len(names), found) == (MOST_FEATURES, rest)

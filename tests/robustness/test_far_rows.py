"""Columns whose scale a few rows make are told: their levels are far from what the other rows are like."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

import robmon
from robmon.robustness.features.far_rows import far_row_notes

G = np.random.default_rng(0)
READINGS = G.normal(20.0, 3.0, 600)


def notes(column: np.ndarray, **options: object) -> list[str]:
    frame = pd.DataFrame({"t": column, "u": G.normal(size=len(column))})
    result = robmon.assess(lambda rows: rows["t"] + rows["u"], frame, trials=19, levels=(0.1,), **options)
    return [note for note in result.notes if "its scale" in note]


def test_two_errors_that_are_too_rare_to_be_a_code_are_told() -> None:
    (note,) = notes(np.concatenate([[-9999.0, -9999.0], READINGS]))
    assert note.startswith("t: at most 6 of 602 rows make its scale, ") and note.endswith("or give a scale")
    assert 150 < float(note.split("scale, ")[1].split(" times")[0]) < 250
    assert not notes(np.concatenate([[-9999.0, -9999.0], READINGS]), scale=1.0)


@pytest.mark.parametrize(
    "column",
    [
        READINGS,
        np.exp(G.normal(size=600)),
        np.where(G.random(600) < 0.9, 0.0, G.exponential(size=600)),
        np.where(G.random(600) < 0.005, 1.0, 0.0),
        np.where(G.random(600) < 0.05, -9999.0, READINGS),
        G.standard_t(3, size=600),
    ],
    ids=["normal", "log-normal", "mostly zero", "indicator", "code", "Student"],
)
def test_usual_columns_are_not(column: np.ndarray) -> None:
    assert not notes(column)


def test_a_scale_measured_before_is_told_as_that() -> None:
    told = far_row_notes(READINGS[:, None], np.array([577.0]), ["t"])
    assert len(told) == 1 and "record a baseline without them" in told[0]
    assert not far_row_notes(READINGS[:, None], np.array([3.0]), ["t"])
    assert not far_row_notes(READINGS[:20, None], np.array([577.0]), ["t"]), "too few rows to tell"

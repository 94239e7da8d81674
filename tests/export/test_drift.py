"""Drift on the status page: how many features, which most, and no markup of strangers."""

from __future__ import annotations

from robmon.export.drift import drift_on_page
from robmon.processes.messages import Assessed, DriftValue
from tests.export.published import everything


def result(**changes: object) -> Assessed:
    measurement = everything().view.measurement
    assert measurement is not None
    return measurement.result.model_copy(update=changes)


def test_the_page_says_how_many_features_have_drifted_and_which_most() -> None:
    assert drift_on_page(result()) == (
        "<p>1 of the 2 features whose drift is measured has drifted from the baseline; most of all, by Jensen-Shannon "
        "distance (0 to 1): age (0.25).</p>"
    )
    assert drift_on_page(result(drifted_features=0)) == (
        "<p>None of the 2 features whose drift is measured has drifted from the baseline.</p>"
    )
    assert drift_on_page(result(drifted_features=None)) == ""


def test_a_feature_s_name_is_text() -> None:
    drift = [DriftValue(feature=f"<script>{index}", statistic="js", value=0.5) for index in range(9)]
    page = drift_on_page(result(drifted_features=8, input_drift=drift))
    assert "<script" not in page and page.count("&lt;script&gt;") == 5 and page.startswith("<p>8 of the 2")

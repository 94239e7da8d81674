"""Drift on the status page: how many features, which most, and no markup of strangers."""

from __future__ import annotations

from robmon.export.drift import drift_on_page
from robmon.export.page.pieces import bar
from robmon.processes.messages.assessed import Assessed
from robmon.processes.messages.findings import DriftValue
from tests.export.published import everything, table_of


def result(**changes: object) -> Assessed:
    measurement = everything().view.measurement
    assert measurement is not None
    return measurement.result.model_copy(update=changes)


def test_the_page_says_how_many_features_have_drifted_and_which_most() -> None:
    page = drift_on_page(result())
    assert (
        "<p>1 of the 2 features whose drift is measured has drifted from the baseline; most of all, by Jensen-Shannon "
        "distance (0 to 1): age (0.25).</p>" in page
    )
    assert table_of(page, "Drift of the inputs")[1:] == [["age", bar(0.25), "0.250", "0.3", "infinite"]]
    assert "<p>Rows with a problem: age missing (12.5 %).</p>" in page
    assert "Over all features the mean PSI is 0.2 beyond chance." in page
    quiet = drift_on_page(result(drifted_features=0))
    assert "<p>None of the 2 features whose drift is measured has drifted from the baseline.</p>" in quiet
    assert drift_on_page(result(drifted_features=None)) == ""


def test_a_feature_s_name_is_text() -> None:
    drift = [DriftValue(feature=f"<script>{index}", statistic="js", value=0.5) for index in range(9)]
    page = drift_on_page(result(drifted_features=8, input_drift=drift))
    assert "<script" not in page and "8 of the 2 features" in page
    assert page.count("&lt;script&gt;") == 5 + 8, "in the sentence, and beside bars"

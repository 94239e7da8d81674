"""Student's t distribution against SciPy's."""

from __future__ import annotations

import math

import pytest
from scipy import stats

from robmon.robustness.statistics import student


@pytest.mark.parametrize("df", [1, 2, 3, 7.5, 18, 38, 255, 10_000, 100_000])
def test_student_t_agrees_with_scipy(df):
    law = stats.t(df)
    for t in (0.0, 1e-3, 0.2, 1.3, 2.5, 8.0, 30.0, 300.0):
        for signed in (t, -t):
            assert student.cdf(signed, df) == pytest.approx(law.cdf(signed), rel=1e-8, abs=1e-300)
            assert student.sf(signed, df) == pytest.approx(law.sf(signed), rel=1e-8, abs=1e-300)
    for p in (1e-12, 1e-6, 0.001, 0.01, 0.3, 0.5, 0.7, 0.9, 0.99, 0.999, 1 - 1e-6):
        assert student.quantile(p, df) == pytest.approx(law.ppf(p), rel=1e-8, abs=1e-12)


def test_student_t_at_infinity():
    assert (student.cdf(math.inf, 5), student.cdf(-math.inf, 5), student.sf(math.inf, 5)) == (1.0, 0.0, 0.0)

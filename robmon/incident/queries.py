"""Questions to Prometheus that an alert leads to, as links below whatever address it has."""

from __future__ import annotations

import json
from typing import Any, Final
from urllib.parse import urlencode

from robmon import clock

RANGE: Final = "6h"
_ASKED: Final = (
    ("which regressions stand", "robmon_regression_detected{%s}"),
    ("noise error and its bound, by version and level", "robmon_noise_mse_bound{%s}"),
    ("noise error over that of the baseline", "robmon_noise_mse_baseline_ratio{%s}"),
    ("error of the new version over its reference's", "robmon_version_ratio{%s}"),
    ("evidence over time, and its threshold", "robmon_regression_evidence{%s}"),
    ("drift of the inputs", 'robmon_input_drift{%s,feature="all"}'),
    ("features that have drifted", "robmon_input_drifted_features{%s}"),
    ("assessments that failed or were skipped", 'increase(robmon_assessments_total{outcome!="ok"}[1h])'),
)


def queries(model: str, since: float | None) -> list[dict[str, Any]]:
    """What each asks, as a query and as a link to Prometheus' graph, around the time at which the regression began."""
    selected = f"model_name={json.dumps(model, ensure_ascii=False)}"
    found = []
    for what, asked in _ASKED:
        query = asked.replace("%s", selected)
        words = {"g0.expr": query, "g0.tab": "0", "g0.range_input": RANGE}
        if since is not None:
            words["g0.end_input"] = clock.utc(since + 3 * 3600).removesuffix(" UTC") + ":00"
        found.append({"what": what, "query": query, "link": f"graph?{urlencode(words)}"})
    return found

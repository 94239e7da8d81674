"""Which series are of the model, the instances and the versions that the dashboard of a model is about."""

from __future__ import annotations

from grafana.parts import PLACE, POD

PROCESS = f'{PLACE}, instance=~"$instance"'
STATE = f'{PROCESS}, model_name="$model_name"'
MEASUREMENT = f'{STATE}, model_version=~"$model_version"'
# Of the noise that decides alarms: what is measured under further ones says so.
PRIMARY = f'{MEASUREMENT}, primary!="false"'
ABOVE_0 = 'level!="0"'
# Errors in the units of the outputs. A classifier's verdict has units of its own, and the errors a series in them.
CURVE = f'{PRIMARY}, reference="prediction", space="", {ABOVE_0}'
IN_UNITS_OF_VERDICT = f'robmon_noise_mse{{{MEASUREMENT}, reference="prediction", space="verdict", {ABOVE_0}}}'
CURVE_BOUND = f'{PRIMARY}, reference="prediction", {ABOVE_0}'
AT_LEVELS = f"{MEASUREMENT}, {ABOVE_0}"

# A curve is one pod's: a maximum or an average of bounds is no bound.
OF_LAST_POD = (
    f"and on ({POD}) topk(1, robmon_last_assessment_timestamp_seconds{{{STATE}}} "
    f"and on ({POD}) robmon_model_info{{{MEASUREMENT}}})"
)

FINITE = "< +Inf"
"""An infinite error would be the end of a logarithmic axis."""


def one_pods(expr: str) -> str:
    """A series a level, of the pod that assessed last, whichever that was: what tells pods apart is taken off."""
    expr = f"{expr} {FINITE} {OF_LAST_POD}"
    for label in ("instance", "pod", "node"):
        expr = f'label_replace({expr}, "{label}", "", "", "")'
    return expr

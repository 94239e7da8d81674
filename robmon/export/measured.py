"""What the last good assessment measured, as metrics, with the state that it was measured in."""

from __future__ import annotations

from collections.abc import Callable

from prometheus_client.registry import Collector

from robmon import clock
from robmon.export.attack import attack_metrics
from robmon.export.curve import curve_metrics
from robmon.export.drift import drift_metrics
from robmon.export.families import Families, add, nonempty, of_version
from robmon.export.novelty import novelty_metrics
from robmon.export.published import Published
from robmon.export.state import state_metrics
from robmon.export.verdict import reference_metrics
from robmon.processes.messages.assessed import Assessed


class PublishedCollector(Collector):
    """Measurements and states, as they are at the moment of the scrape."""

    def __init__(self, published: Published, clock: Callable[[], float] = clock.now) -> None:
        self._published = published
        self._clock = clock

    def collect(self) -> Families:
        """All gauge families; those of measurements only while the measurement is current."""
        now = self._clock()
        yield from state_metrics(self._published)
        yield from _served(self._published, now)
        yield from _measured(self._published, now)
        yield from attack_metrics(self._published, now)


def _measured(published: Published, now: float) -> Families:
    measurement, view = published.current_measurement(now), published.view
    yield from curve_metrics(published.model_name, measurement, view.curves, published.current_further(now))
    if measurement is None:
        return
    of, verdict, curves = [published.model_name, measurement.model_version], view.state.verdict, view.curves
    if verdict is not None and curves is not None:
        yield from reference_metrics(of, verdict.reference_version, curves)
    yield from _scalars(of, measurement.result)
    yield from drift_metrics(of, measurement.result)
    yield from novelty_metrics(of, measurement.result.novelty)


def _scalars(of: list[str], result: Assessed) -> Families:
    margin = of_version("robmon_noise_margin_level", "Largest level whose bound stays under the limit", "noise")
    add(margin, [*of, result.noise], result.noise_margin)
    clean = of_version("robmon_clean_mse", "MSE against labels without noise")
    add(clean, of, None if result.labels is None else result.labels.clean_mse)
    rows = of_version("robmon_assessment_rows", "Rows of the last assessment: those that fitted into its time budget")
    add(rows, of, result.plan.rows)
    trials = of_version(
        "robmon_assessment_trials",
        "Noise trials a level of the last assessment: those that fitted into its time budget",
    )
    add(trials, of, result.plan.trials)
    nonfinite = of_version(
        "robmon_clean_nonfinite_ratio", "Share of the rows left out because their clean output is NaN or infinite"
    )
    add(nonfinite, of, len(result.nonfinite_rows) / result.plan.rows if result.plan.rows else None)
    labelled = of_version("robmon_labelled_rows", "Rows that have a label which fits the model")
    add(labelled, of, result.labelled_rows or None)
    yield from nonempty(margin, clean, rows, trials, nonfinite, labelled)


def _served(published: Published, now: float) -> Families:
    served = published.current_served(now)
    if served is None or published.view.model is None:
        return
    of = [published.model_name, published.view.model.version]
    ratio = of_version(
        "robmon_served_prediction_mismatch_ratio",
        "Share of the served answers that differ from this version's own predictions, beyond rounding",
    )
    add(ratio, of, served.mismatched / served.compared if served.compared else None)
    compared = of_version("robmon_served_predictions_compared", "Requests whose served answer was compared")
    add(compared, of, served.compared)
    apart = of_version(
        "robmon_served_predictions_not_comparable", "Requests whose served answer has another form than the model's"
    )
    add(apart, of, served.not_comparable)
    yield from nonempty(ratio, compared, apart)

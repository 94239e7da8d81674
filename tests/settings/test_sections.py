"""The settings themselves: the defaults that are promised, and what cannot go together."""

from __future__ import annotations

import re
from decimal import ROUND_CEILING
from pathlib import Path
from typing import Any, get_args

import numpy as np
import pytest

from robmon.errors import OverBudgetError, SettingsError
from robmon.models.devices.device import DeviceUse, Precision
from robmon.robustness.checks import needed_trials
from robmon.robustness.engine.plan import plan_assessment
from robmon.robustness.engine.predictor import FunctionPredictor
from robmon.settings import as_text, leaves, load
from robmon.vocabulary import PLANNED_SHARE
from robmon.wording import duration
from tests.settings.flags import ENDPOINT, MODEL


def test_defaults_are_those_of_the_contract() -> None:
    settings = load(MODEL).settings
    assert settings.model.follow == "alias" and settings.model.poll_seconds == 30
    assert (settings.inputs.host, settings.inputs.port) == ("127.0.0.1", 9878)
    assert (settings.http.host, settings.http.port) == ("127.0.0.1", 9877)
    assert (settings.inputs.sample_rows, settings.inputs.max_age_seconds, settings.inputs.rows_per_request) == (
        256,
        3600,
        1,
    )
    assert (settings.inputs.max_body_bytes, settings.inputs.sample_bytes, settings.inputs.max_inflight_bytes) == (
        8 * 2**20,
        32 * 2**20,
        16 * 2**20,
    )
    assert (settings.assess.interval_seconds, settings.assess.min_rows, settings.assess.max_seconds) == (60, 64, 10)
    assert settings.assess.levels == (0, 0.05, 0.1, 0.2, 0.4)
    assert (settings.assess.trials, settings.assess.confidence, settings.assess.task) == (39, 0.95, "regression")
    assert (settings.compare.alpha, settings.compare.tolerance) == (0.01, 0.10)
    assert settings.baseline.min_rows == 1024 and settings.worker.timeout_seconds == 600
    assert (settings.device.name, settings.device.threads) == ("cpu", 1)
    assert settings.device.use == DeviceUse(name="cpu", compile="auto", memory_fraction=0.2, duty_cycle=0.5)
    assert (settings.device.compile, settings.device.idle_release_seconds) == ("auto", None)
    assert settings.data_dir == Path("robmon-data")


def test_every_setting_has_a_description_and_a_default_that_reads_back() -> None:
    for leaf in leaves():
        assert leaf.field.description, leaf.name
        if leaf.field.is_required() or leaf.field.default in (None, ()) or leaf.name == "worker.python":
            continue
        loaded = load({**MODEL, leaf.name: as_text(leaf.field.default)})
        assert loaded.value(leaf.name) == leaf.field.default, leaf.name


@pytest.mark.parametrize("text", ["jpeg@50,75 uniform", '["jpeg@50,75", "uniform"]'])
def test_further_noises_are_done_as_the_first_is(text: str) -> None:
    told = {"assess.noises": text, "assess.mse_limit": 0.1, "assess.task": "classification", "images.range": "0 1"}
    settings = load({**MODEL, **told}).settings
    jpeg, uniform = settings.further_specifications
    assert (jpeg.noise, jpeg.levels, jpeg.trials) == ("jpeg", (0.0, 50.0, 75.0), 1)
    assert (uniform.noise, uniform.levels, uniform.trials) == ("uniform", (0.0, 0.05, 0.1, 0.2, 0.4), 39)
    assert jpeg.layout is not None and jpeg.layout == settings.specification.layout
    assert {each.task for each in (jpeg, uniform)} == {"classification"}
    assert jpeg.mse_limit is None and settings.specification.mse_limit == 0.1
    alone = load({**MODEL, **{name: value for name, value in told.items() if name != "assess.noises"}}).settings
    assert settings.specification_digest == alone.specification_digest, "no verdict depends on them"
    assert settings.whole_specification["noises"] == ["jpeg@50,75", "uniform"]


@pytest.mark.parametrize(
    "images",
    [{}, {"images.mean": "0.5", "images.range": "0 1"}],
    ids=["of uint8, which says black and white", "normalised, of a range that is told"],
)
def test_what_pictures_are_is_told_where_nothing_else_says_it(images: dict[str, str]) -> None:
    settings = load({**MODEL, "assess.noise": "thumbnail", "assess.noises": "rotate", **images}).settings
    assert [each.acts_on_images for each in (settings.specification, *settings.further_specifications)] == [True, True]


@pytest.mark.parametrize("flags", [{}, {"assess.levels": "0.1"}, {"assess.confidence": 0.9, "assess.min_rows": 8}])
def test_the_slowest_pace_agrees_with_the_plan(flags: dict[str, Any]) -> None:
    """What is refused at once is what would be refused before the first request."""
    assess = load({**MODEL, **flags}).settings.assess
    with pytest.raises(OverBudgetError) as planned:
        plan_assessment(
            FunctionPredictor(lambda x, rows: x, rows_per_second=1),
            np.ones((64, 1)),
            assess.specification(),
            min_rows=assess.min_rows,
            max_seconds=assess.max_seconds,
        )
    needed = planned.value.needed_seconds
    for factor in (0.99, 1.01):
        pace = {"model.rows_per_second": 1, "assess.max_seconds": factor * needed}
        if factor > 1:
            load({**ENDPOINT, **flags, **pace})
        else:
            planned_seconds = round(needed * PLANNED_SHARE) / PLANNED_SHARE  # without the time that planning took
            told = re.escape(f"needs {duration(planned_seconds, ROUND_CEILING)}, the budget is")
            with pytest.raises(SettingsError, match=told):
                load({**ENDPOINT, **flags, **pace})


@pytest.mark.parametrize("confidence", [0.5, 0.8, 0.9, 0.95, 0.99, 0.999, 0.9999, 0.999999])
def test_trials_needed_agree_with_the_bound(confidence: float) -> None:
    needed = needed_trials(confidence, "order_statistic")
    load({**MODEL, "assess.confidence": confidence, "assess.trials": needed})
    if needed > 1:
        with pytest.raises(SettingsError, match=f"at least {needed}"):
            load({**MODEL, "assess.confidence": confidence, "assess.trials": needed - 1})


def test_a_precision_that_is_set_is_part_of_what_a_verdict_depends_on() -> None:
    digests = [load({**MODEL, **flags}).settings.specification_digest for flags in ({}, {"device.duty_cycle": 1})]
    digests += [load({**MODEL, "device.precision": each}).settings.specification_digest for each in get_args(Precision)]
    assert digests[0] == digests[1]
    assert len(set(digests)) == 3

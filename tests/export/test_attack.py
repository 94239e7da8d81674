"""The last attack as metrics and on the page: what it says, of which version, and for how long."""

from __future__ import annotations

from typing import Any

import pytest
from prometheus_client import CollectorRegistry

from robmon.export.measured import PublishedCollector
from robmon.export.published import AttackView, Published
from robmon.export.status import status_page
from robmon.history.attack import AttackFound
from tests.export.published import NOW, attacked, change, everything, table_of

OF = {"model_name": "digits", "model_version": "2"}
DAY = 86_400


def value_at(published: Published, name: str, now: float = NOW + 1, **labels: str) -> float | None:
    registry = CollectorRegistry()
    registry.register(PublishedCollector(published, clock=lambda: now))
    return registry.get_sample_value(name, {**OF, **labels})


def after(found: AttackFound, **view: Any) -> Published:
    published = everything()
    change(published, attack=AttackView("2", "abc", found, NOW), **view)
    return published


def test_each_share_is_a_series_with_the_worst_of_all_attacks() -> None:
    published = everything()
    for attack, shares in attacked().agreement.items():
        for radius, share in zip(("0.05", "0.1"), shares, strict=True):
            labels = {"attack": attack, "norm": "inf", "radius": radius}
            assert value_at(published, "robmon_attack_agreement_ratio", **labels) == share
    for method, shares in attacked().certified.items():
        labels = {"method": method, "norm": "inf", "radius": "0.1"}
        assert value_at(published, "robmon_certified_agreement_ratio", **labels) == shares[1]
    assert value_at(published, "robmon_attack_rows") == 64 and value_at(published, "robmon_attack_queries") == 812.5


@pytest.mark.parametrize(
    ("gradient", "masked", "is_ok"),
    [("ok", False, 1), ("ok", True, 0), ("zero", True, 0), ("none", False, None)],
)
def test_whether_the_gradient_can_be_believed(gradient: str, masked: bool, is_ok: float | None) -> None:
    published = after(attacked(gradient=gradient, masked=masked))
    assert value_at(published, "robmon_attack_gradient_ok") == is_ok
    page = status_page(published, NOW + 60)
    assert ("The gradient hides how fragile the model is" in page) == masked


def test_it_goes_with_its_version_and_with_age_and_the_time_of_it_stays() -> None:
    published, name = everything(), "robmon_attack_rows"
    assert value_at(published, name, NOW + 3 * DAY) == 64
    assert value_at(published, name, NOW + 3 * DAY + 1) is None
    assert published.view.model is not None
    for changed in ({"version": "3"}, {"run_id": "another"}):
        change(published, model=published.view.model.model_copy(update=changed))
        assert value_at(published, name) is None and "Under attack" not in status_page(published, NOW + 60)
    registry = CollectorRegistry()
    registry.register(PublishedCollector(published, clock=lambda: NOW + 9 * DAY))
    last = registry.get_sample_value("robmon_last_attack_timestamp_seconds", {"model_name": "digits"})
    assert last == pytest.approx(NOW, abs=1e6)  # as the wall clock would tell it


def test_where_nobody_asks_for_attacks_there_is_nothing() -> None:
    published = everything()
    published.attack_interval_seconds = None
    assert value_at(published, "robmon_attack_rows") is None
    assert "Under attack" not in status_page(published, NOW + 60)


def test_the_page_says_what_the_numbers_mean() -> None:
    page = status_page(
        after(attacked(cut="the time budget of 10 s ended attacks early: more rows may flip")), NOW + 300
    )
    assert (
        "At most 25 % of 64 rows keep their class where each number of an input may move by 0.1 standard deviations. "
        "At least 12.5 % are certified to. "
        "What no attack found may be there all the same. Attacked 5 minutes ago, in 3.25 s, with 812 questions a row."
    ) in page
    assert table_of(page, "Under attack") == [
        ["radius", "at least, certified", "withstand at most", "by pgd", "by square", "by random"],
        ["0.05", "62.5 %", "75 %", "87.5 %", "75 %", "100 %"],
        ["0.1", "12.5 %", "25 %", "50 %", "37.5 %", "25 %"],
    ]
    assert "The time budget of 10 s ended attacks early: more rows may flip (attack.max_seconds)." in page
    refused = after(attacked(), attack_refusal="an attack changes classes, and assess.task is regression")
    told = "<h2>Under attack</h2>\n<p>Not attacked: an attack changes classes, and assess.task is regression.</p>"
    assert told in status_page(refused, NOW + 300)

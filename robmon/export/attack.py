"""The last attack, as metrics: at most so many rows withstand what was tried."""

from __future__ import annotations

from collections.abc import Iterator

from prometheus_client.core import GaugeMetricFamily

from robmon import clock
from robmon.export.families import add, nonempty
from robmon.export.families import of_version as family
from robmon.export.published import Published


def attack_metrics(published: Published, now: float) -> Iterator[GaugeMetricFamily]:
    """When the last attack was, and while it is true of the version that is loaded, what it found."""
    if published.attack_interval_seconds is None:
        return
    attack = published.view.attack
    last = GaugeMetricFamily(
        "robmon_last_attack_timestamp_seconds",
        "Unix time of the last attack that came to something; 0 until the first",
        labels=["model_name"],
    )
    last.add_metric([published.model_name], clock.as_shown(attack.at) if attack is not None else 0.0)
    yield last
    current = published.current_attack(now)
    if current is None:
        return
    of, found = [published.model_name, current.model_version], current.found
    agreement = family(
        "robmon_attack_agreement_ratio",
        "Share of the rows that keep their class at most where each may be moved within the radius; worst: whatever "
        "was tried",
        *("attack", "norm", "radius"),
    )
    for name, shares in found.agreement.items():
        for radius, share in zip(found.radii, shares, strict=True):
            add(agreement, [*of, name, found.norm, f"{radius:g}"], share)
    gradient = family(
        "robmon_attack_gradient_ok",
        "1 where the gradient can be believed, 0 where it hides how fragile the model is; absent where there is none",
    )
    if found.gradient != "none":
        add(gradient, of, 1 if found.gradient == "ok" and not found.masked else 0)
    rows = family("robmon_attack_rows", "Rows that were attacked")
    add(rows, of, found.rows)
    queries = family("robmon_attack_queries", "How often the model was asked about each row, on average")
    add(queries, of, found.queries)
    certified = family(
        "robmon_certified_agreement_ratio",
        "Share of the attacked rows that provably keep their class wherever each moves within the radius: at least",
        *("method", "norm", "radius"),
    )
    for method, shares in found.certified.items():
        for radius, share in zip(found.radii, shares, strict=True):
            add(certified, [*of, method, found.norm, f"{radius:g}"], share)
    yield from nonempty(agreement, certified, gradient, rows, queries)

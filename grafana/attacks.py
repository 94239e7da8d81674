"""The panels that say how few rows withstand an attack, at most."""

from __future__ import annotations

from typing import Any

from grafana_foundation_sdk.models import units

from grafana.of_model import MEASUREMENT, STATE
from grafana.parts import HALF, Query, now, over_time, steps, texts


def attack_panels() -> list[Any]:
    agreement, worst = "robmon_attack_agreement_ratio", 'attack="worst"'
    gradient = now(
        "Gradient",
        "Whether the gradient can be believed, in the pod where it can least: where it hides how fragile the model is, "
        "only attacks without it count. A model without one is asked for its answers alone.",
        units.Short,
        Query(f"min(robmon_attack_gradient_ok{{{MEASUREMENT}}})", "gradient"),
    )
    gradient.mappings(texts(("0", "HIDES THE WORST", "red"), ("1", "can be believed", "green")))
    gradient.no_value("none").thresholds(steps((None, "text")))
    last = now(
        "Last attack",
        "When a pod last attacked the model; attack.interval_seconds is a day by default.",
        units.DateTimeFromNow,
        Query(f"max(robmon_last_attack_timestamp_seconds{{{STATE}}} > 0) * 1000", "last"),
    )
    rows = now(
        "Rows attacked",
        "Of each pod: of 64 rows a share of a half is right to about 0.12.",
        units.Short,
        Query(f"max(robmon_attack_rows{{{MEASUREMENT}}})", "rows"),
    )
    queries = now(
        "Questions a row",
        "How often the model was asked about each row, on average, in the pod that asked least: a budget that cuts "
        "attacks lowers it, and more rows withstand then.",
        units.Short,
        Query(f"min(robmon_attack_queries{{{MEASUREMENT}}})", "questions"),
    )
    for panel in (last, rows, queries):
        panel.decimals(0).no_value("not attacked").thresholds(steps((None, "text")))
    return [
        gradient, last, rows, queries,
        over_time(
            "Withstand at most, and at least",
            "Share of the rows that keep their class where each may be moved within the radius, in deviations: "
            "at most so many withstand. What is certified of them, where the module can be read, is a least. Averaged "
            "over pods. Where nobody attacks there is nothing.",
            units.PercentUnit,
            HALF,
            Query(
                f"avg by (norm, radius, model_version) ({agreement}{{{MEASUREMENT}, {worst}}})",
                "at most, radius {{radius}} ({{norm}}), version {{model_version}}",
            ),
            Query(
                "max by (norm, radius, model_version) (avg by (method, norm, radius, model_version) "
                f"(robmon_certified_agreement_ratio{{{MEASUREMENT}}}))",
                "at least, radius {{radius}} ({{norm}}), version {{model_version}}",
            ),
        ).max(1),
        over_time(
            "By attack",
            "The same of each attack alone, at the radius where it finds most. Where square and random, which ask for "
            "answers only, find more than pgd, the gradient hides something.",
            units.PercentUnit,
            HALF,
            Query(
                "min by (attack, model_version) (avg by (attack, radius, model_version) "
                f"({agreement}{{{MEASUREMENT}}}))",
                "{{attack}}, version {{model_version}}",
            ),
        ).max(1),
    ]  # fmt: skip

"""What the door says of searches for a model's decision boundary, and of other queries: prints a table.

    python tests/benchmarks/searches.py [--share 0.05] [--times 12]

Attacks of the Adversarial Robustness Toolbox and ways of our own ask a linear classifier of 12 correlated numbers. What
they ask is that share of the traffic, in its order, 1,000 requests between two assessments, of which each has 256.
"""

from __future__ import annotations

import argparse
import contextlib
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
from art.attacks.evasion import BoundaryAttack, HopSkipJump, ZooAttack
from art.estimators.classification import BlackBoxClassifier
from numpy.typing import NDArray
from sklearn.linear_model import LogisticRegression

sys.path.insert(0, str(Path(__file__).resolve().parent.parent.parent))

from robmon.drift.features import array_columns
from robmon.drift.novel_rows import NovelRows, novel_rows
from robmon.drift.novelty import NoveltyReference

FEATURES, ROWS, BETWEEN, WITHIN = 12, 256, 1000, 3
QUERIES = 1500
Rows = NDArray[np.float64]
RANDOM = np.random.default_rng(3)


def usual(rows: int) -> Rows:
    """Rows of the traffic."""
    return np.asarray(RANDOM.normal(size=(rows, FEATURES)) @ (np.eye(FEATURES) + 0.3))


def by_art(model: LogisticRegression, attack: Callable[[Any], Any], *, probabilities: bool = False) -> Iterator[Rows]:
    """What an attack of ART's asks, row by row."""
    asked: list[Rows] = []

    def predict(rows: Rows) -> Rows:
        asked.extend(np.array(row, dtype=np.float64) for row in rows)
        if len(asked) >= QUERIES:
            raise StopIteration
        return np.asarray(model.predict_proba(rows) if probabilities else np.eye(2)[model.predict(rows)])

    classifier = BlackBoxClassifier(predict, (FEATURES,), 2, clip_values=(-6.0, 6.0))
    with contextlib.suppress(StopIteration, RuntimeError):
        while True:
            attack(classifier).generate(usual(1).astype(np.float32))
    yield from asked


def walk(model: LogisticRegression) -> Iterator[Rows]:
    """Along the boundary by labels alone, towards a row of the traffic."""
    while True:
        victim, far = usual(1)[0], usual(1)[0]
        label, step = model.predict(victim[None])[0], 0.3
        if model.predict(far[None])[0] == label:
            continue
        for _ in range(200):
            tried = far + step * RANDOM.normal(size=FEATURES) * np.linalg.norm(far - victim) / FEATURES**0.5
            tried += 0.1 * (victim - tried)
            yield tried
            crossed = model.predict(tried[None])[0] != label
            far, step = (tried, step * 1.1) if crossed else (far, step * 0.9)


def sweep(model: LogisticRegression) -> Iterator[Rows]:
    """One feature of a row after the other, over its range."""
    while True:
        row = usual(1)[0]
        for feature in range(FEATURES):
            for value in np.linspace(-3, 3, 7):
                changed = row.copy()
                changed[feature] = value
                yield changed


def everywhere(model: LogisticRegression) -> Iterator[Rows]:
    """Rows of a box, to copy the model."""
    while True:
        yield RANDOM.uniform(-6, 6, FEATURES)


def as_rows(array: Rows) -> NovelRows:
    """Rows as the door reads them."""
    return novel_rows(array_columns(array, [f"x{index}" for index in range(FEATURES)]), array, is_table=True)


def main() -> None:
    """Measure."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--share", type=float, default=0.05)
    parser.add_argument("--times", type=int, default=12)
    given = parser.parse_args()
    rows = usual(2000)
    model = LogisticRegression().fit(rows, (rows @ RANDOM.normal(size=FEATURES) > 0).astype(int))
    quiet = {"verbose": False}
    ways: dict[str, Iterator[Rows]] = {
        "HopSkipJump": by_art(model, lambda c: HopSkipJump(c, batch_size=1, max_eval=200, init_eval=20, **quiet)),
        "BoundaryAttack": by_art(model, lambda c: BoundaryAttack(c, targeted=False, max_iter=200, **quiet)),
        "ZOO": by_art(
            model,
            lambda c: ZooAttack(c, max_iter=30, nb_parallel=4, use_resize=False, use_importance=False, **quiet),
            probabilities=True,
        ),
        "walk along the boundary": walk(model),
        "sweeps of each feature": sweep(model),
        "rows from everywhere": everywhere(model),
    }
    asked = {name: np.array([row for row, _ in zip(way, range(QUERIES), strict=False)]) for name, way in ways.items()}
    window = round(given.share * BETWEEN)
    print(f"{'baseline':>8s}  {'asks':24s} {'near-duplicates':>15s} {'3 or more':>9s} {'within 3':>8s} {'novel':>6s}")
    for baseline in (1024, 4096):
        reference = NoveltyReference.none().added(as_rows(usual(baseline)))
        for name, queries in asked.items():
            near, alarms = [], []
            for _ in range(given.times):
                start = RANDOM.integers(0, len(queries) - WITHIN * window)
                for at in range(start, start + WITHIN * window, window):
                    count = min(RANDOM.binomial(ROWS, given.share), window)
                    some = queries[at : at + window][RANDOM.permutation(window)[:count]]
                    found = reference.compare(as_rows(np.concatenate([usual(ROWS - count), some])))
                    near.append(found.near_duplicate_rows or 0)
                    alarms.append(found.pvalue is not None and found.pvalue <= 0.01)
            seen = np.array(near).reshape(-1, WITHIN) >= 3
            print(
                f"{baseline:8d}  {name:24s} {np.mean(near):15.1f} {seen.mean():9.2f} {seen.any(axis=1).mean():8.2f} "
                f"{np.mean(alarms):6.2f}"
            )


if __name__ == "__main__":
    main()

"""Does drift hold what it says: mistakes where nothing drifted, what is found, and what it costs. Fixed seeds.

Rows compared with rows (`robmon.drift`), and with what a baseline keeps of them, learnt 256 at a time.
"""

from __future__ import annotations

import argparse
import math
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

sys.path.insert(0, str(Path(__file__).parents[2]))

from robmon.drift.comparison import FeatureDrift
from robmon.drift.features import array_columns
from robmon.drift.summaries import Summaries
from robmon.drift.two_sample import drift
from tests.benchmarks._figures import Requirement, judge

Rows = NDArray[np.float64]
Draw = Callable[[np.random.Generator, tuple[int, int]], Rows]
FEATURES, BASELINE_ROWS, Q = 20, 1024, 0.01
NAMES = [f"f{index}" for index in range(FEATURES)]
LAWS: dict[str, Draw] = {
    "normal": lambda r, shape: r.normal(size=shape),
    "log-normal, sd 1.5": lambda r, shape: np.exp(r.normal(0, 1.5, size=shape)),
    "60 % zeros": lambda r, shape: np.where(r.random(shape) < 0.6, 0.0, r.exponential(size=shape)),
    "counts, mean 2": lambda r, shape: r.poisson(2, shape).astype(np.float64),
    "truth values, 10 %": lambda r, shape: (r.random(shape) < 0.1).astype(np.float64),
    "10 % missing": lambda r, shape: np.where(r.random(shape) < 0.1, np.nan, r.normal(size=shape)),
}


def by_rows(before: Rows, now: Rows) -> Sequence[FeatureDrift]:
    """Raw rows on either side."""
    return drift(before, now, q=Q).features


def by_summary(before: Rows, now: Rows) -> Sequence[FeatureDrift]:
    """A baseline's summary against raw rows."""
    known = Summaries.none()
    for start in range(0, len(before), 256):
        known = known.added(array_columns(before[start : start + 256], NAMES))
    return known.compare(array_columns(now, NAMES), Q)


WAYS = {"rows": by_rows, "summary": by_summary}


def mistakes(repeats: int) -> list[Requirement]:
    """How often any of 20 unchanged features is said to have drifted."""
    met: list[Requirement] = []
    print(f"\nany drifted feature of {FEATURES}, nothing changed, baseline of {BASELINE_ROWS} rows, q = {Q:g}")
    print(f"{'law':<20} {'against':<8} {'n':>5} {'repeats':>8} {'any':>8} {'psi > 0.25':>11} {'mean psi':>9}")
    for law, draw in LAWS.items():
        for way, compare in WAYS.items():
            count = repeats if law == "normal" and way == "rows" else max(repeats // 20, 20)
            for rows in (64, 256, 1024):
                r = np.random.default_rng([rows, list(LAWS).index(law), list(WAYS).index(way)])
                found = [compare(draw(r, (BASELINE_ROWS, FEATURES)), draw(r, (rows, FEATURES))) for _ in range(count)]
                share = float(np.mean([any(each.drifted for each in features) for features in found]))
                psi = np.array([[each.psi for each in features] for features in found], dtype=np.float64)
                large = float(np.mean((psi > 0.25).any(axis=1)))
                print(f"{law:<20} {way:<8} {rows:>5} {count:>8} {share:>8.4f} {large:>11.4f} {psi.mean():>9.4f}")
                errors = 2 if count == repeats else 3  # of the many small runs one is beyond two by chance
                limit = Q + errors * math.sqrt(Q * (1 - Q) / count)
                met.append((share <= limit, f"{law}, {way}, n={rows}: at most {limit:.4f}", f"{share:.4f}"))
    return met


def power(repeats: int) -> list[Requirement]:
    """What is found at n = 256: half a standard deviation in one of 20, and one broken sensor of 100."""
    met: list[Requirement] = []
    print("\none of 20 features moved, 256 rows against 1024: share found")
    for way, compare in WAYS.items():
        for shift, least in ((0.25, 0.0), (0.5, 0.95), (1.0, 1.0)):
            r = np.random.default_rng([7, list(WAYS).index(way)])
            hits = 0
            for _ in range(repeats):
                now = r.normal(size=(256, FEATURES))
                now[:, 0] += shift
                hits += compare(r.normal(size=(BASELINE_ROWS, FEATURES)), now)[0].drifted
            print(f"{way:<8} {shift:>5} sd {hits / repeats:.4f} of {repeats}")
            met.append((hits / repeats >= least, f"{shift} sd, {way}: at least {least}", f"{hits / repeats:.4f}"))
    r = np.random.default_rng(8)
    counts = []
    for _ in range(max(repeats // 2, 20)):
        now = r.normal(size=(256, 100))
        now[:, 7] += 10
        counts.append(drift(r.normal(size=(BASELINE_ROWS, 100)), now).drifted_features)
    only = float(np.mean(np.array(counts) == 1))
    print(f"one broken sensor of 100 counted as one: {only:.3f} of {len(counts)} (more by chance: at most q)")
    met.append((min(counts) >= 1 and only >= 0.95, "one broken sensor of 100 is counted as one", f"{only:.3f}"))
    return met


def cost() -> list[Requirement]:
    """CPU seconds of 50 features x 10,000 rows, and of a baseline's summary."""
    r = np.random.default_rng(9)
    before, now = r.normal(size=(10_000, 50)), r.normal(size=(10_000, 50))
    drift(before[:100], now[:100])
    began = time.process_time()
    drift(before, now)
    seconds = time.process_time() - began
    names = [f"f{index}" for index in range(50)]
    began = time.process_time()
    known = Summaries.none().added(array_columns(before[:256], names))
    learning = time.process_time() - began
    began = time.process_time()
    known.compare(array_columns(now[:256], names), Q)
    comparing = time.process_time() - began
    print(f"\n50 features x 10,000 rows: {seconds:.3f} s of CPU")
    print(f"50 features x 256 rows: learnt in {learning:.3f} s, compared with the summary in {comparing:.3f} s")
    return [(seconds < 1.0, "50 features x 10,000 rows in under 1 s of CPU", f"{seconds:.3f} s")]


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--repeats", type=int, default=2000)
    repeats = parser.parse_args().repeats
    met = [*cost(), *power(max(repeats // 5, 20)), *mistakes(repeats)]
    print()
    return 0 if judge(met) else 1


if __name__ == "__main__":
    sys.exit(main())

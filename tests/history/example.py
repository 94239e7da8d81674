"""A history with something of everything in it, for tests of what is made from it."""

from __future__ import annotations

import math
import os
import tempfile
from functools import cache
from pathlib import Path
from typing import Any, Final

import numpy as np

from robmon.history.events import Event, EventKind
from robmon.history.state.records import Bounds
from robmon.history.store import History

BEGIN: Final = 1_795_700_000.0
MINUTES: Final = 360
LOADED, WORSE, BACK = 60, 200, 330
"""Minutes at which version 2 comes, at which it becomes worse, and at which a setting is changed."""
LEVELS: Final = (0.0, 0.05, 0.1, 0.2, 0.4)
SPECIFICATION: Final = {
    "digest": "abc123",
    "assess": {
        "noise": "gaussian", "levels": list(LEVELS), "trials": 39, "confidence": 0.95, "bound": "order_statistic",
        "task": "regression", "output": None, "output_column": None, "integers": [], "scale_axis": None,
        "max_batch_rows": None, "mse_limit": None,
    },
    "compare": {"alpha": 0.01, "tolerance": 0.1},
    "rows_per_request": 1, "max_seconds": 10.0, "min_rows": 64, "sample_rows": 256, "interval_seconds": 60.0,
}  # fmt: skip


def example(data_dir: Path, *, name: str = "digits", feature: str = "sensor_7") -> History:
    """Six hours of one: version 2 takes over from version 1, and becomes worse while one sensor drifts."""
    history = History(data_dir, name, Bounds(max_days=36_500))
    history.state_file.parent.mkdir(parents=True, exist_ok=True)
    history.state_file.write_bytes(_content(name, feature))
    return history


@cache
def _content(name: str, feature: str) -> bytes:
    """Made once in memory, where there is one: six hours are many small writes."""
    with tempfile.TemporaryDirectory(dir="/dev/shm" if os.access("/dev/shm", os.W_OK) else None) as folder:
        history = History(Path(folder), name, Bounds(max_days=36_500))
        chance = np.random.default_rng(7)
        history.past.add_events(_events(feature), {})
        evidence = 0.0
        for minute in range(MINUTES):
            worse = minute >= WORSE
            factor = math.exp(chance.normal(0, 0.06)) * (2.1 if worse else 1.0) * (0.9 if minute < LOADED else 1.0)
            grown = evidence * 2.2 + 1 if worse else max(evidence * 0.6 + chance.normal(0.4, 0.3), 0)
            evidence = min(grown, 1e12)
            history.past.add(_row(minute, factor, evidence, feature, drifted=worse), SPECIFICATION)
        return history.state_file.read_bytes()


def _row(minute: int, factor: float, evidence: float, feature: str, *, drifted: bool) -> dict[str, Any]:
    levels = [
        {
            "level": level, "mse": 0.8 * level**2 * factor, "bound": 0.95 * level**2 * factor,
            "request_bound": 3.0 * level**2 * factor, "ratio": factor, "ratio_lower": 0.9 * factor,
        }
        for level in LEVELS
    ]  # fmt: skip
    return {
        "at": BEGIN + 60 * minute, "version": "1" if minute < LOADED else "2", "number": minute + 1,
        "seed": 7_000_000_000_000_000_001 + minute, "draws": "numpy", "rows": 256, "trials": 39, "cut": None,
        "noise_level": 0.4, "mse": levels[-1]["mse"], "bound": levels[-1]["bound"], "index": 1 - 0.05 * factor,
        "slope": 0.8 * factor, "baseline": "learnt", "seconds": 2.5, "run_id": "abc", "specification": "abc123",
        "noise": "gaussian", "level_unit": "standard deviations of each feature", "output": "value",
        "confidence": 0.95, "levels": levels, "slopes": {"mse": 0.8 * factor}, "area": 0.05 * factor,
        "noise_margin": None, "features_watched": 20, "drift_rows": 256, "prediction_drift": [],
        "evidence": evidence, "evidence_threshold": 43200.0, "standing": evidence >= 43200.0,
        "drift": [
            {"feature": "all", "psi": 0.31 if drifted else 0.01},
            {"feature": feature, "psi": 2.7 if drifted else 0.02, "js": 0.61 if drifted else 0.01,
             "ks": 0.83 if drifted else 0.04, "wasserstein": 3.2 if drifted else 0.05},
            {"feature": "age", "psi": 0.03, "js": 0.01, "ks": 0.05, "wasserstein": 0.06},
        ],
        "drifted_features": int(drifted), "phases": {"load": 0.0, "predict": 1.9, "noise": 0.4},
        "quality": [{"feature": feature, "problem": "out_of_range", "ratio": 0.41}] if drifted else [],
        **({"attribution": _attribution(feature)} if minute == WORSE + 13 else {}),
    }  # fmt: skip


def _attribution(feature: str) -> dict[str, Any]:
    shares = {feature: (0.61, 0.02, 0.93, 0.03), "others": (0.39, 0.02, 0.07, 0.03)}
    names = ("share", "stderr", "rise_share", "rise_stderr")
    groups = [{"group": group, **dict(zip(names, values, strict=True))} for group, values in shares.items()]
    return {"of": "sample", "level": 0.4, "largest": feature, "groups": groups}


def _events(feature: str) -> list[Event]:
    def at(minute: float, kind: EventKind, **facts: Any) -> Event:
        return Event(BEGIN + 60 * minute, kind, facts)

    verdict = {"against": "1", "worse": False, "ratio": 1.06, "low": 0.98, "high": 1.15, "confidence": 0.98,
               "pvalue": 0.4, "score": "mse", "levels": list(LEVELS[1:]), "ratio_by_level": [1.05] * 4}  # fmt: skip
    return [
        at(-1, "started", robmon="0.2", python="3.11.8", image="registry.example/robmon:0.2"),
        at(-0.9, "version_loaded", version="1", run_id="abc", before=None, flavor="torch", device="cpu"),
        at(-0.8, "baseline", version="1", source="learnt", rows=1024),
        at(LOADED - 1, "alias_moved", alias="champion", before="1", version="2"),
        at(LOADED - 0.5, "worker_restarted", reason="new_version", version="2"),
        at(LOADED - 0.4, "version_loaded", version="2", run_id="def", before="1", flavor="torch", device="cpu"),
        at(LOADED, "verdict", version="2", **verdict),
        at(LOADED, "version_accepted", version="2", by="verdict"),
        at(WORSE + 12, "regression_began", regression="time", version="2"),
        at(WORSE + 14, "cause_named", regression="time", version="2", cause="traffic", group=feature),
        *[at(60 * hour, "traffic", seconds=3600, requests=61_000 - 9000 * hour, sampled=15_000, rejected=hour)
          for hour in range(6)],
        at(BACK, "settings_changed", settings={"assess.max_seconds": ["10", "20"]}),
    ]  # fmt: skip

"""Do blame, attribution and the canary keep what is said of them? Prints PASS or FAIL; exit status 1 on a failure.

    python tests/benchmarks/causes.py

Fixed seeds: the same figures on every run, but for what rounding a machine has.
"""

from __future__ import annotations

import argparse
import itertools
import json
import math
import sys
import tempfile
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parent.parent.parent))

import robmon
from robmon.history.baseline.canary import Canary, Outputs
from robmon.history.baseline.format import baseline_from_dict
from robmon.models.loading import load
from robmon.models.served.served import ServedModel
from robmon.processes.messages.assessed import Assessed
from robmon.worker.evaluation import evaluate
from tests.drift.test_blame import lognormal_errors, true_means, true_parts
from tests.models.conftest import save_pyfunc, tensor
from tests.robustness.test_attribution import LEVEL, beside_salib, interacting, rows_of, shapley
from tests.worker.test_evaluation import question

ROWS = 64
UNCHANGED = 10_000
ASSESSMENTS = 20
FAILED: list[str] = []


def check(holds: bool, text: str) -> None:
    """One requirement."""
    print(f"{'PASS' if holds else 'FAIL'}  {text}", flush=True)
    if not holds:
        FAILED.append(text)


def blame_covers(repeats: int = 400, seeds: int = 20) -> None:
    """400 repeats, as is asked; and as many again of other seeds, by which chance is told from a wrong interval."""
    means = true_means(0.4, 1.3)
    (m_ob, m_oc), (m_nb, m_nc) = means
    truth = true_parts(means)
    logs = {
        "model_ratio": math.log(m_nb * m_nc / (m_ob * m_oc)) / 2,
        "traffic_ratio": math.log(m_oc * m_nc / (m_ob * m_nb)) / 2,
    }
    hits = {name: np.zeros(seeds) for name in (*truth, *logs)}
    worst = 0.0
    for seed in range(seeds):
        rng = np.random.default_rng(seed)
        for _ in range(repeats):
            old, new = lognormal_errors(rng, moved=0.4, worse=1.3)
            found = robmon.blame(old[0], new[0], old[1], new[1])
            worst = max(worst, abs(found.model.value + found.traffic.value - found.total.value))
            for name, value in truth.items():
                part = getattr(found, name)
                hits[name][seed] += abs(part.value - value) <= 1.959964 * part.stderr
            for name, value in logs.items():
                ratio = getattr(found, name)
                hits[name][seed] += abs(math.log(ratio) - value) <= 1.959964 * ratio.log_stderr
    for name, each in hits.items():
        first, all_of_them = each[0] / repeats, each.sum() / (repeats * seeds)
        check(
            0.93 <= all_of_them <= 0.97,
            f"blame, 95 % intervals of {name}: {first:.1%} in {repeats} repeats (seed 0), {all_of_them:.2%} in "
            f"{repeats * seeds}; required 93 to 97 %",
        )
    check(worst <= 1e-12, f"blame, parts add up: off by {worst:.1e} at most; required 1e-12")


def attribution_is_enumeration() -> None:
    for groups in ([[0], [1], [2], [3], [4]], [[0, 1], [2, 3], [4]]):
        exact = shapley(interacting, rows_of(400_000, 1), groups, seed=2)
        named = {f"group {index}": group for index, group in enumerate(groups)}
        found = robmon.attribute(interacting, rows_of(1024, 3), level=LEVEL, scale=1.0, groups=named, seed=4)
        off = np.abs(found.share - exact) / np.maximum(found.stderr, 1e-12)
        off[found.stderr == 0] = np.where(np.abs(found.share - exact)[found.stderr == 0] < 1e-3, 0.0, math.inf)
        told = ", ".join(f"{share:.3f} ({true:.3f})" for share, true in zip(found.share, exact, strict=True))
        check(
            bool(off.max() <= 3),
            f"attribution, {len(groups)} groups: shares {told}; {off.max():.1f} standard errors off",
        )
    check(
        abs(found.share.sum() - 1) <= 1e-12, f"attribution, shares add up to 1 within {abs(found.share.sum() - 1):.1e}"
    )
    try:
        found, share = beside_salib()
    except ImportError:
        print("SKIP  attribution against SALib, which is not installed")
        return
    off = float(np.max(np.abs(found.share - share) / found.stderr))
    check(off <= 3, f"attribution against SALib's total effects of an additive model: {off:.1f} standard errors off")


def networks(folder: Path) -> dict[str, tuple[ServedModel, list[bytes]]]:
    """A network and a function of NumPy's, saved and loaded as MLflow does, and requests for each."""
    import mlflow.pytorch
    import torch

    torch.manual_seed(0)
    net = torch.nn.Sequential(*(layer for _ in range(4) for layer in (torch.nn.LazyLinear(64), torch.nn.Tanh())))
    net.append(torch.nn.LazyLinear(5))
    net(torch.zeros(1, 20))
    mlflow.pytorch.save_model(
        net, folder / "net", signature=tensor("float32", (-1, 20)), pip_requirements=["torch"],
        serialization_format="pickle",
    )  # fmt: skip
    mixing = np.random.default_rng(1).normal(size=(20, 3))
    save_pyfunc(folder / "function", lambda x: np.tanh(x @ mixing) @ np.ones((3, 2)), tensor("float64", (-1, 20)))
    rows = np.random.default_rng(2).normal(size=(ROWS, 20)).round(4)
    requests = [json.dumps({"inputs": [row.tolist()]}).encode() for row in rows]
    return {name: (load(folder / place), requests) for name, place in (("float32", "net"), ("float64", "function"))}


def assess(model: ServedModel, sample: list[bytes], baseline: dict[str, Any] | None = None, **changes: Any) -> Assessed:
    asked = question(ROWS, baseline=baseline, baseline_min_rows=ROWS, **changes)
    answer, _ = evaluate(model, asked, sample)
    assert isinstance(answer, Assessed)
    return answer


def canary_tells_changes(folder: Path) -> None:
    import torch

    for kind, (model, sample) in networks(folder).items():
        baseline = assess(model, sample).baseline
        kept = baseline_from_dict(baseline).canary
        assert kept is not None and kept.outputs is not None, kept
        changes: dict[str, Callable[[Any], Any]] = {
            "every answer off by 0.001": lambda y: y + 1e-3,
            "one output of one row off by 0.001": _one_off,
            "answers in another type": lambda y: (
                y.double() if isinstance(y, torch.Tensor) else np.asarray(y, dtype=np.float32)
            ),
            "a swapped artifact": lambda y: -y,
        }
        for name, change in changes.items():
            other = replace(model, _call=lambda x, call=model._call, change=change: change(call(x)))
            found = assess(other, sample, baseline).canary
            assert found is not None
            check(found.is_changed, f"canary, {kind}, {name}: told, {found.ratio:.3g} of the outputs")
        check(
            _unchanged(model, sample, baseline) == 0,
            f"canary, {kind}: {ASSESSMENTS} unchanged assessments in batches of other sizes and threads say nothing",
        )
        _rounding(kind, model, kept)


def _one_off(outputs: Any) -> Any:
    copy = outputs.clone() if hasattr(outputs, "clone") else np.array(outputs)
    copy[7:8, 1] += 1e-3
    return copy


def _unchanged(model: ServedModel, sample: list[bytes], baseline: dict[str, Any]) -> int:
    import torch

    told = 0
    for number in range(ASSESSMENTS):
        torch.set_num_threads(1 + number % 2)
        found = assess(model, sample, baseline, number=number, max_batch_rows=20 + number).canary
        told += found is None or found.ratio is None or found.is_changed
    return told


def _rounding(kind: str, model: ServedModel, kept: Canary) -> None:
    """The outputs of 10,000 passes over rows of the model's own, in batches of every size and order: how near to the
    tolerance does any come?"""
    import torch

    rng = np.random.default_rng(3)
    rows = rng.normal(size=(ROWS, 20)).astype(kind)
    first = Outputs.of(np.asarray(model.predict(model.put(rows))))
    worst = 0.0
    for number in range(UNCHANGED):
        torch.set_num_threads(1 + number % 2)
        order = rng.permutation(ROWS)
        cuts = [0, *sorted(rng.choice(np.arange(1, ROWS), size=number % 4, replace=False)), ROWS]
        parts = [np.asarray(model.predict(model.put(rows[order[a:b]]))) for a, b in itertools.pairwise(cuts)]
        outputs = np.empty((ROWS, *parts[0].shape[1:]), dtype=parts[0].dtype)
        outputs[order] = np.concatenate(parts)
        worst = max(worst, float(first.differences(Outputs.of(outputs)).max()))
    check(
        worst <= kept.tolerance,
        f"canary, {kind}: {UNCHANGED} unchanged passes, cut and ordered at random, differ by {worst:.1e} at most; "
        f"the tolerance is {kept.tolerance:.1e}",
    )


def main() -> None:
    """All of it."""
    argparse.ArgumentParser(description=__doc__).parse_args()
    blame_covers()
    attribution_is_enumeration()
    with tempfile.TemporaryDirectory() as folder:
        canary_tells_changes(Path(folder))
    sys.exit(1 if FAILED else 0)


if __name__ == "__main__":
    main()

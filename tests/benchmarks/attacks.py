"""Attacks of robmon beside those of ART and foolbox: agreement left, or distance found, and seconds. Prints a table.

    python tests/benchmarks/attacks.py [--rows 128]

One network of scikit-learn's digits, one thread, the same rows, radius, steps and starts for all; fixed seeds; seconds
of the processor. A library that is not installed is left out. Required: what is left is at most 0.02 above the others',
the median distance at most 1.02 times DDN's.
"""

from __future__ import annotations

import argparse
import sys
import time
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch

sys.path.insert(0, str(Path(__file__).resolve().parent.parent.parent))

import robmon
from tests.robustness.test_attack_judges import trained

RADIUS, STEPS, QUERIES = 0.1, 20, 200


class Bench:
    """The network, its pictures, and what is told of attacks on it."""

    def __init__(self, rows: int) -> None:
        self.network, self.pictures, self.classes = trained(rows)
        self.x, self.y = torch.as_tensor(self.pictures), torch.as_tensor(self.classes)

    def agreement(self, points: Any) -> float:
        """Share of the rows that keep their class."""
        with torch.no_grad():
            return float((self.network(torch.as_tensor(np.asarray(points))).argmax(dim=1) == self.y).double().mean())

    def distance(self, points: Any) -> float:
        """Median length of the moves."""
        moves = (np.asarray(points) - self.pictures).reshape(len(self.pictures), -1)
        return float(np.median(np.linalg.norm(moves, axis=1)))

    def robmon(self, **options: Any) -> Any:
        """An attack of robmon's, on pixels from 0 to 1."""
        layout = robmon.ImageLayout(range=(0, 1))
        return robmon.attack(self.network, self.pictures, scale=1.0, layout=layout, output="logit", **options)


def of_robmon(bench: Bench) -> Iterator[tuple[str, str, Callable[[], float]]]:
    """Attack, what is told of it, and how it is run."""
    pgd = {"radii": (RADIUS,), "attacks": ("pgd",), "steps": STEPS}
    yield f"PGD {STEPS}", "agreement", lambda: float(bench.robmon(**pgd, restarts=1).agreement[0])
    yield "FGSM", "agreement", lambda: float(bench.robmon(radii=(RADIUS,), attacks=("fgsm",)).agreement[0])
    square = {"radii": (RADIUS,), "attacks": ("square",), "queries": QUERIES}
    yield f"Square {QUERIES}", "agreement", lambda: float(bench.robmon(**square).agreement[0])
    near = {"radii": (1.0,), "norm": "2", "attacks": ("minimal",), "steps": STEPS, "restarts": 3}
    yield "nearest, L2", "distance", lambda: float(np.median(bench.robmon(**near).minimal_distance))


def of_foolbox(bench: Bench) -> Iterator[tuple[str, str, Callable[[], float]]]:
    """Likewise."""
    try:
        import foolbox
    except ImportError:
        return
    model = foolbox.PyTorchModel(bench.network, bounds=(0, 1), device="cpu")

    def points(attack: Any, epsilon: float | None) -> Any:
        return attack(model, bench.x, bench.y, epsilons=epsilon)[1].numpy()

    of = foolbox.attacks
    pgd = of.LinfPGD(rel_stepsize=2.5 / STEPS, steps=STEPS, random_start=True)
    yield f"PGD {STEPS}", "agreement", lambda: bench.agreement(points(pgd, RADIUS))
    yield "FGSM", "agreement", lambda: bench.agreement(points(of.LinfFastGradientAttack(), RADIUS))
    yield "nearest, L2", "distance", lambda: bench.distance(points(of.DDNAttack(steps=3 * STEPS), None))


def of_art(bench: Bench) -> Iterator[tuple[str, str, Callable[[], float]]]:
    """Likewise."""
    try:
        from art.attacks.evasion import FastGradientMethod, ProjectedGradientDescentNumpy, SquareAttack
        from art.estimators.classification import PyTorchClassifier
    except ImportError:
        return
    loss = torch.nn.CrossEntropyLoss()
    model = PyTorchClassifier(bench.network, loss, (1, 8, 8), nb_classes=10, clip_values=(0, 1), device_type="cpu")
    wanted = np.eye(10)[bench.classes]
    step = 2.5 * RADIUS / STEPS
    pgd = ProjectedGradientDescentNumpy(
        model, eps=RADIUS, eps_step=step, max_iter=STEPS, num_random_init=1, verbose=False
    )
    square = SquareAttack(model, eps=RADIUS, max_iter=QUERIES, verbose=False)
    attacks = {f"PGD {STEPS}": pgd, "FGSM": FastGradientMethod(model, eps=RADIUS), f"Square {QUERIES}": square}
    for name, attack in attacks.items():
        yield name, "agreement", lambda attack=attack: bench.agreement(attack.generate(bench.pictures, y=wanted))


def main() -> int:
    """Print the table; exit status 1 where a requirement does not hold."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rows", type=int, default=128)
    warnings.simplefilter("ignore")
    torch.set_num_threads(1)
    bench = Bench(parser.parse_args().rows)
    found: dict[tuple[str, str], dict[str, float]] = {}
    print(f"{'attack':14}{'library':10}{'told':>12}{'':>10}{'seconds':>9}{'beside robmon':>15}")
    seconds: dict[str, float] = {}
    for library, attacks in (("robmon", of_robmon(bench)), ("foolbox", of_foolbox(bench)), ("art", of_art(bench))):
        for name, what, run in attacks:
            torch.manual_seed(0)
            np.random.seed(0)
            run()  # what is loaded or compiled when it is used first
            bench.network.eval()
            began = time.process_time()
            value = run()
            took = time.process_time() - began
            seconds.setdefault(name, took)
            found.setdefault((name, what), {})[library] = value
            print(f"{name:14}{library:10}{value:12.3f} {what:9}{took:9.2f}{took / seconds[name]:15.2f}", flush=True)
    holds = True
    for (name, what), by_library in found.items():
        others = [value for library, value in by_library.items() if library != "robmon"]
        most = (min(others, default=1.0) + 0.02) if what == "agreement" else 1.02 * min(others, default=np.inf)
        fine = by_library["robmon"] <= most
        holds &= fine
        print(f"{'PASS' if fine else 'FAIL'}  {name}: {by_library['robmon']:.3f} is at most {most:.3f}")
    return 0 if holds else 1


if __name__ == "__main__":
    sys.exit(main())

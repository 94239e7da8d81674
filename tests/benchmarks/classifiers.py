"""Is the verdict on classifiers right? Part of `comparison.py`: temperatures, priors, confidence, fragility, power.

Networks on scikit-learn's digits, and random networks where the truth is known. Fixed seeds.
"""

from __future__ import annotations

import math
import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import stats

from robmon.robustness.classifiers import ClassifierRows, classifier_rows, compare_classifiers
from robmon.robustness.comparison import Comparison, compare_rows
from robmon.robustness.result import Assessment
from tests.robustness.assessing import assess_rows

Float64 = NDArray[np.float64]
Model = Callable[[Float64], NDArray[Any]]
LEVELS, TRIALS, ALPHA, TOLERANCE = (0.1, 0.4), 19, 0.01, 0.10
TEMPERATURES = (0.4, 0.7, 1.5, 2.5, 5.0)


@dataclass(frozen=True)
class Pair:
    """Two versions assessed as `robmon.compare` does it."""

    a: Assessment
    b: Assessment
    rows_a: ClassifierRows
    rows_b: ClassifierRows

    def compared(self, tolerance: float = TOLERANCE) -> Comparison:
        """The verdict."""
        return compare_classifiers(self.rows_a, self.rows_b, LEVELS, alpha=ALPHA, tolerance=tolerance)

    def by_flips(self) -> bool:
        """Whether shares of flips alone find b worse."""
        return compare_rows(self.rows_a.flips, self.rows_b.flips, alpha=ALPHA, tolerance=TOLERANCE).worse

    def uncorrected(self, tolerance: float) -> bool:
        """The verdict as if both exponents had been known beforehand."""
        known = [
            replace(each, tempered=each.tempered and replace(each.tempered, sensitivity=np.zeros(len(LEVELS))))
            for each in (self.rows_a, self.rows_b)
        ]
        return compare_classifiers(*known, LEVELS, alpha=ALPHA, tolerance=tolerance).worse


def assessed(model: Model, x: Float64, scale: Any, seed: int, **options: Any) -> Assessment:
    """One version."""
    return assess_rows(
        lambda x, _: model(x), x, levels=LEVELS, trials=TRIALS, task="classification", scale=scale, seed=seed, **options
    )


def pair(a: Model, b: Model, x: Float64, scale: Any = 1.0, seed: int = 1, **options: Any) -> Pair:
    """Version b brought to a's common confidence."""
    one = assessed(a, x, scale, seed, compare_at="own", **options)
    rows_a = classifier_rows(one, one.finite)
    at: Any = "own" if rows_a.tempered is None else rows_a.tempered.confidence()
    two = assessed(b, x, scale, seed, compare_at=at, compare_on=one.finite, **options)
    return Pair(one, two, rows_a, classifier_rows(two, one.finite))


def softmax(logits: Float64, dtype: Any = np.float64) -> NDArray[Any]:
    """In the precision of the dtype."""
    logits = np.asarray(logits, dtype=dtype)
    powers = np.exp(logits - logits.max(axis=1, keepdims=True))
    return np.asarray(powers / powers.sum(axis=1, keepdims=True))


def louder(model: Model, factor: float, form: Model = np.asarray) -> Model:
    """Its logits times a factor, in another form."""
    return lambda x: form(factor * model(x))


def plain_softmax(a: Model, b: Model, x: Float64, scale: Any, tolerance: float = TOLERANCE) -> bool:
    """Whether b is found worse where probabilities are compared as they are."""
    one, two = (
        assess_rows(
            lambda x, _, model=model: softmax(model(x)), x, levels=LEVELS, trials=TRIALS, scale=scale, seed=1
        ).row_errors[:, 1:]
        for model in (a, b)
    )
    return compare_rows(one, two, alpha=ALPHA, tolerance=tolerance).worse


# --- digits -----------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Digits:
    """Networks on half of the digits, trained with noise or without, and the other half."""

    x: Float64
    scale: Float64
    robust: list[Model]
    fragile: list[Model]

    def draw(self, generator: np.random.Generator, rows: int) -> Float64:
        """Rows drawn from those kept for testing."""
        return self.x[generator.integers(0, len(self.x), size=rows)]


def digits(tell: Callable[[str], None], versions: int = 5) -> Digits:
    """Train them."""
    from sklearn.datasets import load_digits
    from sklearn.model_selection import train_test_split
    from sklearn.neural_network import MLPClassifier

    x, y = load_digits(return_X_y=True)
    train, test, targets, _ = train_test_split(x / 16.0, y, test_size=0.5, random_state=0)
    scale = train.std(axis=0)

    def trained(seed: int, noise: float) -> Model:
        tell(f"digits: training network {seed} with noise {noise:g}")
        generator = np.random.default_rng(seed)
        copies = [train + noise * scale * generator.normal(size=train.shape) for _ in range(6 if noise else 1)]
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # not converged: what is compared need not be perfect
            network = MLPClassifier((32,), max_iter=40 if noise else 200, random_state=seed)
            network.fit(np.concatenate(copies), np.tile(targets, len(copies)))
        (first, second), (low, high) = network.coefs_, network.intercepts_
        return lambda x: np.maximum(x @ first + low, 0.0) @ second + high

    robust, fragile = (
        [trained(start + seed, noise) for seed in range(versions)] for start, noise in ((0, 1.5), (100, 0))
    )
    return Digits(test, scale, robust, fragile)


def temperatures(data: Digits, verdict: Callable[[bool, str], bool]) -> bool:
    """The same model at other temperatures, in other forms and precisions."""
    model, x = data.robust[0], data.x[:400]
    forms: dict[str, Callable[[Float64], NDArray[Any]]] = {
        "logits": lambda z: z,
        "float32 logits": lambda z: z.astype(np.float32),
        "float64 probabilities": softmax,
        "float32 probabilities": lambda z: softmax(z, np.float32),
    }
    print("The same classifier at temperatures 0.4 to 5 (as factors of its logits), as b and as a: pooled ratio")
    worst, alarms = 0.0, 0
    for name, form in forms.items():
        told = []
        for factor in TEMPERATURES:
            hot = louder(model, factor, form)
            for one, other in ((model, hot), (hot, model)):
                result = pair(one, other, x, data.scale).compared(0.0)
                told.append(f"{result.pooled_ratio:.4f}{'' if result.score == 'probability' else '*'}")
                worst, alarms = max(worst, abs(result.pooled_ratio - 1.0)), alarms + result.worse
        print(f"  {name:24}{' '.join(told)}")
    print("  * by flips: probabilities are saturated, or no exponent will do")
    return verdict(worst < 0.01 and not alarms, "the pooled ratio is within 1 % of 1, and nothing is called worse")


def reasons(data: Digits, verdict: Callable[[bool, str], bool]) -> bool:
    """What an exponent cannot undo is told, and equal models are not called worse for it."""
    from sklearn.linear_model import LogisticRegression

    model, x = data.robust[0], data.x[:400]
    shift = np.log(np.where(np.arange(10) == 3, 8.0, 1.0))
    generator = np.random.default_rng(10)
    classes = generator.random(1000) < 0.3
    points = generator.normal(size=(1000, 4)) + 0.7 * classes[:, None]
    plain, weighted = (
        LogisticRegression(class_weight=weight).fit(points[:600], classes[:600]).decision_function
        for weight in (None, "balanced")
    )
    cases: dict[str, tuple[Model, Model, Float64, Any, str | None, dict[str, Any]]] = {
        "prior of one digit x 8": (model, lambda x: model(x) + shift, x, data.scale, "other_classes", {}),
        "balanced class weights": (plain, weighted, points[600:], 1.0, "other_classes", {}),
        "logits x 20 in float32 probabilities": (
            model, lambda x: softmax(20 * model(x), np.float32), x, data.scale, "saturated", {},
        ),
        "probabilities rounded to 2 digits": (
            lambda x: softmax(4 * model(x)), lambda x: softmax(4 * model(x)).round(2), x, data.scale, "saturated",
            {"output": "probability"},
        ),
        "logits x 12": (model, lambda x: 12 * model(x), x, data.scale, "exponent", {}),
        "labels": (model, lambda x: model(x).argmax(axis=1), x, data.scale, "labels", {}),
    }  # fmt: skip
    print("What an exponent cannot undo, of the same model: reason, pooled ratio, worse at tolerance 10 %")
    good = []
    for name, (a, b, rows, scale, expected, options) in cases.items():
        result = pair(a, b, rows, scale, **options).compared()
        told = result.reason or f"none (probabilities at {result.common_confidence:.3g})"
        good.append(result.reason == expected and (not result.worse or expected == "other_classes"))
        print(f"  {name:40}{told:36}{result.pooled_ratio:8.3f}   {result.worse}")
    return verdict(all(good), "the reason is told, and a model that says the same is not called worse")


def fragility(data: Digits, verdict: Callable[[bool, str], bool], share: Callable[[Sequence[bool]], str]) -> bool:
    """Trained without noise beside trained with it, its logits halved so that it looks calm."""
    generator, draws = np.random.default_rng(11), 4
    print("Networks trained without noise, their logits halved, beside ones trained with it, tolerance 10 %: found")
    print(f"  {'rows':8}{'common confidence':>20}{'flips':>18}{'plain softmax':>18}{'ratio':>8}{'flips':>8}")
    found: dict[int, list[bool]] = {}
    for rows in (256, 1024, 4096):
        ours, flips, plain, ratios, flip_ratios = [], [], [], [], []
        for a, b in zip(data.robust, data.fragile, strict=True):
            halved = louder(b, 0.5)
            for _ in range(draws if rows < 4096 else 1):
                x = data.draw(generator, rows)
                both = pair(a, halved, x, data.scale)
                result = both.compared()
                ours.append(result.worse)
                flips.append(both.by_flips())
                plain.append(plain_softmax(a, halved, x, data.scale))
                ratios.append(result.pooled_ratio)
                flip_ratios.append(float(np.mean(both.rows_b.flips) / np.mean(both.rows_a.flips)))
        found[rows] = ours
        print(
            f"  {rows:<8}{share(ours):>20}{share(flips):>18}{share(plain):>18}{np.median(ratios):8.2f}"
            f"{np.median(flip_ratios):8.2f}",
            flush=True,
        )
    return verdict(np.mean(found[256]) >= 0.9, "hidden fragility is found by 256 rows in at least 90 %")


def overconfident(data: Digits, verdict: Callable[[bool, str], bool], share: Callable[[Sequence[bool]], str]) -> bool:
    """A reference whose probabilities are nearly all 1."""
    generator, ours, plain, confidences, ratios = np.random.default_rng(12), [], [], [], []
    for a, b in zip(data.robust, data.fragile, strict=True):
        sure = louder(a, 4.0)
        x = data.draw(generator, 1024)
        both = pair(sure, b, x, data.scale)
        confidences.append(float(softmax(sure(x)).max(axis=1).mean()))
        result = both.compared(0.0)
        ours.append(result.worse)
        ratios.append(result.pooled_ratio)
        plain.append(plain_softmax(sure, b, x, data.scale))
    sure_of = f"mean top probability {np.mean(confidences):.3f}"
    print(f"An overconfident reference ({sure_of}), 1024 rows, tolerance 0: fragile networks found")
    print(f"  at the common confidence    {share(ours)}   (ratio {np.median(ratios):.2f})")
    print(f"  as they are                 {share(plain)}")
    return verdict(np.mean(ours) >= 0.75, "behind an overconfident reference at least three in four are found")


def innocent(data: Digits, verdict: Callable[[bool, str], bool], share: Callable[[Sequence[bool]], str]) -> bool:
    """Retrainings with other seeds, and with the logits of one scaled."""
    print("Innocent retrainings with other seeds, all ordered pairs, tolerance 10 %: called worse")
    print(f"  {'':26}{'256 rows':>18}{'all rows':>18}{'largest ratio':>16}")
    generator, good = np.random.default_rng(13), []
    for name, models in (("trained with noise", data.robust), ("trained without", data.fragile)):
        few, every, ratios = [], [], []
        for i, a in enumerate(models):
            for j, b in enumerate(models):
                if i != j:
                    few.append(pair(a, b, data.draw(generator, 256), data.scale).compared().worse)
                    result = pair(a, b, data.x, data.scale).compared()
                    every.append(result.worse)
                    ratios.append(result.pooled_ratio)
        good.append(np.mean(few) <= 0.2)
        print(f"  {name:26}{share(few):>18}{share(every):>18}{max(ratios):>16.3f}")
    return verdict(all(good), "at most a fifth of innocent retrainings is called worse by 256 rows")


# --- versions that are equal in law -----------------------------------------------------------------------------------

FEATURES, HIDDEN, CLASSES = 8, 12, 3


def equal_in_law(generator: np.random.Generator, loudness: float) -> tuple[Model, Model]:
    """A network and the same behind a random rotation, twice as loud: equal in law on isotropic inputs."""
    first = generator.normal(size=(FEATURES, HIDDEN)) / math.sqrt(FEATURES) * 1.5
    second = generator.normal(size=(HIDDEN, CLASSES)) * loudness
    rotation, corner = np.linalg.qr(generator.normal(size=(FEATURES, FEATURES)))
    turned = rotation * np.sign(np.diag(corner)) @ first
    return lambda x: np.tanh(x @ first) @ second, lambda x: 2.0 * np.tanh(x @ turned) @ second


def false_alarms(runs: int, tell: Callable[[str], None], verdict: Callable[[bool, str], bool]) -> bool:
    """False alarms at a nominal 1 %."""
    print(
        f"Classifiers equal in law at other temperatures, 256 rows, tolerance 0, nominal 1 %, {runs} runs: called worse"
    )
    print(f"  {'':34}{'judged':>8}{'robmon':>10}{'exponents taken for known':>28}")
    good = []
    for name, loudness in (("the reference's own confidence", 0.5), ("mostly at most 0.9", 2.0)):
        generator, alarms, plain, owns = np.random.default_rng(14), [], [], []
        for run in range(runs):
            if run % 250 == 0:
                tell(f"classifiers equal in law, {name}: run {run} of {runs}")
            a, b = equal_in_law(generator, loudness)
            both = pair(a, b, generator.normal(size=(256, FEATURES)), seed=run)
            result = both.compared(0.0)
            if result.score == "probability":
                alarms.append(result.worse)
                plain.append(both.uncorrected(0.0))
                owns.append(both.rows_a.tempered is not None and both.rows_a.tempered.is_own)
        high = int(stats.binom.ppf(0.9995, len(alarms), ALPHA))
        good.append(sum(alarms) <= high)
        print(
            f"  {name:34}{len(alarms):>8}{100 * np.mean(alarms):>8.2f} %{100 * np.mean(plain):>26.1f} %"
            f"   (own confidence in {100 * np.mean(owns):.0f} %)",
            flush=True,
        )
    return verdict(all(good), "false alarms at most the upper end of the 99.9 % binomial band of 1 %")


def classifiers(
    runs: int,
    tell: Callable[[str], None],
    verdict: Callable[[bool, str], bool],
    share: Callable[[Sequence[bool]], str],
) -> list[bool]:
    """Everything; whether each requirement holds."""
    data = digits(tell)
    return [
        temperatures(data, verdict),
        reasons(data, verdict),
        overconfident(data, verdict, share),
        fragility(data, verdict, share),
        innocent(data, verdict, share),
        false_alarms(runs, tell, verdict),
    ]

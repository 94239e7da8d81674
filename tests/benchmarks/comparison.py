"""Does the comparison of versions keep its promises? Prints tables and PASS or FAIL; exit status 1 on a failure.

    python tests/benchmarks/comparison.py [--runs 2000] [--classifiers]

Simulated models where the truth is known, and real retrainings (scikit-learn's diabetes and digits). Fixed seeds: the
same figures on every run.
"""

from __future__ import annotations

import argparse
import math
import sys
import time
import warnings
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from scipy import stats

sys.path.insert(0, str(Path(__file__).resolve().parent.parent.parent))

from robmon.robustness.baseline_ratio import mean_ratio
from robmon.robustness.comparison import compare_rows
from robmon.robustness.statistics.mean_test import moments, pvalue
from tests.benchmarks.classifiers import classifiers
from tests.robustness.assessing import assess_rows

Float64 = NDArray[np.float64]
Pair = tuple[Float64, Float64]
Draw = Callable[[np.random.Generator, int], Pair]
ROWS, TRIALS, ALPHA = 256, 39, 0.01
LEVELS = (0.1, 0.4)


START = time.perf_counter()


def tell(text: str) -> None:
    """Progress, beside the results."""
    print(f"[{time.perf_counter() - START:4.0f} s] {text}", file=sys.stderr, flush=True)


def verdict(holds: bool, text: str) -> bool:
    """One requirement, and whether it holds."""
    print(f"{'PASS' if holds else 'FAIL'}  {text}\n", flush=True)
    return holds


def share(hits: Sequence[bool] | NDArray[np.bool_]) -> str:
    """A share in percent with its standard error."""
    p = float(np.mean(hits))
    return f"{100 * p:5.1f} ± {100 * math.sqrt(p * (1 - p) / len(hits)):3.1f} %"


def is_worse(pair: Pair, tolerance: float = 0.0) -> bool:
    """The verdict on row errors."""
    return compare_rows(*pair, alpha=ALPHA, tolerance=tolerance).worse


# --- models where the truth is known ----------------------------------------------------------------------------------

FEATURES, HIDDEN = 8, 12


@dataclass(frozen=True)
class Network:
    """A small network on isotropic inputs."""

    first: Float64
    second: Float64

    @classmethod
    def random(cls, generator: np.random.Generator) -> Network:
        """Random weights, as at initialisation."""
        return cls(generator.normal(size=(FEATURES, HIDDEN)) / math.sqrt(FEATURES), generator.normal(size=HIDDEN))

    def __call__(self, x: Float64) -> Float64:
        return np.tanh(x @ self.first) @ self.second

    def behind(self, rotation: Float64) -> Network:
        """The network with a rotation before it."""
        return Network(rotation @ self.first, self.second)


def random_rotation(generator: np.random.Generator) -> Float64:
    """Uniform over all rotations and reflections (Mezzadri 2007)."""
    q, r = np.linalg.qr(generator.normal(size=(FEATURES, FEATURES)))
    return q * np.sign(np.diag(r))


def trial_errors(models: Sequence[Network], generator: np.random.Generator, rows: int) -> list[Float64]:
    """Errors of models on the same rows and the same noise, each of shape (trials, rows, levels)."""
    x = generator.normal(size=(rows, FEATURES))
    z = generator.normal(size=(TRIALS, rows, FEATURES))
    moved = [x + level * z for level in LEVELS]
    return [np.stack([(model(each) - model(x)) ** 2 for each in moved], axis=-1) for model in models]


def rotated_pair(generator: np.random.Generator, rows: int = ROWS) -> list[Float64]:
    """Trial errors of two models that are equal in law, but not row by row."""
    model = Network.random(generator)
    return trial_errors([model, model.behind(random_rotation(generator))], generator, rows)


def five_percent() -> bool:
    """A version whose noise MSE is exactly 5 % larger on every row."""
    generator, runs = np.random.default_rng(1), 500
    found, heavy = [], []
    for _ in range(runs):
        a = trial_errors([Network.random(generator)], generator, ROWS)[0].mean(axis=0)
        found.append(is_worse((a, 1.05 * a)))
        tailed = a * np.exp(generator.normal(size=(ROWS, 1)))
        heavy.append(is_worse((tailed, 1.05 * tailed)))
    print(
        f"Noise MSE exactly 5 % larger on every row, {ROWS} rows x {TRIALS} trials, tolerance 0, {runs} runs: found in"
    )
    print(f"  networks                                    {share(found)}")
    print(f"  networks, row errors times a log-normal     {share(heavy)}")
    return verdict(min(np.mean(found), np.mean(heavy)) >= 0.99, "5 % on every row is found with at least 99 % power")


def equal_in_law(runs: int) -> bool:
    """False alarms, by rows and by trials."""
    generator = np.random.default_rng(2)
    by_rows, by_plain_t, by_trials = [], [], []
    for run in range(runs):
        if run % 500 == 0:
            tell(f"equal in law: run {run} of {runs}")
        a, b = rotated_pair(generator)
        by_rows.append(is_worse((a.mean(axis=0), b.mean(axis=0))))
        size = (a + b).mean(axis=(0, 1))
        difference = ((b - a) / size).sum(axis=2)
        by_plain_t.append(stats.ttest_1samp(difference.mean(axis=0), 0, alternative="greater").pvalue < ALPHA)
        by_trials.append(stats.ttest_1samp(difference.mean(axis=1), 0, alternative="greater").pvalue < ALPHA)
    low, high = (int(stats.binom.ppf(p, runs, ALPHA)) for p in (0.0005, 0.9995))
    alarms = sum(by_rows)
    print(
        f"Equal in law (isotropic inputs, one network behind a random rotation), nominal 1 %, {runs} runs: false alarms"
    )
    print(f"  compare_rows                                {alarms:5d}  {share(by_rows)}")
    print(f"  plain t-test over rows                      {sum(by_plain_t):5d}  {share(by_plain_t)}")
    print(f"  trials as the sampling unit                 {sum(by_trials):5d}  {share(by_trials)}")
    return verdict(low <= alarms <= high, f"false alarms within the 99.9 % binomial band of 1 %: {low} to {high}")


# --- skewed differences -----------------------------------------------------------------------------------------------


def steady(generator: np.random.Generator, size: tuple[int, int]) -> Float64:
    """Errors of a version b to which all rows matter, with mean 1."""
    return generator.gamma(4.0, 0.25, size=size)


DIFFERENCES: dict[str, Callable[[np.random.Generator, tuple[int, int]], Float64]] = {
    "normal": lambda g, size: g.normal(size=size),
    "Student's t, 5 degrees": lambda g, size: g.standard_t(5, size=size),
    "chi²(1) - chi²(1)": lambda g, size: g.chisquare(1, size=size) - g.chisquare(1, size=size),
    "chi²(1), to the right": lambda g, size: g.chisquare(1, size=size) - 1.0,
    "chi²(1), to the left": lambda g, size: 1.0 - g.chisquare(1, size=size),
    "b chi²(1), a chi²(4)": lambda g, size: g.chisquare(1, size=size) - g.chisquare(4, size=size) / 4.0,
    "b chi²(4), a chi²(1)": lambda g, size: g.chisquare(4, size=size) / 4.0 - g.chisquare(1, size=size),
    "log-normal, to the right": lambda g, size: g.lognormal(size=size) - math.exp(0.5),
    "log-normal, to the left": lambda g, size: math.exp(0.5) - g.lognormal(size=size),
    "Pareto(3), to the left": lambda g, size: 0.5 - g.pareto(3.0, size=size),
    "a log-normal(1)": lambda g, size: steady(g, size) - g.lognormal(-0.5, size=size),
    "a log-normal(1.5)": lambda g, size: steady(g, size) - g.lognormal(-1.125, 1.5, size=size),
    "5 % of rows carry all of a": lambda g, size: steady(g, size) - (g.random(size) < 0.05) / 0.05,
    "2 % of rows carry all of a": lambda g, size: steady(g, size) - (g.random(size) < 0.02) / 0.02,
}

ROW_ERRORS: dict[str, Callable[[np.random.Generator, tuple[int, int]], Float64]] = {
    "chi²(5)": lambda g, size: g.chisquare(5, size=size),
    "chi²(1)": lambda g, size: g.chisquare(1, size=size),
    "log-normal": lambda g, size: g.lognormal(size=size),
    "Pareto(3)": lambda g, size: 1.0 + g.pareto(3.0, size=size),
    "classes that flip seldom": lambda g, size: g.binomial(TRIALS, g.beta(0.1, 4.9, size=size)) / TRIALS,
    "5 % of rows carry all": lambda g, size: (g.random(size) < 0.05).astype(np.float64),
}


def hall_everywhere(rows: Float64) -> float:
    """p-value with the correction for skewness to either side."""
    m = moments(rows)
    t, c = math.sqrt(m.rows) * m.mean / m.deviation, m.skewness / math.sqrt(m.rows)
    return float(stats.t.sf(t + c * t**2 / 3 + c**2 * t**3 / 27 + c / 6, m.rows - 1))


def skewed_differences() -> None:
    """False alarms on differences of known laws with mean 0: why this test and not another."""
    generator, runs = np.random.default_rng(3), 5000
    print(f"False alarms at a nominal 1 % on laws of the rows' differences with mean 0, {runs} runs")
    print(f"  {'':28}{'64 rows':^34}{'256 rows':^34}")
    print(f"  {'law':28}" + 2 * f"{'robmon':>10}{'plain t':>10}{'Hall both':>12}  ")
    for name, law in DIFFERENCES.items():
        cells = ""
        for rows in (64, 256):
            sample = law(generator, (runs, rows))
            ours = np.mean([pvalue(moments(each)) < ALPHA for each in sample])
            plain = np.mean(stats.ttest_1samp(sample, 0, axis=1, alternative="greater").pvalue < ALPHA)
            both = np.mean([hall_everywhere(each) < ALPHA for each in sample])
            cells += f"{100 * ours:>8.1f} %{100 * plain:>8.1f} %{100 * both:>10.1f} %  "
        print(f"  {name:28}{cells}", flush=True)
    print()


def baseline_limits() -> bool:
    """How often the lower limit of the ratio to the baseline is above 1 when nothing changed."""
    generator, runs, baseline_rows = np.random.default_rng(8), 5000, 1024
    print(f"Ratio to a baseline of {baseline_rows} rows, {ROWS} rows equal in law, {runs} runs: 95 % limit above 1 in")
    alarms = []
    for name, law in ROW_ERRORS.items():
        now, baseline = law(generator, (ROWS, runs)), law(generator, (baseline_rows, runs))
        _, lower = mean_ratio(now, baseline.mean(axis=0), baseline.var(axis=0, ddof=1), baseline_rows, 0.95)
        alarms.append(np.mean(lower > 1))
        print(f"  {name:28}{share(lower > 1)}")
    return verdict(max(alarms) <= 0.065, "at most 6.5 % where 5 % is stated")


# --- pairs whose ratio is exactly 1 -----------------------------------------------------------------------------------


def pool(a: Float64, b: Float64) -> Draw:
    """Rows drawn from many; b is scaled so that the ratio over all of them is 1 at every level."""
    b = b * (a.mean(axis=0) / b.mean(axis=0))

    def draw(generator: np.random.Generator, rows: int) -> Pair:
        at = generator.integers(0, len(a), size=rows)
        return a[at], b[at]

    return draw


def positive(
    law_a: Callable[[np.random.Generator, tuple[int, int]], Float64],
    law_b: Callable[[np.random.Generator, tuple[int, int]], Float64] | None = None,
    factor: bool = False,
) -> Draw:
    """Row errors of one level of two laws with mean 1, independent; or b is a times a factor of its law."""

    def draw(generator: np.random.Generator, rows: int) -> Pair:
        a, b = law_a(generator, (rows, 1)), (law_b or law_a)(generator, (rows, 1))
        return a, a * b if factor else b

    return draw


def chi2(df: int) -> Callable[[np.random.Generator, tuple[int, int]], Float64]:
    """Chi-square over its mean."""
    return lambda generator, size: generator.chisquare(df, size=size) / df


def log_normal(generator: np.random.Generator, size: tuple[int, int]) -> Float64:
    """With mean 1."""
    return generator.lognormal(-0.5, size=size)


def rotated_pool() -> Draw:
    """One pair of networks, equal in law, on many rows."""
    generator = np.random.default_rng(4)
    model = Network.random(generator)
    models = [model, model.behind(random_rotation(generator))]
    parts = [[each.mean(axis=0) for each in trial_errors(models, generator, 1000)] for _ in range(20)]
    return pool(*(np.concatenate(part) for part in zip(*parts, strict=True)))


SIMULATED: dict[str, Draw] = {
    "a chi²(5), b = a gamma(6)": positive(chi2(5), lambda g, size: g.gamma(6.0, 1 / 6, size=size), factor=True),
    "a chi²(1), b chi²(1)": positive(chi2(1)),
    "a chi²(4), b chi²(1)": positive(chi2(4), chi2(1)),
    "a chi²(1), b chi²(4)": positive(chi2(1), chi2(4)),
}
STRESS: dict[str, Draw] = {
    "log-normal, independent": positive(log_normal),
    "log-normal, b = a gamma(6)": positive(log_normal, lambda g, size: g.gamma(6.0, 1 / 6, size=size), factor=True),
}


def scaled(pair: Pair, ratio: float) -> Pair:
    """The same with b's errors times this."""
    return pair[0], ratio * pair[1]


def detectable(required: dict[str, Draw]) -> bool:
    """Every run states the smallest worsening; a fresh sample with exactly that worsening is then judged."""
    generator, runs, fresh = np.random.default_rng(5), 400, 5
    print(f"The smallest worsening that a sample states, found in fresh samples that have it ({runs} x {fresh} runs)")
    print(f"  {'law':28}{'rows':>6}{'tolerance':>11}{'b of the sample':>17}{'stated (median)':>17}   found")
    good = []
    for name, draw in (required | STRESS).items():
        tell(f"smallest worsening: {name}")
        cases = [(ROWS, 0.0, 1.0), (ROWS, 0.1, 3.0)] if name in required else [(ROWS, 0.0, 1.0)]
        for rows, tolerance, own_ratio in cases:
            stated, found = [], []
            for _ in range(runs):
                sample = scaled(draw(generator, rows), own_ratio)
                ratio = compare_rows(*sample, alpha=ALPHA, tolerance=tolerance).detectable_ratio
                stated.append(ratio)
                found += [is_worse(scaled(draw(generator, rows), ratio), tolerance) for _ in range(fresh)]
            if name in required:
                good.append(abs(np.mean(found) - 0.9) <= 0.03)
            mark = "" if name in required else "   (heavy tails, no requirement)"
            print(
                f"  {name:28}{rows:>6}{tolerance:>11g}{own_ratio:>17g}{np.median(stated):>17.3f}   {share(found)}{mark}"
            )
    return verdict(all(good), "the stated smallest worsening is found in 90 % ± 3 % of runs")


def intervals(required: dict[str, Draw]) -> bool:
    """Coverage of the interval of the ratio."""
    generator, runs, truth = np.random.default_rng(6), 1000, 1.3
    print(f"Intervals of the ratio with a nominal {100 * (1 - 2 * ALPHA):g} %, {ROWS} rows, ratio {truth}, {runs} runs")
    print(f"  {'law':28}{'truth inside':>15}{'below':>14}{'above':>14}")
    good = []
    for name, draw in (required | STRESS).items():
        tell(f"intervals: {name}")
        results = [compare_rows(*scaled(draw(generator, ROWS), truth), alpha=ALPHA) for _ in range(runs)]
        low, high = (np.array([getattr(each, end)[-1] for each in results]) for end in ("ratio_low", "ratio_high"))
        inside = (low <= truth) & (truth <= high)
        if name in required:
            good.append(np.mean(inside) >= 0.97)
        mark = "" if name in required else "   (heavy tails, no requirement)"
        print(f"  {name:28}{share(inside):>15}{share(truth < low):>14}{share(truth > high):>14}{mark}")
    return verdict(all(good), "intervals cover at least 97 % where 98 % is stated")


# --- real retrainings -------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Retrainings:
    """Versions of one model, trained alike with other seeds, and their errors on the rows kept for testing."""

    name: str
    predictors: list[Callable[[Float64, slice], Float64]]
    inputs: Float64
    errors: list[Float64]
    task: str

    def pairs(self) -> Iterator[tuple[int, int]]:
        """All ordered pairs."""
        count = len(self.errors)
        return ((i, j) for i in range(count) for j in range(count) if i != j)


def retrainings(name: str, versions: int = 10) -> Retrainings:
    """Train versions with other seeds, and assess them on the same rows and noise in units of the first."""
    from sklearn.datasets import load_diabetes, load_digits
    from sklearn.model_selection import train_test_split
    from sklearn.neural_network import MLPClassifier, MLPRegressor
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    digits = name == "digits"
    x, y = (load_digits if digits else load_diabetes)(return_X_y=True)
    train, test, targets, _ = train_test_split(x, y, test_size=0.5, random_state=0)
    predictors = []
    for seed in range(versions):
        tell(f"{name}: training version {seed}")
        if digits:
            network = MLPClassifier(hidden_layer_sizes=(32,), max_iter=80, random_state=seed)
        else:
            network = MLPRegressor(hidden_layer_sizes=(32,), max_iter=300, learning_rate_init=0.01, random_state=seed)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # not converged: what is compared need not be perfect
            model = make_pipeline(StandardScaler(), network).fit(train, targets)
        call = model.predict_proba if digits else model.predict
        predictors.append(lambda x, rows, call=call: call(x))
    task = "classification" if digits else "regression"
    first = assess_rows(predictors[0], test, levels=LEVELS, trials=TRIALS, task=task, seed=1)
    errors = [
        assess_rows(
            predict, test, levels=LEVELS, trials=TRIALS, task=task, seed=1, output=first.output,
            features=first.features, comparison_variance=first.clean_variance,
        ).comparison_row_errors[:, 1:]
        for predict in predictors
    ]  # fmt: skip
    return Retrainings(name, predictors, test, errors, task)


def innocent(versions: Retrainings) -> None:
    """How often one seed is called worse than another."""
    ratios = [versions.errors[j].mean(axis=0) / versions.errors[i].mean(axis=0) for i, j in versions.pairs()]
    larger = np.median(np.maximum(ratios, 1 / np.array(ratios)))
    print(f"Retrainings of {versions.name} with other seeds, {TRIALS} trials, all {len(ratios)} ordered pairs")
    print(f"  ratio over all test rows: the larger of both ways {larger:.3f} (median), at most {np.max(ratios):.3f}")
    for rows in sorted({min(ROWS, len(versions.inputs)), len(versions.inputs)}):
        for tolerance in (0.0, 0.1):
            a_and_b = [(versions.errors[i][:rows], versions.errors[j][:rows]) for i, j in versions.pairs()]
            found = [is_worse(pair, tolerance) for pair in a_and_b]
            print(f"  called worse by {rows} rows at tolerance {tolerance:<4g}     {share(found)}")
    print()


def power(versions: Retrainings) -> None:
    """Power against the true ratio: rows drawn from those for testing, b scaled to the ratio."""
    generator, each = np.random.default_rng(7), 4
    ratios = (1.0, 1.02, 1.05, 1.1, 1.2, 1.5)
    print(f"Power against the ratio: retrainings of {versions.name}, tolerance 0, {each} runs for each ordered pair")
    print("  rows  " + "".join(f"{f'x {ratio:g}':>18}" for ratio in ratios))
    draws = [pool(versions.errors[i], versions.errors[j]) for i, j in versions.pairs()]
    for rows in (ROWS, 4 * ROWS, 16 * ROWS):
        tell(f"{versions.name}: power with {rows} rows")
        found = np.array(
            [
                [is_worse(scaled(pair, ratio)) for ratio in ratios]
                for draw in draws
                for pair in (draw(generator, rows) for _ in range(each))
            ]
        )
        print(f"  {rows:<6}" + "".join(f"{share(column):>18}" for column in found.T), flush=True)
    print()


def common_noise(versions: Retrainings) -> bool:
    """Variance of the difference of trial MSEs, with common against independent noise."""
    x, trials = versions.inputs[:ROWS], 99
    first, other = versions.predictors[:2]

    def near(x: Float64, rows: slice) -> Float64:
        return 0.95 * first(x, rows) + 0.05 * other(x, rows)

    def mse(predict: Callable[[Float64, slice], Float64], seed: int) -> Float64:
        result = assess_rows(
            predict, x, levels=(0.1,), trials=trials, task=versions.task, output=output, seed=seed, scale=scale
        )
        return np.array(result.curve[-1].trial_mse)

    tell(f"{versions.name}: common noise")
    output = "probability" if versions.task == "classification" else "value"
    scale = x.std(axis=0)
    common, independent = mse(first, 1), mse(first, 2)
    print(f"Variance of the difference of two versions of {versions.name}: with independent over with common noise")
    gains = []
    for name, version in (("another seed", other), ("5 % of another seed mixed in", near)):
        b = mse(version, 1)
        gains.append(np.var(b - independent) / np.var(b - common))
        print(f"  {name:40}{gains[-1]:8.1f} times")
    return verdict(min(gains) > 1, "common noise makes differences more precise")


def main() -> int:
    """Run everything."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--runs", type=int, default=2000, help="runs that count false alarms (default 2000)")
    parser.add_argument("--classifiers", action="store_true", help="only what is measured of classifiers")
    given = parser.parse_args()
    runs = given.runs
    good = classifiers(runs, tell, verdict, share)
    if given.classifiers:
        return 0 if all(good) else 1
    good += [five_percent(), equal_in_law(runs)]
    skewed_differences()
    good.append(baseline_limits())
    real = [retrainings(name) for name in ("diabetes", "digits")]
    laws = {"networks, equal in law": rotated_pool(), **SIMULATED}
    laws |= {f"{each.name}, other seed": pool(*each.errors[:2]) for each in real}
    good += [detectable(laws), intervals(laws)]
    for each in real:
        innocent(each)
        power(each)
        good.append(common_noise(each))
    tell("done")
    return 0 if all(good) else 1


if __name__ == "__main__":
    sys.exit(main())

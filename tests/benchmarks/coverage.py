"""How often every bound holds, against what it states, and how far above the truth it lies.

    python tests/benchmarks/coverage.py [--repetitions 20000] [--write docs/evidence/coverage.json]

Row errors are drawn from known laws, with a fixed seed, and bounded by the library's own functions. Prints a table and
what is required of it; exit status 1 if a requirement is not met.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
from scipy import stats

sys.path.insert(0, str(Path(__file__).resolve().parent.parent.parent))

from robmon.robustness.checks import needed_trials
from robmon.robustness.statistics.bounds import curve_band, request_bound, upper_bound
from robmon.robustness.statistics.mean_bound import mean_upper_bound
from robmon.vocabulary import order_statistic_rank
from tests.robustness.confseq_reference import upper_limit

NOMINAL = 0.95
REPETITIONS = 20_000
COUNTS = (19, 39, 99, 199)
CHUNK = 1000
"""Repetitions that are drawn at a time."""


@dataclass(frozen=True)
class Law:
    """A law of row errors.

    Attributes:
        draw: `draw(generator, shape)`, independent errors.
        ties: whether errors tie, so that an order statistic may hold more often than it states.
        mean: the expected error, where the mean bound needs it.
    """

    name: str
    draw: Callable[[np.random.Generator, tuple[int, ...]], np.ndarray]
    ties: bool = False
    mean: float = np.nan


def contaminated(generator: np.random.Generator, shape: tuple[int, ...]) -> np.ndarray:
    """A squared normal change, in two of a hundred cases ten times as far."""
    return generator.standard_normal(shape) ** 2 * np.where(generator.random(shape) < 0.02, 100.0, 1.0)


LAWS = (
    Law("normal", lambda generator, shape: np.abs(generator.normal(5.0, 1.0, shape))),
    Law("chi-square", lambda generator, shape: generator.standard_normal(shape) ** 2),
    Law("log-normal", lambda generator, shape: np.exp(generator.standard_normal(shape))),
    Law("Pareto", lambda generator, shape: (1.0 - generator.random(shape)) ** (-1 / 3)),
    Law("contaminated", contaminated),
    # Whole numbers, so that equal sums are equal.
    Law("two-point", lambda generator, shape: np.where(generator.random(shape) < 0.2, 3.0, 1.0), ties=True),
    Law("discrete", lambda generator, shape: generator.poisson(1.0, shape).astype(float), ties=True),
)
ROWS = 8
"""Rows of a trial: few, so that its MSE keeps some of the row errors' skew."""
TRUTH_TRIALS = 100
"""Trials a repetition from which the true quantile is taken."""
LEVELS = np.array([0.0, 0.1, 0.2, 0.4])
OWN_SHARE = np.array([0.0, 0.1, 0.4, 0.8])
"""The share of a trial's MSE at each level that its other levels do not have too."""

TRIALS = 39
FLIPS_OF_A_ROW = (0.2, 3.8)
"""The beta law of a row's chance to flip under noise: most hardly ever do, a few nearly always."""


def flips_of_rows(generator: np.random.Generator, shape: tuple[int, ...]) -> np.ndarray:
    """Each row's share of flips over its trials."""
    return generator.binomial(TRIALS, generator.beta(*FLIPS_OF_A_ROW, size=shape)) / TRIALS


BOUNDED_LAWS = (
    Law("flips", lambda generator, shape: (generator.random(shape) < 0.1).astype(float), mean=0.1),
    Law("even flips", lambda generator, shape: (generator.random(shape) < 0.5).astype(float), mean=0.5),
    Law("flips of rows", flips_of_rows, mean=0.05),
    Law("beta", lambda generator, shape: generator.beta(0.5, 4.5, shape), mean=0.1),
    Law("two-point", lambda generator, shape: np.where(generator.random(shape) < 0.1, 0.6, 0.1), mean=0.15),
)
"""Laws of row means with the maximum 1."""


@dataclass(frozen=True)
class Figure:
    """One bound on one law.

    Attributes:
        count: trials, or rows.
        due: the share of repetitions in which it was to hold; `or_more` says whether more is right too.
        held: the share in which it held.
        tightness: median of the bound over what it bounds.
    """

    bound: str
    law: str
    count: int
    due: float
    or_more: bool
    held: float
    tightness: float

    def is_due(self, repetitions: int) -> bool:
        """Whether it held as often as was due, up to chance: the 99.9 % binomial band."""
        low, high = stats.binom.interval(0.999, repetitions, self.due)
        held = round(self.held * repetitions)
        return bool(low <= held) and (self.or_more or bool(held <= high))


def stream(subject: int, law: Law) -> np.random.Generator:
    """The random numbers of one subject and law, always the same."""
    return np.random.default_rng([subject, *law.name.encode()])


def figure(
    bound: str,
    law: Law,
    count: int,
    holds: np.ndarray,
    ratio: np.ndarray,
    due: float = NOMINAL,
    or_more: bool = False,
) -> Figure:
    """From what was seen in each repetition."""
    return Figure(bound, law.name, count, due, or_more, float(np.mean(holds)), round(float(np.median(ratio)), 3))


def order_statistic_share(count: int) -> float:
    """The probability of a further draw to lie under the order statistic of so many, where none tie."""
    return order_statistic_rank(count, NOMINAL) / (count + 1)


def quantile(sample: np.ndarray) -> np.ndarray:
    """The least value that a share of `NOMINAL` does not exceed."""
    return np.quantile(sample, NOMINAL, axis=0, method="inverted_cdf")


def in_chunks(repetitions: int, draw: Callable[[int], np.ndarray]) -> np.ndarray:
    """`draw(size)` for all repetitions, in parts that fit into memory."""
    return np.concatenate([draw(min(CHUNK, repetitions - start)) for start in range(0, repetitions, CHUNK)])


def trial_bounds(law: Law, repetitions: int, counts: Sequence[int]) -> Iterator[Figure]:
    """Every method of the trial bound; of `tolerance` also how many sets of trials keep its assurance."""
    generator = stream(1, law)
    drawn = max(counts) + 1
    trials = in_chunks(repetitions, lambda size: law.draw(generator, (size, drawn, ROWS)).mean(axis=2))
    further = trials[:, -1]
    truth = float(quantile(law.draw(generator, (TRUTH_TRIALS * repetitions, ROWS)).mean(axis=1)))
    for count in counts:
        for method in ("order_statistic", "tolerance", "student_t", "cantelli"):
            if count < needed_trials(NOMINAL, method):
                continue
            bounds = np.array([upper_bound(row[:count], NOMINAL, method) for row in trials])
            due = order_statistic_share(count) if method == "order_statistic" else NOMINAL
            yield figure(method, law, count, further <= bounds, bounds / truth, due, law.ties)
            if method == "tolerance":
                yield figure("tolerance_assurance", law, count, bounds >= truth, bounds / truth, or_more=True)


def request_bounds(law: Law, repetitions: int, counts: Sequence[int]) -> Iterator[Figure]:
    """The request bound for a fresh request: rows differ in size as well as in their noise."""
    generator = stream(2, law)
    shape = (repetitions, max(counts) + 1)
    errors = generator.choice([1.0, 2.0, 4.0], p=[0.6, 0.3, 0.1], size=shape) * law.draw(generator, shape)
    truth = float(quantile(errors.ravel()))
    for count in counts:
        bounds = np.array([request_bound(row[:count], NOMINAL) for row in errors], dtype=float)
        holds = errors[:, -1] <= bounds
        yield figure("request", law, count, holds, bounds / truth, order_statistic_share(count), law.ties)


def curves(law: Law, generator: np.random.Generator, shape: tuple[int, int]) -> np.ndarray:
    """Trial MSEs of shape `(*shape, levels)`: level squared times what levels share and what each has of its own."""
    parts = law.draw(generator, (*shape, len(LEVELS), ROWS)).mean(axis=3)
    return LEVELS**2 * ((1.0 - OWN_SHARE) * parts[..., :1] + OWN_SHARE * parts)


def bands(law: Law, repetitions: int, counts: Sequence[int]) -> Iterator[Figure]:
    """The band, over whole further curves; and the pointwise bounds, which are none.

    Tightness is over each level's own quantile, mean over levels.
    """
    generator = stream(3, law)
    drawn = max(counts) + 1
    trials = in_chunks(repetitions, lambda size: curves(law, generator, (size, drawn)))
    further = trials[:, -1]
    truth = quantile(further)[1:]

    def seen(bound: str, count: int, band: np.ndarray) -> Figure:
        holds, ratio = np.all(further <= band, axis=1), (band[:, 1:] / truth).mean(axis=1)
        return figure(bound, law, count, holds, ratio, or_more=law.ties)

    for count in counts:
        rank = order_statistic_rank(count, NOMINAL)
        yield seen("pointwise", count, np.partition(trials[:, :count], rank - 1, axis=1)[:, rank - 1])
        found = [curve_band(trial_mse[:count], NOMINAL) for trial_mse in trials]
        if found[0] is not None:
            yield seen("band", count, np.array(found))


def mean_bounds(law: Law, repetitions: int, counts: Sequence[int]) -> Iterator[Figure]:
    """The mean bound on row means."""
    generator = stream(4, law)
    means = law.draw(generator, (repetitions, max(counts)))
    for count in counts:
        yield mean_figure("mean", law, means[:, :count], count)


def pooled_trials(law: Law, repetitions: int, rows: int) -> Iterator[Figure]:
    """The mean bound where it promises nothing: on trials pooled over the rows of `flips of rows`."""
    generator = stream(5, law)

    def draw(size: int) -> np.ndarray:
        chances = generator.beta(*FLIPS_OF_A_ROW, size=(size, 1, rows))
        return (generator.random((size, TRIALS, rows)) < chances).reshape(size, -1)

    yield mean_figure("pooled_trials", law, in_chunks(repetitions, draw), rows)


def mean_figure(bound: str, law: Law, errors: np.ndarray, rows: int) -> Figure:
    """The mean bound of each repetition's errors, against the law's mean."""
    bounds = np.array([mean_upper_bound(row, NOMINAL, maximum=1.0) for row in errors])
    return figure(bound, law, rows, bounds >= law.mean, bounds / law.mean, or_more=True)


def fresh_rows(law: Law, repetitions: int, counts: Sequence[int], rows: int = 64) -> Iterator[Figure]:
    """The trial bound where it promises nothing: trials on other rows than those assessed (sizes are log-normal)."""
    generator = stream(6, law)
    drawn = max(counts)

    def draw(size: int) -> np.ndarray:
        sizes = np.exp(generator.standard_normal((size, 2, rows)))
        assessed = np.einsum("stn,sn->st", law.draw(generator, (size, drawn, rows)), sizes[:, 0])
        further = np.einsum("sn,sn->s", law.draw(generator, (size, rows)), sizes[:, 1])
        return np.column_stack([assessed, further]) / rows

    trials = in_chunks(repetitions, draw)
    truth = float(quantile(trials[:, -1]))
    for count in counts:
        bounds = np.array([upper_bound(row[:count], NOMINAL) for row in trials])
        yield figure("fresh_rows", law, count, trials[:, -1] <= bounds, bounds / truth)


def confseq_ratios(laws: Iterable[Law], counts: Iterable[int], sets: int = 5) -> list[float]:
    """The mean bound over confseq's on the same row means."""
    generator = np.random.default_rng(7)
    drawn = [law.draw(generator, (count,)) for law in laws for count in counts for _ in range(sets)]
    return [mean_upper_bound(means, NOMINAL, maximum=1.0) / upper_limit(means, NOMINAL, steps=2000) for means in drawn]


def simulate(repetitions: int, counts: Sequence[int] = COUNTS) -> Iterator[Figure]:
    """Every bound on every law, and what happens where two of them are used for what they do not promise."""
    for law in LAWS:
        print(f"trials, requests and curves with {law.name} row errors", file=sys.stderr)
        yield from trial_bounds(law, repetitions, counts)
        yield from request_bounds(law, repetitions, counts)
        yield from bands(law, repetitions, counts)
    for law in BOUNDED_LAWS:
        print(f"means of {law.name}", file=sys.stderr)
        yield from mean_bounds(law, repetitions, counts)
    print("fresh rows, pooled trials", file=sys.stderr)
    chi_square = next(law for law in LAWS if law.name == "chi-square")
    yield from fresh_rows(chi_square, repetitions, counts)
    of_rows = next(law for law in BOUNDED_LAWS if law.name == "flips of rows")
    yield from pooled_trials(of_rows, repetitions, counts[min(1, len(counts) - 1)])


@dataclass(frozen=True)
class Requirement:
    """What is required of the figures, and what was found."""

    name: str
    met: bool
    found: str


REQUIRED = {
    "order_statistic": "order statistic: as often as k / (T + 1), more often only where trials tie",
    "tolerance_assurance": "tolerance: enough coverage for at least 95 % of all sets of trials",
    "request": "request bound: at least as often as stated, for fresh requests",
    "band": "band: whole curves as often as stated, more often only where trials tie",
    "mean": "mean bound: never less often than stated",
}


def requirements(figures: Iterable[Figure], ratios: Sequence[float], repetitions: int) -> Iterator[Requirement]:
    """Each requirement, up to chance (99.9 % binomial bands)."""
    by_bound = defaultdict(list)
    for each in figures:
        by_bound[each.bound].append(each)
    for bound, name in REQUIRED.items():
        seen = by_bound[bound]
        missed = [f"{each.law}, {each.count}: {each.held:.2%}" for each in seen if not each.is_due(repetitions)]
        found = "; ".join(missed) or f"least often {min(each.held for each in seen):.2%} in {len(seen)} cases"
        yield Requirement(name, not missed, found)
    farthest = max(abs(ratio - 1.0) for ratio in ratios)
    name = "mean bound: within 2 % of confseq's betting interval on the same rows"
    yield Requirement(name, farthest <= 0.02, f"at most {farthest:.2%} apart in {len(ratios)} cases")


def print_table(figures: Sequence[Figure], counts: Sequence[int]) -> None:
    """Share held, and in brackets the bound over the truth, by bound and law (rows) and count (columns)."""
    cells = {(each.bound, each.law, each.count): each for each in figures}
    print(f"nominal {NOMINAL:.0%}: how often it held (median of the bound over the truth)")
    print(f"{'bound':<20}{'law':<16}" + "".join(f"{count:>20}" for count in counts))
    for bound, law in dict.fromkeys((each.bound, each.law) for each in figures):
        row = [cells.get((bound, law, count)) for count in counts]
        texts = ["-" if each is None else f"{each.held:.2%} ({each.tightness:.3f})" for each in row]
        print(f"{bound:<20}{law:<16}" + "".join(f"{text:>20}" for text in texts))


def as_json(figures: Iterable[Figure], judged: Iterable[Requirement], repetitions: int) -> str:
    """One figure and one requirement a line."""

    def lines(of: Iterable[Figure | Requirement]) -> str:
        return ",\n".join(json.dumps(asdict(each)) for each in of)

    head = f'"nominal": {NOMINAL},\n"repetitions": {repetitions}'
    return f'{{\n{head},\n"figures": [\n{lines(figures)}\n],\n"requirements": [\n{lines(judged)}\n]\n}}\n'


def main() -> None:
    """Simulate, print, write, judge."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--repetitions", type=int, default=REPETITIONS)
    parser.add_argument("--write", type=Path, help="file for the figures, as JSON")
    arguments = parser.parse_args()
    figures = list(simulate(arguments.repetitions))
    print("confseq on the same rows", file=sys.stderr)
    ratios = confseq_ratios(BOUNDED_LAWS, COUNTS)
    judged = list(requirements(figures, ratios, arguments.repetitions))
    print_table(figures, COUNTS)
    for each in judged:
        print("PASS" if each.met else "FAIL", each.name, f"({each.found})")
    if arguments.write is not None:
        arguments.write.write_text(as_json(figures, judged, arguments.repetitions), encoding="utf-8")
    sys.exit(0 if all(each.met for each in judged) else 1)


if __name__ == "__main__":
    main()

"""Unusual rows: how many, by their exact law; near-duplicates, beside the baseline's own."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pandas as pd
import pytest
from numpy.typing import NDArray
from scipy.spatial.distance import cdist
from scipy.stats import betabinom, binom

from robmon.drift.beta_binomial import upper_tail
from robmon.drift.features import array_columns
from robmon.drift.nearest import NearestPairs
from robmon.drift.novel_rows import NovelRows, novel_rows
from robmon.drift.novelty import FIT_ROWS, NoveltyReference, novelty
from robmon.errors import InvalidInputError

Rows = NDArray[Any]


def as_rows(array: Rows) -> NovelRows:
    names = [f"x{index}" for index in range(array.shape[1])]
    return novel_rows(array_columns(array, names), array, is_table=True)


def sensors(r: np.random.Generator, rows: int, step: float = 0.0, columns: int = 8) -> Rows:
    """Correlated ones; with a step, as whole numbers of it."""
    common = r.normal(size=(rows, 2))
    values = common @ np.linspace(-1.0, 1.0, 2 * columns).reshape(2, columns) + r.normal(size=(rows, columns))
    return np.round(values / step) * step if step else values


def test_the_tail_is_that_of_scipy() -> None:
    for count, rows, a, b in ((0, 10, 1, 9), (1, 64, 3, 997), (9, 256, 5, 508), (256, 256, 2, 98)):
        assert upper_tail(count, rows, a, b) == pytest.approx(betabinom.sf(count - 1, rows, a, b), rel=1e-6)


def customers(r: np.random.Generator, rows: int) -> NovelRows:
    """Two numbers, a category of three, one of forty that a power law draws, and one that is hardly ever another."""
    names = {
        "kind": r.choice(["a", "b", "c"], rows, p=[0.6, 0.3, 0.1]),
        "place": np.minimum(r.zipf(1.5, rows), 40).astype(str),
        "state": np.where(r.random(rows) < 0.003, "odd", "even"),
    }
    labels = {name: each.astype(object) for name, each in names.items()}
    return replace(as_rows(r.normal(size=(rows, 2))), labels=labels)


@pytest.mark.parametrize("draw", [lambda r, rows: as_rows(r.normal(size=(rows, 2))), customers])
def test_2000_assessments_alarm_at_alpha_where_a_binomial_does_not(
    draw: Callable[[np.random.Generator, int], NovelRows],
) -> None:
    r = np.random.default_rng(11)
    fitted = NoveltyReference.none().added(draw(r, FIT_ROWS))
    alpha, kept, rows, times = 0.01, 299, 256, 2000
    exact = plain = 0
    for _ in range(times):
        known = draw(r, kept)
        scores = np.sort(fitted._scores(known, fitted._standardised(known)))
        found = replace(fitted, scores=scores).compare(draw(r, rows), alpha=alpha)
        assert found.pvalue is not None
        exact += found.pvalue <= alpha
        plain += binom.sf(len(found.novel) - 1, rows, alpha) <= alpha
    allowed = 3 * np.sqrt(alpha * (1 - alpha) / times)
    assert abs(exact / times - alpha) <= allowed, exact
    assert abs(plain / times - alpha) > allowed, plain


def test_scores_and_distances_by_their_definitions() -> None:
    r = np.random.default_rng(1)
    before, now = sensors(r, 900), sensors(r, 200)
    now[7] = now[3] + 0.01
    reference = NoveltyReference.none().added(as_rows(before))
    fit, rest = np.split(before[np.random.default_rng(0).permutation(900)], [FIT_ROWS])
    inverse = np.linalg.inv(0.9 * np.corrcoef(fit.T) + 0.1 * np.eye(8))

    def z(rows: Rows) -> Rows:
        return np.asarray((rows - fit.mean(axis=0)) / fit.std(axis=0))

    def score(rows: Rows) -> Rows:
        return np.asarray(np.sqrt(np.einsum("ni,ij,nj->n", z(rows), inverse, z(rows)) / 8))

    pvalue = (1 + (score(rest)[None] >= score(now)[:, None]).sum(axis=1)) / (len(rest) + 1)
    found = reference.compare(as_rows(now))
    assert found.novel == tuple(np.flatnonzero(pvalue <= 0.01))
    apart = cdist(z(rest), z(rest))[np.triu_indices(len(rest), 1)]
    assert reference.pairs.pairs == len(apart)
    np.testing.assert_allclose(reference.pairs.smallest, np.sort(apart)[:64], rtol=1e-6)
    assert found.near_duplicates == (3, 7) and found.near_duplicate_rows == 2 and found.equal_rows == 0


def test_rows_as_the_baseline_are_hardly_ever_near_duplicates() -> None:
    r = np.random.default_rng(2)
    for columns in (3, 20):
        counts = []
        for _ in range(10):
            reference = NoveltyReference.none().added(as_rows(sensors(r, 768, columns=columns)))
            counts += [
                reference.compare(as_rows(sensors(r, 256, columns=columns))).near_duplicate_rows for _ in range(5)
            ]
        assert sum(count is not None and count > 0 for count in counts) <= 0.05 * len(counts)
        assert max(count or 0 for count in counts) < 3


@pytest.mark.parametrize(("share", "least"), [(0.02, 0.7), (0.05, 1.0)])
def test_queries_around_one_row_are_near_duplicates(share: float, least: float) -> None:
    r = np.random.default_rng(3)
    reference = NoveltyReference.none().added(as_rows(sensors(r, 1024)))
    seen = []
    for _ in range(50):
        rows, victim = sensors(r, 256), sensors(r, 1)
        at = r.random(256) < share
        rows[at] = victim + r.normal(scale=0.02, size=(at.sum(), 8))
        seen.append((reference.compare(as_rows(rows)).near_duplicate_rows or 0) >= 3)
    assert np.mean(seen) >= least


def test_64_clients_that_retry_are_repeats_and_no_near_duplicates() -> None:
    r = np.random.default_rng(4)
    reference = NoveltyReference.none().added(as_rows(sensors(r, 1024)))
    clients = sensors(r, 64)
    found = reference.compare(as_rows(np.repeat(clients, 4, axis=0)))
    assert (found.near_duplicate_rows, found.equal_rows, found.rows) == (0, 192, 256)
    far = np.repeat(sensors(r, 1) + 50.0, 64, axis=0)
    found = reference.compare(as_rows(np.concatenate([sensors(r, 192), far])))
    assert found.novel_ratio is not None and found.novel_ratio >= 0.25, "they are told as what they are"
    assert found.pvalue is not None and found.pvalue > 0.01, "one unusual row that is sent 64 times is one"


@pytest.mark.parametrize("step", [0.1, 0.5, 2.0])
def test_sensors_with_ties_make_no_alarm(step: float) -> None:
    r = np.random.default_rng(5)
    alarms = 0
    for _ in range(20):
        reference = NoveltyReference.none().added(as_rows(sensors(r, 1024, step, columns=3)))
        for _ in range(5):
            found = reference.compare(as_rows(sensors(r, 256, step, columns=3)))
            assert found.near_duplicate_rows == 0 and found.pvalue is not None
            alarms += found.pvalue <= 0.01
    assert alarms <= 4


def test_sensors_at_rest_are_their_own_measure() -> None:
    r = np.random.default_rng(6)

    def mostly_at_rest(rows: int) -> Rows:
        values = sensors(r, rows)
        at = r.random(rows) < 0.7
        values[at] = r.normal(scale=1e-3, size=(at.sum(), 8))
        return values

    reference = NoveltyReference.none().added(as_rows(mostly_at_rest(1024)))
    found = [reference.compare(as_rows(mostly_at_rest(256))).near_duplicate_rows or 0 for _ in range(20)]
    assert max(found) < 3 and sum(found) <= 2


def test_small_adversarial_noise_is_not_seen() -> None:
    r = np.random.default_rng(7)
    reference = NoveltyReference.none().added(as_rows(sensors(r, 1024)))
    rows, weights = sensors(r, 256), np.linspace(-1.0, 1.0, 8)
    pushed = rows - 0.1 * np.sign(rows @ weights)[:, None] * np.sign(weights)
    assert (np.sign(rows @ weights) != np.sign(pushed @ weights)).mean() > 0.1, "many change their class"
    found = reference.compare(as_rows(pushed))
    assert found.pvalue is not None and found.pvalue > 0.01 and found.near_duplicate_rows == 0


def test_only_fresh_rows_are_judged_and_those_before_are_compared_with() -> None:
    r = np.random.default_rng(8)
    reference = NoveltyReference.none().added(as_rows(sensors(r, 1024)))
    rows = sensors(r, 100)
    rows[0], rows[1], rows[98], rows[99] = 40.0, rows[2] + 1e-3, rows[3] + 1e-3, rows[4]
    fresh = np.arange(100) >= 90
    found = reference.compare(as_rows(rows), fresh)
    assert found.rows == 10 and 0 not in found.novel
    assert found.near_duplicates == (98,) and found.equal_rows == 1


def test_too_few_rows_of_a_baseline_say_nothing() -> None:
    r = np.random.default_rng(9)
    assert novelty(sensors(r, FIT_ROWS), sensors(r, 9)).novel_ratio is None
    found = novelty(sensors(r, FIT_ROWS + 98), sensors(r, 9))
    assert (found.pvalue, found.novel_ratio, found.rows) == (None, None, 9)
    assert novelty(sensors(r, FIT_ROWS + 99), sensors(r, 9)).pvalue is not None
    assert NearestPairs.none().threshold(10) is None
    assert NoveltyReference.none().compare(as_rows(sensors(r, 5))).near_duplicate_rows is None


def test_rows_may_come_bit_by_bit_and_what_is_written_is_read_to_the_bit() -> None:
    r = np.random.default_rng(10)
    rows, now = sensors(r, 700), sensors(r, 100)
    kept, written = NoveltyReference.none(), NoveltyReference.none()
    for part in np.array_split(rows, 9):
        kept, written = kept.added(as_rows(part)), written.added(as_rows(part))
        written = NoveltyReference.from_dict(json.loads(json.dumps(written.to_dict())))
    assert written.fitted == FIT_ROWS and len(written.scores) == 700 - FIT_ROWS
    assert written.to_dict() == kept.to_dict() and written.compare(as_rows(now)) == kept.compare(as_rows(now))


def test_rows_of_a_file_that_is_sorted() -> None:
    r = np.random.default_rng(15)
    rows = sensors(r, 1000)
    rows = rows[np.argsort(rows[:, 0])]
    found = novelty(rows, sensors(r, 256))
    assert found.pvalue is not None and found.pvalue > 0.01


@pytest.mark.parametrize(
    "change",
    [
        {"scores": [2.0, 1.0]},
        {"scores": [None]},
        {"names": ["a"]},
        {"pairs": {"pairs": 1, "smallest": [1.0, 2.0]}},
        {"pairs": 1},
        {"categories": {"kind": 1}},
        {"categories": []},
    ],
)
def test_what_is_damaged_is_refused(change: dict[str, Any]) -> None:
    content = NoveltyReference.none().added(as_rows(sensors(np.random.default_rng(0), 400))).to_dict() | change
    with pytest.raises(InvalidInputError, match=r"damaged|no summary of categories"):
        NoveltyReference.from_dict(content)


@pytest.mark.filterwarnings("error")
def test_any_numbers_at_all() -> None:
    r = np.random.default_rng(12)
    rows = sensors(r, 500)
    rows[:, 3], rows[::2, 4] = 7.0, np.nan
    hostile = sensors(r, 100)
    hostile[0], hostile[1], hostile[2], hostile[3, 3] = np.inf, -1e308, np.nan, 8.0
    hostile[4], hostile[5] = 1e308, np.where(np.arange(8) % 2, np.inf, np.nan)
    reference = NoveltyReference.none().added(as_rows(rows))
    found = reference.compare(as_rows(hostile))
    assert {0, 1, 4, 5} <= set(found.novel) and 2 not in found.novel
    assert json.dumps(NoveltyReference.none().added(as_rows(np.tile(hostile, (8, 1)))).to_dict(), allow_nan=False)
    nothing = np.full((400, 2), np.nan)
    assert novelty(nothing, nothing[:9]).novel == ()
    assert novelty(np.zeros((400, 0)), np.zeros((9, 0))).novel == ()


def test_categories_and_identifiers_of_a_frame() -> None:
    r = np.random.default_rng(13)

    def frame(rows: int, first: int) -> pd.DataFrame:
        return pd.DataFrame(
            {
                "x": r.normal(size=rows),
                "y": r.normal(size=rows),
                "kind": r.choice(["a", "b", "c"], rows),
                "order_id": np.arange(first, first + rows),
                "note": [f"somebody wrote {first + row}" for row in range(rows)],
            }
        )

    before, now = frame(800, 0), frame(120, 10**6)
    assert "order_id" not in (NoveltyReference.none().added(_of_frame(before)).names or ())
    usual = novelty(before, now)
    assert usual.pvalue is not None and usual.pvalue > 0.01, "an id that grows is no news"
    near: Any = {name: now[name].to_numpy().copy() for name in now}
    for row in range(100, 104):
        near["x"][row], near["y"][row], near["kind"][row] = near["x"][50] + 1e-6 * row, near["y"][50], near["kind"][50]
    near["kind"][103] = "b" if near["kind"][50] == "a" else "a"
    now = pd.DataFrame(near)
    assert novelty(before, now).near_duplicates == (50, 100, 101, 102), "that of another kind is none"
    again = now.iloc[[7] * 5].assign(order_id=range(5), note=list("vwxyz"))
    assert novelty(before, pd.concat([now.iloc[:50], again])).equal_rows == 5


def test_a_category_that_the_baseline_hardly_has_is_far_out() -> None:
    r = np.random.default_rng(16)

    def frame(rows: int, odd: int = 0) -> pd.DataFrame:
        kind = r.choice(["a", "b", "c"], rows)
        kind[:odd] = "z"
        return pd.DataFrame({"x": r.normal(size=rows), "y": r.normal(size=rows), "kind": kind, "state": "on"})

    before = frame(800)
    reference = NoveltyReference.none().added(_of_frame(before))
    found = reference.compare(_of_frame(frame(200, odd=12)))
    assert set(range(12)) <= set(found.novel) and found.pvalue is not None and found.pvalue < 0.01
    usual = reference.compare(_of_frame(frame(200)))
    assert len(usual.novel) < 8 and usual.pvalue is not None and usual.pvalue > 0.01
    off = frame(50).assign(state=["off"] * 9 + ["on"] * 41)
    assert set(range(9)) <= set(reference.compare(_of_frame(off)).novel), "a column that never varied"
    gone = frame(50).assign(kind=None)
    assert len(reference.compare(_of_frame(gone)).novel) == 50, "that was never missing"
    only = NoveltyReference.none().added(_of_frame(before[["kind"]]))
    assert only.compare(_of_frame(frame(200, odd=9)[["kind"]])).novel == tuple(range(9))

    content = json.loads(json.dumps(reference.to_dict()))
    assert NoveltyReference.from_dict(content).to_dict() == content
    assert '"a"' not in json.dumps(content["categories"]), "hashes alone"
    older = NoveltyReference.from_dict({name: each for name, each in content.items() if name != "categories"})
    assert 0 not in older.compare(_of_frame(off.assign(x=0.1, y=0.1))).novel, "of which they had no part"


def test_scores_of_categories_by_their_definition() -> None:
    r = np.random.default_rng(17)
    labels = np.array(["a"] * 128 + ["b"] * 64 + [None] * 64, dtype=object)
    rows = replace(as_rows(r.normal(size=(FIT_ROWS, 0))), labels={"kind": labels})
    fitted = NoveltyReference.none().added(rows)
    asked = replace(as_rows(np.empty((4, 0))), labels={"kind": np.array(["a", "b", None, "z"], dtype=object)})
    shares = np.array([128.5, 64.5, 64.5, 0.5]) / 258
    expected = np.sqrt((1 - shares) / shares / 2)
    np.testing.assert_allclose(fitted._scores(asked, fitted._standardised(asked)), expected, rtol=1e-6)


def _of_frame(frame: pd.DataFrame) -> NovelRows:
    from robmon.drift.novelty import _rows_of

    return _rows_of(frame)


def test_images_by_their_cells() -> None:
    r = np.random.default_rng(14)
    before, now = r.random((600, 3, 32, 32)).astype(np.float32), r.random((64, 3, 32, 32)).astype(np.float32)
    now[:8] = now[8] + r.normal(scale=0.02, size=(8, 3, 32, 32))
    one_cell = now[20].copy()
    one_cell[0, 0, 0] += 0.5
    now[21], now[22] = one_cell, now[20]
    found = novelty(before, now)
    assert found.near_duplicates is not None and set(range(9)) <= set(found.near_duplicates)
    assert {20, 21} <= set(found.near_duplicates), "what differs in one cell is no repeat"
    assert found.equal_rows == 1
    assert novelty(before, 3 * now[30:]).pvalue == pytest.approx(0, abs=1e-12)


@pytest.mark.parametrize("alpha", [0, 1.0, True, "x"])
def test_an_alpha_that_is_no_share_is_refused(alpha: Any) -> None:
    with pytest.raises(InvalidInputError, match="alpha must be a number between 0 and 1"):
        novelty(np.zeros((9, 2)), np.zeros((9, 2)), alpha)


def test_other_columns_are_refused() -> None:
    with pytest.raises(InvalidInputError, match="the same columns"):
        novelty(np.zeros((9, 2)), np.zeros((9, 3)))

"""Embeddings: distances by closed forms, decisions by brute force and another library, and what is refused."""

from __future__ import annotations

import logging

import numpy as np
import pytest
import torch
from pytorch_metric_learning.distances import LpDistance
from pytorch_metric_learning.utils.accuracy_calculator import AccuracyCalculator
from pytorch_metric_learning.utils.inference import CustomKNN
from scipy.spatial.distance import cosine, pdist
from scipy.stats import chi

import robmon
from robmon.errors import InvalidInputError, PredictionError
from robmon.robustness import embeddings
from robmon.robustness.embeddings import Neighbours
from robmon.robustness.false_matches import PairDistances, pair_distances
from robmon.robustness.specification import Specification
from tests.robustness.assessing import assess_rows

RANDOM = np.random.default_rng(7)
ROWS, FEATURES, SIZE = 60, 5, 9
INPUTS = RANDOM.normal(size=(ROWS, FEATURES))
WEIGHTS = RANDOM.normal(size=(FEATURES, SIZE))
CLEAN = np.tanh(INPUTS @ WEIGHTS)
NOISY = CLEAN + RANDOM.normal(size=CLEAN.shape) * RANDOM.choice([0.05, 1.0], size=(ROWS, 1))


def embed(x):
    return np.tanh(x @ WEIGHTS)


def embedded(clean=CLEAN, noisy=NOISY, inputs=INPUTS, **options):
    """A model that says one thing of clean inputs and another of noisy ones, whatever the noise."""

    def predict(x, rows):
        is_clean = np.all(x == inputs[rows], axis=1)
        return np.where(is_clean.reshape(-1, *[1] * (clean.ndim - 1)), clean[rows], noisy[rows])

    return assess_rows(predict, inputs, **({"task": "embedding", "levels": [0.5], "trials": 19} | options))


def distances(noisy, clean, metric):
    if metric == "l2":
        return np.linalg.norm(noisy - clean, axis=1)
    return np.array([cosine(*pair) for pair in zip(noisy, clean, strict=True)])


def test_an_orthogonal_map_moves_as_far_as_its_noise():
    """Distances are those of the noise, `level * chi`; their mean square is `level² * dimension`."""
    dimension = 16
    orthogonal = np.linalg.qr(RANDOM.normal(size=(dimension, dimension)))[0]
    inputs = RANDOM.normal(size=(400, dimension))
    result = robmon.assess(lambda x: x @ orthogonal, inputs, task="embedding", scale=1.0, threshold=1.0)
    for point in result.curve[1:]:
        expected = point.level * chi(dimension).ppf(embeddings.MOVE_QUANTILES)
        assert point.move_quantiles == pytest.approx(expected, rel=0.02)
        assert point.mean_mse == pytest.approx(point.level**2 * dimension, rel=0.02)
        assert point.request_bound == pytest.approx(point.level**2 * chi(dimension).ppf(0.95) ** 2, rel=0.1)
        assert point.beyond_threshold == pytest.approx(chi(dimension).sf(1.0 / point.level), abs=0.01)
    assert result.slope.value == pytest.approx(dimension, rel=0.02)


@pytest.mark.parametrize("metric", ["l2", "cosine"])
def test_distances_are_those_of_scipy(metric):
    result = embedded(distance=metric, threshold=0.3)
    moves = distances(NOISY, CLEAN, metric)
    clean, noisy = result.curve
    assert noisy.mean_mse == pytest.approx(np.mean(moves**2 if metric == "l2" else moves))
    assert noisy.move_quantiles == pytest.approx(np.quantile(np.repeat(moves, 19), embeddings.MOVE_QUANTILES))
    assert noisy.beyond_threshold == np.mean(moves > 0.3)
    assert clean.beyond_threshold == clean.triplet_flips == 0 and clean.self_nearest == 1
    assert (noisy.mean_bound is None) == (metric == "l2"), "only of cosines a maximum is known"


def test_cosine_is_half_the_squared_distance_of_unit_vectors():
    units = [each / np.linalg.norm(each, axis=1, keepdims=True) for each in (CLEAN, NOISY)]
    cosines, squares = embedded(distance="cosine").curve[1], embedded(*units).curve[1]
    assert cosines.mean_mse == pytest.approx(squares.mean_mse / 2)
    assert cosines.triplet_flips == pytest.approx(squares.triplet_flips)


@pytest.mark.parametrize("metric", ["l2", "cosine"])
def test_the_threshold_is_the_quantile_of_distances_between_different_rows(metric):
    result = embedded(distance=metric, false_match_rate=0.05)
    pairs = pdist(CLEAN, "euclidean" if metric == "l2" else "cosine")
    assert result.threshold == pytest.approx(np.quantile(pairs, 0.05))
    assert f"threshold {result.threshold:.4g}: nearer than this lie 5 % of the 1770 pairs of these rows" in result.notes


@pytest.mark.parametrize("metric", ["l2", "cosine"])
def test_shares_beyond_the_threshold_have_no_scale(metric):
    options = {"task": "embedding", "distance": metric, "false_match_rate": 0.01}
    own, scaled = (robmon.assess(lambda x, by=by: by * embed(x), INPUTS, **options) for by in (1.0, 8.0))
    shares = [point.beyond_threshold for point in own.curve]
    assert 0 < shares[-2] < 1
    assert [point.beyond_threshold for point in scaled.curve] == shares
    assert [point.triplet_flips for point in scaled.curve] == [point.triplet_flips for point in own.curve]
    assert scaled.threshold == pytest.approx(own.threshold * (8.0 if metric == "l2" else 1.0))


def test_a_request_that_is_sent_twice_is_no_false_match():
    twice = np.concatenate([INPUTS, INPUTS[:30]])
    known = [robmon.assess(embed, inputs, task="embedding", false_match_rate=0.01) for inputs in (INPUTS, twice)]
    assert known[1].threshold == known[0].threshold
    assert known[1].curve[0].self_nearest == 1, "a row of the very same embedding is no nearer"
    assert "triplets are ties" in " ".join(known[1].notes)


def brute_triplets(clean, noisy, first, second):
    """Flips of given triplets, by a loop over their distances; ties left out."""
    flipped = []
    for row in range(len(clean)):
        for a, b in zip(first[row], second[row], strict=True):
            before = np.linalg.norm(clean[row] - clean[a]) - np.linalg.norm(clean[row] - clean[b])
            after = np.linalg.norm(noisy[row] - clean[a]) - np.linalg.norm(noisy[row] - clean[b])
            if before != 0:
                flipped.append(before * after <= 0)
    return np.mean(flipped)


def test_triplet_flips_are_those_of_a_loop_over_the_same_triplets():
    drawn = Neighbours(CLEAN, np.ones(ROWS, dtype=bool), "l2", None, seed=3).triplets
    expected = brute_triplets(CLEAN, NOISY, drawn.first, drawn.second)
    assert embedded(seed=3).curve[1].triplet_flips == pytest.approx(expected)
    rows = np.arange(ROWS)[:, None]
    assert np.all((drawn.first != drawn.second) & (drawn.first != rows) & (drawn.second != rows))
    assert len(np.unique(drawn.first)) == ROWS, "every row is drawn"


def test_of_few_rows_there_are_all_triplets():
    few = slice(0, 8)
    others = [[other for other in range(8) if other != row] for row in range(8)]
    pairs = [[(a, b) for i, a in enumerate(each) for b in each[i + 1 :]] for each in others]
    first, second = (np.array([[pair[which] for pair in each] for each in pairs]) for which in (0, 1))
    expected = brute_triplets(CLEAN[few], NOISY[few], first, second)
    assert 0 < expected < 1
    assert embedded(CLEAN[few], NOISY[few], INPUTS[few]).curve[1].triplet_flips == pytest.approx(expected)


@pytest.mark.parametrize("metric", ["l2", "cosine"])
def test_self_nearest_is_the_precision_at_1_of_pytorch_metric_learning(metric):
    logging.getLogger("PML").setLevel(logging.ERROR)
    knn = CustomKNN(LpDistance(normalize_embeddings=metric == "cosine", power=1))
    calculator = AccuracyCalculator(("precision_at_1",), k=1, device=torch.device("cpu"), knn_func=knn)
    rows = np.arange(ROWS)
    expected = calculator.get_accuracy(NOISY, rows, CLEAN, rows)["precision_at_1"]
    assert 0.1 < expected < 0.95
    assert embedded(distance=metric).curve[1].self_nearest == pytest.approx(expected)


def test_rows_beyond_the_gallery_are_held_against_it(monkeypatch):
    monkeypatch.setattr(embeddings, "GALLERY_ROWS", 20)
    monkeypatch.setattr("robmon.robustness.notes.GALLERY_ROWS", 20)
    result = embedded()
    others = np.linalg.norm(NOISY[:, None] - CLEAN[None, :20], axis=2)
    others[np.arange(20), np.arange(20)] = np.inf
    expected = np.mean(np.linalg.norm(NOISY - CLEAN, axis=1) <= others.min(axis=1))
    assert result.curve[1].self_nearest == pytest.approx(expected)
    drawn = Neighbours(CLEAN, np.ones(ROWS, dtype=bool), "l2", None, seed=0).triplets
    assert result.curve[1].triplet_flips == pytest.approx(brute_triplets(CLEAN, NOISY, drawn.first, drawn.second))
    assert "are looked for among the first 20 rows" in " ".join(result.notes)


@pytest.mark.parametrize("batch_rows", [7, 60, 1000])
def test_batches_change_nothing(batch_rows):
    whole, cut = (
        robmon.assess(embed, INPUTS, task="embedding", max_batch_rows=rows, trials=19) for rows in (None, batch_rows)
    )
    for one, other in zip(whole.curve, cut.curve, strict=True):
        assert one.triplet_flips == pytest.approx(other.triplet_flips, abs=1e-12)
        assert (one.beyond_threshold, one.self_nearest) == (other.beyond_threshold, other.self_nearest)
        assert one.move_quantiles == pytest.approx(other.move_quantiles, rel=1e-9)


def test_torch_tensors_give_what_arrays_do():
    weights = torch.tensor(WEIGHTS)
    tensors = robmon.assess(lambda x: torch.tanh(x @ weights), torch.tensor(INPUTS), task="embedding", trials=39)
    arrays = robmon.assess(embed, INPUTS, task="embedding", trials=39)
    assert tensors.threshold == pytest.approx(arrays.threshold)
    last, expected = tensors.curve[-1], arrays.curve[-1]
    assert last.triplet_flips == pytest.approx(expected.triplet_flips, rel=0.05)  # other draws
    assert last.self_nearest == pytest.approx(expected.self_nearest, abs=0.03)
    assert isinstance(last.move_quantiles, np.ndarray)


def test_float16_is_measured_in_float64():
    half = embedded(CLEAN.astype(np.float16), NOISY.astype(np.float16)).curve[1]
    assert half.mean_mse == pytest.approx(embedded().curve[1].mean_mse, rel=0.01)


def test_a_column_of_outputs_shaped_as_a_picture_is_a_vector():
    shaped = embedded(CLEAN[:, :, None, None], NOISY[:, :, None, None])
    assert shaped.curve[1].triplet_flips == embedded().curve[1].triplet_flips


@pytest.mark.parametrize(
    ("outputs", "sentence"),
    [
        (np.ones((ROWS, 3, 4)), r"shape \(60, 3, 4\) are not one vector a row"),
        (np.array(["cat"] * ROWS), "text outputs are no embeddings"),
        (np.arange(ROWS) % 3, "one whole number a row is no embedding"),
        (np.column_stack([np.arange(ROWS), CLEAN]), "column 0 of the outputs counts the rows"),
    ],
)
def test_what_is_no_embedding_is_refused(outputs, sentence):
    with pytest.raises(InvalidInputError, match=sentence):
        embedded(outputs, outputs)


def test_options_that_do_not_go_together_are_refused():
    for options, sentence in (
        ({"task": "regression", "threshold": 0.1}, "of embeddings, and the task is regression"),
        ({"task": "regression", "output": "embedding"}, "exclude one another"),
        ({"task": "embedding", "output": "value"}, "exclude one another"),
        ({"task": "embedding", "threshold": 0.0}, "above 0"),
        ({"task": "embedding", "distance": "manhattan"}, "distance 'manhattan' is not known"),
        ({"task": "embedding", "false_match_rate": 1.0}, "between 0 and 1"),
        ({"task": "embedding", "targets": CLEAN}, "embeddings have no targets"),
    ):
        with pytest.raises(InvalidInputError, match=sentence):
            robmon.assess(embed, INPUTS, **options)
    with pytest.raises(InvalidInputError, match="one number a row has no direction"):
        robmon.assess(lambda x: embed(x)[:, 0], INPUTS, task="embedding", distance="cosine")


def test_one_number_a_row_has_distances():
    moves = np.abs(NOISY[:, 0] - CLEAN[:, 0])
    assert embedded(CLEAN[:, 0], NOISY[:, 0]).curve[1].move_quantiles[0] == pytest.approx(np.median(moves))


def test_of_one_row_only_its_moves_are_told():
    result = embedded(CLEAN[:1], NOISY[:1], INPUTS[:1], scale=1.0)
    point = result.curve[1]
    assert point.move_quantiles == pytest.approx(np.full(4, np.linalg.norm(NOISY[0] - CLEAN[0])))
    assert (point.beyond_threshold, point.triplet_flips, point.self_nearest) == (None, None, None)
    told = " ".join(result.notes)
    assert "there is no threshold, which needs 2 different rows: set threshold" in told
    assert "there are no triplets, which need 3 rows" in told and "nothing is told of the nearest" in told
    assert embedded(CLEAN[:1], NOISY[:1], INPUTS[:1], scale=1.0, threshold=0.01).curve[1].beyond_threshold == 1


def test_embeddings_that_are_all_alike_are_told_and_score_nothing():
    alike = np.tile(CLEAN[:1], (ROWS, 1))
    point, told = embedded(alike, NOISY).curve[1], " ".join(embedded(alike, NOISY).notes)
    assert (point.beyond_threshold, point.triplet_flips, point.self_nearest) == (None, None, None)
    assert "or more have the same embedding" in told and "all triplets are ties" in told


def test_zero_vectors_have_no_cosine():
    zeros = CLEAN.copy()
    zeros[[4, 9]] = 0.0
    result = embedded(zeros, distance="cosine")
    kept = np.delete(np.arange(ROWS), [4, 9])
    assert result.rows == ROWS - 2
    assert "2 of the rows left out have the zero vector, which has no cosine" in result.notes
    assert result.curve[1].mean_mse == pytest.approx(distances(NOISY[kept], CLEAN[kept], "cosine").mean())
    assert embedded(zeros).rows == ROWS, "of l2 a zero vector is one like another"
    with pytest.raises(PredictionError, match="zero vectors have none"):
        embedded(np.zeros_like(CLEAN), distance="cosine")


def test_a_failure_under_noise_is_no_row_to_drop():
    broken = NOISY.copy()
    broken[3] = np.nan
    clean, noisy = embedded(CLEAN, broken, threshold=100.0).curve
    assert noisy.mean_mse == noisy.bound == noisy.request_bound == np.inf
    assert noisy.beyond_threshold == pytest.approx(1 / ROWS) and noisy.nonfinite_outputs == 19
    assert noisy.move_quantiles[-1] == np.inf and np.isfinite(noisy.move_quantiles[0])
    assert clean.mean_mse == 0


def test_rows_without_a_clean_embedding_are_left_out():
    lost = CLEAN.copy()
    lost[0] = np.nan
    result = embedded(lost, np.where(np.isnan(lost), np.nan, NOISY))
    rest = embedded(CLEAN[1:], NOISY[1:], INPUTS[1:])
    assert result.rows == ROWS - 1
    assert result.curve[1].self_nearest == rest.curve[1].self_nearest
    assert result.threshold == pytest.approx(rest.threshold)


def test_a_deterministic_perturbation_has_no_trial_bound():
    result = robmon.assess(embed, INPUTS, task="embedding", noise="quantize")
    assert result.no_bound == "deterministic" and result.curve[-1].bound is None
    assert result.curve[-1].request_bound is not None and result.curve[-1].triplet_flips > 0


def test_pairs_that_are_near_keep_their_digits():
    far = 1e6 + np.array([[0.0, 0.0], [1e-6, 0.0], [3.0, 4.0]])
    assert pair_distances(far, "l2") == pytest.approx(pdist(far), rel=1e-9)


def test_pairs_of_several_samples_add_up_to_within_a_cell():
    parts = [pdist(RANDOM.normal(size=(80, 4))) for _ in range(4)]
    kept = PairDistances.of(parts[0], "l2")
    for part in parts[1:]:
        kept = kept.merged(PairDistances.of(part, "l2"))
    again = PairDistances.from_dict(kept.to_dict())
    for rate in (0.001, 0.05, 0.5):
        assert again.threshold(rate, "all").distance == pytest.approx(np.quantile(parts, rate), rel=0.012)
    assert again.pairs == sum(map(len, parts))
    with pytest.raises(InvalidInputError, match="are damaged"):
        PairDistances.from_dict({**kept.to_dict(), "counts": [1]})


def test_the_picture_shows_what_decides():
    left, right = embedded(threshold=0.5).plot().axes
    drawn = {line.get_label(): line.get_ydata() for line in right.lines + left.lines}
    point = embedded(threshold=0.5).curve[1]
    assert drawn["requests moved beyond the threshold, 0.5"][1] == point.beyond_threshold
    assert drawn["triplets in another order"][1] == point.triplet_flips
    assert "squared distance" in (left.get_ylabel() + right.get_ylabel())


def turned(x):
    """The same embedding rotated into a larger space, scaled and moved."""
    rotation = np.linalg.qr(np.random.default_rng(1).normal(size=(14, 14)))[0][:SIZE]
    return 3.0 * embed(x) @ rotation + 7.0


@pytest.mark.parametrize("metric", ["l2", "cosine"])
def test_versions_may_be_rotated_scaled_and_of_another_size(metric):
    def unmoved(x):
        return turned(x) - 7.0

    result = robmon.compare(embed, turned if metric == "l2" else unmoved, INPUTS, task="embedding", distance=metric)
    assert result.score == "triplets" and not result.worse
    assert result.pooled_ratio == pytest.approx(1.0, abs=1e-3)
    assert result.beyond_b == pytest.approx(result.beyond_a)
    assert result.self_nearest_b == pytest.approx(result.self_nearest_a)
    assert "b is not shown to be worse than a" in str(result)


def test_a_version_that_reacts_more_is_worse():
    def ragged(x):
        return np.hstack([embed(x), np.sin(12.0 * x)])

    result = robmon.compare(embed, ragged, INPUTS, task="embedding", tolerance=0.1)
    assert result.worse and result.pooled_low > 1.1
    assert not robmon.compare(ragged, embed, INPUTS, task="embedding", tolerance=0.1).worse
    assert "it changes" in str(result) and len(result.plot().axes[0].lines) == 2


def test_a_version_that_tells_rows_apart_no_more_is_not_better():
    """Nothing moves an embedding of three vectors, and it says nothing."""

    def few(x):
        return np.eye(3)[np.clip(np.round(x[:, 0]), -1, 1).astype(int)]

    assert robmon.compare(embed, few, INPUTS, task="embedding").worse
    with pytest.raises(InvalidInputError, match="do not vary any more"):
        robmon.compare(embed, lambda x: np.ones((len(x), 3)), INPUTS, task="embedding")


def test_a_version_that_fails_is_worse():
    def failing(x):
        return np.where(np.arange(len(x))[:, None] == 2, np.nan, embed(x))

    assert robmon.compare(embed, failing, INPUTS, task="embedding").pvalue == 0


def test_rank_needs_no_targets():
    ranking = robmon.rank(
        {"smooth": embed, "turned": turned, "rough": lambda x: np.sin(6 * x)}, INPUTS, task="embedding"
    )
    assert ranking.score == "share of triplets that keep their order" and ranking.higher_is_better
    assert ranking.ranks[2].tolist()[1:] == [3.0] * 4
    with pytest.raises(InvalidInputError, match="leave the targets out"):
        robmon.rank([embed, turned], INPUTS, CLEAN, task="embedding")


@pytest.mark.parametrize(
    ("threshold", "distance", "sentence"),
    [
        (2.01, "cosine", "the threshold of cosine distances must be at most 2, which none exceeds, not 2.01"),
        (-0.1, "cosine", "the threshold of distances must be a finite number above 0, not -0.1"),
        (0.0, "l2", "the threshold of distances must be a finite number above 0, not 0.0"),
    ],
)
def test_a_threshold_that_no_distance_has_is_refused(threshold: float, distance: str, sentence: str) -> None:
    with pytest.raises(InvalidInputError) as refused:
        Specification(task="embedding", distance=distance, threshold=threshold)
    assert str(refused.value) == sentence
    assert Specification(task="embedding", distance="l2", threshold=5.0).threshold == 5.0

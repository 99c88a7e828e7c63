from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import binom
from sklearn.datasets import load_digits
from sklearn.decomposition import PCA
from sklearn.linear_model import Ridge
from sklearn.metrics import roc_auc_score

from attacks.errors import ShapeError, UnderPowered
from attacks.statistics import blind
from attacks.statistics.blind import blind_test, label_units, ridge_folds, ridge_scores, unit_block
from attacks.statistics.relabelling import (
    p_of_first,
    relabellings,
    row_aucs,
    score_aucs,
    standardised,
    tail_counts,
)

DIGITS = load_digits()
IMAGES = DIGITS.images / 16


def features(images):
    """Components with squares, and four complexity scores, of (n, 8, 8) images."""
    flat = images.reshape(len(images), -1)
    pixels = PCA(32, whiten=True, svd_solver="full").fit_transform(flat)
    scores = {
        "mean": flat.mean(axis=1),
        "contrast": flat.std(axis=1),
        "variation": np.abs(np.diff(images, axis=1)).mean(axis=(1, 2)),
        "outlier": np.linalg.norm(pixels, axis=1),
    }
    return {"pixels": np.hstack([pixels, pixels**2])}, scores


def outcome(images, is_member, seed=0, n_permutations=999, **options):
    rng = np.random.default_rng(seed)
    return blind_test(
        *features(images), is_member, rng=rng, n_permutations=n_permutations, **options
    )


def clean_p_values(n_splits, n_permutations, seed, n_columns):
    rng = np.random.default_rng(seed)
    blocks, scores = features(IMAGES[rng.permutation(len(IMAGES))[:1200]])
    blocks = {name: block[:, :n_columns] for name, block in blocks.items()}
    halves = np.arange(1200) < 600
    return np.array(
        [
            blind_test(
                blocks, scores, rng.permutation(halves), rng=rng, n_permutations=n_permutations
            ).p
            for _ in range(n_splits)
        ]
    )


def test_clean_random_splits_are_rarely_called_confounded():
    p = clean_p_values(60, 399, seed=1, n_columns=24)
    assert np.sum(p <= 0.01) <= binom.ppf(0.999, 60, 0.01)
    assert np.sum(p <= 0.05) <= binom.ppf(0.999, 60, 0.05)
    assert np.median(p) > 0.2


@pytest.mark.slow
def test_false_invalid_rate_over_two_hundred_clean_splits():
    p = clean_p_values(200, 1999, seed=2, n_columns=64)
    assert np.sum(p <= 0.01) <= binom.ppf(0.999, 200, 0.01)
    assert np.sum(p <= 0.05) <= binom.ppf(0.999, 200, 0.05)


def test_other_classes_are_confounded():
    order = np.random.default_rng(0).permutation(len(IMAGES))
    low, high = (order[(DIGITS.target[order] < 5) == side][:600] for side in (True, False))
    result = outcome(IMAGES[np.r_[low, high]], np.arange(1200) < 600)
    assert result.p <= 0.01
    assert result.auc["ridge:pixels"] > 0.8
    assert result.auc["ridge:all"] > 0.85
    assert result.auc["boosted"] > 0.9
    by_side = result.record_scores[:600].mean() - result.record_scores[600:].mean()
    assert by_side > result.record_scores.std()


def test_one_brighter_pixel_in_members_is_confounded():
    images = IMAGES[np.random.default_rng(1).permutation(len(IMAGES))[:1200]].copy()
    images[:600, 0, 0] += 0.5
    result = outcome(images, np.arange(1200) < 600)
    assert result.p <= 0.01
    assert result.auc["ridge:all"] > 0.9


def test_a_handful_of_odd_members_shows_in_the_tail():
    rng = np.random.default_rng(2)
    scores = {"size": rng.normal(size=1200)}
    scores["size"][:25] += 8
    result = blind_test({}, scores, np.arange(1200) < 600, rng=rng)
    assert result.p_tail <= 0.005
    assert result.tail["size:high"] >= 25
    assert result.auc["size"] < 0.56
    assert result.p <= 0.01
    low = blind_test({}, {"size": -scores["size"]}, np.arange(1200) < 600, rng=rng)
    assert low.tail["size:low"] == result.tail["size:high"]


def test_low_scores_of_members_count_as_well():
    rng = np.random.default_rng(3)
    scores = {"size": rng.normal(size=400) - np.where(np.arange(400) < 200, 0.6, 0)}
    result = blind_test({}, scores, np.arange(400) < 200, rng=rng)
    assert result.auc["size"] < 0.4
    assert result.z["size"] < -4
    assert result.p <= 0.01


@settings(max_examples=25, deadline=None)
@given(st.integers(0, 2**32 - 1), st.integers(8, 30), st.integers(1, 5))
def test_matrix_product_equals_refitting(seed, n, d):
    rng = np.random.default_rng(seed)
    block = unit_block(rng.normal(size=(n, d)))
    folds = rng.integers(3, size=n)
    folds[:3] = range(3)
    labels = rng.random((4, n)) < 0.5
    expected = np.zeros((4, n))
    for row, y in zip(expected, labels, strict=True):
        for fold in range(3):
            train = folds != fold
            model = Ridge(alpha=blind.RIDGE * train.sum()).fit(block[train], y[train])
            row[~train] = model.predict(block[~train]) - y[train].mean()
    np.testing.assert_allclose(ridge_scores(ridge_folds(block, folds), labels), expected, atol=1e-9)


def test_ridge_scores_never_read_the_label_of_their_own_fold():
    rng = np.random.default_rng(4)
    folds, labels = np.arange(40) % 5, rng.random((1, 40)) < 0.5
    ready = ridge_folds(unit_block(rng.normal(size=(40, 6))), folds)
    flipped = np.where(folds == 2, ~labels, labels)
    before, after = ridge_scores(ready, labels), ridge_scores(ready, flipped)
    np.testing.assert_allclose(before[0, folds == 2], after[0, folds == 2], atol=1e-12)
    assert not np.allclose(before[0, folds == 3], after[0, folds == 3])


@settings(max_examples=40, deadline=None)
@given(st.integers(0, 2**32 - 1), st.integers(4, 40), st.integers(2, 9))
def test_aucs_equal_scikit_learn_with_ties(seed, n, distinct):
    rng = np.random.default_rng(seed)
    labels = np.array([rng.permutation(np.arange(n) < n // 2) for _ in range(3)])
    scores = rng.integers(distinct, size=(3, n)) * 0.37 - 1
    expected = [roc_auc_score(y, s) for y, s in zip(labels, scores, strict=True)]
    np.testing.assert_allclose(row_aucs(scores, labels), expected)
    shared = [roc_auc_score(y, scores[0]) for y in labels]
    np.testing.assert_allclose(score_aucs(scores[0], labels), shared)


def test_aucs_without_spread_or_without_a_class_are_one_half():
    labels = np.array([[True, False, True], [True, True, True]])
    np.testing.assert_array_equal(row_aucs(np.zeros((2, 3)), labels), 0.5)
    np.testing.assert_array_equal(score_aucs(np.arange(3.0), labels), [0.5, 0.5])
    np.testing.assert_array_equal(standardised(np.full(5, 0.7)), 0)


@settings(max_examples=40, deadline=None)
@given(st.integers(0, 2**32 - 1), st.integers(3, 400), st.integers(2, 500))
def test_tail_counts_equal_the_definition(seed, n_nonmembers, distinct):
    rng = np.random.default_rng(seed)
    n = n_nonmembers + int(rng.integers(1, 400))
    values = rng.integers(distinct, size=n).astype(float)
    labels = np.array([rng.permutation(np.arange(n) >= n_nonmembers) for _ in range(3)])
    expected = [np.sum(values[y] > np.sort(values[~y])[-3]) for y in labels]
    np.testing.assert_array_equal(tail_counts(values, labels), expected)


def test_relabellings_keep_the_declared_row_and_the_counts():
    labels = np.arange(30) < 7
    rows = relabellings(labels, 50, np.random.default_rng(5))
    np.testing.assert_array_equal(rows[0], labels)
    np.testing.assert_array_equal(rows.sum(axis=1), 7)
    assert len(np.unique(rows, axis=0)) == 51


def test_p_counts_the_declared_labels():
    assert p_of_first(np.array([3.0, 1.0, 2.0, 0.0])) == 0.25
    assert p_of_first(np.array([1.0, 1.0, 2.0, 0.0])) == 0.75


def test_records_of_one_subject_are_not_independent_evidence():
    """40 subjects with 15 near-copies each: without groups every clean split looks confounded."""
    rng = np.random.default_rng(6)
    groups = np.repeat(np.arange(40), 15)
    centres = rng.normal(size=(40, 3))
    block = centres[groups] + 0.05 * rng.normal(size=(600, 3))
    p, p_ungrouped = [], []
    for _ in range(10):
        labels = rng.permutation(np.arange(40) < 20)[groups]
        args = ({"x": block}, {"first": block[:, 0]}, labels)
        p.append(blind_test(*args, rng=rng, groups=groups, n_permutations=399).p)
        p_ungrouped.append(blind_test(*args, rng=rng, n_permutations=399).p)
    assert np.sum(np.array(p) <= 0.05) <= binom.ppf(0.999, 10, 0.05)
    assert np.mean(np.array(p_ungrouped) <= 0.01) > 0.8


def test_names_of_subjects_do_not_matter():
    rng = np.random.default_rng(7)
    groups, block = np.repeat(np.arange(60), 3), rng.normal(size=(180, 4))
    names = np.array([f"s{(g * 37) % 60}" for g in groups])
    results = [
        blind_test(
            {"x": block}, {}, groups < 30, rng=np.random.default_rng(0), groups=g, n_permutations=99
        )
        for g in (groups, names)
    ]
    assert results[0].p_z == results[1].p_z
    assert results[0].n_units == 60
    np.testing.assert_array_equal(results[0].record_scores, results[1].record_scores)


def test_a_subject_counts_once_in_the_tail():
    rng = np.random.default_rng(8)
    groups = np.repeat(np.arange(50), 10)
    size = rng.normal(size=500)
    size[:10] += 50  # ten records of one member
    result = blind_test({}, {"size": size}, groups < 25, rng=rng, groups=groups, n_permutations=199)
    assert result.tail["size:high"] < 10


def test_same_seed_same_result():
    a, b = (outcome(IMAGES[:200], np.arange(200) % 2 == 0, n_permutations=199) for _ in "ab")
    assert (a.p, a.auc, a.z, a.tail) == (b.p, b.auc, b.z, b.tail)
    np.testing.assert_array_equal(a.record_scores, b.record_scores)


def test_uniform_features_show_nothing():
    result = blind_test(
        {"x": np.ones((60, 3))},
        {"size": np.ones(60)},
        np.arange(60) < 30,
        rng=np.random.default_rng(0),
        n_permutations=99,
    )
    assert result.p == 1
    assert result.auc == {"ridge:x": 0.5, "ridge:all": 0.5, "size": 0.5, "boosted": 0.5}
    assert set(result.tail.values()) == {0}


def test_no_features_at_all_show_nothing():
    rng = np.random.default_rng(0)
    assert blind_test({}, {}, np.arange(60) < 30, rng=rng, n_permutations=99).p == 1


def test_what_stands_out_most_may_point_down_only_where_no_label_is_fitted():
    result = blind_test({}, {}, np.arange(60) < 30, rng=np.random.default_rng(0), n_permutations=99)
    z = {"ridge:x": 2.0, "size": -3.0, "boosted": -9.0}
    assert replace(result, z=z).strongest == "size"
    assert replace(result, z=z | {"ridge:x": 4.0}).strongest == "ridge:x"


def test_refusals():
    rng = np.random.default_rng(0)
    labels = np.arange(60) < 30
    with pytest.raises(UnderPowered, match="20 on each side"):
        blind_test({"x": np.zeros((10, 2))}, {}, np.arange(10) < 5, rng=rng)
    with pytest.raises(UnderPowered):
        label_units(np.zeros(0, dtype=bool), None)
    with pytest.raises(ShapeError, match="'x'"):
        blind_test({"x": np.zeros((59, 2))}, {}, labels, rng=rng)
    with pytest.raises(ShapeError, match="finite"):
        blind_test({}, {"size": np.full(60, np.nan)}, labels, rng=rng)
    with pytest.raises(ShapeError, match="is_member"):
        label_units(np.zeros((4, 2), dtype=bool), None)
    with pytest.raises(ShapeError, match="groups"):
        label_units(labels, np.zeros(3))
    with pytest.raises(ShapeError, match="group holds"):
        label_units(labels, np.arange(60) % 20)

"""The report on a proxy: the ceiling, a proxy that knows nothing, ties, missing scores."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats
from sklearn.metrics import roc_auc_score

from attacks.errors import DataError, ShapeError, UnderPowered
from attacks.memorization import (
    c_score,
    memorization,
    nearest_neighbour_memorization,
    validate_proxy,
)
from attacks.statistics import clopper_pearson
from tests.attacks.memorization.synthetic import flipped_digits, monte_carlo


def oracle():
    digits = flipped_digits()
    size = int(0.7 * len(digits.labels))
    return nearest_neighbour_memorization(digits.points, digits.labels, size).value


def test_the_oracle_is_the_ceiling():
    flipped = flipped_digits().is_flipped
    report = validate_proxy(oracle(), oracle(), flipped)
    assert report.spearman.value == pytest.approx(1)
    assert report.flip_auc.value == pytest.approx(0.999, abs=5e-4)
    assert (report.n_records, report.n_left_out, report.n_top) == (1797, 0, 90)
    assert report.precision_memorized.value == 1
    assert report.precision_flipped.value > 0.5
    assert report.base_memorized == pytest.approx(np.mean(oracle() >= 0.25))
    assert not report.is_screening_only
    assert report.label == "validated (rank correlation with memorization 1.00)"


def test_real_estimates_and_the_c_score_pass():
    keep, answers = monte_carlo()
    flipped = flipped_digits().is_flipped
    for proxy in (memorization(keep, answers).value, c_score(keep, answers).score):
        report = validate_proxy(proxy, oracle(), flipped)
        assert report.spearman.low > 0.9
        assert report.flip_auc.low > 0.99
        assert report.precision_memorized.value == 1
        assert not report.is_screening_only


def test_a_proxy_that_knows_nothing_is_for_screening_only():
    flipped = flipped_digits().is_flipped
    noise = np.random.default_rng(0).normal(size=flipped.size)
    report = validate_proxy(noise, oracle(), flipped)
    assert report.is_screening_only
    assert report.label.startswith("screening only (rank correlation with memorization ")
    assert report.spearman.low < 0 < report.spearman.high
    assert report.flip_auc.low < 0.5 < report.flip_auc.high
    low, high = report.precision_memorized.low, report.precision_memorized.high
    assert low < report.base_memorized < high


def test_the_wrong_sign_does_not_pass():
    report = validate_proxy(-oracle(), oracle(), flipped_digits().is_flipped)
    assert report.spearman.value == pytest.approx(-1)
    assert report.is_screening_only
    assert report.flip_auc.value < 0.01
    assert report.precision_memorized.value == 0


@pytest.mark.parametrize(("noise", "is_screening"), [(2.0, False), (5.0, True)])
def test_the_boundary_is_at_three_tenths(noise, is_screening):
    rng = np.random.default_rng(1)
    truth = rng.normal(size=20_000)
    report = validate_proxy(truth + noise * rng.normal(size=20_000), truth)
    assert (report.spearman.value < 0.3) == is_screening
    assert report.is_screening_only == is_screening


@given(
    st.lists(
        st.tuples(st.integers(0, 4), st.sampled_from([0.0, 0.2, 0.25, 0.9]), st.booleans()),
        min_size=10,
        max_size=40,
    ),
    st.sampled_from([0.05, 0.3, 1.0]),
)
def test_equals_references_with_ties(rows, top):
    proxy, truth, flipped = (np.array(column) for column in zip(*rows, strict=True))
    report = validate_proxy(proxy, truth, flipped, top=top)
    if np.ptp(proxy) and np.ptp(truth):
        assert report.spearman.value == pytest.approx(stats.spearmanr(proxy, truth).statistic)
    else:
        assert report.spearman.value is None
        assert report.is_screening_only
        assert "all scores are equal" in report.label
    if 0 < flipped.sum() < flipped.size:
        assert report.flip_auc.value == pytest.approx(roc_auc_score(flipped, proxy))
    else:
        assert "right and with wrong" in report.flip_auc.reason
    # The expected precision when ties are broken at random, over many random orders.
    rng, k = np.random.default_rng(0), report.n_top
    assert k == int(np.ceil(round(top * proxy.size, 9)))
    orders = [np.lexsort((rng.random(proxy.size), -proxy))[:k] for _ in range(400)]
    expected = np.mean([np.mean(truth[order] >= 0.25) for order in orders])
    assert report.precision_memorized.value == pytest.approx(expected, abs=0.13)
    band = clopper_pearson(report.precision_memorized.value * k, k)
    assert report.precision_memorized.low == pytest.approx(band.low)
    assert report.precision_memorized.high == pytest.approx(band.high)


def test_missing_scores_are_left_out_and_counted():
    rng = np.random.default_rng(3)
    truth = rng.random(200)
    proxy = np.ma.MaskedArray(truth + 0.1 * rng.random(200), mask=np.arange(200) < 20)
    refused = np.ma.MaskedArray(truth, mask=np.arange(200) >= 170)
    report = validate_proxy(proxy, refused, truth > 0.9)
    assert (report.n_records, report.n_left_out, report.n_top) == (150, 50, 8)
    kept = slice(20, 170)
    alone = validate_proxy(proxy.data[kept], truth[kept], (truth > 0.9)[kept])
    assert alone.spearman == report.spearman
    assert alone.precision_flipped == report.precision_flipped
    unknown = validate_proxy(proxy, refused)
    assert unknown.flip_auc.value is None
    assert "not known" in unknown.precision_flipped.reason


def test_what_is_refused():
    with pytest.raises(ShapeError, match="one shape"):
        validate_proxy(np.zeros(3), np.zeros(4))
    with pytest.raises(ShapeError, match="is_flipped"):
        validate_proxy(np.zeros(3), np.zeros(3), np.zeros(4))
    with pytest.raises(DataError, match="top"):
        validate_proxy(np.zeros(3), np.zeros(3), top=0)
    with pytest.raises(UnderPowered, match="both"):
        validate_proxy([np.nan, 1.0], [1.0, np.nan])

"""KID: obvious twin, the library, no bias, and an interval that holds what it says."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from attacks.errors import ShapeError
from attacks.quality import kid
from attacks.quality.kid import _jackknife

SEEDS = st.integers(0, 2**32 - 1)


def loops(x, y):
    """The unbiased estimate as its definition reads."""

    def kernel(a, b):
        return (sum(p * q for p, q in zip(a, b, strict=True)) / len(a) + 1) ** 3

    def within(rows):
        pairs = [(i, j) for i in range(len(rows)) for j in range(len(rows)) if i != j]
        return sum(kernel(rows[i], rows[j]) for i, j in pairs) / len(pairs)

    across = sum(kernel(a, b) for a in x for b in y) / (len(x) * len(y))
    return within(x) + within(y) - 2 * across


@settings(max_examples=30, deadline=None)
@given(seed=SEEDS, n=st.integers(2, 12), m=st.integers(2, 12), d=st.integers(1, 5))
def test_equals_its_definition(seed, n, m, d):
    rng = np.random.default_rng(seed)
    x, y = rng.normal(size=(n, d)), rng.normal(0.5, 1.3, size=(m, d))
    found = kid(x, y)
    assert found.estimate.value == pytest.approx(loops(x, y), rel=1e-9, abs=1e-9)
    assert found.estimate.low is None
    assert found.estimate.reason
    assert (found.n_real, found.n_generated, found.d, found.n_groups) == (n, m, d, 0)


@settings(max_examples=10, deadline=None)
@given(seed=SEEDS, n=st.integers(16, 30), m=st.integers(16, 30))
def test_the_interval_equals_a_jackknife_by_recomputation(seed, n, m):
    rng = np.random.default_rng(seed)
    x, y = rng.normal(size=(n, 3)), rng.normal(0.4, 1, size=(m, 3))
    found = kid(x, y, groups=4)
    labels = [np.arange(len(one)) * 4 // len(one) for one in (x, y)]
    kept = [loops(x[labels[0] != g], y[labels[1] != g]) for g in range(4)]
    pseudo = 4 * found.estimate.value - 3 * np.array(kept)
    half = 3.182446305 * pseudo.std(ddof=1) / 2
    assert found.estimate.high == pytest.approx(found.estimate.value + half, rel=1e-6)
    assert found.estimate.low == pytest.approx(found.estimate.value - half, rel=1e-6)
    assert found.n_groups == 4
    assert _jackknife(found.estimate.value, x, y, 4)[0] == found.estimate.low


def test_agrees_with_torchmetrics():
    from torchmetrics.image.kid import poly_mmd

    rng = np.random.default_rng(0)
    x, y = rng.normal(size=(40, 8)), rng.normal(0.3, 1.2, size=(40, 8))
    expected = float(poly_mmd(torch.from_numpy(x), torch.from_numpy(y)))
    assert kid(x, y).estimate.value == pytest.approx(expected, rel=1e-9)


def test_it_is_unbiased_and_its_interval_covers():
    """Null: mean 0. Shifted: the interval holds the mean of many estimates nearly always."""
    rng = np.random.default_rng(1)
    null = [kid(rng.normal(size=(24, 2)), rng.normal(size=(24, 2))) for _ in range(400)]
    values = np.array([one.estimate.value for one in null])
    assert abs(values.mean()) < 4 * values.std(ddof=1) / 20
    assert (values < 0).any()
    covered = [one.estimate.low <= 0 <= one.estimate.high for one in null]
    assert np.mean(covered) >= 0.93
    shifted = [
        kid(rng.normal(size=(60, 2)), rng.normal(1.2, 1, size=(60, 2))).estimate for _ in range(400)
    ]
    truth = np.mean([one.value for one in shifted])
    assert np.mean([one.low <= truth <= one.high for one in shifted]) >= 0.90
    assert np.mean([one.low > 0 for one in shifted]) > 0.9


def test_other_pictures_are_farther_and_order_does_not_change_the_value():
    rng = np.random.default_rng(2)
    real, like, unlike = (
        rng.normal(size=(64, 4)), rng.normal(size=(64, 4)), rng.normal(1, 1, (64, 4)),
    )  # fmt: skip
    assert kid(real, unlike).estimate.low > kid(real, like).estimate.high
    shuffled = kid(real[rng.permutation(64)], unlike[rng.permutation(64)])
    assert shuffled.estimate.value == pytest.approx(kid(real, unlike).estimate.value, rel=1e-9)
    assert kid(unlike, real).estimate.value == pytest.approx(kid(real, unlike).estimate.value)


@pytest.mark.parametrize(
    ("x", "y"),
    [
        (np.zeros((1, 2)), np.zeros((4, 2))),
        (np.zeros((4, 2)), np.zeros((4, 3))),
        (np.full((4, 2), np.nan), np.zeros((4, 2))),
        (np.zeros(4), np.zeros(4)),
    ],
)
def test_sets_that_cannot_be_compared_are_refused(x, y):
    with pytest.raises(ShapeError):
        kid(x, y)

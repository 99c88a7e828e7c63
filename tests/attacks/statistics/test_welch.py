"""Welch's one-sided test: scipy, the formula, and what gives no evidence."""

from __future__ import annotations

import numpy as np
import pytest
import scipy.stats

from attacks.errors import UnderPowered
from attacks.statistics.welch import welch_greater


def test_equals_scipy_and_the_formula():
    rng = np.random.default_rng(0)
    a, b = rng.normal(0.4, 2, 30), rng.normal(0, 1, 80)
    found = welch_greater(a, b)
    variances = a.var(ddof=1) / 30, b.var(ddof=1) / 80
    statistic = (a.mean() - b.mean()) / sum(variances) ** 0.5
    freedom = sum(variances) ** 2 / (variances[0] ** 2 / 29 + variances[1] ** 2 / 79)
    assert found.statistic == pytest.approx(statistic)
    assert found.p_value == pytest.approx(scipy.stats.t.sf(statistic, freedom))
    assert found.effect == pytest.approx((a.mean() - b.mean()) / b.std(ddof=1))


def test_is_one_sided():
    a, b = np.arange(20.0), np.arange(20.0) + 3
    assert welch_greater(b, a).p_value + welch_greater(a, b).p_value == pytest.approx(1)
    assert welch_greater(b, a).p_value < 0.5


def test_scores_that_do_not_vary_are_no_evidence():
    assert welch_greater(np.ones(20), np.zeros(20)) == (1.0, 0.0, 0.0)


def test_few_scores_are_refused():
    with pytest.raises(UnderPowered, match="got 9 and 20"):
        welch_greater(np.arange(9.0), np.arange(20.0))

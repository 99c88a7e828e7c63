"""Conformal p-values and flags: twin, validity, and what a list can flag at all."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from attacks.detection.flags import conformal_p, fewest_flaggable, flagged, references_for_one
from attacks.errors import DataError

SCORES = st.lists(st.integers(0, 5), min_size=1, max_size=8)


@given(suspects=SCORES, references=SCORES)
def test_p_values_equal_an_obvious_count(suspects, references):
    n = len(references)
    high = [(1 + sum(r >= s for r in references)) / (n + 1) for s in suspects]
    low = [(1 + sum(r <= s for r in references)) / (n + 1) for s in suspects]
    assert conformal_p(suspects, references).tolist() == high
    both = [min(1, 2 * min(a, b)) for a, b in zip(high, low, strict=True)]
    assert conformal_p(suspects, references, is_directed=False).tolist() == both


def test_p_values_are_valid_where_nothing_differs():
    rng = np.random.default_rng(0)
    draws = rng.normal(size=(4000, 30))
    for is_directed in (True, False):
        p = [conformal_p(row[:1], row[1:], is_directed=is_directed)[0] for row in draws]
        for level in (0.05, 0.1, 0.5):
            assert np.mean(np.array(p) <= level) <= level + 4 * np.sqrt(level / 4000)


def test_planted_prompts_are_flagged_and_few_others():
    rng = np.random.default_rng(1)
    hits, false = [], []
    for _ in range(200):
        scores = rng.normal(size=40)
        scores[:10] += 6
        found = flagged(conformal_p(scores, rng.normal(size=400)))
        hits.append(found[:10].mean())
        false.append(found[10:].sum() / max(found.sum(), 1))
    assert np.mean(hits) > 0.99
    assert np.mean(false) < 0.1


@given(n=st.integers(1, 300), m=st.integers(1, 3000))
def test_what_a_list_can_flag(n, m):
    fewest = fewest_flaggable(n, m)
    for k in (fewest - 1, fewest):
        p = np.ones(n)
        p[: min(k, n)] = 1 / (m + 1)
        assert flagged(p).any() == (fewest <= k <= n)
    assert fewest_flaggable(n, references_for_one(n)) == 1


def test_no_reference_is_an_error():
    with pytest.raises(DataError, match="--reference"):
        conformal_p([1.0], [])

"""Shares by group: a golden case, and that no group is shown of fewer than five members."""

import numpy as np
import pytest

from attacks.statistics.groups import OTHERS, shares_by_group
from attacks.statistics.rates import clopper_pearson


def test_a_golden_case_with_intervals_for_all_groups_together():
    members = np.array([3.0] * 6 + [0.0] * 4 + [3.0] * 1 + [0.0] * 9)
    found = shares_by_group(members, np.arange(-100, 0) / 50, ["a"] * 10 + ["b"] * 10, fpr=0.01)
    assert [(g.group, g.n_members, g.share.value) for g in found] == [
        ("a", 10, 1.0),
        ("b", 10, 1.0),
    ]
    found = shares_by_group(members, np.append(np.zeros(98), [1.0, 2.0]), ["a"] * 10 + ["b"] * 10)
    assert [(g.group, g.share.value) for g in found] == [("a", 0.6), ("b", 0.1)]
    assert found[0].share.low == pytest.approx(clopper_pearson(6, 10, confidence=0.975).low)


@pytest.mark.parametrize(
    ("sizes", "shown"),
    [
        ({"a": 9, "b": 2, "c": 4}, {"a": 9, OTHERS: 6}),
        ({"a": 9, "b": 7, "c": 2}, {"a": 9, OTHERS: 9}),
        ({"a": 7, "b": 7, "c": 1}, {"b": 7, OTHERS: 8}),
        ({"a": 9, "b": 1}, {OTHERS: 10}),
        ({"a": 2, "b": 1}, {OTHERS: 3}),
    ],
)
def test_no_group_is_shown_that_is_about_single_persons(sizes, shown):
    groups = [name for name, n in sizes.items() for _ in range(n)]
    found = shares_by_group(np.zeros(len(groups)), np.zeros(5), groups)
    assert {g.group: g.n_members for g in found} == shown

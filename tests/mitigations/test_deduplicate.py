"""De-duplication: what stays, what goes, and near-equal captions."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mitigations.deduplicate import close_captions, jaccard, keep_one, shingles

PAIRS = st.lists(st.tuples(st.integers(0, 19), st.integers(0, 19)), max_size=40)


def arrays(pairs):
    both = np.array(pairs, np.int64).reshape(-1, 2)
    return both[:, 0], both[:, 1]


@given(PAIRS)
def test_what_goes_is_close_to_what_stays_and_what_stays_is_far_apart(pairs):
    stays = keep_one(20, *arrays(pairs))
    close = {frozenset(p) for p in pairs if p[0] != p[1]}
    for i in range(20):
        neighbours = [j for j in range(20) if frozenset((i, j)) in close]
        if stays[i]:
            assert not any(stays[j] for j in neighbours)
        else:
            assert any(stays[j] and j < i for j in neighbours)


@given(PAIRS, st.randoms())
def test_the_order_of_the_pairs_does_not_matter(pairs, random):
    shuffled = [p[::-1] for p in pairs]
    random.shuffle(shuffled)
    assert keep_one(20, *arrays(pairs)).tolist() == keep_one(20, *arrays(shuffled)).tolist()


def test_a_chain_is_not_merged():
    assert keep_one(4, *arrays([(0, 1), (1, 2), (2, 3)])).tolist() == [True, False, True, False]


@settings(max_examples=25, deadline=None)
@given(st.lists(st.text("ab ", max_size=12), max_size=12), st.sampled_from([0.3, 0.6, 0.8, 1.0]))
def test_every_pair_of_captions_is_as_close_as_it_claims(captions, above):
    first, second = close_captions(captions, above)
    for a, b in zip(first, second, strict=True):
        assert a < b
        assert jaccard(shingles(captions[a]), shingles(captions[b])) >= above


def words(rng: np.random.Generator, n: int) -> list[str]:
    return ["".join(rng.choice(list("abcdefghijklmnopqrstuvwxyz"), 6)) for _ in range(n)]


@pytest.mark.parametrize(("edited", "least", "most"), [(0, 50, 50), (1, 48, 50), (12, 0, 1)])
def test_recall_falls_with_the_words_that_were_edited(edited, least, most):
    """60-word captions: one edited word leaves a similarity near .96, twelve of them near .65."""
    rng = np.random.default_rng(3)
    found = 0
    for _ in range(50):
        original = words(rng, 60)
        changed = original.copy()
        for place in rng.choice(60, edited, replace=False):
            changed[place] = words(rng, 1)[0]
        found += len(close_captions([" ".join(original), " ".join(changed)], 0.8)[0])
    assert least <= found <= most


def test_case_and_white_space_do_not_tell_captions_apart():
    first, second = close_captions(["A  red house\n", "another thing", "a red HOUSE", "", ""], 0.9)
    assert (first.tolist(), second.tolist()) == ([0], [2])

"""Halves: balance, complements, what they depend on and what they do not."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from attacks.errors import DataError, ShapeError, UsageError
from auditor.shadows import paired_halves, random_subsets
from auditor.shadows.halves import model_seeds

IDS = st.lists(st.text(min_size=1, max_size=5), min_size=2, max_size=30, unique=True)


@given(ids=IDS, n_pairs=st.integers(1, 4), seed=st.integers(0, 2**40))
def test_every_record_is_in_for_exactly_half_of_the_models(ids, n_pairs, seed):
    keep = paired_halves(ids, 2 * n_pairs, seed)
    assert keep.shape == (2 * n_pairs, len(ids))
    assert (keep.sum(axis=0) == n_pairs).all()
    assert (keep[0::2] != keep[1::2]).all()
    assert set(keep.sum(axis=1)) <= {len(ids) // 2, len(ids) - len(ids) // 2}


@given(ids=IDS, seed=st.integers(0, 100), data=st.data())
def test_the_order_of_rows_plays_no_part(ids, seed, data):
    order = data.draw(st.permutations(range(len(ids))))
    shuffled = paired_halves([ids[i] for i in order], 4, seed)
    assert (shuffled == paired_halves(ids, 4, seed)[:, order]).all()


def test_more_models_leave_the_earlier_ones_as_they_are():
    ids = [str(i) for i in range(100)]
    assert (paired_halves(ids, 12, 7)[:4] == paired_halves(ids, 4, 7)).all()
    assert (random_subsets(ids, 12, 0.7, 7)[:5] == random_subsets(ids, 5, 0.7, 7)).all()
    assert (model_seeds(7, 12)[:4] == model_seeds(7, 4)).all()


def test_a_record_more_moves_at_most_one_other():
    ids = [str(i) for i in range(100)]
    before, after = paired_halves(ids, 20, 0), paired_halves([*ids, "one more"], 20, 0)
    assert ((before != after[:, :100]).sum(axis=1) <= 1).all()


def test_halves_look_independent_of_each_other_and_of_the_seed():
    ids = [str(i) for i in range(2000)]
    keep = np.concatenate([paired_halves(ids, 20, seed)[::2] for seed in (0, 1)])
    agreement = (keep[:, None] == keep[None]).mean(axis=2)[~np.eye(len(keep), dtype=bool)]
    assert np.abs(agreement - 0.5).max() < 5 * 0.5 / 2000**0.5  # 5 standard errors
    alike = (keep[:, :-1] == keep[:, 1:]).mean()
    assert abs(alike - 0.5) < 5 * 0.5 / keep.size**0.5


@given(groups=st.lists(st.sampled_from("abcdefg"), min_size=8, max_size=30), seed=st.integers(0, 9))
def test_a_subject_is_never_torn_apart_and_halves_are_of_subjects(groups, seed):
    if len(set(groups)) < 2:
        groups = [*groups, "x", "y"]
    ids = [str(i) for i in range(len(groups))]
    keep = paired_halves(ids, 6, seed, groups)
    subsets = random_subsets(ids, 3, 0.5, seed, groups)
    for subject in set(groups):
        mine = [i for i, group in enumerate(groups) if group == subject]
        for row in (*keep, *subsets):
            assert len(set(row[mine])) == 1
    assert (keep.sum(axis=0) == 3).all()
    for row in keep[::2]:
        assert len({g for g, chosen in zip(groups, row, strict=True) if chosen}) == (
            len(set(groups)) // 2
        )


def test_subsets_have_their_share_and_are_drawn_one_by_one():
    ids = [str(i) for i in range(1000)]
    keep = random_subsets(ids, 40, 0.7, 0)
    assert (keep.sum(axis=1) == 700).all()
    assert keep.mean(axis=0).min() < 0.6 < 0.8 < keep.mean(axis=0).max()
    assert not (keep[0] == keep[1]).all()


def test_seeds_fit_every_library():
    seeds = model_seeds(0, 50)
    assert len(set(seeds.tolist())) == 50
    assert seeds.min() >= 0
    assert seeds.max() < 2**32


@pytest.mark.parametrize(
    ("call", "error", "words"),
    [
        (lambda: paired_halves(["a", "b"], 3, 0), UsageError, "ask for 4"),
        (lambda: paired_halves(["a", "b"], 0, 0), UsageError, "ask for 2"),
        (lambda: paired_halves(["a"], 2, 0), DataError, "at least two records"),
        (lambda: paired_halves(["a", "a"], 2, 0), DataError, "one id"),
        (lambda: paired_halves(["a", "b"], 2, 0, ["x", "x"]), DataError, "data subjects"),
        (lambda: paired_halves(["a", "b"], 2, 0, ["x"]), ShapeError, "expected 2 groups"),
        (lambda: random_subsets(["a", "b"], 2, 0.1, 0), UsageError, "share"),
        (lambda: random_subsets(["a", "b"], 2, 1.0, 0), UsageError, "share"),
    ],
)
def test_what_cannot_be_halved_is_said(call, error, words):
    with pytest.raises(error, match=words):
        call()

"""The caption check: equal to scikit-learn's naive Bayes, silent on clean lists, loud on others."""

from __future__ import annotations

import numpy as np
import pytest
from sklearn.metrics import roc_auc_score
from sklearn.naive_bayes import BernoulliNB

from attacks.errors import ShapeError, UnderPowered
from attacks.statistics.blind_captions import (
    _aucs,
    _folds,
    caption_check,
    first_words,
    naive_bayes,
    presence,
    words,
)

WORDS = [f"word{i}" for i in range(30)]


def prompts(rng, n, first=None):
    return [" ".join([*([first] if first else []), *rng.choice(WORDS, 6)]) for _ in range(n)]


def test_words_are_runs_and_single_marks():
    assert words("A cat's 2-way, Über") == ["a", "cat", "'", "s", "2", "-", "way", ",", "ü", "ber"]
    assert first_words(["a cat", "A cat sat", "a dog", "x"]).tolist() == [0, 0, 1, 2]


def test_scores_equal_those_of_scikit_learn():
    rng = np.random.default_rng(0)
    texts = prompts(rng, 60)
    labels = rng.random((3, 60)) < 0.4
    matrix = presence(texts)
    folds = _folds(matrix, np.arange(60), rng)
    found = naive_bayes(folds, labels)
    for row, y in zip(found, labels, strict=True):
        for rows, train, test in folds:
            held_out = np.isin(np.arange(60), rows)
            model = BernoulliNB(alpha=1.0, fit_prior=False).fit(train.toarray(), y[~held_out])
            joint = model.predict_joint_log_proba(test.toarray())
            np.testing.assert_allclose(row[rows], joint[:, 1] - joint[:, 0], atol=1e-9)
        assert _aucs(row[None], y[None])[0] == pytest.approx(roc_auc_score(y, row))


def test_lists_of_one_source_are_not_told_apart():
    rng = np.random.default_rng(1)
    p = []
    for _ in range(60):
        found = caption_check(prompts(rng, 80), np.arange(80) < 40, rng=rng, permutations=99)
        p.append(found.p_value)
    p = np.array(p)
    assert (p <= 0.01).sum() <= 3
    assert 0.25 < np.median(p) < 0.75


def test_another_style_is_found():
    rng = np.random.default_rng(2)
    texts = prompts(rng, 60) + [f"{t} in 8k" for t in prompts(rng, 60)]
    found = caption_check(texts, np.arange(120) >= 60, rng=rng, permutations=199)
    assert found.auc > 0.95
    assert found.tpr_at_1 > 0.5
    assert found.p_value <= 0.01
    assert found.is_grouped


def test_templates_stay_in_one_fold():
    """A template that only suspects have, and nothing else, is no evidence across templates."""
    rng = np.random.default_rng(3)
    suspects = [t for g in range(20) for t in prompts(rng, 5, f"tile{g} floor{g}")]
    references = [t for g in range(20, 40) for t in prompts(rng, 5, f"tile{g} floor{g}")]
    found = caption_check(suspects + references, np.arange(200) < 100, rng=rng, permutations=199)
    assert found.is_grouped
    assert found.n_groups == 40
    assert found.p_value > 0.01


def test_one_template_for_all_is_folded_by_prompt():
    rng = np.random.default_rng(4)
    found = caption_check(prompts(rng, 60, "a photo"), np.arange(60) < 30, rng=rng, permutations=99)
    assert not found.is_grouped


def test_too_few_prompts_and_wrong_labels_are_errors():
    rng = np.random.default_rng(5)
    with pytest.raises(UnderPowered, match="20 of each"):
        caption_check(prompts(rng, 30), np.arange(30) < 10, rng=rng)
    with pytest.raises(ShapeError):
        caption_check(prompts(rng, 30), np.arange(29) < 10, rng=rng)

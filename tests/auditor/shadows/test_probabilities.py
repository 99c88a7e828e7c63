"""Logits of scikit-learn classifiers: columns, clipping, decision values."""

import math

import numpy as np
import pytest
from sklearn.base import clone
from sklearn.datasets import load_breast_cancer, load_digits, load_wine
from sklearn.ensemble import (
    BaggingClassifier,
    ExtraTreesClassifier,
    HistGradientBoostingClassifier,
    RandomForestClassifier,
)
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import GridSearchCV
from sklearn.naive_bayes import GaussianNB
from sklearn.neighbors import KNeighborsClassifier
from sklearn.neural_network import MLPClassifier
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.svm import SVC, LinearSVC
from sklearn.tree import DecisionTreeClassifier

from attacks.errors import ShapeError
from attacks.signals import clipped, phi
from auditor.shadows.probabilities import class_logits
from auditor.targets.classifier import ClassifierTarget
from auditor.targets.classifier.estimators import Estimator

X = np.random.default_rng(0).normal(size=(60, 4))
Y = np.arange(60) % 3


def test_columns_go_to_their_classes_and_an_absent_class_gets_the_least():
    seen = np.array([1, 4])[np.arange(60) % 2]
    model = LogisticRegression().fit(X, seen)
    answers = class_logits(model, X, 6)
    expected = np.full((60, 6), np.log(1e-6 / 5))
    for i, row in enumerate(model.predict_proba(X)):
        for column, c in enumerate(model.classes_):
            expected[i, c] = np.log(row[column])
    assert answers.logits.tolist() == expected.tolist()
    assert answers.eps == 0


@pytest.mark.parametrize(
    ("model", "eps"),
    [
        (make_pipeline(StandardScaler(), RandomForestClassifier(4)), 1 / 8),
        (GridSearchCV(RandomForestClassifier(4), {"max_depth": [2]}, cv=2), 1e-6),
        (GridSearchCV(RandomForestClassifier(4), {"max_depth": [None]}, cv=2), 1 / 8),
        (BaggingClassifier(n_estimators=5), 1 / 10),
        (RandomForestClassifier(1), 1e-6),
        (LogisticRegression(), 0),
        (LinearSVC(), 0),
    ],
)
def test_the_forest_is_found_inside_what_holds_it(model, eps):
    assert class_logits(model.fit(X, Y), X, 3).eps == eps


MODELS = {
    "forest of 10": (RandomForestClassifier(10, random_state=0), 1 / 20),
    "forest of 100": (RandomForestClassifier(100, random_state=0), 1 / 200),
    "extra trees": (ExtraTreesClassifier(20, random_state=0), 1 / 40),
    "shallow forest": (RandomForestClassifier(10, max_depth=2, random_state=0), 1e-6),
    "tree": (DecisionTreeClassifier(random_state=0), 1e-6),
    "neighbours": (KNeighborsClassifier(5), 1e-6),
    "boosting": (HistGradientBoostingClassifier(max_iter=5), 0),
    "network": (MLPClassifier((16,), max_iter=60, random_state=0), 0),
    "logistic regression": (make_pipeline(StandardScaler(), LogisticRegression()), 0),
}
"""Real models, and how far the card clips their probabilities from 0 and 1."""


def logit_of_the_card(p, classes, eps):
    """log p / (1 - p) of the clipped probability of the true class, record by record.

    Without eps: log p_y - log of the sum of the other probabilities, which loses no digits; but
    of two probabilities one is often 1 minus the other, and holds nothing below 1e-16.
    """
    if not eps:
        p = np.maximum(p, 1e-16 if p.shape[1] == 2 else 1e-30)
    found = []
    for row, c in zip(p.tolist(), classes.tolist(), strict=True):
        if eps:
            held = min(max(row[c], eps), 1 - eps)
            found.append(math.log(held) - math.log(1 - held))
        else:
            others = math.fsum(v for i, v in enumerate(row) if i != c)
            found.append(math.log(row[c]) - math.log(others))
    return np.array(found)


@pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")
@pytest.mark.parametrize("load", [load_digits, load_breast_cancer, load_wine])
@pytest.mark.parametrize("name", MODELS)
def test_phi_of_real_models_is_that_of_the_card(name, load):
    """Else attacks compare a target's confidence with its shadow models' on another scale."""
    x, y = load(return_X_y=True)
    rows = np.random.default_rng(0).permutation(len(x))[:400]
    x, y = x[rows], y[rows]
    model, eps = MODELS[name]
    model = clone(model).fit(x[:200], y[:200])
    k = int(y.max()) + 1
    answers = class_logits(model, x, k)
    target = ClassifierTarget(Estimator(model, "model"), name="model", hashes={}, example=x)
    assert answers.eps == target.eps == eps
    np.testing.assert_array_equal(target.logits(x), answers.logits)
    p = model.predict_proba(x)
    wrong = (y + 1) % k
    for classes in (y, wrong):
        wanted = logit_of_the_card(p, classes, eps)
        # shadow models are stored as float32
        for logits in (answers.logits, answers.logits.astype(np.float32)):
            kept = clipped(logits, classes, eps)
            found = phi(kept, classes)
            assert np.isfinite(kept).all()
            np.testing.assert_allclose(found, wanted, rtol=1e-4, atol=1e-6)
        p_true = p[np.arange(len(p)), classes]
        order = np.argsort(p_true, kind="stable")
        inside = order[(p_true[order] > eps) & (p_true[order] < 1 - eps)]
        is_more = np.diff(p_true[inside]) > 1e-9
        found = phi(clipped(answers.logits, classes, eps), classes)
        assert (np.diff(found[inside])[is_more] > 0).all()
        if eps:
            assert np.diff(found[order]).min() >= -1e-9


def test_a_class_that_a_shadow_model_never_saw_gets_the_floor_of_the_others():
    forest = RandomForestClassifier(10, random_state=0).fit(X, Y % 2)
    unseen, unvoted = np.full(60, 2), class_logits(forest, X, 3)
    found = phi(clipped(unvoted.logits, unseen, unvoted.eps), unseen)
    np.testing.assert_allclose(found, np.log(0.05 / 0.95))
    estimator = Estimator(forest, "model")
    target = ClassifierTarget(
        estimator, name="model", hashes={}, example=X, classes=["0", "1", "2"]
    )
    np.testing.assert_array_equal(target.logits(X), unvoted.logits)


@pytest.mark.parametrize("model", [LogisticRegression(), LinearSVC(), GaussianNB()])
def test_a_target_and_a_shadow_model_treat_an_unseen_class_alike(model):
    model.fit(X, Y % 2)
    estimator = Estimator(model, "model")
    target = ClassifierTarget(
        estimator, name="model", hashes={}, example=X, classes=["0", "1", "2"]
    )
    np.testing.assert_allclose(target.logits(X), class_logits(model, X, 3).logits)


def test_decision_values_are_logits():
    three, two = LinearSVC().fit(X, Y), LinearSVC().fit(X, Y % 2 * 2)
    assert class_logits(three, X, 3).logits.tolist() == three.decision_function(X).tolist()
    logits = class_logits(two, X, 3).logits
    assert logits[:, 0].tolist() == [0] * 60
    assert logits[:, 2].tolist() == two.decision_function(X).tolist()
    assert np.allclose(logits[:, 1], logits[:, [0, 2]].max(axis=1) - 13.815510557964274)


def test_votes_between_pairs_of_classes_are_refused():
    y = np.arange(60) % 4
    with pytest.raises(ShapeError, match=r"\(n, 4\)"):
        class_logits(SVC(decision_function_shape="ovo").fit(X, y), X, 4)

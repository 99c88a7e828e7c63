"""Logits of scikit-learn classifiers: columns, clipping, decision values."""

import numpy as np
import pytest
from sklearn.ensemble import BaggingClassifier, RandomForestClassifier
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import GridSearchCV
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.svm import SVC, LinearSVC
from sklearn.tree import DecisionTreeClassifier

from attacks.errors import ShapeError
from auditor.shadows.probabilities import EPSILON, class_logits, smallest
from auditor.targets.classifier import ClassifierTarget
from auditor.targets.classifier.estimators import Estimator

X = np.random.default_rng(0).normal(size=(60, 4))
Y = np.arange(60) % 3


def test_columns_go_to_their_classes_and_an_absent_class_gets_the_least():
    seen = np.array([1, 4])[np.arange(60) % 2]
    model = LogisticRegression().fit(X, seen)
    answers = class_logits(model, X, 6)
    expected = np.full((60, 6), np.log(EPSILON / 5))
    for i, row in enumerate(model.predict_proba(X)):
        for column, c in enumerate(model.classes_):
            expected[i, c] = np.log(row[column])
    assert answers.logits.tolist() == expected.tolist()
    assert answers.clipped == 0


def test_a_forest_is_clipped_by_its_number_of_trees():
    forest = RandomForestClassifier(10, random_state=0).fit(X, Y)
    answers = class_logits(forest, X, 3)
    p = forest.predict_proba(X)
    assert answers.clipped == ((p < 0.025) | (p > 0.95)).mean() > 0
    assert np.exp(answers.logits).min() == pytest.approx(1 / 40)
    assert np.exp(answers.logits).max() == pytest.approx(19 / 20)


def test_a_tree_gives_finite_logits():
    tree = DecisionTreeClassifier(random_state=0).fit(X, Y)
    answers = class_logits(tree, X, 3)
    assert answers.clipped == 1  # a full tree answers with 0 and 1 alone
    assert answers.logits.min() == pytest.approx(np.log(1e-6 / 2))


@pytest.mark.parametrize(
    ("model", "eps"),
    [
        (make_pipeline(StandardScaler(), RandomForestClassifier(4)), 1 / 8),
        (GridSearchCV(RandomForestClassifier(4), {"max_depth": [2]}, cv=2), 1e-6),
        (GridSearchCV(RandomForestClassifier(4), {"max_depth": [None]}, cv=2), 1 / 8),
        (BaggingClassifier(n_estimators=5), 1 / 10),
        (RandomForestClassifier(1), 1e-6),
        (LogisticRegression(), 1e-30),
    ],
)
def test_the_forest_is_found_inside_what_holds_it(model, eps):
    assert smallest(model.fit(X, Y), 3) == eps


@pytest.mark.parametrize(
    "model",
    [
        LogisticRegression(C=1e6, max_iter=1000),
        RandomForestClassifier(5, random_state=0),
        RandomForestClassifier(5, max_depth=2, random_state=0),
        RandomForestClassifier(1, random_state=0),
        DecisionTreeClassifier(random_state=0),
        LinearSVC(random_state=0),
    ],
)
def test_a_target_is_read_as_its_shadow_models_are(model):
    """Else attacks compare a target's confidence with those of another scale."""
    model.fit(3 * X + 8 * np.eye(3, 4)[Y], Y)
    estimator = Estimator(model, "model")
    target = ClassifierTarget(estimator, name="model", hashes={}, example=X)
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

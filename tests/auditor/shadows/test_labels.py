"""What recipes call their classes: weights keyed by label train what the user's own labels do."""

import numpy as np
import pytest
from sklearn.ensemble import RandomForestClassifier
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import GridSearchCV
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from auditor.shadows import Pool, RecipeTrainer, ShadowStore, SklearnRecipe, labels, train_shadows
from auditor.shadows.halves import model_seeds

RNG = np.random.default_rng(0)
X = RNG.normal(size=(120, 3))
INDICES = (X[:, 0] + RNG.normal(size=120) > 0.8).astype(int)
NAMES = ("b", "a")  # not in sorted order, as a user may list the outputs of a file
WORDS = np.array(NAMES)[INDICES]
IDS = [f"r{i}" for i in range(120)]


def logistic(**options):
    return LogisticRegression(**options)


def pipeline(**options):
    return make_pipeline(StandardScaler(), LogisticRegression(**options))


def search(**options):
    return GridSearchCV(LogisticRegression(), {"class_weight": [options["class_weight"]]}, cv=2)


def log_odds_of_a(estimator, x):
    """What the estimator itself says, fitted on words."""
    p = estimator.predict_proba(x)[:, list(estimator.classes_).index("a")]
    return np.log(p) - np.log1p(-p)


@pytest.mark.parametrize("weights", [{"a": 1, "b": 9}, {"a": 9.0, "b": 1.0}, "balanced", None])
@pytest.mark.parametrize("make", [logistic, pipeline, search])
def test_weights_by_name_give_the_model_of_the_users_own_training(make, weights):
    own = make(class_weight=weights).fit(X, WORDS)
    recipes = [
        labels.of_target(own, NAMES),
        labels.of_weights(SklearnRecipe(make(class_weight=weights)), NAMES),
    ]
    for recipe in recipes:
        (model,) = RecipeTrainer(recipe, 2).train(X, INDICES, np.ones((1, 120), bool), [0])
        logits = model.logits(X)
        np.testing.assert_allclose(
            logits[:, 1] - logits[:, 0], log_odds_of_a(own, X), rtol=1e-6, atol=1e-9
        )


def test_shadow_models_are_weighted_by_name(tmp_path):
    pool = Pool(IDS, X, INDICES, 2)
    heavy = []
    for weights in ({"a": 20, "b": 1}, {"a": 1, "b": 20}):
        recipe = labels.of_target(pipeline(class_weight=weights).fit(X, WORDS), NAMES)
        shadows = train_shadows(recipe, pool, 2, 0, ShadowStore(tmp_path), processes=1)
        heavy.append(np.exp(shadows.logits[:, :, 1]).mean())
        models = RecipeTrainer(recipe, 2).train(
            X, INDICES, shadows.keep, model_seeds(0, 2).tolist()
        )
        for stored, model in zip(shadows.logits, models, strict=True):
            np.testing.assert_allclose(stored, model.logits(X), rtol=1e-5, atol=1e-6)
    assert heavy[0] > heavy[1] + 0.3


def test_weights_by_number_follow_the_labels_not_the_indices():
    numbers = np.array([7, 3])[INDICES]
    own = LogisticRegression(class_weight={3: 9, 7: 1}).fit(X, numbers)
    for recipe in (
        labels.of_target(own, ("7", "3")),
        labels.of_weights(SklearnRecipe(own), ("7", "3")),
    ):
        assert recipe.labels == (7, 3)
        (model,) = RecipeTrainer(recipe, 2).train(X, INDICES, np.ones((1, 120), bool), [0])
        p = own.predict_proba(X)  # columns 3, 7
        np.testing.assert_allclose(np.exp(model.logits(X)), p[:, ::-1], rtol=1e-6)


def test_what_stays_on_indices():
    by_index = SklearnRecipe(LogisticRegression(class_weight={0: 1, 1: 5}))
    assert labels.of_weights(by_index, ("7", "3")) is by_index
    assert labels.of_weights(by_index, ("0", "1")).labels is None
    plain = SklearnRecipe(RandomForestClassifier(3))
    assert labels.of_weights(plain, NAMES) is plain
    assert labels.of_target(RandomForestClassifier(3).fit(X, INDICES), ("0", "1")).labels is None


def test_a_class_that_the_target_never_saw_has_a_label_too():
    words = RandomForestClassifier(3).fit(X, WORDS)
    assert labels.of_target(words, ("b", "a", "c")).labels == ("b", "a", "c")
    numbers = RandomForestClassifier(3).fit(X, np.array([7, 3])[INDICES])
    assert labels.of_target(numbers, ("7", "3", "9")).labels == (7, 3, 9)
    assert labels.of_target(numbers, ("7", "3", "new")).labels is None


def test_labels_are_part_of_the_key():
    plain = SklearnRecipe(LogisticRegression())
    assert plain.key != SklearnRecipe(LogisticRegression(), ("b", "a")).key
    assert plain.key == SklearnRecipe(LogisticRegression()).key

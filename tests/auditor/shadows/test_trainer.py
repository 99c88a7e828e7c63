"""The trainer that controls drive: the same models, however many at once."""

import functools

import numpy as np
import pytest
import torch
from sklearn.ensemble import RandomForestClassifier
from sklearn.linear_model import LogisticRegression
from torch import nn

from attacks.errors import DataError, ShapeError
from auditor.shadows import RecipeTrainer, ShadowStore, SklearnRecipe, paired_halves, train_shadows
from auditor.shadows.halves import model_seeds
from tests.auditor.shadows.samples import mlp, small_pool, small_recipe


def exact():
    return mlp().double()


def normalised():
    return nn.Sequential(nn.Linear(6, 8), nn.BatchNorm1d(8), nn.Linear(8, 3))


@pytest.mark.parametrize(
    "recipe",
    [SklearnRecipe(RandomForestClassifier(3)), small_recipe(model=exact)],
    ids=["sklearn", "torch"],
)
def test_models_depend_on_their_own_rows_and_seeds_alone(recipe):
    pool = small_pool()
    keep = paired_halves(pool.record_ids, 4, 0)
    keep = np.concatenate([keep, np.ones((1, 41), dtype=bool)])
    trainer = RecipeTrainer(recipe, 3, device="cpu")
    train = functools.partial(trainer.train, pool.features, pool.classes)
    together = train(keep, [1, 2, 3, 4, 5])
    for i in (0, 3, 4):
        (alone,) = train(keep[i : i + 1], [i + 1])
        np.testing.assert_allclose(
            alone.logits(pool.features), together[i].logits(pool.features), rtol=1e-6, atol=1e-9
        )
    assert together[0].capabilities.family == "classifier"
    assert together[0].capabilities.n_classes == 3
    assert together[0].logits(pool.features[:2]).shape == (2, 3)
    assert not np.allclose(*(together[i].logits(pool.features) for i in (0, 1)))


@pytest.mark.parametrize(
    "recipe",
    [SklearnRecipe(LogisticRegression()), small_recipe(), small_recipe(model=normalised)],
    ids=["sklearn", "stacked", "one by one"],
)
@pytest.mark.filterwarnings("ignore:shadow models are trained one by one")
def test_they_say_what_shadow_models_of_the_same_halves_say(recipe, tmp_path):
    pool = small_pool(40)
    shadows = train_shadows(recipe, pool, 4, 0, ShadowStore(tmp_path), device="cpu", processes=1)
    models = RecipeTrainer(recipe, 3, device="cpu").train(
        pool.features, pool.classes, shadows.keep, model_seeds(0, 4).tolist()
    )
    for model, expected in zip(models, shadows.logits, strict=True):
        np.testing.assert_allclose(model.logits(pool.features), expected, rtol=1e-3, atol=1e-5)


def test_what_each_gives_is_declared():
    pool = small_pool()
    keep = np.ones((1, 41), dtype=bool)
    gives = [
        RecipeTrainer(recipe, 3, device="cpu")
        .train(pool.features, pool.classes, keep, [0])[0]
        .capabilities.gives
        for recipe in (SklearnRecipe(LogisticRegression()), small_recipe())
    ]
    assert gives == ["probabilities", "logits"]


@pytest.mark.filterwarnings("error")
def test_reasons_for_slowness_are_warnings():
    pool = small_pool()
    trainer = RecipeTrainer(small_recipe(model=normalised, epochs=1), 3, device="cpu")
    keep = paired_halves(pool.record_ids, 2, 0)[:, :40]
    with pytest.raises(UserWarning, match="running averages"):
        trainer.train(pool.features[:40], pool.classes[:40], keep[[0, 0]], [0, 1])


@pytest.mark.parametrize(
    ("keep", "error"),
    [(np.ones((2, 41), dtype=bool), ShapeError), (np.zeros((1, 41), dtype=bool), DataError)],
)
def test_training_sets_that_do_not_fit_are_refused(keep, error):
    pool = small_pool()
    with pytest.raises(error):
        RecipeTrainer(small_recipe(), 3).train(pool.features, pool.classes, keep, [0])


def test_nothing_is_drawn_from_the_callers_generator():
    pool = small_pool()
    torch.manual_seed(3)
    expected = torch.rand(1)
    torch.manual_seed(3)
    RecipeTrainer(small_recipe(), 3, device="cpu").train(
        pool.features, pool.classes, paired_halves(pool.record_ids, 2, 0), [0, 1]
    )
    assert torch.rand(1) == expected

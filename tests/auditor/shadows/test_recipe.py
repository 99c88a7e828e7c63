"""Recipes: what is accepted, what their keys depend on, how they are loaded."""

import functools
import sys

import numpy as np
import pytest
import torch
from sklearn.ensemble import RandomForestClassifier, VotingClassifier
from sklearn.linear_model import LinearRegression, LogisticRegression
from sklearn.pipeline import Pipeline, make_pipeline
from sklearn.preprocessing import FunctionTransformer, StandardScaler
from torch import nn

from attacks.errors import UsageError
from auditor.shadows import SklearnRecipe, TorchRecipe, load_recipe
from auditor.shadows.fingerprint import described
from tests.auditor.shadows.samples import mlp, small_recipe


def wider():
    return nn.Sequential(nn.Linear(6, 9), nn.ReLU(), nn.Linear(9, 3))


def with_dropout(p):
    return nn.Sequential(nn.Linear(6, 8), nn.Dropout(p), nn.Linear(8, 3))


def smooth():
    return nn.Sequential(nn.Linear(6, 8), nn.GELU(), nn.Linear(8, 3))


def test_every_random_state_is_set_and_the_original_is_left_alone():
    forest = RandomForestClassifier(3)
    voting = VotingClassifier([("forest", forest), ("line", LogisticRegression())], voting="soft")
    recipe = SklearnRecipe(Pipeline([("scale", StandardScaler()), ("vote", voting)]))
    parameters = recipe.unfitted(11).get_params()
    assert parameters["vote__forest__random_state"] == 11
    assert parameters["vote__line__random_state"] == 11
    assert forest.random_state is None


@pytest.mark.parametrize(
    "other",
    [
        RandomForestClassifier(4),
        RandomForestClassifier(3, max_depth=2),
        LogisticRegression(),
        make_pipeline(RandomForestClassifier(3)),
    ],
)
def test_the_key_of_an_estimator_changes_with_what_is_fitted(other):
    key = SklearnRecipe(RandomForestClassifier(3)).key
    assert key == SklearnRecipe(RandomForestClassifier(3, random_state=5, n_jobs=2)).key
    assert key != SklearnRecipe(other).key


def test_functions_in_a_pipeline_count_by_their_source():
    def key(function):
        return SklearnRecipe(make_pipeline(FunctionTransformer(function), LogisticRegression())).key

    def scaled(by):
        return lambda x: x * by

    assert key(scaled(2)) == key(scaled(2)) != key(scaled(3))
    assert key(np.log1p) != key(np.sqrt)


@pytest.mark.parametrize(
    "changes",
    [
        {"model": wider},
        {"model": smooth},
        {"optimiser": "adamw"},
        {"optimiser_settings": {"lr": 0.02}},
        {"epochs": 4},
        {"epochs": None, "steps": 3},
        {"batch_size": 9},
        {"loss": lambda logits, classes: nn.functional.cross_entropy(logits, classes)},
    ],
)
def test_the_key_of_a_torch_recipe_changes_with_what_is_trained(changes):
    assert small_recipe().key == small_recipe().key != small_recipe(**changes).key


def test_the_key_of_a_torch_recipe_sees_arguments_and_initial_weights():
    keys = [small_recipe(model=functools.partial(with_dropout, p)).key for p in (0.1, 0.1, 0.2)]
    assert keys[0] == keys[1] != keys[2]
    torch.manual_seed(0)
    pretrained = {"a": mlp().state_dict(), "b": mlp().state_dict()}

    def tuned(name):
        model = mlp()
        model.load_state_dict(pretrained[name])
        return model

    assert small_recipe(model=lambda: tuned("a")).key != small_recipe(model=lambda: tuned("b")).key


def test_an_optimiser_function_counts_by_what_it_makes():
    def optimiser(lr):
        return lambda parameters: torch.optim.Adam(parameters, lr=lr)

    keys = [small_recipe(optimiser=optimiser(lr), optimiser_settings={}).key for lr in (0.01, 0.02)]
    assert keys[0] == small_recipe().key != keys[1]


def test_building_a_key_draws_nothing_from_the_callers_generator():
    torch.manual_seed(3)
    expected = torch.rand(1)
    torch.manual_seed(3)
    _ = small_recipe().key
    assert torch.rand(1) == expected


def test_descriptions_hold_no_address():
    class Plain:
        pass

    def values(numbers):
        return [Plain(), object(), lambda: 0, {"a": np.arange(3)}, numbers, slice(2)]

    assert "0x" not in described(values({1, 2}))
    assert described(values({1, 2})) == described(values({2, 1})) != described(values({1, 3}))


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda: SklearnRecipe(3), "int is no scikit-learn estimator"),
        (lambda: SklearnRecipe(LogisticRegression), "no scikit-learn estimator"),
        (lambda: SklearnRecipe(LinearRegression()), "neither probabilities"),
        (lambda: small_recipe(model=3), "must be a function"),
        (lambda: small_recipe(steps=3), "either epochs or steps"),
        (lambda: small_recipe(epochs=None), "either epochs or steps"),
        (lambda: small_recipe(epochs=1.5), "whole number"),
        (lambda: small_recipe(batch_size=0), "at least 1"),
        (lambda: small_recipe(loss="hinge"), "cross_entropy"),
        (lambda: small_recipe(optimiser=torch.optim.Adam), "optimiser_settings"),
        (lambda: small_recipe(optimiser="adma").key, "did you mean 'adam'"),
        (lambda: small_recipe(optimiser_settings={"lr": -1}).key, "refuses its settings"),
        (lambda: small_recipe(model=lambda: 3).key, "returned a int"),
        (lambda: small_recipe(model=lambda m=mlp(): m).key, "one model twice"),  # noqa: B008
        (lambda: small_recipe(model=lambda: nn.LazyLinear(3)).key, "lazy"),
        (lambda: small_recipe(model=nn.ReLU).key, "no parameter"),
    ],
)
def test_a_wrong_recipe_is_refused_with_a_reason(make, words):
    with pytest.raises(UsageError, match=words):
        make()


def test_weights_that_the_seed_does_not_decide_are_refused():
    rng = np.random.default_rng()

    def model():
        layer = nn.Linear(2, 2)
        with torch.no_grad():
            layer.weight.fill_(rng.normal())
        return layer

    with pytest.raises(UsageError, match="other weights each time"):
        _ = small_recipe(model=model).key


def test_steps_follow_from_epochs():
    assert small_recipe(epochs=3, batch_size=8).n_steps(20) == 8
    assert small_recipe(epochs=3, batch_size=100).n_steps(20) == 3
    assert small_recipe(epochs=None, steps=0).n_steps(20) == 0


MODULE = """
from sklearn.linear_model import LogisticRegression
from auditor.shadows import SklearnRecipe, TorchRecipe
def line(): return LogisticRegression()
def recipe(): return SklearnRecipe(LogisticRegression())
def deep():
    from torch import nn
    return TorchRecipe(model=lambda: nn.Linear(2, 2), epochs=1)
def other(): return 3
def broken(): raise KeyError("secret")
def greedy(n): return n
"""


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """The user's current folder with some modules."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", list(sys.path))
    (tmp_path / "my_training.py").write_text(MODULE)
    (tmp_path / "my_needy.py").write_text("import no_such_package_anywhere")
    (tmp_path / "my_typo.py").write_text("def (")
    yield tmp_path
    for name in ("my_training", "my_needy", "my_typo"):
        sys.modules.pop(name, None)


def test_recipes_are_loaded_from_the_current_folder(folder):
    assert isinstance(load_recipe("my_training:line").estimator, LogisticRegression)
    assert isinstance(load_recipe("my_training:recipe"), SklearnRecipe)
    assert isinstance(load_recipe("my_training:deep"), TorchRecipe)


def test_the_key_covers_what_the_module_imports_from_its_folder(folder):
    (folder / "my_widths.py").write_text("WIDTH = 3")
    (folder / "my_forest.py").write_text(
        "from sklearn.ensemble import RandomForestClassifier\n"
        "def recipe():\n"
        "    from my_widths import WIDTH\n"
        "    return RandomForestClassifier(100, max_depth=WIDTH and None)\n"
    )
    keys = []
    for text in ("WIDTH = 3", "WIDTH = 4", "WIDTH = 3"):
        (folder / "my_widths.py").write_text(text)
        keys.append(load_recipe("my_forest:recipe").key)
        for name in ("my_forest", "my_widths"):
            sys.modules.pop(name, None)
    assert keys[0] == keys[2] != keys[1]
    (folder / "my_widths_of_others.py").write_text("WIDTH = 9")  # nobody imports it
    assert load_recipe("my_forest:recipe").key == keys[0]
    for name in ("my_forest", "my_widths"):
        sys.modules.pop(name, None)


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("my_training", "write module:function"),
        ("my_training:", "write module:function"),
        (":line", "write module:function"),
        ("my_trainin:line", "no module 'my_trainin'"),
        ("my_training.sub:line", "no module|not a package|failed"),
        ("my_training:lien", "did you mean 'line'"),
        ("my_training:other", "returned a int"),
        ("my_training:broken", "failed with KeyError"),
        ("my_training:greedy", "work without arguments"),
        ("my_needy:line", "'no_such_package_anywhere', which is not installed"),
        ("my_typo:line", "failed with SyntaxError"),
    ],
)
def test_a_recipe_that_cannot_be_loaded_is_refused_with_a_reason(folder, name, words):
    with pytest.raises(UsageError, match=words) as caught:
        load_recipe(name)
    assert "secret" not in str(caught.value)

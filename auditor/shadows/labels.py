"""What a scikit-learn recipe calls its classes, where it is told more than their numbers.

Shadow models are trained on class indices unless something says what the labels were: the classes
of the fitted target that the recipe is made of, or class weights keyed by label. Parameters that
name classes, or follow the order of the sorted labels, then mean what they meant in the user's own
training.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any

from auditor.records.rows.canonical import text_of
from auditor.shadows.recipe import Recipe, SklearnRecipe


def of_target(estimator: Any, classes: Sequence[str]) -> SklearnRecipe:
    """The recipe of a fitted scikit-learn target, with the labels that it was fitted on.

    classes: labels as text by class index, perhaps with some that it has never seen.
    """
    own = estimator.classes_.tolist()
    return SklearnRecipe(estimator, _labels(own, classes))


def of_weights(recipe: Recipe, classes: Sequence[str]) -> Recipe:
    """The recipe with labels, if class weights anywhere in it are keyed by them.

    Keys that are no labels of the data are taken for class indices, and the recipe stays as it is.
    """
    if not isinstance(recipe, SklearnRecipe):
        return recipe
    keys = list(_weighted(recipe.estimator))
    known = set(classes)
    if not keys or any(text_of(key) not in known for key in keys):
        return recipe
    return replace(recipe, labels=_labels(keys, classes))


def _labels(own: Sequence[Any], classes: Sequence[str]) -> tuple[Any, ...] | None:
    """Every class in the type of those that are known; None for plain indices."""
    known = {text_of(label): label for label in own}
    kinds = {type(label) for label in own}
    kind = kinds.pop() if len(kinds) == 1 else str
    try:
        labels = tuple(known[c] if c in known else kind(c) for c in classes)
    except (TypeError, ValueError):  # a class that the model never saw has no such label
        return None
    is_plain = kind is int and labels == tuple(range(len(labels)))
    return None if is_plain or len(set(labels)) < len(labels) else labels


def _weighted(estimator: Any) -> Iterator[Any]:
    """Keys of all class weights, in pipelines and in grids of searches too."""
    for name, value in estimator.get_params(deep=True).items():
        if name.rpartition("__")[2] == "class_weight":
            yield from _keys(value)
        elif name in ("param_grid", "param_distributions"):
            for grid in value if isinstance(value, list | tuple) else [value]:
                if isinstance(grid, Mapping):
                    yield from _grid_keys(grid)


def _grid_keys(grid: Mapping[Any, Any]) -> Iterator[Any]:
    for name, choices in grid.items():
        if str(name).rpartition("__")[2] == "class_weight" and isinstance(choices, list | tuple):
            for choice in choices:
                yield from _keys(choice)


def _keys(weights: Any) -> Iterator[Any]:
    if isinstance(weights, Mapping):
        yield from weights

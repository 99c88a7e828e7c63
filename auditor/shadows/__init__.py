"""Shadow models: trained like the target on random halves of a pool, many at once, and cached."""

from auditor.shadows.halves import paired_halves, random_subsets
from auditor.shadows.pool import Pool
from auditor.shadows.recipe import Recipe, SklearnRecipe, TorchRecipe, load_recipe
from auditor.shadows.store import ShadowStore
from auditor.shadows.train import ShadowSet, train_shadows
from auditor.shadows.trainer import RecipeTrainer

__all__ = [
    "Pool",
    "Recipe",
    "RecipeTrainer",
    "ShadowSet",
    "ShadowStore",
    "SklearnRecipe",
    "TorchRecipe",
    "load_recipe",
    "paired_halves",
    "random_subsets",
    "train_shadows",
]

"""A recipe as the trainer that controls drive: models themselves, not what they say."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from attacks.errors import DataError, ShapeError
from attacks.manifest import ClassifierCapabilities
from attacks.protocols import Classifier
from auditor.shadows.pool import Pool
from auditor.shadows.processes import answered, fitted
from auditor.shadows.recipe import Recipe, SklearnRecipe, TorchRecipe

if TYPE_CHECKING:
    from torch import nn


@dataclass
class FittedClassifier:
    """A fitted scikit-learn classifier."""

    estimator: Any
    capabilities: ClassifierCapabilities
    labels: Sequence[Any]
    """(k,) what it calls class 0, 1, ..."""

    def logits(self, features: Any) -> NDArray[np.floating]:
        """(n, k) log-probabilities, as `auditor.shadows.probabilities` has them."""
        return answered(self.estimator, features, self.labels).logits


@dataclass
class TorchClassifier:
    """A trained torch model, on its device."""

    module: nn.Module
    capabilities: ClassifierCapabilities
    rows: int
    """Records of a batch."""

    def logits(self, features: Any) -> NDArray[np.floating]:
        """(n, k) logits, in evaluation."""
        from auditor.shadows.one_by_one import module_logits
        from auditor.shadows.torch_models import inputs_of

        device = next(self.module.parameters()).device
        return module_logits(self.module, inputs_of(features, self.module).to(device), self.rows)


@dataclass(frozen=True)
class RecipeTrainer:
    """Trains classifiers of a recipe (`attacks.protocols.ClassifierTrainer`)."""

    recipe: Recipe
    n_classes: int
    device: str = "auto"
    """Of torch models."""

    def train(
        self,
        features: Any,
        classes: NDArray[np.integer],
        keep: NDArray[np.bool_],
        seeds: Sequence[int],
    ) -> list[Classifier]:
        """One model for each row of keep, epochs counted on its own training set.

        features: (n, ...) of the pool; classes: (n,) class indices; keep: (m, n) which records
        each of m models is trained on; seeds: (m,) of everything random.

        Raises ShapeError or DataError if these do not fit, TargetError if training fails.
        """
        pool = Pool([str(i) for i in range(len(features))], features, classes, self.n_classes)
        keep = np.asarray(keep, dtype=bool)
        if keep.shape != (len(seeds), len(features)):
            raise ShapeError(
                f"expected keep of shape ({len(seeds)}, {len(features)}), one row for each seed, "
                f"got {keep.shape}"
            )
        if not keep.any(axis=1).all():
            raise DataError("a model has no record to be trained on; leave out its row of keep")
        if isinstance(self.recipe, SklearnRecipe):
            return self._fitted(self.recipe, pool, keep, seeds)
        return self._trained(self.recipe, pool, keep, seeds)

    def _fitted(
        self, recipe: SklearnRecipe, pool: Pool, keep: NDArray[np.bool_], seeds: Sequence[int]
    ) -> list[Classifier]:
        able = ClassifierCapabilities(
            "classifier",
            type(recipe.estimator).__name__,
            self.n_classes,
            gives="probabilities" if hasattr(recipe.estimator, "predict_proba") else "logits",
        )
        labels = recipe.labelled(pool.classes)
        names = recipe.labels or range(self.n_classes)
        models: list[Classifier] = []
        for rows, seed in zip(keep, seeds, strict=True):
            estimator = recipe.unfitted(int(seed))
            model = fitted(estimator, pool.features, labels, rows)
            models.append(FittedClassifier(model, able, names))
        return models

    def _trained(
        self, recipe: TorchRecipe, pool: Pool, keep: NDArray[np.bool_], seeds: Sequence[int]
    ) -> list[Classifier]:
        from auditor.shadows.job import ROWS_ASKED, make_job
        from auditor.shadows.torch_training import TorchTraining
        from auditor.targets.loading import choose_device

        sizes = keep.sum(axis=1)
        models: dict[int, Classifier] = {}
        for size in np.unique(sizes):
            mine = np.flatnonzero(sizes == size).tolist()
            own_seeds = [int(seeds[i]) for i in mine]
            job = make_job(
                recipe, pool, keep[mine], own_seeds, int(size), choose_device(self.device)
            )
            name = type(job.prototype).__name__
            able = ClassifierCapabilities("classifier", name, self.n_classes)
            for position, module in TorchTraining(job, _warn).modules():
                models[mine[position]] = TorchClassifier(module, able, ROWS_ASKED * job.rows)
        return [models[i] for i in range(len(keep))]


def _warn(text: str) -> None:
    warnings.warn(text, stacklevel=2)

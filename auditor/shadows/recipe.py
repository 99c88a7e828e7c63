"""What a user names: how a model like the target is made and trained.

A recipe is a scikit-learn classifier, unfitted, or a torch model with its optimiser and length of
training. Its key names the shadow models in the cache, and changes with everything that decides
what is trained: code, parameters, architecture, initial weights, versions of the libraries.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from attacks.errors import UsageError, did_you_mean
from auditor.shadows.fingerprint import described, hashed
from auditor.sources import local_sources

if TYPE_CHECKING:
    from torch import Tensor, nn
    from torch.optim import Optimizer


@dataclass(frozen=True)
class SklearnRecipe:
    """A classifier in the manner of scikit-learn, cloned for every shadow model."""

    estimator: Any
    """Unfitted, or its fit is forgotten; a pipeline counts as one classifier."""
    labels: tuple[Any, ...] | None = None
    """(k,) what it calls class 0, 1, ..., such as the keys of its class weights; None for the
    numbers themselves."""
    code: str = ""
    """A hash of the user's files behind it, where it was loaded by name."""

    def __post_init__(self) -> None:
        kind = type(self.estimator).__name__
        if not is_estimator(self.estimator):
            raise UsageError(
                f"a {kind} is no scikit-learn estimator; pass a classifier that is not fitted, "
                "such as LogisticRegression()"
            )
        if not any(
            hasattr(self.estimator, name) for name in ("predict_proba", "decision_function")
        ):
            raise UsageError(
                f"{kind} gives neither probabilities nor decision values; use a classifier with "
                "predict_proba, or wrap yours in CalibratedClassifierCV"
            )

    @functools.cached_property
    def key(self) -> str:
        """A hash of the classes and parameters of the estimator and all that it holds."""
        import sklearn

        named = [] if self.labels is None else [described(self.labels)]
        own = [self.code] if self.code else []
        return hashed(
            "sklearn", _series(sklearn.__version__), described(self.estimator), *named, *own
        )

    def labelled(self, classes: NDArray[np.integer]) -> NDArray[Any]:
        """(n,) labels to be fitted on, from class indices."""
        return classes if self.labels is None else np.array(self.labels)[classes]

    def unfitted(self, seed: int) -> Any:
        """A clone whose every parameter called random_state, however deep, is the seed."""
        from sklearn.base import clone

        estimator = clone(self.estimator)
        names = [n for n in estimator.get_params() if n.rpartition("__")[2] == "random_state"]
        return estimator.set_params(**dict.fromkeys(names, seed))


@dataclass(frozen=True)
class TorchRecipe:
    """A torch model and how it is trained: batches in random order, one optimiser, one loss."""

    model: Callable[[], nn.Module]
    """A function without arguments that returns a new model with fresh weights, drawn from torch's
    own generator; inputs (b, ...), outputs (b, k) logits, or one logit a record if k = 2."""
    optimiser: str | Callable[[Iterable[nn.Parameter]], Optimizer] = "adam"
    """A name in torch.optim in any case, or a function from parameters to an optimiser."""
    optimiser_settings: Mapping[str, Any] = field(default_factory=dict)
    """Keyword arguments of a named optimiser, such as {"lr": 2e-3}."""
    epochs: int | None = None
    """Passes over the training set; or else give steps."""
    steps: int | None = None
    """Batches in all; 0 leaves the models untrained."""
    batch_size: int = 128
    """Records of a step, at most the whole training set."""
    loss: str | Callable[[Tensor, Tensor], Tensor] = "cross_entropy"
    """`cross_entropy`, or a function from (b, k) logits and (b,) classes to a mean loss."""
    code: str = ""
    """A hash of the user's files behind it, where it was loaded by name."""

    def __post_init__(self) -> None:
        if not callable(self.model):
            raise UsageError(
                f"model must be a function that returns a new torch model, got a "
                f"{type(self.model).__name__}; write model=lambda: ..."
            )
        if (self.epochs is None) == (self.steps is None):
            raise UsageError("a torch recipe needs either epochs or steps; give one of them")
        for name, value, least in (
            ("epochs", self.epochs, 1),
            ("steps", self.steps, 0),
            ("batch_size", self.batch_size, 1),
        ):
            if value is not None and (isinstance(value, bool) or not isinstance(value, int)):
                raise UsageError(f"{name} must be a whole number, got {value!r}")
            if value is not None and value < least:
                raise UsageError(f"{name} must be at least {least}, got {value}")
        if isinstance(self.loss, str) and self.loss != "cross_entropy":
            raise UsageError(
                f"unknown loss '{self.loss}'; use cross_entropy, or pass a function of logits "
                "and classes"
            )
        if not isinstance(self.optimiser, str) and self.optimiser_settings:
            raise UsageError(
                "optimiser_settings go with the name of an optimiser; a function sets its own"
            )

    @functools.cached_property
    def key(self) -> str:
        """A hash of the model's source, architecture and initial weights, and of the training.

        Builds the model. Raises UsageError if two models of one seed differ.
        """
        import torch

        from auditor.shadows.torch_models import checked_prototype, optimiser_facts, state_arrays

        prototype = checked_prototype(self)
        return hashed(
            "torch",
            _series(torch.__version__),
            described(self.model),
            repr(prototype),
            described(state_arrays(prototype)),
            optimiser_facts(self, prototype),
            f"{self.epochs} {self.steps} {self.batch_size}",
            described(self.loss),
            *([self.code] if self.code else []),
        )

    def n_steps(self, n_trained_on: int) -> int:
        """Batches of a training on so many records; the last one runs into a further epoch."""
        if self.steps is not None:
            return self.steps
        assert self.epochs is not None  # noqa: S101 - one of the two is given
        return math.ceil(self.epochs * n_trained_on / self.rows_of_step(n_trained_on))

    def rows_of_step(self, n_trained_on: int) -> int:
        """Records of a batch: the batch size, or the whole training set if that is smaller."""
        return min(self.batch_size, n_trained_on)


Recipe = SklearnRecipe | TorchRecipe


def is_estimator(value: Any) -> bool:
    """Whether a value is an object (no class) with scikit-learn's methods."""
    names = ("fit", "get_params", "set_params")
    return not isinstance(value, type) and all(callable(getattr(value, n, None)) for n in names)


def as_recipe(value: Any, source: str) -> Recipe:
    """A recipe from what a user's function returned; raises UsageError if it is none."""
    if isinstance(value, SklearnRecipe | TorchRecipe):
        return value
    if is_estimator(value):
        return SklearnRecipe(value)
    raise UsageError(
        f"{source} returned a {type(value).__name__}; return a scikit-learn classifier that is "
        "not fitted, or a TorchRecipe"
    )


def load_recipe(name: str) -> Recipe:
    """The recipe that a function returns, named as `module:function`.

    The module is looked for in the current folder, then among what is installed; it is the user's
    own code and is run. The current folder stays importable, for the processes that fit models.
    The recipe's key covers the files that the module imports from its own folder.

    Raises UsageError if the name has no colon, or there is no such module or function, or it
    fails, or returns something else.
    """
    import importlib
    import os
    import sys

    module_name, colon, function_name = name.partition(":")
    if not (colon and module_name and function_name):
        raise UsageError(
            f"'{name}' does not name a recipe; write module:function, such as "
            "training:make_model for the function make_model of training.py"
        )
    folder = os.getcwd()
    if folder not in sys.path:
        sys.path.insert(0, folder)
    importlib.invalidate_caches()
    try:
        module = importlib.import_module(module_name)
    except Exception as error:  # importing runs the user's code, which may fail in any way
        raise _import_failed(module_name, folder, error) from error
    function = getattr(module, function_name, None)
    if not callable(function):
        known = [n for n, v in vars(module).items() if callable(v) and not n.startswith("_")]
        raise UsageError(
            f"there is no function '{function_name}' in {module_name}; "
            f"{did_you_mean(function_name, known)}"
        )
    try:
        value = function()
    except UsageError:
        raise
    except Exception as error:  # the user's code again
        raise UsageError(
            f"{name} failed with {type(error).__name__}; it must work without arguments. "
            "--debug shows where"
        ) from error
    code = described(local_sources(module_name))
    return replace(as_recipe(value, name), code=hashed(code))


def _import_failed(module: str, folder: str, error: Exception) -> UsageError:
    missing = error.name if isinstance(error, ModuleNotFoundError) else None
    if missing and (module == missing or module.startswith(f"{missing}.")):
        return UsageError(
            f"there is no module '{module}' in {folder} or among the installed packages; run "
            "auditor in the folder of your code, or install it"
        )
    if missing:
        return UsageError(f"{module} imports '{missing}', which is not installed; install it")
    return UsageError(
        f"importing {module} failed with {type(error).__name__}; check it with "
        f"`python -c 'import {module}'`"
    )


def _series(version: str) -> str:
    """Major and minor version."""
    return ".".join(version.split(".")[:2])

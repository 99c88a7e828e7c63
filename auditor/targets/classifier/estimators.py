"""Classifiers of scikit-learn, from skops files or, on request, from pickles."""

from __future__ import annotations

import re
from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from attacks.errors import TargetError
from auditor.records.rows.canonical import shown_names
from auditor.records.rows.table import Features
from auditor.records.sources import printable
from auditor.targets.classifier.answers import STEPPED_FLOOR, Kind
from auditor.targets.classifier.labels import class_texts
from auditor.targets.files import first_line
from auditor.targets.optional import import_optional

BATCH = 8192
"""Records that are asked about at once."""


class Estimator:
    """A fitted classifier, asked through predict_proba, decision_function or predict."""

    n_parameters: int | None = None
    device = "cpu"
    can_be_queried = True

    def __init__(self, estimator: Any, name: str):
        """Raises TargetError if the object is no fitted classifier of one label a record."""
        self.estimator = estimator
        self._shown = f"'{name}'"
        self.architecture = _architecture(estimator)
        self.classes: tuple[str, ...] | None = self._own_classes()
        self.kind: Kind | None = self._best_kind(len(self.classes))
        self.floor: float | None = STEPPED_FLOOR
        if self.kind == "probabilities":
            self.floor = probability_floor(estimator)

    def ask(self, features: Features) -> NDArray:
        """(n, k) probabilities, margins (n, k) or (n,), or one-hot labels."""
        prepared = self._prepared(features)
        parts = []
        for start in range(0, len(features), BATCH):
            batch = prepared[start : start + BATCH]
            try:
                parts.append(self._ask(batch))
            except Exception as error:  # any step of a pipeline may raise anything, cells included
                raise TargetError(
                    f"{self._shown} cannot be asked about these records ({type(error).__name__} in "
                    f"its own code){_suspects(features)}; pass them as they were for training"
                ) from error
        return np.concatenate(parts)

    def _ask(self, batch: Any) -> NDArray:
        if self.kind == "probabilities":
            return np.asarray(self.estimator.predict_proba(batch))
        if self.kind == "logits":
            return np.asarray(self.estimator.decision_function(batch))
        predicted = class_positions(self.estimator.predict(batch), self.estimator.classes_)
        return np.eye(len(self.estimator.classes_))[predicted]

    def _own_classes(self) -> tuple[str, ...]:
        classes = getattr(self.estimator, "classes_", None)
        is_multilabel = getattr(self.estimator, "multilabel_", False) is True
        if not isinstance(classes, np.ndarray) or classes.ndim != 1 or is_multilabel:
            raise TargetError(
                f"{self._shown} is a {self.architecture}, which is no fitted classifier of one "
                "label for each record (it has no classes_); fit it, or audit another model"
            )
        if len(classes) < 2:
            raise TargetError(f"{self._shown} knows one class only; there is nothing to classify")
        return class_texts(classes.tolist())

    def _best_kind(self, n_classes: int) -> Kind:
        if hasattr(self.estimator, "predict_proba"):
            return "probabilities"
        final = _final(self.estimator)
        is_pairwise = n_classes > 2 and (
            getattr(final, "decision_function_shape", None) == "ovo"
            or type(final).__name__ == "OutputCodeClassifier"
        )
        if hasattr(self.estimator, "decision_function") and not is_pairwise:
            return "logits"
        return "labels"

    def _prepared(self, features: Features) -> Any:
        """The rows with the names, or the plain numbers, that the model was fitted on."""
        import pandas as pd

        names = [str(n) for n in getattr(self.estimator, "feature_names_in_", ())]
        n_wanted = len(names) or getattr(self.estimator, "n_features_in_", None)
        if isinstance(features, np.ndarray):
            flat = features.reshape(len(features), -1)
            self._check_number(flat.shape[1], n_wanted)
            return pd.DataFrame(flat, columns=names) if names else flat
        if names:
            self._check_names([str(n) for n in features.columns], names)
            return features[names]
        self._check_number(features.shape[1], n_wanted)
        if all(dtype.kind in "biuf" for dtype in features.dtypes):
            return features.to_numpy()
        unnamed = features.copy(deep=False)
        unnamed.columns = range(features.shape[1])  # type: ignore[assignment]
        return unnamed

    def _check_names(self, own: list[str], wanted: list[str]) -> None:
        missing = [name for name in wanted if name not in own]
        extra = [name for name in own if name not in wanted]
        if missing:
            raise TargetError(
                f"{self._shown} was fitted on {len(wanted)} columns, of which the data lack "
                f"{shown_names(missing)}; give the columns that it was trained on, under the "
                "same names"
            )
        if extra:
            raise TargetError(
                f"the data have columns that {self._shown} does not take: {shown_names(extra)}; "
                "leave them out with drop_columns, since they would count as part of the record"
            )

    def _check_number(self, n: int, wanted: int | None) -> None:
        if wanted is not None and n != wanted:
            raise TargetError(
                f"{self._shown} takes {wanted} features and the records have {n}; choose them "
                "with feature_columns or drop_columns"
            )


def class_positions(predicted: NDArray, classes: NDArray) -> NDArray[np.int64]:
    """(n,) position of predicted labels among classes_."""
    position = {label: i for i, label in enumerate(classes.tolist())}
    return np.array([position[label] for label in np.asarray(predicted).tolist()], np.int64)


def _suspects(features: Features) -> str:
    """Columns that models often cannot take, by name."""
    if isinstance(features, np.ndarray):
        return f"; they have shape {features.shape} and type {features.dtype}"
    texts = [str(n) for n in features.columns if features[n].dtype.kind not in "biuf"]
    gaps = [str(n) for n in features.columns if features[n].isna().any()]
    found = [
        f"{what} {shown_names(names)}"
        for what, names in (("texts in", texts), ("missing cells in", gaps))
        if names
    ]
    return f"; the data have {' and '.join(found)}" if found else ""


def _final(estimator: Any) -> Any:
    """The classifier inside pipelines and searches."""
    while True:
        if hasattr(estimator, "steps") and estimator.steps:
            estimator = estimator.steps[-1][1]
        elif hasattr(estimator, "best_estimator_"):
            estimator = estimator.best_estimator_
        else:
            return estimator


def _architecture(estimator: Any) -> str:
    outer, final = type(estimator).__name__, type(_final(estimator)).__name__
    return outer if outer == final else f"{outer}({final})"


def probability_floor(estimator: Any) -> float | None:
    """The eps for the probabilities of a fitted estimator; None if they are smooth.

    1 / (2 T) for T > 1 trees whose leaves are all pure, half of the smallest vote; 1e-6 for other
    trees, neighbours, and calibration by steps.
    """
    from sklearn.calibration import CalibratedClassifierCV
    from sklearn.ensemble import BaggingClassifier, VotingClassifier
    from sklearn.ensemble._forest import ForestClassifier
    from sklearn.neighbors import KNeighborsClassifier, RadiusNeighborsClassifier
    from sklearn.tree import DecisionTreeClassifier

    final = _final(estimator)
    if isinstance(final, ForestClassifier | BaggingClassifier):
        trees = [_final(member) for member in final.estimators_]
        if all(isinstance(tree, DecisionTreeClassifier) for tree in trees):
            is_pure = all(_has_pure_leaves(tree.tree_) for tree in trees)
            return 1 / (2 * len(trees)) if is_pure and len(trees) > 1 else STEPPED_FLOOR
        return STEPPED_FLOOR if any(probability_floor(tree) for tree in trees) else None
    if isinstance(final, VotingClassifier):
        return STEPPED_FLOOR if any(probability_floor(m) for m in final.estimators_) else None
    if isinstance(final, CalibratedClassifierCV):
        return STEPPED_FLOOR if final.method == "isotonic" else None
    stepped = (DecisionTreeClassifier, KNeighborsClassifier, RadiusNeighborsClassifier)
    return STEPPED_FLOOR if isinstance(final, stepped) else None


def _has_pure_leaves(tree: Any) -> bool:
    leaves = tree.value[tree.children_left < 0, 0, :]
    return bool((np.count_nonzero(leaves, axis=1) == 1).all())


def load_estimator(path: Path, *, allow_pickle: bool) -> Any:
    """The object in a skops file, or in a pickle if that is allowed. Raises TargetError."""
    if path.suffix.lower() != ".skops":
        return _load_pickle(path, allow_pickle=allow_pickle)
    skops = import_optional("skops.io", extra="tabular", purpose=printable(path.name))
    try:
        untrusted = skops.get_untrusted_types(file=path)
        foreign = [] if allow_pickle else [t for t in untrusted if not _is_stock(t)]
        if not foreign:
            return skops.load(path, trusted=untrusted)
    except Exception as error:  # a damaged archive fails in many ways
        raise TargetError(
            f"{printable(path.name)} cannot be loaded: {first_line(error)}; save it again with "
            "the versions of skops and scikit-learn that are installed here"
        ) from error
    raise TargetError(
        f"{printable(path.name)} holds types that are not part of scikit-learn and can run code "
        f"when they are loaded: {shown_names(foreign)}; save the model without them, or, if you "
        "trust the file and have these packages, pass --allow-pickle"
    )


def _is_stock(type_name: str) -> bool:
    """Whether a type that skops does not vouch for is a class defined by scikit-learn itself.

    skops trusts no trees any more, since forged ones can crash the process. They cannot name code
    of others, and to refuse every forest would send people to pickles.
    """
    if not re.fullmatch(r"sklearn(\.\w+)+", type_name) or "test" in type_name:
        return False
    module, _, name = type_name.rpartition(".")
    try:
        found = getattr(import_module(module), name, None)
    except ImportError:
        return False
    return isinstance(found, type) and found.__module__.split(".")[0] == "sklearn"


def _load_pickle(path: Path, *, allow_pickle: bool) -> Any:
    if not allow_pickle:
        raise TargetError(
            f"{printable(path.name)} is a pickle, which can run any code when it is loaded; save "
            "the model with `skops.io.dump(model, 'model.skops')`, or, if you trust the file, pass "
            "--allow-pickle"
        )
    import joblib

    try:
        return joblib.load(path)
    except Exception as error:  # a pickle runs code, which raises anything
        raise TargetError(
            f"{printable(path.name)} cannot be loaded: {first_line(error)}; it needs the packages "
            "and versions that it was saved with"
        ) from error

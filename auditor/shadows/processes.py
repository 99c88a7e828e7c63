"""Scikit-learn classifiers fitted in parallel processes."""

from __future__ import annotations

import functools
import os
import threading
import time
import warnings
from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from attacks.errors import AuditorError, TargetError
from auditor.shadows.pool import Pool
from auditor.shadows.probabilities import Answers, class_logits
from auditor.shadows.recipe import SklearnRecipe
from auditor.shadows.store import Trained
from auditor.targets.classifier.answers import clipped_share

_NOT_ABOUT_THE_FIT = (DeprecationWarning, PendingDeprecationWarning, FutureWarning)


PARENT_SECONDS = 1.0
"""Time between two looks of a worker at whether its parent is still there."""


class _Fitted(NamedTuple):
    logits: NDArray[np.float32]
    eps: float
    clipped: float
    seconds: float
    n_warnings: int


def fitted_pairs(
    recipe: SklearnRecipe,
    pool: Pool,
    keep: NDArray[np.bool_],
    seeds: Sequence[int],
    pairs: Sequence[int],
    processes: int | None = None,
) -> Iterator[Trained]:
    """Pairs of classifiers, as soon as both of a pair and all before them are fitted.

    keep: (m, n) training sets; seeds: (m,) for every random_state; pairs: which of the m/2 pairs.
    processes: None uses every core; 1 stays in this process. Each has a single thread, so that
        the number of processes changes nothing but the time.

    Raises TargetError if a classifier cannot be fitted or asked.
    """
    from joblib import Parallel, cpu_count, delayed, parallel_config

    models = [i for pair in pairs for i in (2 * pair, 2 * pair + 1)]
    workers = min(processes or cpu_count(), len(models))
    calls = (
        (
            recipe.unfitted(int(seeds[i])),
            pool.features,
            pool.classes,
            recipe.labelled(pool.classes),
            keep[i],
            recipe.labels or range(pool.n_classes),
        )
        for i in models
    )
    if workers <= 1:
        yield from _paired(pairs, (_fit(*call) for call in calls))
        return
    with parallel_config("loky", n_jobs=workers, inner_max_num_threads=1):
        parallel = Parallel(return_as="generator")
    results = parallel(delayed(_fit_in_worker)(os.getpid(), *call) for call in calls)
    try:
        yield from _paired(pairs, results)
    finally:
        with warnings.catch_warnings():
            # an interruption leaves tasks behind, which joblib reports
            warnings.filterwarnings("ignore", message=".*tasks which", category=UserWarning)
            results.close()


def _paired(pairs: Sequence[int], results: Iterator[_Fitted]) -> Iterator[Trained]:
    for pair in pairs:
        both = (next(results), next(results))
        yield Trained(
            models=(2 * pair, 2 * pair + 1),
            logits=np.stack([one.logits for one in both]),
            seconds=sum(one.seconds for one in both),
            clipped=float(np.mean([one.clipped for one in both])),
            eps=max(one.eps for one in both),
            n_warned=sum(one.n_warnings > 0 for one in both),
        )


def fitted(estimator: Any, features: Any, labels: NDArray, rows: NDArray[np.bool_]) -> Any:
    """The estimator, fitted on some rows with a single thread.

    Raises TargetError without the estimator's own message, which may quote records.
    """
    from threadpoolctl import threadpool_limits

    with threadpool_limits(limits=1):
        try:
            return estimator.fit(features[rows], labels[rows])
        except Exception as error:  # estimators raise anything
            raise TargetError(
                f"{type(estimator).__name__} could not be fitted on {int(rows.sum())} records "
                f"({type(error).__name__}); try it on half of the records, or --debug shows why"
            ) from error


def answered(estimator: Any, features: Any, labels: Sequence[Any]) -> Answers:
    """What a fitted estimator says about records; raises TargetError as `fitted`.

    labels: (k,) what it calls class 0, 1, ...
    """
    name = type(estimator).__name__
    try:
        answers = class_logits(estimator, features, len(labels), labels)
    except AuditorError:
        raise
    except Exception as error:  # estimators raise anything
        raise TargetError(
            f"{name} was fitted on one half of the records and fails on the other "
            f"({type(error).__name__}); encoders must ignore categories that they have not seen, "
            "as OneHotEncoder(handle_unknown='ignore') does. --debug shows why"
        ) from error
    if not np.isfinite(answers.logits).all():
        raise TargetError(f"{name} answers with NaN or infinity; check its parameters")
    return answers


def _fit_in_worker(parent: int, *call: Any) -> _Fitted:
    _leave_with(parent)
    return _fit(*call)


@functools.cache
def _leave_with(parent: int) -> None:
    """End this process when its parent does, were it killed: workers hold private records."""

    def watch() -> None:
        while os.getppid() == parent:
            time.sleep(PARENT_SECONDS)
        os._exit(1)

    threading.Thread(target=watch, daemon=True).start()


def _fit(
    estimator: Any,
    features: Any,
    classes: NDArray,
    labels: NDArray,
    rows: NDArray[np.bool_],
    names: Sequence[Any],
) -> _Fitted:
    from threadpoolctl import threadpool_limits

    began = time.perf_counter()
    with warnings.catch_warnings(record=True) as caught, threadpool_limits(limits=1):
        warnings.simplefilter("always")
        answers = answered(fitted(estimator, features, labels, rows), features, names)
    n_warnings = sum(not issubclass(w.category, _NOT_ABOUT_THE_FIT) for w in caught)
    seconds = time.perf_counter() - began
    is_stepped = hasattr(estimator, "predict_proba")
    share = clipped_share(answers.logits, classes, answers.eps) if is_stepped else 0.0
    return _Fitted(answers.logits.astype(np.float32), answers.eps, share, seconds, n_warnings)

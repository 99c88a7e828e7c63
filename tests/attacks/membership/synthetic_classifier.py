"""Made-up answers of a classifier and of its shadow models, with memorised records."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np

from attacks.manifest import ClassifierCapabilities
from attacks.observations import (
    BoundaryDistance,
    Classes,
    Features,
    Floor,
    Logits,
    NoisyCorrectness,
    Request,
    ShadowConfidence,
    ShadowKeep,
    ShadowLogits,
    ShadowTrajectory,
    Trajectory,
)

N_CLASSES = 4
N_SHADOWS = 8
REQUESTS = (
    BoundaryDistance,
    Classes,
    Features,
    Floor,
    Logits,
    NoisyCorrectness,
    ShadowConfidence,
    ShadowKeep,
    ShadowLogits,
    ShadowTrajectory,
    Trajectory,
)
CLASSIFIER = ClassifierCapabilities(
    family="classifier",
    architecture="MLPClassifier",
    n_classes=N_CLASSES,
    n_shadows=N_SHADOWS,
    n_queries=2,
    has_trajectory=True,
)

UNSURE, SURE = -2.0, 6.0
"""Mean phi on a record that a model does not know, and on one that it has memorised."""


def pairs(n: int, m: int, rng: np.random.Generator) -> np.ndarray:
    """(n, m) sets of shadow models in pairs of complements; every record is IN for half."""
    first = rng.random((n, m // 2)) < 0.5
    if n > 1:  # each model has records on both sides, so that attack models can be fitted
        first[0], first[1] = True, False
    return np.stack([first, ~first], axis=2).reshape(n, m)


def logits_of(phi: np.ndarray, classes: np.ndarray, rng: np.random.Generator, k: int = N_CLASSES):
    """(n, ..., k) logits whose true class has this phi (n, ...)."""
    logits = rng.normal(0, 0.1, (*phi.shape, k))
    index = classes.reshape(-1, *[1] * (phi.ndim - 1))
    is_true = np.arange(k) == index[..., None]
    others = np.log(np.sum(np.exp(logits) * ~is_true, axis=-1))
    return np.where(is_true, (phi + others)[..., None], logits)


def observe(
    requests: Iterable[Request],
    n: int,
    rng: np.random.Generator,
    planted: np.ndarray | None = None,
    *,
    m: int = N_SHADOWS,
) -> dict[Request, np.ndarray]:
    """Answers about n records; the planted ones are memorised by the target.

    Every record is hard or easy in its own way; a shadow model has memorised what it was
    trained on. A model is wrong on what it has not memorised.
    """
    is_memorised = np.zeros(n, dtype=bool)
    if planted is not None:
        is_memorised[planted] = True
    classes = rng.integers(N_CLASSES, size=n)
    ease = rng.normal(0, 0.3, n)
    keep = pairs(n, m, rng)

    def phi(memorised: np.ndarray) -> np.ndarray:
        level = ease.reshape(-1, *[1] * (memorised.ndim - 1))
        return np.where(memorised, SURE, UNSURE) + level + rng.normal(0, 0.3, memorised.shape)

    def trajectory(memorised: np.ndarray, epochs: int) -> np.ndarray:
        fall = np.linspace(0, 1, epochs + 1) * memorised[:, None]
        return 2 - 1.9 * fall + 0.1 * ease[:, None] + rng.normal(0, 0.02, (n, epochs + 1))

    def answer(request: Request) -> np.ndarray:
        match request:
            case Classes():
                return classes
            case Features():
                return rng.normal(0, 1, (n, 3))
            case Floor():
                return np.zeros(n)
            case Logits(queries=q):
                return logits_of(phi(np.repeat(is_memorised[:, None], q, axis=1)), classes, rng)
            case ShadowLogits():
                return logits_of(phi(keep), classes, rng)
            case ShadowConfidence(queries=q, temperature=temperature):
                return phi(np.repeat(keep[:, :, None], q, axis=2)) / temperature
            case ShadowKeep():
                return keep
            case NoisyCorrectness(repetitions=repetitions):
                noisy = rng.random((n, repetitions)) < np.where(is_memorised, 0.99, 0.3)[:, None]
                return np.column_stack([is_memorised, noisy]).astype(bool)
            case BoundaryDistance():
                return np.exp(phi(is_memorised) / 4)
            case Trajectory(epochs=epochs):
                return trajectory(is_memorised, epochs)
            case ShadowTrajectory(epochs=epochs):
                return trajectory(keep[:, 0], epochs)
        raise AssertionError(request)

    return {request: answer(request) for request in requests}

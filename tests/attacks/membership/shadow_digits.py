"""Real shadow models: small networks trained together on halves of scikit-learn's digits.

One tenth of the labels is replaced by a wrong one: a model that is sure of such a label can only
have memorised it. All models of a run are one batched program: parameters with a leading axis m.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from attacks.observations import (
    Classes,
    Features,
    Floor,
    Logits,
    Request,
    ShadowConfidence,
    ShadowKeep,
    ShadowLogits,
)
from tests.attacks.membership.synthetic_classifier import pairs

N_CLASSES = 10
FLIPPED_SHARE = 0.1


@dataclass(frozen=True)
class Run:
    """Records, models, and who saw what."""

    features: NDArray[np.float32]
    """(n, d) pixels in [0, 1]."""
    classes: NDArray[np.intp]
    """(n,) labels that the models were given."""
    is_flipped: NDArray[np.bool_]
    """(n,) whether the label is a wrong one."""
    keep: NDArray[np.bool_]
    """(n, m) pairs of complements."""
    logits: NDArray[np.float64]
    """(n, m, k)"""

    def observe(self, target: int, n_shadows: int) -> dict[Request, NDArray]:
        """One model as the target; the next pairs, without its own, as its shadow models."""
        own = target // 2
        n_pairs = self.keep.shape[1] // 2
        chosen = [(own + 1 + i) % n_pairs for i in range(n_shadows // 2)]
        assert own not in chosen, "the twin of the target would give the answer away"
        shadows = [model for pair in chosen for model in (2 * pair, 2 * pair + 1)]
        return {
            Classes(): self.classes,
            Features(): self.features,
            Floor(): np.zeros(len(self.classes)),
            Logits(): self.logits[:, [target]],
            ShadowLogits(): self.logits[:, shadows],
            ShadowConfidence(): naive_phi(self.logits[:, shadows], self.classes)[:, :, None],
            ShadowKeep(): self.keep[:, shadows],
        }


def naive_phi(logits: NDArray, classes: NDArray) -> NDArray[np.float64]:
    """(n, m) log p_y - log(sum of the other probabilities), in double precision."""
    p = np.exp(logits - logits.max(axis=-1, keepdims=True))
    p /= p.sum(axis=-1, keepdims=True)
    is_true = (np.arange(logits.shape[-1]) == classes[:, None])[:, None]
    return np.log((p * is_true).sum(axis=-1)) - np.log((p * ~is_true).sum(axis=-1))


class Records(NamedTuple):
    """Digits with one tenth of wrong labels."""

    features: NDArray[np.float32]
    classes: NDArray[np.intp]
    is_flipped: NDArray[np.bool_]


def load(rng: np.random.Generator) -> Records:
    """All digits, each label replaced by a wrong one with probability one tenth."""
    from sklearn.datasets import load_digits

    data = load_digits()
    is_flipped = rng.random(len(data.target)) < FLIPPED_SHARE
    wrong = (data.target + rng.integers(1, N_CLASSES, len(data.target))) % N_CLASSES
    classes = np.where(is_flipped, wrong, data.target)
    return Records((data.data / 16).astype(np.float32), classes, is_flipped)


def train_run(*, n_models: int, seed: int = 0, **recipe) -> Run:
    """Models in pairs on random halves of the records."""
    rng = np.random.default_rng(seed)
    records = load(rng)
    keep = pairs(len(records.classes), n_models, rng)
    targets = np.eye(N_CLASSES, dtype=np.float32)[records.classes]
    logits = train(records.features, targets, keep, rng, **recipe)
    return Run(*records, keep, logits)


def train(features, targets, keep, rng, *, steps: int = 600, **recipe) -> NDArray[np.float64]:
    """(n, m, k) logits after the last step of `checkpoints`."""
    (logits,) = checkpoints(features, targets, keep, rng, steps=steps, every=steps, **recipe)
    return logits


def checkpoints(
    features: NDArray[np.float32],
    targets: NDArray[np.float32],
    keep: NDArray[np.bool_],
    rng: np.random.Generator,
    *,
    steps: int,
    every: int,
    hidden: int = 64,
    batch: int = 128,
    rate: float = 4e-3,
) -> Iterator[NDArray[np.float64]]:
    """(n, m, k) logits of m networks with one hidden layer, by Adam, after every so many steps.

    targets: (n, k) or (n, m, k) probabilities to learn by cross-entropy; keep: (n, m) which
    records each network learns from.
    """
    m, d, k = keep.shape[1], features.shape[1], targets.shape[-1]
    weights = [
        rng.normal(0, np.sqrt(2 / d), (m, d, hidden)).astype(np.float32),
        np.zeros((m, 1, hidden), np.float32),
        rng.normal(0, np.sqrt(1 / hidden), (m, hidden, k)).astype(np.float32),
        np.zeros((m, 1, k), np.float32),
    ]
    first = [np.zeros_like(w) for w in weights]
    second = [np.zeros_like(w) for w in weights]
    own = [np.flatnonzero(column) for column in keep.T]
    models = np.arange(m)[:, None]
    per_model = np.broadcast_to(targets.reshape(len(targets), -1, k), (len(targets), m, k))
    for step in range(1, steps + 1):
        index = np.stack([rng.choice(rows, batch) for rows in own])
        gradients = _gradients(weights, features[index], per_model[index, models])
        scale = rate * np.sqrt(1 - 0.999**step) / (1 - 0.9**step)
        for w, g, a, b in zip(weights, gradients, first, second, strict=True):
            a += 0.1 * (g - a)
            b += 0.001 * (g * g - b)
            w -= scale * a / (np.sqrt(b) + 1e-8)
        if step % every == 0:
            yield _forward(weights, features[None])[1].swapaxes(0, 1)


def _forward(weights, inputs):
    """(m, b, h) hidden activations and (m, b, k) logits."""
    hidden = np.maximum(inputs @ weights[0] + weights[1], 0)
    return hidden, (hidden @ weights[2] + weights[3]).astype(np.float64)


def _gradients(weights, inputs, targets):
    """Of the mean cross-entropy of each network on its own batch (m, b, d)."""
    hidden, logits = _forward(weights, inputs)
    p = np.exp(logits - logits.max(axis=-1, keepdims=True))
    p /= p.sum(axis=-1, keepdims=True)
    error = ((p - targets) / inputs.shape[1]).astype(np.float32)
    behind = error @ weights[2].swapaxes(1, 2) * (hidden > 0)
    return (
        inputs.swapaxes(1, 2) @ behind,
        behind.sum(axis=1, keepdims=True),
        hidden.swapaxes(1, 2) @ error,
        error.sum(axis=1, keepdims=True),
    )

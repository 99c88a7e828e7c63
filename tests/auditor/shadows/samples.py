"""Tiny pools and recipes that the tests of shadow models share."""

from __future__ import annotations

import numpy as np

from auditor.progress import Progress
from auditor.shadows import Pool, TorchRecipe


def small_pool(n=41, d=6, k=3, seed=0, shape=None, **changes) -> Pool:
    """Records of k noisy classes; n is odd, so that halves are of two sizes."""
    rng = np.random.default_rng(seed)
    classes = rng.integers(k, size=n)
    features = rng.normal(size=(n, *(shape or (d,)))) + classes.reshape(n, *[1] * len(shape or [d]))
    given = {
        "record_ids": [f"record {i}" for i in range(n)],
        "features": features.astype(np.float32),
        "classes": classes,
        "n_classes": k,
    }
    return Pool(**(given | changes))


def mlp():
    from torch import nn

    return nn.Sequential(nn.Linear(6, 8), nn.ReLU(), nn.Linear(8, 3))


def small_recipe(**changes) -> TorchRecipe:
    given = {
        "model": mlp,
        "optimiser": "adam",
        "optimiser_settings": {"lr": 0.01},
        "epochs": 3,
        "batch_size": 8,
    }
    return TorchRecipe(**(given | changes))


class Interrupted(Exception):
    """Stands for a kill."""


class Watched(Progress):
    """Remembers what it was told, and interrupts after so many models."""

    def __init__(self, stop_after: int | None = None) -> None:
        self.stages: list[tuple[str, int, str]] = []
        self.notes: list[str] = []
        self.done = 0
        self._stop_after = stop_after

    def stage(self, title: str, total: int, unit: str = "records") -> None:
        self.stages.append((title, total, unit))

    def advance(self, n: int) -> None:
        assert n > 0
        self.done += n
        if self._stop_after is not None and self.done >= self._stop_after:
            raise Interrupted

    def note(self, text: str) -> None:
        self.notes.append(text)

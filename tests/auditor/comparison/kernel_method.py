"""A method whose models remember as much as their width says: quick, and without torch."""

from __future__ import annotations

from dataclasses import dataclass, field
from types import SimpleNamespace
from typing import Any

import numpy as np

from attacks.manifest import ClassifierCapabilities
from auditor.methods import Check, MethodData, MethodManifest, Records, judge_claim
from auditor.methods.findings import auc_estimate, compared, counted

MANIFEST = MethodManifest(
    name="kernel",
    title="Kernel: votes of neighbours",
    family="classifier",
    reference="arXiv:0000.00000",
    claim="Nothing much.",
    privacy_question="Who voted?",
)


@dataclass
class Votes:
    """Logits are log-votes of the training records, weighted by nearness."""

    features: Any
    classes: Any
    width: float
    capabilities: ClassifierCapabilities = field(
        default_factory=lambda: ClassifierCapabilities("votes", "classifier", n_classes=3)
    )
    parts: dict[str, Any] = field(default_factory=dict)

    def logits(self, features):
        gaps = features[:, None, :] - self.features[None]
        nearness = np.exp(-(gaps**2).sum(axis=-1) / (2 * self.width**2))
        return np.log(nearness @ np.eye(3)[self.classes] + 1e-9)


def pool_of(n: int, seed: int) -> Records:
    rng = np.random.default_rng(seed)
    classes = rng.integers(0, 3, n)
    centres = np.array([[0, 0], [3, 0], [0, 3]])
    return Records((centres[classes] + rng.normal(size=(n, 2))).astype(np.float32), classes)


def kernel_method(ours: float, theirs: float, *, holds: bool = True, family: str = "classifier"):
    """A method whose models vote with width `ours`, and the baseline's with `theirs`."""

    def recipe(width):
        return lambda records, keep, seed: Votes(
            records.features[keep], records.classes[keep], width
        )

    def claim(*, trials=3, seed=0, quick=False):
        gains = [0.9, 0.91, 0.92, 0.93][:trials]
        checks = (Check("it is what it is", holds),)
        return judge_claim("share", range(seed, seed + trials), gains, [0.5] * trials, floor=0.1, checks=checks)  # fmt: skip

    def own_question(trained, records, keep):
        mine = trained.logits(records.features).max(axis=1)
        control = auc_estimate(mine[::2], mine[1::2])
        return (
            counted("voters", "It keeps its voters.", "count", int(keep.sum()), n_members=1),
            compared("votes", "Members by votes.", mine[keep], mine[~keep], control=control, control_name="halves"),
        )  # fmt: skip

    label = {name: getattr(MANIFEST, name) for name in MANIFEST.__slots__} | {"family": family}
    return SimpleNamespace(
        MANIFEST=MethodManifest(**label),
        default_data=lambda quick=False: MethodData(pool_of(150 if quick else 300, 0), pool_of(90, 1)),
        train=recipe(ours),
        baseline=recipe(theirs),
        claim=claim,
        own_question=own_question,
    )  # fmt: skip

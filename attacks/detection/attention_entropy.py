"""Attention entropy, first step: a memorized prompt is read through other tokens than usual.

Idea: cross-attention of a memorized prompt is distributed over its tokens unlike that of others,
from the first step.
Citation: Ren et al., "Unveiling and Mitigating Memorization in Text-to-image Diffusion Models
through Cross Attention", arXiv:2403.11052 (mode E of the authors' code).
Score: -sum_j a_j log a_j of the attention over tokens in the fourth cross-attention layer at the
first step, mean over heads, places and seeds, in nats. The direction is not assumed: the p-value is
two-sided, and the report prints on which side a prompt lies. Higher is a flatter distribution; a
scan takes either end for more likely memorized.
Our reading: models with fewer layers use their last one.
Cost: 1 forward call a seed, without guidance, shared with `text_magnitude`; the attention is read
on the way.
Invalid when: prompts differ in length, which alone moves the entropy. Independent re-runs found it
a weak detector.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray

from attacks.detection import _common
from attacks.detection._common import Recordings, Setting
from attacks.manifest import Access, DiffusionCapabilities, Manifest
from attacks.observations import Request
from attacks.observations.prompts import FirstAttention

MANIFEST = Manifest(
    id="DET006",
    name="attention_entropy",
    title="Entropy of the attention over tokens, first step",
    goal=_common.GOAL,
    access=Access.WHITE_BOX,
    tags=_common.TAGS,
    references=("arXiv:2403.11052",),
    kind="detection",
)
IS_DIRECTED = False
LAYER = 3
"""Index of the paper's fourth layer."""
_TINY = 1e-12


def applicable(capabilities: DiffusionCapabilities) -> str | None:
    """None for models that take text, else the reason."""
    return _common.needs_text(capabilities)


def requests(setting: Setting) -> tuple[Request, ...]:
    """The attention of the first step."""
    return (FirstAttention(setting.steps),)


def score(recorded: Recordings, setting: Setting) -> NDArray[np.float64]:
    """(p,) entropy of the layer, mean over seeds; either end may be that of memorized prompts."""
    (request,) = requests(setting)
    attention = recorded.of(request)  # (p, s, layers, tokens)
    layer = min(LAYER, attention.shape[2] - 1)
    return entropy(attention[:, :, layer]).mean(axis=1)


def entropy(distribution: ArrayLike) -> NDArray[np.float64]:
    """(...) entropy in nats of distributions (..., k): 0 for one-hot, log k for uniform."""
    a = np.asarray(distribution, dtype=np.float64)
    return np.asarray(-(a * np.log(np.maximum(a, _TINY))).sum(axis=-1))

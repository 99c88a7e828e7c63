"""Attention entropy, last steps: how the attention over tokens ends, and moves to the padding.

Idea: late in the trajectory of a memorized prompt, the attention over its tokens, and over the
padding behind them, is distributed unlike that of others.
Citation: Ren et al., arXiv:2403.11052 (mode D of the authors' code: steps 40 to 49 of 50).
Score: with a the attention averaged over layers, heads and places, the mean over the last fifth of
the steps of the entropy of a, plus the mean over those steps of the part of the entropy that falls
on the tokens from the end token on, minus that part at the first of these steps; mean over seeds,
in nats. The authors' code takes higher values for memorized; here the direction is not assumed: the
p-value is two-sided, and the report prints the side. Higher is a flatter distribution.
Cost: 2 forward calls a step and seed, shared with `text_magnitude_mean`.
Invalid when: prompts differ in length. Independent re-runs found it a weak detector.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from attacks.detection import _common
from attacks.detection._common import Recordings, Setting
from attacks.manifest import Access, DiffusionCapabilities, Manifest, Tier
from attacks.observations import Request
from attacks.observations.prompts import LateAttention

MANIFEST = Manifest(
    id="DET007",
    name="attention_entropy_late",
    title="Entropy of the attention over tokens, last steps",
    goal=_common.GOAL,
    access=Access.WHITE_BOX,
    tags=_common.TAGS,
    references=("arXiv:2403.11052",),
    tier=Tier.THOROUGH,
    kind="detection",
)
IS_DIRECTED = False
_TINY = 1e-12


def applicable(capabilities: DiffusionCapabilities) -> str | None:
    """None for models that take text, else the reason."""
    return _common.needs_text(capabilities)


def requests(setting: Setting) -> tuple[Request, ...]:
    """The attention of the last fifth of the steps."""
    begin = setting.steps - max(1, setting.steps // 5)
    return (LateAttention(setting.steps, setting.guidance, begin),)


def score(recorded: Recordings, setting: Setting) -> NDArray[np.float64]:
    """(p,) entropy and drift to the padding, mean over seeds; either end may be memorized."""
    (request,) = requests(setting)
    attention = recorded.of(request)  # (p, s, steps, tokens)
    is_padding = np.arange(attention.shape[3]) >= recorded.ends[:, None]
    return late_entropy(attention, is_padding[:, None, None]).mean(axis=1)


def late_entropy(attention: NDArray, is_padding: NDArray[np.bool_]) -> NDArray[np.float64]:
    """(...) detection score of attention (..., t, k) with the padding marked (..., 1, k)."""
    terms = -attention * np.log(np.maximum(attention, _TINY))
    on_padding = np.where(is_padding, terms, 0).sum(axis=-1)
    drift = on_padding.mean(axis=-1) - on_padding[..., 0]
    return np.asarray(terms.sum(axis=-1).mean(axis=-1) + drift)

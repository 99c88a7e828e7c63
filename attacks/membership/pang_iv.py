"""Similarity of drawn images, scenario IV: image alone, no member known.

Idea: a fine-tuned model draws a picture that is closer to a member than to another record; the
attacker has the image alone, draws what a captioner says of it, and knows the members of a shadow
model that was fine-tuned on other records, and no member of the target.
Citation: Pang and Wang, "Black-box Membership Inference Attacks against Fine-tuned Diffusion
Models", NDSS 2025, arXiv:2312.08207 (their attack IV).
Score: the cosine between the embeddings of the record and of what is drawn, averaged over the
images, as judged by a small network (`decision: mlp`), by the likelihood ratio of two Gaussians, or
by itself. Higher means more likely a member.
Our reading: the paper keeps the similarity of every patch of the encoder and feeds a deeper
network; here each image gives one cosine of pooled embeddings, in the image tower that you name
(CLIP).
Cost: images x steps x 2 (guidance) forward calls: 3 x 30 x 2 = 180.
Invalid when: the shadow model is trained unlike the target; the captioner was trained on one of
the sets, or one set shows what is easier to draw.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from attacks.manifest import DiffusionCapabilities
from attacks.membership import _pang
from attacks.observations import Calibration, Observations, Request

MANIFEST = _pang.manifest("MIA035", "pang_iv", "IV", "image alone")
CONDITION = "guess"
"""The text that is drawn."""


def default_config(capabilities: DiffusionCapabilities) -> _pang.PangConfig:
    """Three images of each text in thirty guided steps, and the encoder at hand."""
    return _pang.default_config(capabilities)


def applicable(capabilities: DiffusionCapabilities) -> str | None:
    """None for text-conditional models with an encoder and a captioner's guesses and a shadow, else the reason."""
    return _pang.with_guesses(capabilities) or _pang.with_shadow(capabilities)


def requests(config: _pang.PangConfig) -> tuple[Request, ...]:
    """The agreement of the drawn images with the record."""
    return (_pang.request(config, CONDITION),)


def score(
    observations: Observations, config: _pang.PangConfig, calibration: Calibration | None = None
) -> NDArray[np.float64]:
    """(n,) how the similarity is judged; higher means more likely a member.

    calibration: what the shadow model answered about its own members and nonmembers. Raises
        Inapplicable without it.
    """
    return _pang.scores(MANIFEST.name, CONDITION, observations, config, calibration)

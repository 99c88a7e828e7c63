"""Generation faithfulness (Wu et al.): what is drawn from a member's caption follows it better.

Idea: the model was trained to turn these very captions into images, so that a drawn image agrees
more with a member's caption. The attacker needs no image of the record.
Citation: Wu et al., "Membership Inference Attacks Against Text-to-image Generation Models",
arXiv:2210.00968.
Score: log-odds of membership by a network of three layers, fitted on the calibration part.
Higher means more likely a member.
Our reading: the body of the paper could not be read. The feature is the cosine between the caption
and the drawn image in an image-text encoder (CLIP), averaged over the images of a caption before it
is classified.
Cost: images x steps x 2 (guidance) forward calls: 3 x 50 x 2 = 300, shared by all attacks of this
paper with the same settings.
Invalid when: members and nonmembers differ in more than having been trained on, since the
classifier then learns that difference: its blind twin, the same classifier on the agreement of the
caption with the record's own image, is reported beside it. A model that leaks nothing teaches the
classifier nothing, so it then misses its positive control and supports no PASS.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from attacks.manifest import Access, DiffusionCapabilities, Manifest, Tier
from attacks.membership import _common, _drawn
from attacks.observations import Calibration, Observations, RecordMeaning, Request

MANIFEST = Manifest(
    id="MIA030",
    name="wu_faithful",
    title="Generation faithfulness to the text (Wu et al.)",
    goal=_common.GOAL,
    access=Access.BLACK_BOX,
    tags=_common.TAGS,
    references=_drawn.REFERENCES,
    tier=Tier.THOROUGH,
    fitted=True,
)


def default_config(capabilities: DiffusionCapabilities) -> _drawn.MeaningConfig:
    """Three images of each caption in fifty guided steps, and the encoder at hand."""
    return _drawn.meaning_config(capabilities)


def applicable(capabilities: DiffusionCapabilities) -> str | None:
    """None for text-conditional models with captions and an encoder, else the reason."""
    return _common.needs_captions(capabilities) or _drawn.needs_encoder(capabilities)


def requests(config: _drawn.MeaningConfig) -> tuple[Request, ...]:
    """The agreement of the drawn images, and that of the record alone."""
    return _drawn.agreement_request(config), RecordMeaning(config.encoder)


def features(observations: Observations, config: _drawn.MeaningConfig) -> NDArray[np.float64]:
    """(n, 1) cosine of caption and drawn image, averaged over the images of a caption."""
    return _drawn.mean_features(observations, _drawn.agreement_request(config), ("cosine to text",))


def own_features(observations: Observations, config: _drawn.MeaningConfig) -> NDArray[np.float64]:
    """(n, 1) cosine of the caption and the record's own image."""
    return _drawn.own_meaning(observations, config)[:, :1]


def score(
    observations: Observations,
    config: _drawn.MeaningConfig,
    calibration: Calibration | None = None,
) -> NDArray[np.float64]:
    """(n,) log-odds of membership; higher means more likely a member.

    Raises Inapplicable without a calibration part.
    """
    return _drawn.fitted_scores(MANIFEST.name, features, observations, config, calibration)


def blind_twin(
    observations: Observations,
    config: _drawn.MeaningConfig,
    calibration: Calibration | None = None,
) -> NDArray[np.float64]:
    """(n,) log-odds by the same classifier on the record alone, without any drawn image."""
    return _drawn.fitted_scores(MANIFEST.name, own_features, observations, config, calibration)

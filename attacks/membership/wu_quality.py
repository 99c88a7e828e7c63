"""Generation quality (Wu et al., quality): members' captions are drawn better.

Idea: the model was trained to draw these captions, so what it draws from a member's caption looks
better than what it draws from another one. The attacker needs no image of the record.
Citation: Wu et al., "Membership Inference Attacks Against Text-to-image Generation Models",
arXiv:2210.00968.
Score: log-odds of membership by a network of three layers, fitted on the calibration part.
Higher means more likely a member.
Our reading: the body of the paper could not be read, so how its classifier sees the drawn image is
not known. Here it sees eight figures of image quality (brightness, contrast, colour, detail,
sharpness, compressed size, two statistics of natural scenes), averaged over the images of a
caption before they are classified.
Cost: images x steps x 2 (guidance) forward calls: 3 x 50 x 2 = 300, shared by all attacks of this
paper with the same settings.
Invalid when: members and nonmembers differ in more than having been trained on, since the
classifier then learns that difference: its blind twin, the same classifier on the record's own
image, is reported beside it. A model that leaks nothing teaches the classifier nothing, so it then
misses its positive control and supports no PASS.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from attacks.manifest import Access, DiffusionCapabilities, Manifest, Tier
from attacks.membership import _common, _drawn
from attacks.observations import Calibration, Observations, RecordQuality, Request

MANIFEST = Manifest(
    id="MIA027",
    name="wu_quality",
    title="Generation quality (Wu et al.)",
    goal=_common.GOAL,
    access=Access.BLACK_BOX,
    tags=_common.TAGS,
    references=_drawn.REFERENCES,
    tier=Tier.THOROUGH,
    fitted=True,
)


def default_config(capabilities: DiffusionCapabilities) -> _drawn.DrawingConfig:
    """Three images of each caption in fifty guided steps."""
    return _drawn.drawing_config(capabilities)


def applicable(capabilities: DiffusionCapabilities) -> str | None:
    """None for text-conditional models with captioned records, else the reason."""
    return _common.needs_captions(capabilities)


def requests(config: _drawn.DrawingConfig) -> tuple[Request, ...]:
    """The figures of the drawn images, and those of the record's own."""
    return _drawn.quality_request(config), RecordQuality()


def features(observations: Observations, config: _drawn.DrawingConfig) -> NDArray[np.float64]:
    """(n, 8) quality of the drawn images, averaged over the images of a caption."""
    return _drawn.mean_features(observations, _drawn.quality_request(config))


def own_features(observations: Observations, config: _drawn.DrawingConfig) -> NDArray[np.float64]:
    """(n, 8) quality of the record's own image."""
    return _drawn.own_quality(observations)


def score(
    observations: Observations,
    config: _drawn.DrawingConfig,
    calibration: Calibration | None = None,
) -> NDArray[np.float64]:
    """(n,) log-odds of membership; higher means more likely a member.

    Raises Inapplicable without a calibration part.
    """
    return _drawn.fitted_scores(MANIFEST.name, features, observations, config, calibration)


def blind_twin(
    observations: Observations,
    config: _drawn.DrawingConfig,
    calibration: Calibration | None = None,
) -> NDArray[np.float64]:
    """(n,) log-odds by the same classifier on the record alone, without any drawn image."""
    return _drawn.fitted_scores(MANIFEST.name, own_features, observations, config, calibration)

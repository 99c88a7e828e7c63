"""Everything that drawn images show (Wu et al., combination).

Idea: quality, reconstruction of pixels and of meaning, and faithfulness to the text say different
things, so one classifier sees all of them.
Citation: Wu et al., "Membership Inference Attacks Against Text-to-image Generation Models",
arXiv:2210.00968.
Score: log-odds of membership by a network of three layers, fitted on the calibration part.
Higher means more likely a member.
Our reading: the body of the paper could not be read; the features of its four attacks stand side by
side. Without an image-text encoder the two that compare meanings are left out (`parts` says which
are in).
Cost: images x steps x 2 (guidance) forward calls: 3 x 50 x 2 = 300, shared by all attacks of this
paper with the same settings.
Invalid when: members and nonmembers differ in more than having been trained on, since the
classifier then learns that difference: its blind twin, the same classifier on all that the blind
twins of its parts see, is reported beside it. A model that leaks nothing teaches the classifier
nothing, so it then misses its positive control and supports no PASS.
"""

from __future__ import annotations

from dataclasses import dataclass
from types import ModuleType

import numpy as np
from numpy.typing import NDArray

from attacks.errors import UsageError, did_you_mean
from attacks.manifest import Access, DiffusionCapabilities, Manifest, Tier
from attacks.membership import (
    _common,
    _drawn,
    wu_faithful,
    wu_quality,
    wu_recon_pixel,
    wu_recon_semantic,
)
from attacks.observations import Calibration, Observations, Request

MANIFEST = Manifest(
    id="MIA031",
    name="wu_combined",
    title="Quality, reconstruction and faithfulness combined (Wu et al.)",
    goal=_common.GOAL,
    access=Access.BLACK_BOX,
    tags=_common.TAGS,
    references=_drawn.REFERENCES,
    tier=Tier.THOROUGH,
    fitted=True,
)

PARTS: dict[str, ModuleType] = {
    "quality": wu_quality,
    "pixels": wu_recon_pixel,
    "meaning": wu_recon_semantic,
    "text": wu_faithful,
}
"""What can be combined."""
MEANINGS = ("meaning", "text")
"""Parts that need an encoder."""


@dataclass(frozen=True, slots=True)
class CombinedConfig(_drawn.MeaningConfig):
    """Settings of the drawing, and what is combined."""

    parts: tuple[str, ...] = tuple(PARTS)
    """Features that the classifier sees: quality, pixels, meaning, text."""

    def __post_init__(self) -> None:
        _drawn.MeaningConfig.__post_init__(self)
        if not self.parts:
            raise UsageError(f"parts needs at least one of {', '.join(PARTS)}")
        for part in self.parts:
            if part not in PARTS:
                raise UsageError(f"unknown part '{part}'; {did_you_mean(part, PARTS)}")


def default_config(capabilities: DiffusionCapabilities) -> CombinedConfig:
    """All four parts with an encoder, else the two that need none."""
    has_encoder = bool(capabilities.encoder)
    parts = tuple(part for part in PARTS if has_encoder or part not in MEANINGS)
    drawn = _drawn.meaning_config(capabilities)
    return CombinedConfig(steps=drawn.steps, encoder=drawn.encoder, parts=parts)


def applicable(capabilities: DiffusionCapabilities) -> str | None:
    """None for text-conditional models with captioned records, else the reason."""
    return _common.needs_captions(capabilities)


def requests(config: CombinedConfig) -> tuple[Request, ...]:
    """What the parts ask for."""
    wanted = [request for part in config.parts for request in PARTS[part].requests(config)]
    return tuple(dict.fromkeys(wanted))


def features(observations: Observations, config: CombinedConfig) -> NDArray[np.float64]:
    """(n, d) features of all parts side by side."""
    return np.hstack([PARTS[part].features(observations, config) for part in config.parts])


def own_features(observations: Observations, config: CombinedConfig) -> NDArray[np.float64]:
    """(n, d) what the blind twins of the parts see, side by side."""
    return np.hstack([PARTS[part].own_features(observations, config) for part in config.parts])


def score(
    observations: Observations,
    config: CombinedConfig,
    calibration: Calibration | None = None,
) -> NDArray[np.float64]:
    """(n,) log-odds of membership; higher means more likely a member.

    Raises Inapplicable without a calibration part.
    """
    return _drawn.fitted_scores(MANIFEST.name, features, observations, config, calibration)


def blind_twin(
    observations: Observations,
    config: CombinedConfig,
    calibration: Calibration | None = None,
) -> NDArray[np.float64]:
    """(n,) log-odds by the same classifier on the record alone, without any drawn image."""
    return _drawn.fitted_scores(MANIFEST.name, own_features, observations, config, calibration)

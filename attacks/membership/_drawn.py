"""What the attacks on drawn images share: settings, features averaged over images, blind twins.

The attacks of Wu et al. (arXiv:2210.00968) send a record's caption to the model and look at what
comes back. The features of several images of one caption are averaged before the classifier sees
them. The blind twin of an attack is the same classifier on what the record says about itself,
without any drawn image: an attack that does not beat it read the records, not the model.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from attacks.errors import UsageError
from attacks.manifest import DiffusionCapabilities
from attacks.membership import _attack_network, _common
from attacks.observations import (
    AGREEMENTS,
    Calibration,
    GenerationAgreement,
    GenerationDistance,
    GenerationQuality,
    Observations,
    RecordMeaning,
    RecordQuality,
    Request,
)

REFERENCES = ("arXiv:2210.00968",)
STEPS = 50

ConfigT = TypeVar("ConfigT", bound="DrawingConfig")


@dataclass(frozen=True, slots=True)
class DrawingConfig:
    """How images are drawn, and how the classifier is fitted."""

    r: int = 3
    """Images of each caption, whose features are averaged."""
    steps: int = 50
    """DDIM steps of an image."""
    guidance: float = 7.5
    """Scale of classifier-free guidance; 1 asks no unconditional prediction."""
    penalty: float = 1.0
    """Pull of the classifier's weights towards zero."""
    seed: int = 0
    """Initial weights of the classifier."""

    def __post_init__(self) -> None:
        _common.check_positive(r=self.r, steps=self.steps, penalty=self.penalty)
        if not self.guidance >= 1:
            raise UsageError(f"guidance must be at least 1, got {self.guidance}")


@dataclass(frozen=True, slots=True)
class MeaningConfig(DrawingConfig):
    """The same, and the encoder that meanings are compared in."""

    encoder: str = ""
    """Key of the encoder that the scan opened; chosen by `encoder` in the configuration file."""


def drawing_config(capabilities: DiffusionCapabilities) -> DrawingConfig:
    """Three images in fifty guided steps, or as many as the schedule has."""
    return DrawingConfig(steps=min(STEPS, capabilities.n_timesteps))


def meaning_config(capabilities: DiffusionCapabilities) -> MeaningConfig:
    """The same, with the encoder at hand."""
    steps = min(STEPS, capabilities.n_timesteps)
    return MeaningConfig(steps=steps, encoder=capabilities.encoder)


def needs_encoder(capabilities: DiffusionCapabilities) -> str | None:
    """A reason if meanings cannot be compared, else None."""
    if not capabilities.encoder:
        return (
            "needs an image-text encoder, and none is configured; name a CLIP model with its "
            "weights under `encoder` in the configuration file"
        )
    return None


def quality_request(config: DrawingConfig) -> GenerationQuality:
    """The figures of the images of each caption."""
    return GenerationQuality(config.r, config.steps, config.guidance)


def distance_request(config: DrawingConfig) -> GenerationDistance:
    """Their distances to the record."""
    return GenerationDistance(config.r, config.steps, config.guidance)


def agreement_request(config: MeaningConfig) -> GenerationAgreement:
    """Their agreement with record and caption."""
    return GenerationAgreement(config.encoder, config.r, config.steps, config.guidance)


def mean_features(
    observations: Observations, request: Request, names: tuple[str, ...] | None = None
) -> NDArray[np.float64]:
    """(n, d) figures averaged over the images of each caption; names: the agreements to keep."""
    array = _common.answer(observations, request)
    means = array.mean(axis=1) if len(array) else np.zeros((0, array.shape[-1]))
    if names is None:
        return means
    return means[:, [AGREEMENTS.index(name) for name in names]]


def own_quality(observations: Observations) -> NDArray[np.float64]:
    """(n, d) figures of the record's own image."""
    return _common.answer(observations, RecordQuality())


def own_meaning(observations: Observations, config: MeaningConfig) -> NDArray[np.float64]:
    """(n, 1 + d) agreement of the record's image with its caption, and its embedding."""
    return _common.answer(observations, RecordMeaning(config.encoder))


def fitted_scores(
    name: str,
    read: Callable[[Observations, ConfigT], NDArray[np.float64]],
    observations: Observations,
    config: ConfigT,
    calibration: Calibration | None,
) -> NDArray[np.float64]:
    """(n,) log-odds of membership by a classifier of the features that `read` takes.

    Raises Inapplicable without a calibration part.
    """
    part = _common.fitting_part(calibration, name)
    return _attack_network.fitted_log_odds(
        read(observations, config),
        read(part.observations, config),
        part,
        penalty=config.penalty,
        seed=config.seed,
    )

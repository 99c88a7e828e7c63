"""Made-up answers to requests, with records planted that a model would have memorised."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
from hypothesis import strategies as st

from attacks.manifest import Capabilities, DiffusionCapabilities
from attacks.observations import (
    AGREEMENTS,
    DISTANCES,
    NORMS,
    QUALITIES,
    Calibration,
    CleanNorms,
    GenerationAgreement,
    GenerationDistance,
    GenerationQuality,
    GradientNorms,
    NoiseError,
    ProximalError,
    RecordMeaning,
    RecordQuality,
    Request,
    StepError,
    StepResidual,
    VariationDistance,
)
from tests.attacks.membership import synthetic_classifier
from tests.attacks.membership.synthetic_classifier import CLASSIFIER

PIXEL = DiffusionCapabilities(
    family="diffusion",
    architecture="DDPMPipeline",
    is_latent=False,
    is_text_conditional=False,
    n_timesteps=1000,
    resolution=32,
    has_captions=False,
)
SMALL_TEXT = DiffusionCapabilities(
    family="diffusion",
    architecture="StableDiffusionPipeline",
    is_latent=True,
    is_text_conditional=True,
    n_timesteps=1000,
    resolution=64,
    has_guesses=True,
    has_shadow=True,
    encoder="towers@0",
)
LARGE_TEXT = DiffusionCapabilities(
    family="diffusion",
    architecture="StableDiffusionPipeline",
    is_latent=True,
    is_text_conditional=True,
    n_timesteps=1000,
    resolution=512,
)
UNCAPTIONED = DiffusionCapabilities(
    family="diffusion",
    architecture="StableDiffusionPipeline",
    is_latent=True,
    is_text_conditional=True,
    n_timesteps=1000,
    resolution=512,
    has_captions=False,
)

TARGETS: dict[str, Capabilities] = {"diffusion": SMALL_TEXT, "classifier": CLASSIFIER}
"""A target of each family on which every attack of the family can run."""

KEPT = 0.05
"""Share of its error that a memorised record keeps."""

SEEDS = st.integers(0, 2**32 - 1)
SIZES = st.integers(1, 7)


def observe(
    requests: Iterable[Request],
    n: int,
    rng: np.random.Generator,
    planted: np.ndarray | None = None,
    *,
    ties: bool = False,
) -> dict[Request, np.ndarray]:
    """Random answers; a planted record has small errors on itself, with its own caption.

    A classifier is sure of a planted record's class, as shadow models are of their own records.
    """
    requests = tuple(requests)
    if any(isinstance(request, synthetic_classifier.REQUESTS) for request in requests):
        return synthetic_classifier.observe(requests, n, rng, planted)
    kept = np.ones(n)
    if planted is not None:
        kept[planted] = KEPT
    return {request: _answer(request, kept, rng, ties) for request in requests}


def _answer(request: Request, kept: np.ndarray, rng: np.random.Generator, ties: bool) -> np.ndarray:
    n = len(kept)

    def draw(*shape: int) -> np.ndarray:
        if ties:
            return rng.integers(1, 3, (n, *shape)).astype(float)
        return rng.gamma(200, 1 / 200, (n, *shape))

    match request:
        case NoiseError(condition="caption", crop=1.0):
            return draw() * kept
        case NoiseError() as error if error.condition == "caption":
            return draw() + 0.5
        case NoiseError():
            return draw()
        case CleanNorms() | ProximalError():
            return draw(len(NORMS)) * kept[:, None]
        case StepError():
            return draw() * kept
        case StepResidual():
            return (draw(2, 6, 6) * kept[:, None, None, None]).astype(np.float16)
        case VariationDistance():
            return np.column_stack([1 - 0.3 * draw() * kept, 0.1 * draw() * kept])
        case GenerationQuality(r=r):
            return draw(r, len(QUALITIES)) * kept[:, None, None]
        case GenerationDistance(r=r):
            return draw(r, len(DISTANCES)) * kept[:, None, None]
        case GenerationAgreement(r=r):
            return draw(r, len(AGREEMENTS)) * kept[:, None, None]
        case GradientNorms():
            return draw(6) * kept[:, None]
        case RecordQuality():
            return draw(len(QUALITIES))
        case RecordMeaning():
            return draw(5)
    raise AssertionError(request)


def calibration(
    requests: Iterable[Request], rng: np.random.Generator, *, n: int = 60, leaks: bool = True
) -> Calibration:
    """Half members; all of them memorised if `leaks`."""
    is_member = rng.permutation(np.arange(n) % 2 == 0)
    return Calibration(observe(requests, n, rng, is_member if leaks else None), is_member)


def rows(observations: dict, order: np.ndarray) -> dict:
    """The same answers for some records, in another order."""
    return {request: array[order] for request, array in observations.items()}

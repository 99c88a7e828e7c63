"""What the four scenarios of Pang & Wang share: one similarity, three ways to decide.

A record's caption, or a captioner's guess of it, is drawn several times; the similarity is the
cosine between the embeddings of the record and of each image, averaged over the images. The
decision is fitted on records whose membership the attacker knows.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from attacks.errors import UsageError, did_you_mean
from attacks.manifest import Access, DiffusionCapabilities, Manifest, Tier
from attacks.membership import _attack_network, _common, _drawn
from attacks.observations import Calibration, GenerationAgreement, Observations, Request

DECISIONS = ("mlp", "gaussian", "threshold")
STEPS = 30
"""Inference steps of the paper."""
FLOOR = 1e-6
"""Least standard deviation of a similarity."""


@dataclass(frozen=True, slots=True)
class PangConfig(_drawn.MeaningConfig):
    """How images are drawn, and how their similarity to the record is judged."""

    steps: int = STEPS
    """DDIM steps of an image."""
    decision: Literal["mlp", "gaussian", "threshold"] = "mlp"
    """A small network, the likelihood ratio of two Gaussians, or the similarity itself."""

    def __post_init__(self) -> None:
        _drawn.MeaningConfig.__post_init__(self)
        if self.decision not in DECISIONS:
            hint = did_you_mean(self.decision, DECISIONS)
            raise UsageError(f"unknown decision '{self.decision}'; {hint}")


def manifest(rule_id: str, name: str, scenario: str, knows: str) -> Manifest:
    """The label of a scenario."""
    return Manifest(
        id=rule_id,
        name=name,
        title=f"Similarity of drawn images, scenario {scenario} ({knows})",
        goal=_common.GOAL,
        access=Access.BLACK_BOX,
        tags=_common.TAGS,
        references=("arXiv:2312.08207",),
        tier=Tier.THOROUGH,
        fitted=True,
    )


def default_config(capabilities: DiffusionCapabilities) -> PangConfig:
    """Three images of each caption in thirty guided steps, and the encoder at hand."""
    steps = min(STEPS, capabilities.n_timesteps)
    return PangConfig(steps=steps, encoder=capabilities.encoder)


def with_captions(capabilities: DiffusionCapabilities) -> str | None:
    """A reason if the records' own captions cannot be drawn and compared, else None."""
    return _common.needs_captions(capabilities) or _drawn.needs_encoder(capabilities)


def with_guesses(capabilities: DiffusionCapabilities) -> str | None:
    """A reason if a captioner's guesses cannot be drawn and compared, else None."""
    if reason := _common.needs_diffusion(capabilities):
        return reason
    if not capabilities.is_text_conditional:
        return "needs a text-conditional model, and this target takes no caption"
    if not capabilities.has_guesses:
        return (
            "needs what a captioner says of every picture, since the caption counts as unknown; "
            "give it in a column `caption_guess`, or name the column with records.guess_column"
        )
    return _drawn.needs_encoder(capabilities)


def with_shadow(capabilities: DiffusionCapabilities) -> str | None:
    """A reason if the decision cannot be learned without knowing any member, else None."""
    if not capabilities.has_shadow:
        return (
            "needs a shadow model, fine-tuned like the target on records that are not its members, "
            "and no scan makes one yet; from Python, pass its observations as the calibration part"
        )
    return None


def request(config: PangConfig, condition: str) -> Request:
    """The agreement of the drawn images with the record."""
    return GenerationAgreement(config.encoder, config.r, config.steps, config.guidance, condition)


def similarities(
    observations: Observations, config: PangConfig, condition: str
) -> NDArray[np.float64]:
    """(n,) cosine of record and drawn image, averaged over the images."""
    wanted = request(config, condition)
    return _drawn.mean_features(observations, wanted, ("cosine to image",))[:, 0]


def scores(
    name: str,
    condition: str,
    observations: Observations,
    config: PangConfig,
    calibration: Calibration | None,
) -> NDArray[np.float64]:
    """(n,) decision values of a scenario. Raises Inapplicable without a calibration part."""
    part = _common.fitting_part(calibration, name)
    asked = similarities(observations, config, condition)
    known = similarities(part.observations, config, condition)
    if config.decision == "mlp":
        columns = asked[:, None], known[:, None]
        return _attack_network.fitted_log_odds(
            *columns, part, penalty=config.penalty, seed=config.seed
        )
    fitted = _common.canonical(known[:, None], part.is_member)
    if config.decision == "threshold":
        return asked
    sides = [fitted.features[fitted.is_member == side, 0] for side in (True, False)]
    inside, outside = (_log_density(asked, side) for side in sides)
    return inside - outside


def _log_density(values: NDArray[np.float64], sample: NDArray[np.float64]) -> NDArray[np.float64]:
    """(n,) log-density of a Gaussian with the mean and deviation of a sample, up to a constant."""
    spread = max(float(sample.std(ddof=1)), FLOOR)
    return -0.5 * ((values - sample.mean()) / spread) ** 2 - np.log(spread)

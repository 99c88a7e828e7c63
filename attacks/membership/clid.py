"""CLiD (threshold): the caption helps more on a record the model was trained on.

Idea: fine-tuning overfits the pair of image and caption before the image alone, so on a member
the error grows more when words are taken from the caption. The noise is the same for every
condition, which is what makes the difference precise.
Citation: Zhai et al., "Membership Inference on Text-to-image Diffusion Models via Conditional
Likelihood Discrepancy", NeurIPS 2024, arXiv:2405.14800.
Score: alpha S(D) + (1 - alpha) S(L); D is the mean growth of the error over clipped captions and
the empty text, L minus the error, S(a) = (a - centre) / interquartile range. Higher means more
likely a member.
Our reading: the paper takes S and alpha from a shadow model without saying how alpha is searched;
here both come from the calibration part, alpha as the middle of the best values of a grid by AUC.
Words are clipped by position (the paper's simplest variant), not by importance.
Cost: timesteps x (1 + conditions) forward calls: 3 x 5 = 15.
Invalid when: the captions are not those of the training, or members are captioned in another
style than nonmembers, which the blind baseline checks on captions.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray

from attacks.errors import UsageError
from attacks.manifest import Access, DiffusionCapabilities, Manifest, Tier
from attacks.membership import _common, _conditional
from attacks.observations import Calibration, Observations, Request

MANIFEST = Manifest(
    id="MIA007",
    name="clid",
    title="Conditional likelihood discrepancy (CLiD)",
    goal=_common.GOAL,
    access=Access.GREY_BOX,
    tags=_common.TAGS,
    references=("arXiv:2405.14800",),
    tier=Tier.THOROUGH,
    fitted=True,
)


@dataclass(frozen=True, slots=True)
class ClidConfig:
    """Timesteps, reduced conditions, and how the two terms are scaled and mixed."""

    timesteps: tuple[int, ...] = (440, 450, 460)
    """Timesteps of the errors, one noise each."""
    conditions: tuple[str, ...] = _conditional.REDUCED
    """Reduced conditions that the caption is compared with."""
    center: Literal["median", "mean"] = "median"
    """Centre of the scaling: of the paper's scaler (median) or of its text (mean)."""
    alpha: float | None = None
    """Weight of the discrepancy in [0, 1]; null fits it on the calibration part."""
    n_alphas: int = 101
    """Size of the grid over [0, 1] that alpha is fitted on."""

    def __post_init__(self) -> None:
        _conditional.check(self.timesteps, self.conditions)
        _common.check_positive(n_alphas=self.n_alphas)
        if self.center not in ("median", "mean"):
            raise UsageError(f"center must be median or mean, got '{self.center}'")
        if self.alpha is not None and not 0 <= self.alpha <= 1:
            raise UsageError(f"alpha must be between 0 and 1, got {self.alpha}")


class Scaling(NamedTuple):
    """Centre and interquartile range of one term on the calibration part."""

    center: float
    spread: float

    def __call__(self, values: NDArray[np.floating]) -> NDArray[np.float64]:
        """(n,) values in units of the calibration part's spread."""
        return np.asarray((values - self.center) / self.spread, dtype=np.float64)


def default_config(capabilities: DiffusionCapabilities) -> ClidConfig:
    """Three timesteps around 450, or around 100 for small models, on the target's schedule."""
    return ClidConfig(timesteps=_conditional.default_timesteps(capabilities))


def applicable(capabilities: DiffusionCapabilities) -> str | None:
    """None for text-conditional models with captioned records, else the reason."""
    return _common.needs_captions(capabilities)


def requests(config: ClidConfig) -> tuple[Request, ...]:
    """Errors with the caption and with each reduced condition."""
    return _conditional.errors(config.timesteps, config.conditions)


def score(
    observations: Observations, config: ClidConfig, calibration: Calibration | None = None
) -> NDArray[np.float64]:
    """(n,) weighted sum of the scaled terms; higher means more likely a member.

    Raises Inapplicable without a calibration part.
    """
    part = _common.fitting_part(calibration, MANIFEST.name)
    discrepancy, likelihood = _terms(observations, config)
    fitted_terms = np.stack(_terms(part.observations, config), axis=1)
    fitted = _common.canonical(fitted_terms, part.is_member)
    scale_d, scale_l = (fit_scaling(column, config.center) for column in fitted.features.T)
    alpha = config.alpha
    if alpha is None:
        scaled_d, scaled_l = scale_d(fitted.features[:, 0]), scale_l(fitted.features[:, 1])
        alpha = fit_alpha(scaled_d, scaled_l, fitted.is_member, n_alphas=config.n_alphas)
    return alpha * scale_d(discrepancy) + (1 - alpha) * scale_l(likelihood)


def fit_scaling(values: NDArray[np.floating], center: str = "median") -> Scaling:
    """Robust scaling of one term; a spread of zero counts as one, as in scikit-learn."""
    low, middle, high = np.percentile(values, [25, 50, 75])
    spread = high - low
    if spread < 10 * np.finfo(np.float64).eps:
        spread = 1.0
    return Scaling(float(np.mean(values) if center == "mean" else middle), float(spread))


def fit_alpha(
    scaled_d: NDArray[np.floating],
    scaled_l: NDArray[np.floating],
    is_member: NDArray[np.bool_],
    *,
    n_alphas: int,
) -> float:
    """The middle one of the weights with the highest AUC on the calibration part.

    Small parts are often separated by many weights alike; the middle is furthest from failing.
    """
    from attacks.statistics.auc import placements

    def pairs_ranked_right(alpha: float) -> int:
        """The AUC as a whole number (ties count half), so that equal AUCs compare equal."""
        scores = alpha * scaled_d + (1 - alpha) * scaled_l
        shares = placements(scores[is_member], scores[~is_member]).members
        return round(2 * float(shares.sum()) * np.count_nonzero(~is_member))

    grid = np.linspace(0, 1, n_alphas)
    wins = np.array([pairs_ranked_right(alpha) for alpha in grid])
    best = np.flatnonzero(wins == wins.max())
    return float(grid[best[(len(best) - 1) // 2]])


def _terms(
    observations: Observations, config: ClidConfig
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """(n,) mean discrepancy and (n,) likelihood."""
    terms = _conditional.likelihoods(observations, config.timesteps, config.conditions)
    return terms.discrepancies.mean(axis=1), terms.likelihood

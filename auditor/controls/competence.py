"""Competence: on nonmembers the model must denoise better than no model at all.

Otherwise the weights, the crop, the normalisation, the captions, the scheduler or the precision
are wrong, and every attack measures that mistake.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from attacks.results import ControlResult, ControlStatus
from attacks.wording import plural

FEWEST = 3
"""Nonmembers below which there is nothing to judge."""
SIGNIFICANT = 2.326  # one-sided 1 % of the normal distribution


def competence(
    loss: NDArray[np.floating], reinitialised: NDArray[np.floating], power: NDArray[np.floating]
) -> ControlResult:
    """Compare the losses of nonmembers with those of two predictors that know nothing.

    loss: (n, t) mean squared noise error of the target; reinitialised: (m, t) of the same
    architecture with random weights; power: (n, t) of the trivial predictor that answers zero.
    Passed if the mean over timesteps is lower than both beyond chance (one-sided 1 %, per record).
    """
    own = loss.mean(axis=1)
    if min(len(own), len(reinitialised)) < FEWEST:
        summary = f"not run: it needs {FEWEST} nonmembers, there are {len(own)}"
        return ControlResult("competence", ControlStatus.NOT_RUN, summary)
    margin_trivial = _z(power.mean(axis=1) - own)
    other = reinitialised.mean(axis=1)
    spread = np.sqrt(_variance_of_mean(own) + _variance_of_mean(other))
    margin_fresh = float((other.mean() - own.mean()) / max(spread, 1e-12))
    is_competent = margin_trivial > SIGNIFICANT and margin_fresh > SIGNIFICANT
    figures: dict[str, float | int | str | bool | None] = {
        "loss": float(own.mean()),
        "loss_trivial": float(power.mean()),
        "loss_reinitialised": float(other.mean()),
        "n_nonmembers": len(own),
    }
    verb = "beats" if is_competent else "does not beat"
    summary = (
        f"On {plural(len(own), 'nonmember')} the noise error is {own.mean():.3f}; the model {verb} the same "
        f"network with random weights ({other.mean():.3f}) and the trivial predictor "
        f"({power.mean():.3f})."
    )
    if not is_competent:
        summary += (
            " Check the weights, --resolution, the captions and the scheduler: nothing that this "
            "scan measured can be trusted."
        )
    status = ControlStatus.PASSED if is_competent else ControlStatus.FAILED
    return ControlResult("competence", status, summary, figures)


def _variance_of_mean(values: NDArray[np.floating]) -> float:
    return float(values.var(ddof=1) / len(values)) if len(values) > 1 else float("inf")


def _z(differences: NDArray[np.floating]) -> float:
    return float(differences.mean() / max(np.sqrt(_variance_of_mean(differences)), 1e-12))

"""Gaussian differential privacy: what a distance mu means as epsilon, AUC or TPR.

A mechanism is mu-GDP if telling its two worlds apart is at least as hard as telling N(0, 1) from
N(mu, 1) (Dong, Roth and Su, arXiv 1905.02383, Definition 2.6 and Eq. 6). Its delta at epsilon is
their Corollary 2.13; here it is written with the scaled erfc,

    delta = exp(-a^2 / 2) (erfcx(a / sqrt 2) - erfcx(b / sqrt 2)) / 2,   a, b = eps / mu -+ mu / 2,

which neither overflows nor cancels e^eps against a vanishing tail.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.optimize import brentq
from scipy.special import erfcx, erfinv, ndtr, ndtri

from attacks.errors import UsageError
from attacks.statistics.epsilon import INDEPENDENT_TRIALS, UNIT, Confusion, check_levels
from attacks.statistics.rates import upper_limit

GAUSSIAN_TRADE_OFF = (
    "the trade-off curve of the mechanism is assumed to be that of two unit normal distributions; "
    "where it is not, neither mu nor this epsilon is a lower bound"
)
"""The assumption that turns one operating point into a whole curve."""

_TINY = np.finfo(float).tiny
_SMALLEST = 1e-100  # of mu, so that no square overflows; its delta is nil at any epsilon


def _log_delta(mu: ArrayLike, epsilon: ArrayLike) -> NDArray[np.float64]:
    """Log of delta for mu > 0 and epsilon >= 0; broadcasts."""
    shift = np.maximum(mu, _SMALLEST)
    a = np.clip(np.asarray(epsilon, float) / shift - shift / 2, -1 / _SMALLEST, 1 / _SMALLEST)
    scaled_b = erfcx((a + shift) / math.sqrt(2))
    beyond = np.maximum(a, 0.0)
    tail = np.maximum((erfcx(beyond / math.sqrt(2)) - scaled_b) / 2, _TINY)
    centre = np.maximum(ndtr(-a) - np.exp(-(a**2) / 2) * scaled_b / 2, _TINY)
    return np.where(a >= 0, np.log(tail) - beyond**2 / 2, np.log(centre))


def delta_of_epsilon(mu: ArrayLike, epsilon: ArrayLike) -> NDArray[np.float64]:
    """Smallest delta with which a mu-GDP mechanism is (epsilon, delta)-DP; broadcasts.

    Decreases in epsilon; 2 Phi(mu / 2) - 1 at epsilon 0, and 0 at mu = 0.
    Raises UsageError when mu or epsilon is negative or not finite.
    """
    shift, eps = _checked(mu, "mu"), _checked(epsilon, "epsilon")
    return np.where(shift > 0, np.exp(_log_delta(np.where(shift > 0, shift, 1.0), eps)), 0.0)


def epsilon_of_mu(mu: float, delta: float) -> float:
    """Smallest epsilon >= 0 at which a mu-GDP mechanism is (epsilon, delta)-DP, 0 < delta < 1.

    The root of ln delta(epsilon) = ln delta, bracketed by 0 and mu (mu / 2 - Phi^-1(delta)),
    where the first term of delta(epsilon) alone is already as small.
    """
    _checked(mu, "mu")
    _check_delta(delta)
    if float(delta_of_epsilon(mu, 0.0)) <= delta:
        return 0.0
    high = mu * (mu / 2 - float(ndtri(delta)))
    goal = math.log(delta)
    if float(_log_delta(mu, high)) >= goal:  # equal to within rounding
        return high
    return float(brentq(lambda e: float(_log_delta(mu, e)) - goal, 0.0, high, xtol=1e-13))


def mu_of_epsilon(epsilon: float, delta: float) -> float:
    """The mu whose smallest epsilon at delta is this one: the inverse of `epsilon_of_mu`.

    At epsilon 0 it is the largest mu that is (0, delta)-DP. The bracket: delta(epsilon) is at most
    its first term Phi(-a), and at least Phi(-a) - phi(a) / b, which exceeds delta where -a is
    |Phi^-1(delta)| + 2.
    """
    _checked(epsilon, "epsilon")
    _check_delta(delta)
    at_zero = 2 * math.sqrt(2) * float(erfinv(delta))
    if epsilon == 0:
        return at_zero
    z, goal = float(ndtri(delta)), math.log(delta)
    low, high = max(at_zero, _mu_at(z, epsilon)), _mu_at(abs(z) + 2, epsilon)
    if float(_log_delta(low, epsilon)) >= goal:  # equal to within rounding
        return low
    return float(brentq(lambda m: float(_log_delta(m, epsilon)) - goal, low, high, xtol=1e-300))


def _mu_at(z: float, epsilon: float) -> float:
    """The mu with mu / 2 - epsilon / mu = z, without cancellation."""
    root = math.sqrt(z * z + 2 * epsilon)
    return z + root if z > 0 else 2 * epsilon / (root - z)


def auc_of_mu(mu: ArrayLike) -> NDArray[np.float64]:
    """Largest AUC of any attack on a mu-GDP mechanism, Phi(mu / sqrt 2)."""
    return ndtr(_checked(mu, "mu") / math.sqrt(2))


def balanced_accuracy_of_mu(mu: ArrayLike) -> NDArray[np.float64]:
    """Largest mean of TPR and TNR of any attack on a mu-GDP mechanism, Phi(mu / 2)."""
    return ndtr(_checked(mu, "mu") / 2)


def tpr_of_mu(mu: ArrayLike, fpr: ArrayLike) -> NDArray[np.float64]:
    """Largest TPR at an FPR in [0, 1] of any attack on a mu-GDP mechanism."""
    share = _checked(fpr, "fpr")
    if np.any(share > 1):
        raise UsageError(f"fpr is a share of at most 1, got {fpr!r}; pass 0.01 for 1 %")
    return ndtr(ndtri(share) + _checked(mu, "mu"))


@dataclass(frozen=True, slots=True)
class GaussianBound:
    """A lower bound of mu from one operating point, and of epsilon under the same assumption."""

    method: str
    """How the bound was computed."""
    mu_lower: float
    """Lower bound of mu at confidence 1 - alpha; 0 when nothing is shown."""
    mu_ceiling: float
    """`mu_lower` of an attack without errors at these sample sizes."""
    lower: float | None
    """Epsilon of `mu_lower` at delta; None when it is infinite."""
    ceiling: float | None
    """Epsilon of `mu_ceiling` at delta; None when it is infinite."""
    reason: str | None
    """Why an epsilon is missing."""
    delta: float
    alpha: float
    """Error probability of `mu_lower`, and of `lower` with it."""
    assumption: str
    """What has to hold for the bound, the shape of the curve first."""
    unit: str = UNIT
    """How `lower` and `ceiling` read; mu is in standard deviations."""


def mu_limit(
    true_positives: ArrayLike,
    n_members: ArrayLike,
    false_positives: ArrayLike,
    n_nonmembers: ArrayLike,
    *,
    alpha: float = 0.05,
) -> NDArray[np.float64]:
    """Lower limit of mu, max(0, Phi^-1(1 - FPR_up) - Phi^-1(FNR_up)); broadcasts over the counts.

    Both rates at their exact one-sided limits with error alpha / 2 (Nasr et al., arXiv 2302.07956).
    """
    misses = np.asarray(n_members) - np.asarray(true_positives)
    fnr_high = upper_limit(misses, n_members, alpha=alpha / 2)
    fpr_high = upper_limit(false_positives, n_nonmembers, alpha=alpha / 2)
    return np.maximum(0.0, -ndtri(fpr_high) - ndtri(fnr_high))


def mu_lower_bound(confusion: Confusion, *, delta: float, alpha: float = 0.05) -> GaussianBound:
    """Lower bound of mu, and of epsilon at delta, if the trade-off curve is Gaussian.

    It is tighter than `epsilon_lower_bound`, and true only under that assumption.
    """
    check_levels(alpha, delta)
    n1, n0 = confusion.n_members, confusion.n_nonmembers
    hits, alarms = confusion.true_positives, confusion.false_positives
    mu = float(mu_limit(hits, n1, alarms, n0, alpha=alpha))
    most = float(mu_limit(n1, n1, 0, n0, alpha=alpha))
    lower, ceiling = stated_epsilon(mu, delta), stated_epsilon(most, delta)
    return GaussianBound(
        method="Gaussian trade-off curve through the exact limits of one operating point",
        mu_lower=mu,
        mu_ceiling=most,
        lower=lower.value,
        ceiling=ceiling.value,
        reason=lower.reason or ceiling.reason,
        delta=delta,
        alpha=alpha,
        assumption=f"{GAUSSIAN_TRADE_OFF}; {INDEPENDENT_TRIALS}",
    )


class StatedEpsilon(NamedTuple):
    """An epsilon, or why there is none."""

    value: float | None
    reason: str | None


def stated_epsilon(mu: float, delta: float) -> StatedEpsilon:
    """`epsilon_of_mu`, also at delta = 0, where every mu > 0 has an infinite epsilon."""
    if mu == 0:
        return StatedEpsilon(0.0, None)
    if delta == 0:
        return StatedEpsilon(None, "a Gaussian curve has no finite epsilon at delta 0; read mu")
    return StatedEpsilon(epsilon_of_mu(mu, delta), None)


def _checked(values: ArrayLike, what: str) -> NDArray[np.float64]:
    array = np.asarray(values, float)
    if not np.all(np.isfinite(array) & (array >= 0)):
        raise UsageError(f"{what} must be finite and at least 0, got {values!r}; check its sign")
    return array


def _check_delta(delta: float) -> None:
    if not 0 < delta < 1:
        raise UsageError(f"delta must lie inside (0, 1) for a Gaussian curve, got {delta}")

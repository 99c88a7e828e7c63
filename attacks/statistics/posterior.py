"""A Bayesian credible interval of epsilon from a confusion matrix: a belief, not a guarantee.

Zanella-Beguelin et al. (ICML 2023, arXiv 2206.05199): the two error rates have independent Jeffreys
posteriors, and the posterior probability of "epsilon is at most e" is their mass in the (e, delta)
privacy region. `epsilon.epsilon_lower_bound` is the bound that may be claimed.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import brentq
from scipy.special import betainc, betaincinv

from attacks.errors import UsageError
from attacks.statistics.epsilon import INDEPENDENT_TRIALS, UNIT, Confusion, check_levels

_LEVELS = (np.arange(400) + 0.5) / 400
"""Quantile levels at which the quadrature has its knots; it then errs by less than 1e-4."""

_LARGEST = 700.0
"""Above it e^epsilon is not a double, and no posterior has mass left to find."""


@dataclass(frozen=True, slots=True)
class EpsilonPosterior:
    """A credible interval of epsilon under Jeffreys priors."""

    method: str
    """How the interval was computed, with the warning that it is no frequentist guarantee."""
    low: float
    """Posterior quantile alpha / 2; 0 when more than that lies at epsilon 0."""
    high: float
    """Posterior quantile 1 - alpha / 2."""
    ceiling: float
    """`low` of an attack without errors at these sample sizes."""
    n_members: int
    n_nonmembers: int
    delta: float
    alpha: float
    """Posterior mass outside the interval."""
    assumption: str
    """What has to hold, the prior included."""
    unit: str = UNIT
    """How `low`, `high` and `ceiling` read."""


def epsilon_posterior(
    confusion: Confusion, *, delta: float, alpha: float = 0.05
) -> EpsilonPosterior:
    """Equal-tailed credible interval of epsilon with posterior mass 1 - alpha."""
    check_levels(alpha, delta)
    posterior = _Posterior(confusion, delta)
    return EpsilonPosterior(
        method="Bayesian credible interval with Jeffreys priors; not a frequentist guarantee",
        low=posterior.quantile(alpha / 2),
        high=posterior.quantile(1 - alpha / 2),
        ceiling=_Posterior(confusion.without_errors, delta).quantile(alpha / 2),
        n_members=confusion.n_members,
        n_nonmembers=confusion.n_nonmembers,
        delta=delta,
        alpha=alpha,
        assumption=f"independent priors Beta(1/2, 1/2) on both error rates; {INDEPENDENT_TRIALS}",
    )


def posterior_probability(confusion: Confusion, epsilon: float, *, delta: float) -> float:
    """Posterior probability that (epsilon, delta)-DP allows the error rates, epsilon >= 0."""
    check_levels(0.5, delta)
    if not 0 <= epsilon < math.inf:
        raise UsageError(f"epsilon must be finite and at least 0, got {epsilon}; check its sign")
    return 1 - _Posterior(confusion, delta).outside(min(epsilon, _LARGEST))


class _Rate(NamedTuple):
    """Beta posterior of one rate."""

    hits: float
    misses: float
    quantiles: NDArray[np.float64]

    def below(self, value: NDArray[np.float64]) -> NDArray[np.float64]:
        return betainc(self.hits, self.misses, value)


def _jeffreys(hits: int, misses: int) -> _Rate:
    a, b = hits + 0.5, misses + 0.5
    return _Rate(a, b, betaincinv(a, b, _LEVELS))


class _Posterior:
    """Mass of the two posteriors outside privacy regions."""

    def __init__(self, confusion: Confusion, delta: float) -> None:
        tp, fn = confusion.true_positives, confusion.false_negatives
        fp, tn = confusion.false_positives, confusion.true_negatives
        # Each rate beside its complement: 1 - rate would lose the digits of a small one.
        self.fnr, self.tpr = _jeffreys(fn, tp), _jeffreys(tp, fn)
        self.fpr, self.tnr = _jeffreys(fp, tn), _jeffreys(tn, fp)
        self.room = 1 - delta

    def outside(self, epsilon: float) -> float:
        """Mass where both errors are too rare, or both too common: the region is symmetric."""
        both_rare = self._corner(self.fnr, self.fpr, epsilon)
        return both_rare + self._corner(self.tpr, self.tnr, epsilon)

    def quantile(self, level: float) -> float:
        """Smallest epsilon >= 0 with at least `level` of the mass inside its region."""
        if self.outside(0.0) <= 1 - level:
            return 0.0
        high = 1.0
        while self.outside(high) > 1 - level:
            high *= 2
        return float(brentq(lambda e: self.outside(e) - (1 - level), 0.0, high, xtol=1e-9))

    def _corner(self, first: _Rate, second: _Rate, epsilon: float) -> float:
        """P(second < least(first)), a Stieltjes sum over the law of the first rate.

        Knots lie at the quantiles of both laws, so that neither changes much between two of
        them however concentrated it is, and at the bend of the boundary.
        """
        bend = self.room / (1 + math.exp(epsilon))
        ours = np.append(first.quantiles, [0.0, bend, self.room])
        knots = np.sort(np.append(ours, self._least(second.quantiles, epsilon)))
        steps = np.diff(first.below(knots))
        heights = second.below(self._least(knots, epsilon))
        return float(steps @ (heights[1:] + heights[:-1])) / 2

    def _least(self, rate: NDArray[np.float64], epsilon: float) -> NDArray[np.float64]:
        """Smallest rate of the other error that the region allows; its own inverse."""
        steep, flat = self.room - np.exp(epsilon) * rate, np.exp(-epsilon) * (self.room - rate)
        return np.maximum(0.0, np.maximum(steep, flat))

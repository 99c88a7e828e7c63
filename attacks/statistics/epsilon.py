"""Lower bounds of a differential-privacy epsilon from independent trials of one guess each.

A mechanism that is (epsilon, delta)-DP keeps every attack inside the region TPR <= e^epsilon FPR +
delta and TNR <= e^epsilon FNR + delta (Wasserman and Zhou, J. Am. Stat. Assoc. 2010; Kairouz, Oh
and Viswanath, ICML 2015), so rates outside of it refute the claim. The trials must be independent:
a new training per trial, as in Jagielski, Ullman and Oprea (arXiv 2006.07709) and Nasr et al.
(arXiv 2101.04535). Many canaries of a single training need `one_run` instead.

No attack can show more than its sample allows: even without a single error N trials a side certify
about ln(N / ln(2 / alpha)). Every result carries that ceiling.
"""

from __future__ import annotations

import math
import operator
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from attacks.errors import DataError, UsageError
from attacks.statistics.rates import checked_scores, lower_limit, upper_limit

UNIT = "nats"
"""How every epsilon reads: a natural logarithm of a ratio of probabilities."""

INDEPENDENT_TRIALS = (
    "every trial is a training of its own with membership decided independently, and the threshold "
    "was fixed before these trials were scored; neighbours differ by one record added or removed"
)
"""What has to hold for the bounds from a confusion matrix."""


def check_levels(alpha: float, delta: float) -> None:
    """Raise UsageError unless 0 < alpha <= 1/2 and 0 <= delta < 1."""
    if not 0 < alpha <= 0.5:
        raise UsageError(f"alpha is an error probability in (0, 0.5], got {alpha}; try 0.05")
    if not 0 <= delta < 1:
        raise UsageError(
            f"delta must lie in [0, 1), got {delta}; pass that of the claimed (eps, delta)"
        )


def whole_number(value: int, what: str, *, least: int, most: int | None = None) -> int:
    """The count as an int; raises DataError when it is no integer in least..most."""
    try:
        count = operator.index(value)
    except TypeError:
        raise DataError(f"{what} must be a whole number, got {value!r}; pass a count") from None
    if count < least or (most is not None and count > most):
        limits = f"at least {least}" if most is None else f"between {least} and {most}"
        raise DataError(f"{what} must be {limits}, got {count}; check the counts")
    return count


@dataclass(frozen=True, slots=True)
class Confusion:
    """Guesses of an attack against the truth, one per independent trial."""

    true_positives: int
    """Members that the attack called members."""
    false_negatives: int
    """Members that it did not."""
    false_positives: int
    """Nonmembers that it called members."""
    true_negatives: int
    """Nonmembers that it did not."""

    def __post_init__(self) -> None:
        for name in ("true_positives", "false_negatives", "false_positives", "true_negatives"):
            whole_number(getattr(self, name), name, least=0)
        whole_number(self.n_members, "the number of member trials", least=1)
        whole_number(self.n_nonmembers, "the number of nonmember trials", least=1)

    @property
    def n_members(self) -> int:
        """Trials with a member, n1."""
        return self.true_positives + self.false_negatives

    @property
    def n_nonmembers(self) -> int:
        """Trials with a nonmember, n0."""
        return self.false_positives + self.true_negatives

    @property
    def without_errors(self) -> Confusion:
        """The best outcome that these sample sizes allow."""
        return Confusion(self.n_members, 0, 0, self.n_nonmembers)


def confusion_at(members: ArrayLike, nonmembers: ArrayLike, threshold: float) -> Confusion:
    """Guess "member" where a score reaches a threshold that was fixed beforehand.

    members (n1,), nonmembers (n0,): one score per independent trial. Ties with the threshold are
    called members on both sides, so they are never split.
    """
    inside, outside = checked_scores(members, "members"), checked_scores(nonmembers, "nonmembers")
    hits = int(np.count_nonzero(inside >= threshold))
    alarms = int(np.count_nonzero(outside >= threshold))
    return Confusion(hits, inside.size - hits, alarms, outside.size - alarms)


@dataclass(frozen=True, slots=True)
class EpsilonBound:
    """A lower bound of epsilon from a confusion matrix, with what limits it."""

    method: str
    """How the bound was computed."""
    lower: float
    """Lower bound of epsilon; true with probability 1 - alpha, 0 when nothing is shown."""
    estimate: float | None
    """Plug-in epsilon of the observed rates: no guarantee; None when it is not finite."""
    reason: str | None
    """Why there is no estimate."""
    ceiling: float
    """Largest `lower` that these sample sizes allow: an attack without errors."""
    tpr_low: float
    """Lower limit of the true-positive rate at alpha / 2."""
    fpr_high: float
    """Upper limit of the false-positive rate at alpha / 2."""
    n_members: int
    n_nonmembers: int
    delta: float
    alpha: float
    """Total error probability of `lower`, over all thresholds that were tried."""
    n_thresholds: int
    """Thresholds that share alpha (Bonferroni)."""
    assumption: str
    """What has to hold for the guarantee."""
    unit: str = UNIT
    """How `lower`, `estimate` and `ceiling` read."""


def epsilon_limit(
    true_positives: ArrayLike,
    n_members: ArrayLike,
    false_positives: ArrayLike,
    n_nonmembers: ArrayLike,
    *,
    delta: float,
    alpha: float = 0.05,
) -> NDArray[np.float64]:
    """Lower limit of epsilon at confidence 1 - alpha; broadcasts over the counts.

    max(0, ln((TPR_lo - delta) / FPR_up), ln((TNR_lo - delta) / FNR_up)), each rate at its exact
    one-sided limit with error alpha / 2. TNR_lo = 1 - FPR_up and FNR_up = 1 - TPR_lo, so the same
    two limits serve both sides and no further correction is due.
    """
    tp, n1 = np.asarray(true_positives, float), np.asarray(n_members, float)
    fp, n0 = np.asarray(false_positives, float), np.asarray(n_nonmembers, float)
    tail = alpha / 2
    tpr_low, fnr_high = lower_limit(tp, n1, alpha=tail), upper_limit(n1 - tp, n1, alpha=tail)
    tnr_low, fpr_high = lower_limit(n0 - fp, n0, alpha=tail), upper_limit(fp, n0, alpha=tail)
    ratio = np.maximum((tpr_low - delta) / fpr_high, (tnr_low - delta) / fnr_high)
    return np.log(np.maximum(ratio, 1.0))


def epsilon_lower_bound(
    confusion: Confusion, *, delta: float, alpha: float = 0.05, n_thresholds: int = 1
) -> EpsilonBound:
    """Classical lower bound of epsilon from independent trials, with its ceiling.

    n_thresholds: how many thresholds (or attacks) were looked at on these trials; each is tested
        at alpha / n_thresholds, and the largest of the bounds then holds at confidence 1 - alpha.
    """
    check_levels(alpha, delta)
    level = alpha / whole_number(n_thresholds, "n_thresholds", least=1)
    k1, n1, k0, n0 = (
        confusion.true_positives,
        confusion.n_members,
        confusion.false_positives,
        confusion.n_nonmembers,
    )
    estimate, reason = _plug_in(confusion, delta)
    return EpsilonBound(
        method="exact limits of both rates (Clopper-Pearson), two sides",
        lower=float(epsilon_limit(k1, n1, k0, n0, delta=delta, alpha=level)),
        estimate=estimate,
        reason=reason,
        ceiling=float(epsilon_limit(n1, n1, 0, n0, delta=delta, alpha=level)),
        tpr_low=float(lower_limit(k1, n1, alpha=level / 2)),
        fpr_high=float(upper_limit(k0, n0, alpha=level / 2)),
        n_members=n1,
        n_nonmembers=n0,
        delta=delta,
        alpha=alpha,
        n_thresholds=n_thresholds,
        assumption=INDEPENDENT_TRIALS,
    )


def _plug_in(confusion: Confusion, delta: float) -> tuple[float | None, str | None]:
    """max(0, ln((TPR - delta) / FPR), ln((TNR - delta) / FNR)), or why there is none."""
    tpr = confusion.true_positives / confusion.n_members
    fpr = confusion.false_positives / confusion.n_nonmembers
    best = 0.0
    for hit, miss, what in ((tpr, fpr, "positives"), (1 - fpr, 1 - tpr, "negatives")):
        if hit > delta and miss == 0:
            return (
                None,
                f"no false {what} were seen, so the observed ratio is infinite; see `lower`",
            )
        if hit > delta:
            best = max(best, math.log((hit - delta) / miss))
    return best, None

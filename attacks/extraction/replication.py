"""Replication: are generations more alike to the training set than pictures that it never held?

Idea: the similarity of each generation to its nearest training record, against that of held-out
pictures to theirs (Somepalli et al., arXiv:2212.03860; there the background is the training set
itself). A generation above a threshold that few held-out pictures reach is a likely copy.
The threshold is taken from some of the held-out pictures, and only the others are compared with
the generations: nothing is fitted on what is reported on.
Invalid when: held-out pictures are of another kind than the training set, so that their neighbours
are farther for another reason; or generations repeat, so that they are not independent.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import stats

from attacks.errors import ShapeError, UnderPowered
from attacks.extraction.results import Replication, SimilaritySummary
from attacks.results import Estimate
from attacks.statistics.differences import newcombe
from attacks.statistics.rates import checked_scores, nth_largest, share_estimate

FPR = 0.01
"""Share of held-out pictures that may exceed the threshold."""
FEWEST_BACKGROUND = 20
"""Held-out pictures without which nothing is compared: half of them set the threshold."""


class Threshold(NamedTuple):
    """A similarity that few held-out pictures exceed."""

    value: float
    fpr: float
    """Probability that a new held-out picture exceeds it: as asked, or as many pictures allow."""
    n_fit: int
    """Held-out pictures that it was taken from."""


def similarity_threshold(background: ArrayLike, fpr: float = FPR) -> Threshold:
    """The similarity that a new held-out picture exceeds with probability at most `fpr`.

    background: (n,) similarities of held-out pictures to their nearest training record.
    The r-th largest with r = floor(fpr (n + 1)), which an exchangeable new one exceeds with
    probability at most r / (n + 1). With too few pictures for `fpr` the largest, and the result
    says 1 / (n + 1).
    """
    if not 0 < fpr < 1:
        raise ShapeError(f"fpr must lie between 0 and 1, got {fpr}")
    values = checked_scores(background, "background similarities")
    rank = max(int(np.floor(fpr * (values.size + 1) + 1e-9)), 1)
    achieved = max(rank / (values.size + 1), 1 / (values.size + 1))
    return Threshold(nth_largest(values, rank), max(fpr, achieved), values.size)


def replication(
    similarity: ArrayLike,
    background: ArrayLike,
    *,
    is_fit: ArrayLike | None = None,
    tau: float | None = None,
    fpr: float = FPR,
) -> Replication:
    """Compare generations with held-out pictures at a threshold.

    similarity: (g,) similarity of each generation to its nearest training record; higher is more
        alike. background: (b,) likewise for held-out pictures, in number best like g.
    is_fit: (b,) True for those that tau is taken from; every other one by default. It must not
        depend on the similarities.
    tau: a threshold from elsewhere, such as one that a paper gives for the encoder; then all
        held-out pictures are compared.

    Raises UnderPowered with fewer than 20 held-out pictures, or if no half has one.
    """
    own = checked_scores(similarity, "similarities")
    held_out = checked_scores(background, "background similarities")
    if held_out.size < FEWEST_BACKGROUND:
        raise UnderPowered(
            f"{held_out.size} held-out pictures are too few to compare generations with; give "
            f"{FEWEST_BACKGROUND} or more"
        )
    if tau is not None:
        return _compared(own, held_out, float(tau), "given", None, 0)
    fit = _fit_part(is_fit, held_out.size)
    threshold = similarity_threshold(held_out[fit], fpr)
    source = (
        f"the similarity that {100 * threshold.fpr:.3g} % of held-out pictures exceed, taken from "
        f"{threshold.n_fit:,} of them that are not compared"
    )
    return _compared(own, held_out[~fit], threshold.value, source, threshold.fpr, threshold.n_fit)


def _fit_part(is_fit: ArrayLike | None, n: int) -> NDArray[np.bool_]:
    fit = np.arange(n) % 2 == 0 if is_fit is None else np.asarray(is_fit, dtype=bool)
    if fit.shape != (n,):
        raise ShapeError(f"expected is_fit of shape ({n},), got {fit.shape}")
    if fit.all() or not fit.any():
        raise UnderPowered(
            "all held-out pictures are on one side of the split between threshold and comparison; "
            "give more of them"
        )
    return fit


def _compared(
    own: NDArray[np.float64],
    held_out: NDArray[np.float64],
    tau: float,
    source: str,
    fpr: float | None,
    n_fit: int,
) -> Replication:
    above, background_above = own > tau, held_out > tau
    share, background_share = share_estimate(above), share_estimate(background_above)
    k, k_background = int(above.sum()), int(background_above.sum())
    difference = float(above.mean() - background_above.mean())
    low, high = excess_limits(k, own.size, k_background, held_out.size, confidence=0.95)
    return Replication(
        tau=tau,
        tau_source=source,
        fpr=fpr,
        n_fit=n_fit,
        n_generated=own.size,
        n_above=k,
        n_background=held_out.size,
        n_background_above=k_background,
        share=share,
        background_share=background_share,
        excess=Estimate(difference, low, high),
        p_value=excess_p_value(k, own.size, k_background, held_out.size),
        generated=summarise(own),
        background=summarise(held_out),
    )


def excess_limits(
    k: int, n: int, k_background: int, n_background: int, *, confidence: float
) -> tuple[float, float]:
    """Two-sided limits of k/n - k_background/n_background (Newcombe 1998)."""
    limits = newcombe(k / n, n, k_background / n_background, n_background, confidence=confidence)
    return float(limits.low), float(limits.high)


def excess_p_value(k: int, n: int, k_background: int, n_background: int) -> float:
    """One-sided exact p of "both exceed the threshold equally often" (Fisher).

    The probability of k or more among n, given k + k_background among all: what permuting the
    labels of generations and held-out pictures gives.
    """
    return float(stats.hypergeom.sf(k - 1, n + n_background, k + k_background, n))


def summarise(similarity: ArrayLike) -> SimilaritySummary:
    """Mean, spread and percentiles of (n,) similarities, as Somepalli et al. report them."""
    values = checked_scores(similarity, "similarities")
    median, p75, p90, p95 = (float(q) for q in np.percentile(values, (50, 75, 90, 95)))
    return SimilaritySummary(
        n=values.size,
        mean=float(values.mean()),
        standard_deviation=float(values.std()),
        median=median,
        p75=p75,
        p90=p90,
        p95=p95,
        highest=float(values.max()),
    )

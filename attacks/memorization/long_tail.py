"""The long tail: what must a learner lose that does not fit the labels of rare records?

Idea: a point that a sample holds once may be a rare one, whose frequency is far below 1/n, or one
of the many whose frequency is near 1/n; nobody can tell. A learner that does not fit it pays, in
expectation, the posterior mean frequency of a point seen once.
Citation: Feldman, "Does Learning Require Memorization? A Short Tale about a Long Tail", STOC 2020,
arXiv:1906.05271.

Frequencies are the probabilities of the points (or subpopulations) of the data, and sum to 1. A
known list is passed as (N,). Under the paper's prior every point draws its own weight from a list
and the weights are normalised: pass several such draws, (r, N) from `draw_prior`, and expectations
are taken over them too. Labels are uniform over k classes and do not depend on the point, so that
a guess is wrong with probability 1 - 1/k; excess errors for other labels follow by scaling.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.special import gammaln, logsumexp, xlog1py, xlogy

from attacks.errors import DataError, ShapeError
from attacks.memorization._design import Floats


def zipf(n_points: int) -> NDArray[np.float64]:
    """(N,) frequencies proportional to 1 / rank."""
    return normalised(1 / np.arange(1, _positive(n_points=n_points) + 1))


def uniform(n_points: int) -> NDArray[np.float64]:
    """(N,) equal frequencies."""
    return np.full(_positive(n_points=n_points), 1 / n_points)


def normalised(weights: ArrayLike) -> NDArray[np.float64]:
    """(N,) frequencies proportional to positive weights, such as counts from another source."""
    values = np.asarray(weights, dtype=np.float64)
    if values.ndim != 1 or values.size == 0:
        raise ShapeError(f"expected weights of shape (N,) with N >= 1, got {values.shape}")
    if not np.all(np.isfinite(values) & (values > 0)):
        raise DataError("weights must be positive and finite; leave out points that never occur")
    return values / values.sum()


def draw_prior(
    weights: ArrayLike, n_points: int, rng: np.random.Generator, *, draws: int = 1
) -> NDArray[np.float64]:
    """(r, N) frequencies under the paper's prior: i.i.d. weights from a list, normalised.

    weights: (any,) positive values, each drawn with the same probability.
    """
    values = normalised(weights)
    _positive(n_points=n_points, draws=draws)
    drawn = rng.choice(values, size=(draws, n_points))
    return drawn / drawn.sum(axis=1, keepdims=True)


def tail_coefficients(
    frequencies: ArrayLike, n_sample: int, counts: ArrayLike = 1
) -> NDArray[np.float64]:
    """tau_l: expected frequency of a point, given that a sample of n holds it l times.

    frequencies: (N,) or (r, N), summing to 1. counts: l in 0 .. n, any shape; gives that shape.
    tau_l = E[a^(l+1) (1-a)^(n-l)] / E[a^l (1-a)^(n-l)], in logarithms; it grows with l.
    Raises DataError for a count outside 0 .. n, or one that these frequencies cannot produce.
    """
    a, times = _checked(frequencies, n_sample, counts)
    above = _log_moment(a, times + 1, n_sample - times)
    below = _log_moment(a, times, n_sample - times)
    if np.any(np.isneginf(below)):
        raise DataError("no point can occur this often in the sample, so tau is not defined")
    return np.exp(above - below)


def expected_points(
    frequencies: ArrayLike, n_sample: int, counts: ArrayLike = 1
) -> NDArray[np.float64]:
    """Expected number of points that a sample of n holds exactly l times; shape of counts.

    For l = 1 these are the singletons: records whose point occurs nowhere else in the sample.
    """
    a, times = _checked(frequencies, n_sample, counts)
    return np.exp(_log_ways(n_sample, times) + _log_moment(a, times, n_sample - times)) / len(a)


def expected_mass(
    frequencies: ArrayLike, n_sample: int, counts: ArrayLike = 1
) -> NDArray[np.float64]:
    """Expected total frequency of the points that a sample of n holds exactly l times.

    l = 0 is the unseen mass, l = 1 the singleton mass; over all l it sums to 1. For a known list
    it is exactly tau_l times `expected_points`.
    """
    a, times = _checked(frequencies, n_sample, counts)
    moment = _log_moment(a, times + 1, n_sample - times)
    return np.exp(_log_ways(n_sample, times) + moment) / len(a)


def _log_moment(a: Floats, power: Floats, remaining: Floats) -> Floats:
    """Log of the sum of a^power (1-a)^remaining over all points, for each pair of exponents."""
    flat = a.ravel()
    exponents = zip(power.ravel(), remaining.ravel(), strict=True)
    sums = [logsumexp(xlogy(p, flat) + xlog1py(r, -flat)) for p, r in exponents]
    return np.array(sums).reshape(power.shape)


def _log_ways(n_sample: int, times: Floats) -> Floats:
    return gammaln(n_sample + 1) - gammaln(times + 1) - gammaln(n_sample - times + 1)


def _checked(frequencies: ArrayLike, n_sample: int, counts: ArrayLike) -> tuple[Floats, Floats]:
    """(r, N) frequencies and the counts as floats."""
    times = np.asarray(counts, dtype=np.float64)
    if np.any((times < 0) | (times > n_sample) | (times != np.floor(times))):
        raise DataError(f"a point occurs 0 to {n_sample} times in the sample; got another count")
    return _checked_frequencies(frequencies), times


def _checked_frequencies(frequencies: ArrayLike) -> Floats:
    a = np.atleast_2d(np.asarray(frequencies, dtype=np.float64))
    if a.ndim != 2 or a.size == 0:
        raise ShapeError(f"expected frequencies of shape (N,) or (r, N), got {a.shape}")
    if not np.all((a > 0) & (a <= 1)) or not np.allclose(a.sum(axis=1), 1, atol=1e-9):
        raise DataError("frequencies must be positive and sum to 1; use normalised(weights)")
    return a


def _positive(**values: int) -> int:
    for name, value in values.items():
        if value < 1:
            raise DataError(f"expected {name} >= 1, got {value}")
    return next(iter(values.values()))


@dataclass(frozen=True, slots=True)
class LongTail:
    """What a tail costs a learner that does not memorize; k balanced classes."""

    n_points: int
    """N, points or subpopulations."""
    n_sample: int
    """n, records in the sample."""
    n_classes: int
    """k."""
    tau_1: float
    """Expected frequency of a point that the sample holds once."""
    smallest: float
    """Smallest frequency of any point: what a singleton would be worth if it were known rare."""
    singleton_share: float
    """Expected singletons as a share of the sample."""
    singleton_mass: float
    """Expected total frequency of the singletons."""
    unseen_mass: float
    """Expected total frequency of points that the sample does not hold."""
    optimal_error: float
    """Error of a learner that fits everything that it saw and guesses the rest."""
    excess_error: float
    """What guessing the singletons adds to it, in absolute terms."""


def describe_tail(frequencies: ArrayLike, n_sample: int, n_classes: int) -> LongTail:
    """The figures of section 2 of the paper for frequencies (N,) or (r, N), exactly."""
    a = _checked_frequencies(frequencies)
    _positive(n_sample=n_sample, n_classes=n_classes)
    unseen, once = expected_mass(a, n_sample, [0, 1])
    wrong = 1 - 1 / n_classes
    return LongTail(
        n_points=a.shape[1],
        n_sample=n_sample,
        n_classes=n_classes,
        tau_1=float(tail_coefficients(a, n_sample, 1)),
        smallest=float(a.min()),
        singleton_share=float(expected_points(a, n_sample, 1)) / n_sample,
        singleton_mass=float(once),
        unseen_mass=float(unseen),
        optimal_error=wrong * float(unseen),
        excess_error=wrong * float(once),
    )


def tau_1_floor(frequencies: ArrayLike, n_sample: int) -> float:
    """A lower bound of tau_1: a fifth of the mass of points near 1/n, divided by n.

    Near means frequencies in [1/(3n), 2/n]; n >= 3. It holds because a (1-a)^(n-1) is unimodal
    and above 1/(5n) at both ends from n = 3 on, while E[a (1-a)^(n-1)] N <= 1.
    Source: Feldman 2020, section 2; the reasoning is ours.
    """
    if n_sample < 3:
        raise DataError(f"the bound needs a sample of at least 3, got {n_sample}")
    a = _checked_frequencies(frequencies)
    near = (a >= 1 / (3 * n_sample)) & (a <= 2 / n_sample)
    return float(np.sum(a, where=near)) / len(a) / (5 * n_sample)


@dataclass(frozen=True, slots=True, eq=False)
class SimulatedErrors:
    """Errors of two learners on the same draws, each exact given its draw."""

    fitting: NDArray[np.float64]
    """(r,) error of a learner that fits every label that it saw."""
    suppressing: NDArray[np.float64]
    """(r,) error of one that fits only points seen more than `suppressed_up_to` times."""
    suppressed_up_to: int

    @property
    def excess(self) -> NDArray[np.float64]:
        """(r,) what not fitting costs, draw by draw."""
        return self.suppressing - self.fitting


def simulate_errors(
    frequencies: ArrayLike,
    n_sample: int,
    n_classes: int,
    rng: np.random.Generator,
    *,
    draws: int = 2000,
    suppressed_up_to: int = 1,
) -> SimulatedErrors:
    """Draw samples of n and take the error of both learners from the frequencies.

    frequencies: (N,) one known list, or (r, N) with r = draws to use one row for each draw.
    No test set is drawn: a point that a learner guesses costs its frequency times 1 - 1/k.
    """
    a = _checked_frequencies(frequencies)
    _positive(n_sample=n_sample, n_classes=n_classes, draws=draws)
    if len(a) not in (1, draws):
        raise ShapeError(f"expected frequencies of shape (N,) or ({draws}, N), got {a.shape}")
    errors = np.empty((2, draws))
    for i in range(draws):
        row = a[i % len(a)]
        times = rng.multinomial(n_sample, row / row.sum())
        errors[0, i] = row[times == 0].sum()
        errors[1, i] = row[times <= suppressed_up_to].sum()
    fitting, suppressing = (1 - 1 / n_classes) * errors
    return SimulatedErrors(fitting, suppressing, suppressed_up_to)

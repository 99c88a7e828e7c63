"""Cheaper scores that may stand in for memorization, and the report that says whether they do.

Idea: subsampled memorization needs many models. Each score here needs fewer, or none besides the
target, and ranks records by how hard or how strange they are. That is not the same thing: check
a proxy with `validate_proxy` on data for which memorization is known before using it.
Citations: EL2N, Paul et al. 2021, arXiv:2107.07075. Forgetting events, Toneva et al. 2019,
arXiv:1812.05159. C-score, Jiang et al., ICML 2021, arXiv:2002.03206. Curvature of the input loss,
Garg, Ravikumar and Roy, ICML 2024. Effect size, the signal of LiRA (Carlini et al. 2022).
Score: higher means more memorized, except the C-score: there 1 - C does.
Cost: said with each score.
Invalid when: probabilities or gradients were taken on augmented records or in training mode.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.special import ndtr

from attacks.errors import DataError, ShapeError, UnderPowered
from attacks.memorization._design import (
    MIN_MODELS,
    Floats,
    checked_answers,
    checked_keep,
    compare_sides,
    masked,
    refusal,
    require_estimates,
)

Gradient = Callable[[NDArray[np.float64]], ArrayLike]
"""(n, d) inputs -> (n, d) gradient of each record's own loss with respect to its input."""


def el2n(probabilities: ArrayLike, labels: ArrayLike) -> NDArray[np.float64]:
    """(n,) error of the predicted distribution, ||p - onehot(y)||, averaged over models.

    probabilities: (n, k) of one model, or (m, n, k) of several early checkpoints or runs.
    labels: (n,) positions of the true classes, 0 .. k - 1.
    Taken early in training, when hard records stand out; at the end all errors are small.
    Cost: a few short runs. Raises ShapeError or DataError for arrays that do not fit.
    """
    p = np.asarray(probabilities, dtype=np.float64)
    p = p[None] if p.ndim == 2 else p
    classes = np.asarray(labels)
    if p.ndim != 3 or 0 in p.shape or classes.shape != (p.shape[1],):
        raise ShapeError(
            "expected probabilities of shape (n, k) or (m, n, k) and labels of shape (n,), "
            f"got {np.shape(probabilities)} and {classes.shape}"
        )
    if classes.dtype.kind not in "ui" or classes.min() < 0 or classes.max() >= p.shape[2]:
        raise DataError(f"labels must be integers in 0 .. {p.shape[2] - 1}")
    if not np.all((p >= 0) & (p <= 1)):
        raise DataError("probabilities must lie in [0, 1] without NaN; pass softmax, not logits")
    error = p - (classes[:, None] == np.arange(p.shape[2]))
    return np.linalg.norm(error, axis=2).mean(axis=0)


@dataclass(frozen=True, slots=True, eq=False)
class ForgettingEvents:
    """How often each record went from right to wrong during training."""

    count: NDArray[np.int64]
    """(n,) transitions from right at one epoch to wrong at the next."""
    is_never_learned: NDArray[np.bool_]
    """(n,) whether the record was wrong at every epoch."""
    n_epochs: int

    @property
    def score(self) -> NDArray[np.float64]:
        """(n,) the count, and for records never learned the number of epochs, above any count."""
        return np.where(self.is_never_learned, self.n_epochs, self.count).astype(np.float64)


def forgetting_events(correct: ArrayLike) -> ForgettingEvents:
    """Count forgetting events in the history of one training run.

    correct: (e, n) True where the model was right about record n after epoch e, in order.
    Cost: a run that evaluates its training records after each epoch.
    """
    array = np.asarray(correct)
    if array.ndim != 2 or 0 in array.shape:
        raise ShapeError(f"expected correct of shape (e, n) with e, n >= 1, got {array.shape}")
    history = checked_answers(array, len(array), "correct", soft=False)
    count = np.count_nonzero(history[:-1] & ~history[1:], axis=0).astype(np.int64)
    return ForgettingEvents(count, np.asarray(~history.any(axis=0)), len(array))


@dataclass(frozen=True, slots=True, eq=False)
class CScore:
    """Expected accuracy on each record when it is held out."""

    value: np.ma.MaskedArray
    """(n,) share of the OUT models that are right, in [0, 1]: higher is *less* strange."""
    standard_error: np.ma.MaskedArray
    """(n,) binomial standard error from the record's OUT models."""
    n_out: NDArray[np.int64]

    @property
    def score(self) -> np.ma.MaskedArray:
        """(n,) 1 - C; higher is more likely to be memorized if it is fitted."""
        return 1 - self.value

    def reason(self, record: int) -> str | None:
        """Why there is no figure about this record (its position); None where there is one."""
        return refusal(MIN_MODELS, int(self.n_out[record]))


def c_score(keep: ArrayLike, correct: ArrayLike) -> CScore:
    """C-score at one subset size: the mean correctness of the models without the record.

    keep, correct: (m, n) as for `memorization`; average over designs of several sizes for the
    score of the paper. Records with fewer than 8 OUT models are masked.
    Cost: the models of the subsampled estimates, of which it is one half.
    Raises UnderPowered if every record has fewer than 8 OUT models.
    """
    trained = checked_keep(keep)
    answers = checked_answers(correct, trained.shape[0], "correct", soft=False)
    sides = compare_sides(trained, answers, twins=False)
    known = sides.n_out >= MIN_MODELS
    if not known.any():
        raise UnderPowered(f"no record has {MIN_MODELS} models that did not train on it")
    error = np.sqrt(sides.variance_out / np.maximum(sides.n_out, 1))
    return CScore(masked(sides.mean_out, known), masked(error, known), sides.n_out)


@dataclass(frozen=True, slots=True, eq=False)
class EffectSize:
    """How far apart a record's IN and OUT statistics lie, in their own standard deviations."""

    value: np.ma.MaskedArray
    """(n,) (mean IN - mean OUT) / pooled standard deviation; higher is more memorized."""
    n_in: NDArray[np.int64]
    n_out: NDArray[np.int64]

    @property
    def auc(self) -> np.ma.MaskedArray:
        """(n,) AUC of an attack on this record alone if both sides are Gaussian: Phi(d / sqrt 2)."""
        mask = np.ma.getmaskarray(self.value)
        return masked(ndtr(self.value.data / np.sqrt(2)), ~mask)

    def reason(self, record: int) -> str | None:
        """Why there is no figure about this record (its position); None where there is one."""
        if not np.ma.getmaskarray(self.value)[record]:
            return None
        few = refusal(int(self.n_in[record]), int(self.n_out[record]))
        return few or "all models answer the same, so that there is no spread to compare with"


def lira_effect_size(keep: ArrayLike, statistic: ArrayLike) -> EffectSize:
    """The continuous sibling of memorization: effect size of a statistic of the models' answers.

    keep: (m, n) True where model m trained on record n.
    statistic: (m, n) finite values, usually the logit of the true class against the others
        (LiRA's phi); higher is more confident.
    The standard deviation is pooled over both sides with n_in + n_out - 2 degrees of freedom.
    It sees leaks that correctness does not: records that every model gets right.
    Cost: that of memorization. Raises as `memorization`.
    """
    trained, values = checked_keep(keep), np.asarray(statistic)
    if values.dtype.kind not in "uif" or not np.all(np.isfinite(values)):
        raise DataError("the statistic must be finite; clip probabilities before taking a logit")
    sides = compare_sides(trained, values, twins=False)
    known = require_estimates(sides.n_in, sides.n_out)
    squares = sides.variance_in * sides.n_in + sides.variance_out * sides.n_out
    spread = np.sqrt(squares / max(trained.shape[0] - 2, 1))
    # What rounding leaves of a constant is no spread.
    size = np.maximum(np.abs(sides.mean_in), np.abs(sides.mean_out))
    has_spread = spread > 1e-12 * size
    effect = sides.difference / np.where(has_spread, spread, 1)
    return EffectSize(masked(effect, known & has_spread), sides.n_in, sides.n_out)


@dataclass(frozen=True, slots=True, eq=False)
class Curvature:
    """Curvature of the loss around each input, from finite differences along random signs."""

    squared: NDArray[np.float64]
    """(n,) mean ||(g(x + h v) - g(x)) / h||^2: estimates tr(H^2); higher is more memorized."""
    trace: NDArray[np.float64]
    """(n,) mean v (g(x + h v) - g(x)) / h: estimates tr(H); may be negative."""
    step: float
    """h, in the units of the inputs."""
    repetitions: int


def input_loss_curvature(
    gradient: Gradient,
    inputs: ArrayLike,
    rng: np.random.Generator,
    *,
    repetitions: int = 10,
    step: float | None = None,
) -> Curvature:
    """Hutchinson's estimate of the curvature of each record's loss in its input.

    gradient: maps (n, d) inputs to the (n, d) gradient of each record's own loss, labels bound.
    inputs: (n, d) flattened records.
    repetitions: random sign vectors; each costs one call of the gradient, plus one in all.
    step: h; by default 1e-3 of the root mean square standard deviation of the features.

    Average over checkpoints: once a network fits its members, the curvature around them is gone.
    Raises ShapeError or DataError for arrays that do not fit, also for those of the gradient.
    """
    x = np.asarray(inputs, dtype=np.float64)
    if x.ndim != 2 or 0 in x.shape:
        raise ShapeError(f"expected inputs of shape (n, d), got {x.shape}")
    if repetitions < 1:
        raise DataError(f"expected repetitions >= 1, got {repetitions}")
    h = 1e-3 * float(np.sqrt(x.var(axis=0).mean())) if step is None else step
    if not 0 < h < np.inf:
        raise DataError(f"the step must be positive and finite, got {h:g}; pass step=...")
    start = _gradient_at(gradient, x)
    squared, trace = np.zeros(len(x)), np.zeros(len(x))
    for _ in range(repetitions):
        signs = rng.integers(0, 2, size=x.shape) * 2.0 - 1
        change = (_gradient_at(gradient, x + h * signs) - start) / h
        squared += np.sum(change**2, axis=1)
        trace += np.sum(signs * change, axis=1)
    return Curvature(squared / repetitions, trace / repetitions, h, repetitions)


def _gradient_at(gradient: Gradient, x: Floats) -> Floats:
    g = np.asarray(gradient(x), dtype=np.float64)
    if g.shape != x.shape:
        raise ShapeError(f"expected a gradient of shape {x.shape}, got {g.shape}")
    if not np.all(np.isfinite(g)):
        raise DataError("the gradient has values that are NaN or infinite; check the model")
    return g

"""Confidence signals of a classifier, from logits, without losing digits at 0 and 1.

phi is the logit-scaled confidence of the true class, log(p_y / (1 - p_y)); Carlini et al.,
arXiv:2112.03570, section VI-A. It is taken from the logits themselves: log(1 - p_y) of a rounded
p_y = 1 would be lost. Axis names: n records, k classes; what lies between (models, queries) is
kept. Everything is finite for finite logits.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from attacks.errors import DataError, ShapeError


def logsumexp(values: NDArray[np.floating], axis: int = -1) -> NDArray[np.float64]:
    """Log of the sum of exp along an axis; -inf entries count as nothing, unless all are."""
    top = values.max(axis=axis, keepdims=True)
    total = np.log(np.exp(values - top).sum(axis=axis, keepdims=True)) + top
    return np.squeeze(total, axis=axis)


def log_softmax(logits: NDArray[np.floating]) -> NDArray[np.float64]:
    """(n, ..., k) log-probabilities."""
    return logits - logsumexp(logits)[..., None]


def log_complement(logits: NDArray[np.floating]) -> NDArray[np.float64]:
    """(n, ..., k) log(1 - p) of every class, exact also where p rounds to 1.

    Only the largest probability can come near 1; there the sum of the others is taken.
    """
    log_p = log_softmax(logits)
    top = logits.argmax(axis=-1)[..., None]
    probabilities = np.exp(log_p)
    np.put_along_axis(probabilities, top, 0.0, axis=-1)
    complement = np.log1p(-probabilities)
    rest = logits.astype(np.float64)
    np.put_along_axis(rest, top, -np.inf, axis=-1)
    of_top = logsumexp(rest) - logsumexp(logits)
    np.put_along_axis(complement, top, of_top[..., None], axis=-1)
    return complement


def phi(logits: NDArray[np.floating], classes: NDArray[np.integer]) -> NDArray[np.float64]:
    """(n, ...) logit of the true class minus the log-sum-exp of all others.

    logits: (n, ..., k); classes: (n,) indices. Equals log(p_y / (1 - p_y)).
    """
    true, others = _true_and_others(logits, classes)
    return true - logsumexp(others)


def clipped(
    logits: NDArray[np.floating], classes: NDArray[np.integer], eps: float
) -> NDArray[np.float64]:
    """(n, ..., k) log-probabilities whose true class lies within [eps, 1 - eps].

    For models that answer with exact 0 and 1: phi of the result is the logit of the clipped
    probability of the true class, whatever the other classes are given. These add up to the rest;
    none of them has less than eps / (k - 1) before they are scaled to it. To clip every class to
    [eps, 1 - eps] instead would leave rows that add up to more than 1, by up to (k - 2) eps.
    eps: 0 clips nothing, and the logits come back as they are.

    Raises DataError unless eps lies in [0, 1/2).
    """
    if not 0 <= eps < 0.5:
        raise DataError(f"eps must lie in [0, 1/2), got {eps:g}; pass half of the smallest vote")
    if not eps:
        return np.asarray(logits, dtype=np.float64)
    true, others = _true_and_others(log_softmax(np.asarray(logits, dtype=np.float64)), classes)
    p = np.clip(np.exp(true), eps, 1 - eps)
    least = np.log(eps / (logits.shape[-1] - 1))
    others = np.where(np.isneginf(others), others, np.maximum(others, least))
    rest = others + (np.log1p(-p) - logsumexp(others))[..., None]
    np.put_along_axis(rest, _index(logits, classes), np.log(p)[..., None], axis=-1)
    return rest


def hinge(logits: NDArray[np.floating], classes: NDArray[np.integer]) -> NDArray[np.float64]:
    """(n, ...) logit of the true class minus the largest of all others."""
    true, others = _true_and_others(logits, classes)
    return true - others.max(axis=-1)


def log_p(phi: NDArray[np.floating]) -> NDArray[np.float64]:
    """Log-probability of the true class."""
    return -np.logaddexp(0.0, -phi)


def loss(phi: NDArray[np.floating]) -> NDArray[np.float64]:
    """Cross-entropy -log p_y of the true class."""
    return np.logaddexp(0.0, -phi)


def entropy(logits: NDArray[np.floating]) -> NDArray[np.float64]:
    """(n, ...) entropy of the predicted distribution in nats; it does not look at the class."""
    log_p = log_softmax(logits)
    return -(np.exp(log_p) * log_p).sum(axis=-1)


def modified_entropy(
    logits: NDArray[np.floating], classes: NDArray[np.integer]
) -> NDArray[np.float64]:
    """(n, ...) -(1 - p_y) log p_y - sum over other classes of p_c log(1 - p_c).

    Song and Mittal, arXiv:2003.10595. 0 for a certain right answer, unbounded for a certain wrong
    one; unlike the entropy it knows which class is right.
    """
    log_p, complement = log_softmax(logits), log_complement(logits)
    index = _index(logits, classes)
    terms = np.exp(log_p) * complement
    of_true = np.exp(np.take_along_axis(complement, index, -1)) * np.take_along_axis(
        log_p, index, -1
    )
    np.put_along_axis(terms, index, of_true, axis=-1)
    return -terms.sum(axis=-1)


def taylor_p(
    logits: NDArray[np.floating],
    classes: NDArray[np.integer],
    *,
    temperature: float = 2.0,
    margin: float = 0.6,
    degree: int = 4,
) -> NDArray[np.float64]:
    """(n, ...) probability of the true class under the SM-Taylor softmax of RMIA.

    T(v) = sum of v^i / i! up to `degree` stands in for exp(v), with v = logit / temperature; the
    true class is handicapped by `margin`. An odd degree can give negative values.
    """
    true, others = _true_and_others(logits, classes)
    of_true = _taylor(true / temperature - margin, degree)
    is_other = np.isfinite(others)
    scaled = np.where(is_other, others, 0.0) / temperature
    of_others = np.where(is_other, _taylor(scaled, degree), 0.0).sum(axis=-1)
    return of_true / (of_true + of_others)


def _taylor(v: NDArray[np.float64], degree: int) -> NDArray[np.float64]:
    """The Taylor polynomial of exp at 0, by Horner's rule."""
    total = np.ones_like(v)
    for i in range(degree, 0, -1):
        total = 1.0 + v / i * total
    return total


def _index(logits: NDArray[np.floating], classes: NDArray[np.integer]) -> NDArray[np.intp]:
    """Classes as an index for `take_along_axis`, checked against the logits."""
    n, k = logits.shape[0], logits.shape[-1]
    if k < 2:
        raise ShapeError(
            f"expected logits of two classes or more, got {k}; give a binary model as logits (0, s)"
        )
    if len(classes) != n:
        raise ShapeError(f"expected one class per record, got {len(classes)} for {n} records")
    if n and not (classes.min() >= 0 and classes.max() < k):
        raise DataError(
            f"expected classes from 0 to {k - 1}, got {classes.min()} to {classes.max()}; "
            "number the classes in the order of the model's outputs"
        )
    shape = (n,) + (1,) * (logits.ndim - 1)
    index = np.asarray(classes, dtype=np.intp).reshape(shape)
    return np.broadcast_to(index, (*logits.shape[:-1], 1))


def _true_and_others(
    logits: NDArray[np.floating], classes: NDArray[np.integer]
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """(n, ...) logit of the true class, and (n, ..., k) logits with -inf in its place."""
    index = _index(logits, classes)
    others = logits.astype(np.float64)
    true = np.take_along_axis(others, index, axis=-1)[..., 0]
    np.put_along_axis(others, index, -np.inf, axis=-1)
    return true, others

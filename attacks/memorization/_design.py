"""Which models saw which records: checks, counts, and means of the two sides."""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from attacks.errors import DataError, ShapeError, UnderPowered
from attacks.statistics.differences import newcombe
from attacks.statistics.rates import Interval

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]
Bools = NDArray[np.bool_]

MIN_MODELS = 8
"""Fewest IN models, and fewest OUT models, for a figure about one record."""
_ELEMENTS = 1 << 22  # of a block of answers: 32 MiB as float64


class Sides(NamedTuple):
    """Answers about each record, by models that did and did not train on it.

    Means and variances of a side without a model are 0: use `is_estimated` first.
    """

    n_in: Ints
    """(n,) models whose training subset holds the record."""
    n_out: Ints
    """(n,) models whose training subset does not."""
    mean_in: Floats
    mean_out: Floats
    variance_in: Floats
    """(n,) mean square minus squared mean: q (1 - q) for answers of 0 or 1."""
    variance_out: Floats
    covariance: Floats
    """(n,) covariance of the IN and OUT answer within a pair of twins; 0 without pairs."""

    @property
    def difference(self) -> Floats:
        """(n,) mean_in - mean_out."""
        return self.mean_in - self.mean_out

    @property
    def standard_error(self) -> Floats:
        """(n,) standard error of the difference, from the counts of each record."""
        per_in, per_out = np.maximum(self.n_in, 1), np.maximum(self.n_out, 1)
        twins = 2 * self.covariance / np.maximum(self.n_in, 1)
        variance = self.variance_in / per_in + self.variance_out / per_out - twins
        return np.sqrt(np.maximum(variance, 0))

    def limits(self, confidence: float) -> Interval:
        """Newcombe's interval of the difference, one record at a time."""
        spread = np.sqrt(self.variance_in * self.variance_out)
        return newcombe(
            self.mean_in,
            np.maximum(self.n_in, 1),
            self.mean_out,
            np.maximum(self.n_out, 1),
            correlation=self.covariance / np.where(spread > 0, spread, 1),
            confidence=confidence,
        )


def checked_keep(keep: ArrayLike) -> Bools:
    """(m, n) True where model m trained on record n, from booleans or 0 and 1."""
    array = np.asarray(keep)
    if array.ndim != 2 or 0 in array.shape:
        raise ShapeError(f"expected keep of shape (m, n) with m, n >= 1, got {array.shape}")
    return _binary(array, "keep")


def checked_answers(answers: ArrayLike, n_models: int, what: str, *, soft: bool) -> NDArray:
    """(m, n) booleans, or with `soft` floats in [0, 1], one row a model.

    Raises ShapeError if there is not one row a model, DataError for values that do not fit.
    """
    array = np.asarray(answers)
    if array.ndim != 2 or array.shape[0] != n_models or array.shape[1] == 0:
        raise ShapeError(
            f"expected {what} of shape (m, n) with m = {n_models} models, got {array.shape}"
        )
    if not soft:
        return _binary(array, what, advice="; pass soft=True for probabilities")
    floats = array.astype(np.float64) if array.dtype.kind in "bui" else array
    if floats.dtype.kind != "f" or not np.all((floats >= 0) & (floats <= 1)):
        raise DataError(f"{what} must be probabilities in [0, 1] without NaN")
    return floats


def _binary(array: NDArray, what: str, advice: str = "") -> Bools:
    if array.dtype == np.bool_:
        return array
    if array.dtype.kind not in "uif" or not np.all((array == 0) | (array == 1)):
        raise DataError(f"{what} must be booleans, or 0 and 1{advice}")
    return array == 1


def is_estimated(n_in: Ints, n_out: Ints) -> Bools:
    """(n,) whether a record has at least 8 IN and 8 OUT models."""
    return np.minimum(n_in, n_out) >= MIN_MODELS


def require_estimates(n_in: Ints, n_out: Ints) -> Bools:
    """`is_estimated`, or UnderPowered when no record has enough models."""
    known = is_estimated(n_in, n_out)
    if not known.any():
        raise UnderPowered(
            f"none of {known.size} records has {MIN_MODELS} models that trained on it and "
            f"{MIN_MODELS} that did not; train more models, each on a random half of the records"
        )
    return known


def refusal(n_in: int, n_out: int) -> str | None:
    """Why there is no figure about a record with these counts; None where there is one."""
    short = [f"{n} {side}" for n, side in ((n_in, "IN"), (n_out, "OUT")) if n < MIN_MODELS]
    if not short:
        return None
    return f"{' and '.join(short)} models are too few; {MIN_MODELS} of each are needed"


def counts(keep: Bools) -> tuple[Ints, Ints]:
    """(n,) IN models and (n,) OUT models of each record."""
    n_in = np.count_nonzero(keep, axis=0).astype(np.int64)
    return n_in, keep.shape[0] - n_in


def has_twins(keep: Bools) -> bool:
    """Whether models 2j and 2j + 1 trained on the two halves of the records, for every j.

    Their answers are then not independent: what one half teaches the other one lacks.
    """
    return keep.shape[0] % 2 == 0 and bool(np.all(keep[0::2] != keep[1::2]))


def compare_sides(keep: Bools, answers: NDArray, *, twins: bool) -> Sides:
    """Means and variances of (m, n) answers about each record by its IN and OUT models.

    Works on blocks of records, so that no float copy of the whole matrix is made.
    Raises ShapeError if keep and answers differ in shape.
    """
    if keep.shape != answers.shape:
        raise ShapeError(
            f"keep has shape {keep.shape} and the answers {answers.shape}; pass the answers "
            "about the training records in the order of keep"
        )
    n_in, n_out = counts(keep)
    moments = np.zeros((5, keep.shape[1]))
    for block in blocks(keep.shape[1], max(1, _ELEMENTS // keep.shape[0])):
        values, inside = answers[:, block].astype(np.float64), keep[:, block]
        means = _side_means(values, inside, n_in[block], n_out[block])
        centred = values - np.where(inside, *means)
        moments[:2, block] = means
        moments[2:4, block] = _side_means(centred**2, inside, n_in[block], n_out[block])
        if twins:
            moments[4, block] = (centred[0::2] * centred[1::2]).mean(axis=0)
    return Sides(n_in, n_out, *moments)


def _side_means(values: Floats, inside: Bools, n_in: Ints, n_out: Ints) -> tuple[Floats, Floats]:
    """(n,) means of the IN and of the OUT entries of each column."""
    own = values * inside
    other = values * ~inside
    return own.sum(axis=0) / np.maximum(n_in, 1), other.sum(axis=0) / np.maximum(n_out, 1)


def blocks(n: int, size: int) -> Iterator[slice]:
    """Slices that cover 0 .. n in order, each of at most `size`."""
    return (slice(start, min(start + size, n)) for start in range(0, n, size))


def masked(values: ArrayLike, is_known: Bools) -> np.ma.MaskedArray:
    """Masked where not known, with NaN under the mask, so that it cannot be lost unnoticed."""
    return np.ma.MaskedArray(np.where(is_known, values, np.nan), mask=~is_known)


def known_values(values: ArrayLike) -> tuple[Floats, Bools]:
    """(n,) floats and whether each is known: neither masked nor NaN."""
    floats = np.ma.filled(np.ma.asarray(values).astype(np.float64), np.nan)
    return floats, ~np.isnan(floats)

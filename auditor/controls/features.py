"""Numbers of records for the blind control: blocks of columns that a linear model can read."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]

COMPONENTS = 32
"""Principal components of a wide block."""


class BlindFeatures(NamedTuple):
    """Label-free features of n records."""

    blocks: dict[str, Floats]
    """Name -> (n, d): `pixels`, `metadata`, and `captions` where there are any."""
    scores: dict[str, Floats]
    """Name -> (n,) complexity scores that are not constant."""


def principal_components(features: Floats, n_components: int) -> Floats:
    """(n, k <= n_components) whitened principal components of (n, d) features, largest first."""
    centred = features - features.mean(axis=0)
    values, vectors = np.linalg.eigh(centred.T @ centred / len(centred))
    top = np.argsort(-values, kind="stable")[:n_components]
    top = top[values[top] > 1e-8 * max(float(values.max()), 1e-12)]
    return (centred @ vectors[:, top]) / np.sqrt(values[top])


def with_squares(features: Floats) -> Floats:
    """(n, 2 d') standardised features and their standardised squares; constant ones are left out."""
    linear = standardised(features)
    return np.hstack([linear, standardised(linear**2)])


def one_hot(values: Sequence[Any]) -> Floats:
    """(n, k) standardised indicators of the distinct values."""
    _, codes = np.unique([str(v or "") for v in values], return_inverse=True)
    return standardised(np.eye(codes.max() + 1)[codes])


def standardised(features: Floats) -> Floats:
    """Columns with mean 0 and deviation 1, without those that are constant."""
    deviation = features.std(axis=0)
    varies = deviation > 1e-9 * np.maximum(1.0, np.abs(features).max(axis=0, initial=0.0))
    return (features[:, varies] - features[:, varies].mean(axis=0)) / deviation[varies]


def records_per_subject(records: Sequence[Any]) -> Floats | None:
    """(n,) how many records each record's subject has; None where no record names a subject.

    The maximum over more records is larger, so that a difference in this alone looks like a leak.
    """
    if not any(r.subject for r in records):
        return None
    counts = Counter(r.subject for r in records if r.subject)
    return np.array([float(counts[r.subject or ""] or 1) for r in records])

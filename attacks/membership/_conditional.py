"""What the two CLiD attacks share: errors with the caption against errors with less of it."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from attacks.errors import UsageError
from attacks.manifest import DiffusionCapabilities
from attacks.membership import _common
from attacks.observations import NoiseError, Observations, Request

REDUCED = ("first", "middle", "last", "null")
"""Clipped captions and the empty text, in the order of the discrepancies."""


class Likelihoods(NamedTuple):
    """CLiD's terms, one row per record."""

    discrepancies: NDArray[np.float64]
    """(n, k) mean over timesteps of error(reduced) - error(caption), one column per condition."""
    likelihood: NDArray[np.float64]
    """(n,) minus the mean error with the full caption."""


def default_timesteps(capabilities: DiffusionCapabilities) -> tuple[int, ...]:
    """Around 450 for large latent models and around 100 for small ones, as in the paper."""
    timesteps = (440, 450, 460) if capabilities.is_large else (90, 100, 110)
    return _common.scaled(capabilities, timesteps)


def check(timesteps: tuple[int, ...], conditions: tuple[str, ...]) -> None:
    """Refuse timesteps and conditions that give no discrepancy."""
    _common.check_timesteps(*timesteps, name="timesteps")
    _common.check_condition(*conditions)
    if not conditions:
        raise UsageError("conditions needs at least one reduced condition, such as null")


def errors(timesteps: tuple[int, ...], conditions: tuple[str, ...]) -> tuple[Request, ...]:
    """The errors with the caption, then those with each reduced condition, same noises."""
    return tuple(
        NoiseError(t=t, condition=condition)
        for condition in ("caption", *conditions)
        for t in timesteps
    )


def likelihoods(
    observations: Observations, timesteps: tuple[int, ...], conditions: tuple[str, ...]
) -> Likelihoods:
    """The terms of both attacks; an error that equals the caption's gives a discrepancy of 0."""
    flat = _common.answers(observations, errors(timesteps, conditions))
    by_condition = flat.reshape(len(flat), 1 + len(conditions), len(timesteps))
    with_caption = by_condition[:, :1]
    return Likelihoods(
        discrepancies=(by_condition[:, 1:] - with_caption).mean(axis=2),
        likelihood=-with_caption[:, 0].mean(axis=1),
    )

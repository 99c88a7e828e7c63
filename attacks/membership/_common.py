"""What the membership attacks share: argument checks, defaults, and reading of observations."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from attacks.errors import Inapplicable, InternalError, ShapeError, UsageError, did_you_mean
from attacks.manifest import Capabilities, DiffusionCapabilities
from attacks.observations import CONDITIONS, NORMS, Calibration, Observations, Request

TAGS = ("edpb:55(i)", "atlas:AML.T0024.000", "owasp:ML04")
"""Framework references of every membership attack."""

GOAL = "decide whether a given record was in the training set"
"""What every membership attacker wants."""


class Split(NamedTuple):
    """Features and labels of the calibration part, in an order of their own."""

    features: NDArray[np.floating]
    """(n, ...) one row per calibration record."""
    is_member: NDArray[np.bool_]
    """(n,) which of them are members."""


def answer(observations: Observations, request: Request) -> NDArray[np.float64]:
    """The array that answers a request, in double precision."""
    try:
        return np.asarray(observations[request], dtype=np.float64)
    except KeyError:
        raise InternalError(f"no observation answers {request.key}") from None


def answers(observations: Observations, requests: Iterable[Request]) -> NDArray[np.float64]:
    """(n, len(requests)) one column per request; each must have one number per record."""
    return np.stack([answer(observations, request) for request in requests], axis=1)


def norm(observations: Observations, request: Request, *, p: int) -> NDArray[np.float64]:
    """(n,) mean |.|^p from a request that keeps every exponent in NORMS."""
    return answer(observations, request)[:, NORMS.index(p)]


def needs_diffusion(capabilities: Capabilities) -> str | None:
    """A reason if the target is no diffusion model with a usable schedule, else None."""
    if capabilities.family != "diffusion":
        return f"needs a diffusion model, and this target is of the family '{capabilities.family}'"
    assert isinstance(capabilities, DiffusionCapabilities)
    if capabilities.n_timesteps < 10:
        return f"needs a noise schedule of 10 steps or more, got {capabilities.n_timesteps}"
    return None


def needs_captions(capabilities: DiffusionCapabilities) -> str | None:
    """A reason if predictions cannot be compared with and without a caption, else None."""
    if reason := needs_diffusion(capabilities):
        return reason
    if not capabilities.is_text_conditional:
        return "needs a text-conditional model, and this target takes no caption"
    if not capabilities.has_captions:
        return "needs the caption that each record was trained with, and the records have none"
    return None


def scaled(capabilities: DiffusionCapabilities, timesteps: Sequence[int]) -> tuple[int, ...]:
    """Distinct timesteps of a schedule of 1,000, moved to this target's schedule."""
    return tuple(dict.fromkeys(capabilities.scaled(*timesteps)))


def check_exponent(p: int) -> None:
    """Refuse an exponent that observations do not keep."""
    if p not in NORMS:
        raise UsageError(f"p must be one of {', '.join(map(str, NORMS))}, got {p}")


def check_condition(*conditions: str) -> None:
    """Refuse a condition that no observation has."""
    for condition in conditions:
        if condition not in CONDITIONS:
            hint = did_you_mean(condition, CONDITIONS)
            raise UsageError(f"unknown condition '{condition}'; {hint}")


def check_timesteps(*timesteps: int, name: str = "t") -> None:
    """Refuse an empty list of timesteps and negative ones."""
    if not timesteps:
        raise UsageError(f"{name} needs at least one timestep")
    if min(timesteps) < 0:
        raise UsageError(f"{name} counts from 0, got {min(timesteps)}")


def ten_steps(capabilities: DiffusionCapabilities) -> tuple[int, int]:
    """(t, k) of SecMI: ten steps of 1 % of the schedule, fewer where it ends before t + k."""
    k = max(1, capabilities.n_timesteps // 100)
    return k * min(10, (capabilities.n_timesteps - 1) // k - 1), k


def check_steps(t: int, k: int) -> None:
    """Refuse a timestep that steps of k do not reach."""
    check_positive(t=t, k=k)
    if t % k:
        raise UsageError(f"t must be a multiple of k, got t={t} and k={k}")


def check_positive(**values: float) -> None:
    """Refuse a value that is not above zero."""
    for name, value in values.items():
        if not value > 0:
            raise UsageError(f"{name} must be above 0, got {value}")


def fitting_part(calibration: Calibration | None, attack: str) -> Calibration:
    """The calibration part, if there is one to fit on."""
    if calibration is None:
        raise Inapplicable(f"{attack} is fitted on a calibration part, and none was set aside")
    n_members = int(np.count_nonzero(calibration.is_member))
    n_nonmembers = len(calibration.is_member) - n_members
    if min(n_members, n_nonmembers) < 2:
        raise Inapplicable(
            f"{attack} needs at least 2 members and 2 nonmembers in the calibration part, "
            f"got {n_members} and {n_nonmembers}"
        )
    return calibration


def canonical(features: NDArray[np.floating], is_member: NDArray[np.bool_]) -> Split:
    """Calibration records in an order that does not depend on the order they came in.

    Summation order and mini-batches would otherwise carry the order of the files into the fit.
    """
    if len(features) != len(is_member):
        raise ShapeError(
            f"expected one label per calibration record, got {len(is_member)} labels "
            f"for {len(features)} records"
        )
    rows = np.ascontiguousarray(features)
    order = sorted(range(len(rows)), key=lambda i: (rows[i].tobytes(), bool(is_member[i])))
    return Split(rows[order], np.asarray(is_member, dtype=bool)[order])

"""Answers to a method's own privacy question, as plain figures with intervals."""

from __future__ import annotations

from dataclasses import dataclass

from numpy.typing import ArrayLike, NDArray

from attacks.results import Estimate


@dataclass(frozen=True, slots=True)
class MethodFinding:
    """One figure that answers a part of a method's own question."""

    name: str
    """Stable name, such as `membership_exemplars`."""
    sentence: str
    """What the figure says, for a reader who knows no statistics."""
    metric: str
    """`auc`, `count`, `bytes`, `share`, `correlation` or `rank`."""
    estimate: Estimate
    """The figure with its two-sided 95 % interval; a point where nothing is estimated."""
    n_members: int
    """Records on the positive side."""
    n_nonmembers: int
    """Records on the negative side; 0 where nothing is compared."""
    is_certain: bool = False
    """Whether it is read off the artefact rather than inferred."""
    control: Estimate | None = None
    """The same figure where no leak can be; None without such a control."""
    control_name: str = ""
    """What the control is, in words."""


def counted(
    name: str, sentence: str, metric: str, value: float, *, n_members: int
) -> MethodFinding:
    """A certain finding: a count or a number of bytes that the artefact holds."""
    return MethodFinding(
        name, sentence, metric, Estimate(value, value, value), n_members, 0, is_certain=True
    )


def auc_estimate(members: ArrayLike, nonmembers: ArrayLike) -> Estimate:
    """AUC with its 95 % interval, or no value and the reason where one side is empty."""
    from attacks.statistics import auc  # imports scipy, and listing methods imports this module

    n_members, n_nonmembers = _size(members), _size(nonmembers)
    if not n_members or not n_nonmembers:
        side = "positive" if not n_members else "negative"
        return Estimate(None, None, None, f"there are no records on the {side} side")
    return auc(members, nonmembers).interval()


def compared(
    name: str,
    sentence: str,
    members: NDArray,
    nonmembers: NDArray,
    *,
    control: Estimate | None = None,
    control_name: str = "",
) -> MethodFinding:
    """An AUC of (n1,) against (n0,) scores; a higher score speaks for the positive side."""
    return MethodFinding(
        name,
        sentence,
        "auc",
        auc_estimate(members, nonmembers),
        len(members),
        len(nonmembers),
        control=control,
        control_name=control_name,
    )


def _size(scores: ArrayLike) -> int:
    return len(scores)  # type: ignore[arg-type]

"""Boundary distance: how far must a record be moved before its label changes?

Idea: training pushes the decision boundary away from training records. The distance is found with
labels alone, by HopSkipJump: bisection, the boundary's normal from the labels of nearby points, a
step along it, and again.
Citation: Li and Zhang, "Membership Leakage in Label-Only Exposures", CCS 2021, arXiv:2007.15528;
Choquette-Choo et al., ICML 2021, arXiv:2007.14321.
Score: the l2 distance to the nearest point of a wrong label that was found, numbers in standard
deviations of their column (of all pixels for images); 0 for a record with a wrong label. Higher
means more likely a member.
Our reading: a budget of a few hundred calls in place of thousands; the search starts at the first
of some other records of the table that has a wrong label. Only numbers move: categories and binary
columns stay as they are.
Cost: 325 calls at most with the default settings; labels alone are enough.
Invalid when: the model is piecewise constant in steps finer than the search (deep trees), or hardly
looks at the numbers: then distances are those to the starting records.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from attacks.manifest import Access, ClassifierCapabilities, Manifest, Tier
from attacks.membership import _classifier, _common
from attacks.observations import BoundaryDistance, Calibration, Observations, Request

MANIFEST = Manifest(
    id="MIA026",
    name="boundary",
    title="Distance to the decision boundary",
    goal=_common.GOAL,
    access=Access.BLACK_BOX,
    tags=_common.TAGS,
    references=("arXiv:2007.15528", "arXiv:2007.14321"),
    family="classifier",
    tier=Tier.THOROUGH,
)


@dataclass(frozen=True, slots=True)
class BoundaryConfig:
    """How many labels the search may ask for."""

    iterations: int = 4
    """Steps along the boundary."""
    directions: int = 56
    """Labels behind each estimate of the boundary's normal."""
    searches: int = 12
    """Halvings of each bisection."""
    starts: int = 16
    """Other records of which the first with a wrong label is where the search starts."""

    def __post_init__(self) -> None:
        _common.check_positive(
            directions=self.directions, searches=self.searches, starts=self.starts
        )
        _common.check_positive(iterations=self.iterations + 1)


def default_config(capabilities: ClassifierCapabilities) -> BoundaryConfig:
    """Four steps of 56 directions."""
    return BoundaryConfig()


def applicable(capabilities: ClassifierCapabilities) -> str | None:
    """None for classifiers that answer on new inputs with numbers in them, else the reason."""
    if reason := _classifier.needs_classifier(capabilities):
        return reason
    if not capabilities.can_be_queried:
        return "needs answers on moved records, and there are only saved predictions"
    if not capabilities.has_numbers:
        return "needs records with numbers to move, and all columns are categories or binary"
    return None


def requests(config: BoundaryConfig) -> tuple[Request, ...]:
    """The distance."""
    return (BoundaryDistance(config.iterations, config.directions, config.searches, config.starts),)


def score(
    observations: Observations, config: BoundaryConfig, calibration: Calibration | None = None
) -> NDArray[np.float64]:
    """(n,) distance; higher means more likely a member."""
    return _common.answer(observations, *requests(config))

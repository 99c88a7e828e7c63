"""What every mitigation declares about itself."""

from __future__ import annotations

import enum
from dataclasses import dataclass


class Guarantee(enum.StrEnum):
    """What kind of protection it is: printed with every result."""

    FORMAL = "formal"
    """A theorem bounds every attack."""
    TRAINING = "training-time heuristic"
    WEIGHT_EDIT = "weight edit"
    FILTER = "inference filter"
    """It protects nothing once the weights are released."""


class Need(enum.StrEnum):
    """What a mitigation must be given."""

    PROMPTS = "prompts"
    """Prompts whose images are memorized."""
    REFERENCE = "reference"
    """Ordinary prompts of the same style."""
    MEMBERS = "members"
    """Records: those to be forgotten, or those to train on, as its docstring says."""
    NONMEMBERS = "nonmembers"
    """Records that were never trained on."""
    MASKS = "masks"
    """What `auditor probe` found: weights, by layer."""


@dataclass(frozen=True, slots=True)
class Manifest:
    """The label of a mitigation: data, not code."""

    id: str
    """Stable id, such as MIT001."""
    name: str
    """The name on the command line."""
    title: str
    """The name in a report."""
    guarantee: Guarantee
    """What kind of protection it is."""
    references: tuple[str, ...]
    """Papers, as `arXiv:...`."""
    needs: tuple[Need, ...] = ()
    """What it cannot run without."""
    any_of: tuple[Need, ...] = ()
    """At least one of these has to be given; empty for no such choice."""
    takes: tuple[Need, ...] = ()
    """What it uses if it is given."""
    limits: str = ""
    """One sentence: what it does not protect against."""

    @property
    def known_needs(self) -> tuple[Need, ...]:
        """Everything that it can be given."""
        return tuple(dict.fromkeys((*self.needs, *self.any_of, *self.takes)))

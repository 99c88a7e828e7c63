"""What an extraction attack says: records that came back out, and how far the rest stayed away."""

from __future__ import annotations

from dataclasses import dataclass

from attacks.extraction.results import CopyRate
from attacks.results import Estimate


@dataclass(frozen=True, slots=True)
class ExtractedRecord:
    """A training record that the model drew again."""

    record_id: str
    """Published id of the member."""
    prompt_id: str
    """Published id of the prompt; empty for a model that takes none."""
    seed: int
    """Seed of the image that came nearest."""
    distance: float
    """Distance of that image, in the convention of the finding."""
    repeated_distance: float
    """Distance of the same image drawn once more, alone."""
    n_seeds: int
    """Images among all that were drawn which copy this record."""
    multiplicity: int
    """How often the record occurs in its split."""
    is_own_caption: bool
    """Whether the prompt is the record's own caption."""
    colour: str
    size: str


@dataclass(frozen=True, slots=True)
class DistancePoint:
    """One point of the distribution of smallest distances."""

    distance: float
    members: float
    """Share of members at most this far from an image."""
    nonmembers: float
    """Share of nonmembers, likewise."""


@dataclass(frozen=True, slots=True)
class GenerationFinding:
    """Everything that an audit says about one extraction attack."""

    attack: str
    rule_id: str
    title: str
    access: str
    n_members: int
    """Members compared with every image."""
    n_nonmembers: int
    """Nonmembers compared likewise: they set the threshold."""
    n_prompts: int
    """Distinct prompts that images were drawn for; 0 for a model that takes none."""
    n_images: int
    n_tried: int
    """Members whose caption was prompted; all of them for a model that takes none."""
    steps: int
    guidance: float
    convention: str
    """How distances are measured."""
    threshold: float
    """Distance up to which an image is a copy; 0: none can be claimed."""
    background: float
    """Smallest distance of a nonmember."""
    n_extracted: int
    """Distinct members that were drawn again, each confirmed by a second drawing."""
    rate: Estimate
    """Share of the tried members, with its exact 95 % interval."""
    rate_upper: float
    """One-sided exact 95 % upper bound of that share."""
    by_copies: tuple[CopyRate, ...]
    records: tuple[ExtractedRecord, ...]
    """The nearest first, at most 50."""
    p_value: float
    """Exact chance that so many members lie nearer than every nonmember, if the model knows
    neither side."""
    n_planted: int
    """Degraded copies of members shown to the matcher in place of generated images."""
    n_planted_found: int
    """Of these, how many it claimed for the right member."""
    n_calls: int
    """Forward calls of the attack."""
    distribution: tuple[DistancePoint, ...]
    kind: str = "extraction"
    warnings: tuple[str, ...] = ()
    knowledge: str = ""

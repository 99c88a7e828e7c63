"""Typed results of extraction: pairs, rates by number of copies, similarity against a background."""

from __future__ import annotations

from dataclasses import dataclass

from attacks.results import Estimate


@dataclass(frozen=True, slots=True)
class CopiedPair:
    """A generated picture and the training record that it is compared with."""

    generated_id: str
    """Published id of the generated picture."""
    training_id: str
    """Published id of the training record."""
    similarity: float
    """Of their embeddings, in [-1, 1]; higher is more alike."""
    distance: float
    """Between their pixels, 0 for equal ones."""
    convention: str
    """What the distance is measured in, such as `max_tile_rms_4x4`."""
    registration: str
    """How one was laid over the other: `as it is`, `mirrored`, `cropped` ..."""
    multiplicity: int
    """How often the training set holds the record, near-duplicates included."""
    is_copy: bool
    """Whether the distance is at or below the threshold: verified by pixels."""
    generated_size: str = ""
    """Width x height in pixels as read."""
    training_size: str = ""
    """Width x height in pixels as read."""
    generated_colour: str = "#808080"
    """Mean colour, #rrggbb: the swatch of a redacted report."""
    training_colour: str = "#808080"
    """Mean colour, #rrggbb."""


@dataclass(frozen=True, slots=True)
class CopyRate:
    """How many training records with so many copies were reproduced."""

    copies: str
    """Range of copies in the training set, such as `1`, `3 to 9` or `100 or more`."""
    n_records: int
    """Distinct training records in this range."""
    n_copied: int
    """Those of which a verified copy was found."""
    share: Estimate
    """n_copied / n_records with its exact interval; all ranges hold together at 95 %."""


@dataclass(frozen=True, slots=True)
class SimilaritySummary:
    """Distribution of the similarity of pictures to their nearest training record."""

    n: int
    """Pictures."""
    mean: float
    standard_deviation: float
    median: float
    p75: float
    """75th percentile."""
    p90: float
    """90th percentile."""
    p95: float
    """95th percentile."""
    highest: float


@dataclass(frozen=True, slots=True)
class Replication:
    """How many generations are more alike to the training set than held-out pictures are."""

    tau: float
    """Threshold of the similarity; strictly above counts."""
    tau_source: str
    """Where it comes from, in words."""
    fpr: float | None
    """Share of held-out pictures expected above tau; None for a threshold that was given."""
    n_fit: int
    """Held-out pictures that tau was taken from; they are in no other figure here."""
    n_generated: int
    n_above: int
    """Generations above tau."""
    n_background: int
    """Held-out pictures that the generations are compared with."""
    n_background_above: int
    """Those above tau."""
    share: Estimate
    """n_above / n_generated with its exact 95 % interval."""
    background_share: Estimate
    """n_background_above / n_background likewise."""
    excess: Estimate
    """share - background_share with its 95 % interval (Newcombe 1998)."""
    p_value: float
    """One-sided, exact (Fisher): generations are above tau no more often than held-out pictures."""
    generated: SimilaritySummary
    background: SimilaritySummary


@dataclass(frozen=True, slots=True)
class ExtractionFinding:
    """Everything that an audit says about copies of training records among generations."""

    n_generated: int
    """Distinct generated pictures."""
    n_training: int
    """Distinct training records, near-duplicates counted once."""
    n_copies: int
    """Generated pictures that are verified copies."""
    n_copied_records: int
    """Distinct training records that they are copies of."""
    copy_share: Estimate
    """n_copies / n_generated with its exact 95 % interval; the upper limit holds for n_copies = 0."""
    limit: float
    """Largest distance of a verified copy."""
    convention: str
    """What `limit` and the distances of the pairs are measured in."""
    limit_source: str
    """Where the limit comes from, in words."""
    by_copies: tuple[CopyRate, ...]
    """Ranges without a record are left out."""
    pairs: tuple[CopiedPair, ...]
    """Verified copies first, then the nearest that are none; at most as many as a report shows."""
    replication: Replication | None = None
    """None without held-out pictures."""
    kind: str = "extraction"

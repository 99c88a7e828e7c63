"""One side of a comparison: its rows grouped by bytes, decoded once, merged by pixels."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from hashlib import blake2b
from typing import TypeAlias

from attacks.errors import DataError
from auditor.records.identity import content_id, keyed_rank
from auditor.records.images import Picture, examine
from auditor.records.listing import Listing, Row
from auditor.records.model import ReadOptions, Record
from auditor.records.sources import Unreadable

Progress: TypeAlias = Callable[[str, int, int], None]
"""Called with a stage such as "reading members", how many are done, and how many there are."""


@dataclass(slots=True)
class Side:
    """The rows of one side while they are read."""

    name: str
    """"members" or "nonmembers"."""
    listing: Listing
    """Its rows."""
    options: ReadOptions
    """Limits."""
    copies: dict[bytes, list[Row]] = field(default_factory=dict)
    """Rows by hash of their encoded bytes, in order of reading."""
    pictures: dict[bytes, Picture] = field(default_factory=dict)
    """What was decoded."""
    unreadable: set[bytes] = field(default_factory=set)
    """Hashes of bytes that are no picture."""
    n_unopened: int = 0
    """Rows whose bytes could not be read."""
    n_damaged: int = 0
    """Rows whose bytes are no picture."""
    n_attempted: int = 0
    """Rows that were decoded, or that share the bytes of one that was."""
    first_failure: str = ""
    """Place and reason of the first failure, for the error."""

    def hash_rows(self, on_progress: Progress | None) -> None:
        """Group all rows by their encoded bytes."""
        total = len(self.listing.rows)
        for i, row in enumerate(self.listing.rows):
            try:
                digest = blake2b(row.source.read(), digest_size=16).digest()
            except Unreadable as reason:
                self.n_unopened += 1
                self._note_failure(row, reason)
            else:
                self.copies.setdefault(digest, []).append(row)
            _report(on_progress, f"reading {self.name}", i + 1, total)

    def sample_order(self, seed: int) -> list[bytes]:
        """The distinct byte hashes in an order that depends on content and seed alone."""
        return sorted(self.copies, key=lambda digest: (keyed_rank("limit", seed, digest), digest))

    def decode(self, wanted: Iterable[bytes], on_progress: Progress | None = None) -> None:
        """Decode one row for each byte hash, in the order of the disk."""
        chosen = set(wanted)
        ordered = [digest for digest in self.copies if digest in chosen]
        for i, digest in enumerate(ordered):
            rows = self.copies[digest]
            self.n_attempted += len(rows)
            try:
                picture = examine(rows[0].source.read(), self.options.max_pixels)
            except Unreadable as reason:
                self.unreadable.add(digest)
                self.n_damaged += len(rows)
                self._note_failure(rows[0], reason)
            else:
                self.pictures[digest] = picture
            _report(on_progress, f"decoding {self.name}", i + 1, len(ordered))

    @property
    def n_unreadable(self) -> int:
        """Rows that could not be read."""
        return self.n_unopened + self.n_damaged

    def check_readable(self) -> None:
        """Raise DataError if nothing, or too little, can be read."""
        opened = 1 - self.n_unopened / len(self.listing.rows)
        sound = 1 - self.n_damaged / max(self.n_attempted, 1)
        share, limit = 1 - opened * sound, self.options.max_unreadable_share
        if share <= limit + 1e-12:
            return
        if not self.pictures:
            raise DataError(
                f"{self.name}: none of {len(self.listing.rows)} pictures can be read "
                f"(first: {self.first_failure}); check the path and the format"
            )
        raise DataError(
            f"{self.name}: {self.n_unreadable} of {self.n_unopened + self.n_attempted} rows are "
            f"unreadable ({share:.1%}; the limit is {limit:.1%}; first: {self.first_failure}); "
            "repair or remove them, or raise max_unreadable_share"
        )

    def _note_failure(self, row: Row, reason: Unreadable) -> None:
        self.first_failure = self.first_failure or f"{row.source.place}: {reason}"


@dataclass(frozen=True, slots=True)
class Merged:
    """The distinct pictures of a side."""

    records: tuple[Record, ...]
    """One record for each picture, in the order of their ids."""
    thumbs: tuple[bytes, ...]
    """Their thumbnails."""
    n_several_captions: int
    """Records whose rows disagree about the caption, left out or not."""

    def without(self, positions: Collection[int]) -> Merged:
        """The pictures that are not at these positions."""
        kept = [i for i in range(len(self.records)) if i not in positions]
        return Merged(
            tuple(self.records[i] for i in kept),
            tuple(self.thumbs[i] for i in kept),
            self.n_several_captions,
        )


def merge_copies(side: Side, kept: Iterable[bytes]) -> Merged:
    """One record for each distinct picture among the byte hashes that are kept."""
    by_pixels: dict[str, list[bytes]] = defaultdict(list)
    for digest in kept:
        by_pixels[side.pictures[digest].pixels].append(digest)
    entries = []
    n_several = 0
    for digests in by_pixels.values():
        rows = {digest: side.copies[digest] for digest in digests}
        captions = Counter(row.caption for copies in rows.values() for row in copies)
        n_several += len(captions) > 1
        chosen = _most_common(captions)
        digest, row = _representative(rows, chosen)
        picture = side.pictures[digest]
        record = _record(picture, row, sum(captions.values()), side.options)
        entries.append((record, picture.thumb))
    entries.sort(key=lambda entry: entry[0].id)
    return Merged(tuple(r for r, _ in entries), tuple(t for _, t in entries), n_several)


def _most_common(captions: Counter[str | None]) -> str | None:
    """The caption of most copies; a text before none, and the smallest of equals."""
    return min(captions, key=lambda c: (-captions[c], c is None, c or ""))


def _representative(rows: Mapping[bytes, Sequence[Row]], caption: str | None) -> tuple[bytes, Row]:
    """The copy that stands for all: by content, so that names and order do not matter."""
    choices = [(d, row) for d, copies in rows.items() for row in copies if row.caption == caption]
    return min(
        choices,
        key=lambda c: (c[0], c[1].subject is None, c[1].subject or "", c[1].source.name),
    )


def _record(picture: Picture, row: Row, multiplicity: int, options: ReadOptions) -> Record:
    return Record(
        id=content_id(picture.pixels, row.caption),
        pixels=picture.pixels,
        caption=row.caption,
        subject=row.subject,
        multiplicity=multiplicity,
        width=picture.width,
        height=picture.height,
        mode=picture.mode,
        format=picture.format,
        n_bytes=picture.n_bytes,
        colour=picture.colour,
        source=row.source,
        max_pixels=options.max_pixels,
        guess=row.guess,
    )


def _report(on_progress: Progress | None, stage: str, done: int, total: int) -> None:
    if on_progress is not None and (done % 64 == 0 or done == total):
        on_progress(stage, done, total)

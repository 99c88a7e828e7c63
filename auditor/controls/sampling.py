"""Which records a control uses: by keyed hash, so that neither order nor chance plays a part."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence

from auditor.records import Record


def draw(records: Sequence[Record], n: int, seed: int, purpose: str) -> list[Record]:
    """At most n records in an order that depends on (seed, purpose, record id) alone."""

    def rank(record: Record) -> bytes:
        return hashlib.blake2b(f"{seed}|{purpose}|{record.id}".encode(), digest_size=16).digest()

    return sorted(records, key=rank)[:n]

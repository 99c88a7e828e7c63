"""Which records a control uses: by keyed hash, so that neither order nor chance plays a part."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from typing import Any


def draw(records: Sequence[Any], n: int, seed: int, purpose: str) -> list[Any]:
    """At most n records in an order that depends on (seed, purpose, record id) alone."""

    def rank(record: Any) -> bytes:
        return hashlib.blake2b(f"{seed}|{purpose}|{record.id}".encode(), digest_size=16).digest()

    return sorted(records, key=rank)[:n]

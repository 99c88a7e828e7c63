"""Embeddings and distances of records, kept in the private cache and reused.

A shard is a few hundred records in the order of their ids. Its file is named after the encoder,
the purpose and the pixels of its records; so an interrupted scan loses at most one shard, and
another scan of the same pictures reuses what is there.
"""

from __future__ import annotations

import hashlib
import io
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from auditor.files import load_checksummed, private_directory, store_checksummed
from auditor.matching.encoders import Encoder
from auditor.observe.cache import shard_key
from auditor.progress import Progress
from auditor.records import Record

SHARD = 512
"""Records of a shard."""


@dataclass
class EmbeddingStore:
    """Vectors of pictures by one encoder."""

    root: Path
    encoder: Encoder
    is_fresh: bool = False
    """True: nothing stored before is read; results are stored all the same."""
    n_computed: int = 0
    """Pictures that were embedded in this run."""
    n_reused: int = 0
    """Pictures whose vectors were in the store."""

    def __post_init__(self) -> None:
        self._written: set[Path] = set()

    def embed_all(self, records: Sequence[Record], progress: Progress, title: str) -> None:
        """Make sure that the vectors of all records are stored."""
        progress.stage(title, len(records), "pictures")
        for part in shards_of(records):
            vectors = self._load(part)
            self.n_reused += 0 if vectors is None else len(part)
            if vectors is None:
                self._compute(part)
            progress.advance(len(part))

    def blocks(self, records: Sequence[Record]) -> Iterator[NDArray[np.float16]]:
        """Vectors of records, shard by shard, as 16-bit floats (n, width)."""
        for part in shards_of(records):
            vectors = self._load(part)
            yield self._compute(part) if vectors is None else vectors

    def vectors(self, records: Sequence[Record]) -> NDArray[np.float16]:
        """(n, width) vectors of records."""
        parts = [*self.blocks(records)]
        return np.concatenate(parts) if parts else np.empty((0, self.encoder.width), np.float16)

    def load(self, purpose: str, records: Sequence[Record]) -> dict[str, NDArray[Any]] | None:
        """Arrays kept by `store` under a purpose, or None."""
        path = self._path(purpose, records)
        if self.is_fresh and path not in self._written:
            return None
        body = load_checksummed(path)
        if body is None:
            return None
        with np.load(io.BytesIO(body), allow_pickle=False) as arrays:
            return dict(arrays)

    def store(self, purpose: str, records: Sequence[Record], **arrays: NDArray[Any]) -> None:
        """Keep arrays about a shard, whole or not at all."""
        content = io.BytesIO()
        np.savez(content, allow_pickle=False, **arrays)
        path = self._path(purpose, records)
        private_directory(self.root, is_ours=False)
        private_directory(path.parent)
        store_checksummed(path, content.getvalue())
        self._written.add(path)

    def _load(self, part: Sequence[Record]) -> NDArray[np.float16] | None:
        arrays = self.load("embedding", part)
        return None if arrays is None else arrays["vectors"]

    def _compute(self, part: Sequence[Record]) -> NDArray[np.float16]:
        vectors = self.encoder.embed([record.open() for record in part]).astype(np.float16)
        self.store("embedding", part, vectors=vectors)
        self.n_computed += len(part)
        return vectors

    def _path(self, purpose: str, records: Sequence[Record]) -> Path:
        shard = shard_key([record.pixels for record in records])
        name = hashlib.sha256(f"{purpose}/1 {shard}".encode()).hexdigest()[:32]
        return self.root / self.encoder.key[:32] / f"{name}.npz"


def shards_of(records: Sequence[Record]) -> Iterator[Sequence[Record]]:
    """Parts of SHARD records, in their order."""
    for start in range(0, len(records), SHARD):
        yield records[start : start + SHARD]

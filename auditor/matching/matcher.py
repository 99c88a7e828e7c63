"""Which training record is a picture nearest to: candidates by embedding, the decision by pixels."""

from __future__ import annotations

import hashlib
from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from auditor.matching.encoders import Encoder
from auditor.matching.index import nearest
from auditor.matching.store import EmbeddingStore, shards_of
from auditor.matching.verify import VERSION, Prepared, best_match
from auditor.progress import Progress
from auditor.records import Record

CANDIDATES = 10
"""Training records that are verified by pixels, for each picture and for its mirror image."""
MOST_PREPARED = 600
"""Training pictures that are kept in memory, ready to be compared (0.25 MB each)."""
_MIRROR = Image.Transpose.FLIP_LEFT_RIGHT


class Matches(NamedTuple):
    """The nearest training record of each of n pictures."""

    similarity: NDArray[np.float32]
    """(n,) largest similarity of embeddings to any training record."""
    record: NDArray[np.int64]
    """(n,) position of the training record at the smallest distance; -1 where there is none."""
    distance: NDArray[np.float64]
    """(n,) that distance, in `auditor.matching.verify.CONVENTION`; infinite where there is none."""
    registration: NDArray[np.str_]
    """(n,) how one was laid over the other."""


@dataclass
class Matcher:
    """Pictures against the records of a training set, whose embeddings are stored."""

    training: Sequence[Record]
    store: EmbeddingStore
    n_verified: int = 0
    """Pictures whose candidates were compared by pixels in this run."""
    n_stored: int = 0
    """Pictures whose matches were in the store."""
    _prepared: OrderedDict[int, Prepared] = field(default_factory=OrderedDict)

    @property
    def encoder(self) -> Encoder:
        """What the candidates are found by."""
        return self.store.encoder

    def match(
        self,
        records: Sequence[Record],
        progress: Progress,
        title: str,
        *,
        groups: NDArray[np.int64] | None = None,
        own: NDArray[np.int64] | None = None,
    ) -> Matches:
        """Match records, shard by shard; what was stored before is reused.

        groups, own: (t,) group of each training record, and (n,) group that each picture must not
            be matched with: for pictures that are training records themselves.
        """
        purpose = f"match {self._key(groups, own)}"
        parts = list(shards_of(records))
        found = [self.store.load(purpose, part) for part in parts]
        missing = [i for i, one in enumerate(found) if one is None]
        progress.stage(title, len(records), "pictures")
        progress.advance(sum(len(parts[i]) for i, one in enumerate(found) if one is not None))
        self.n_stored += sum(len(parts[i]) for i, one in enumerate(found) if one is not None)
        starts = np.cumsum([0, *(len(part) for part in parts)])
        asked = [record for i in missing for record in parts[i]]
        candidates = self._candidates(asked) if asked else None
        at = 0
        for i in missing:
            part = parts[i]
            assert candidates is not None
            rows = slice(at, at + len(part))
            excluded = None if own is None else own[starts[i] : starts[i + 1]]
            matches = self._verify(
                [record.open for record in part], candidates, rows, progress, groups, excluded
            )
            self.store.store(purpose, part, **matches._asdict())
            found[i] = matches._asdict()
            at += len(part)
        return _joined([Matches(**one) for one in found if one is not None])

    def match_pictures(self, pictures: Sequence[Image.Image], progress: Progress) -> Matches:
        """Match pictures that are not records, such as planted copies; nothing is stored."""
        if not pictures:
            return _joined([])
        candidates = self._search(
            self.encoder.embed(pictures), self.encoder.embed([_mirrored(p) for p in pictures])
        )
        openers = [lambda picture=picture: picture for picture in pictures]
        return self._verify(openers, candidates, slice(0, len(pictures)), progress, None, None)

    def _candidates(self, records: Sequence[Record]) -> _Candidates:
        """Candidates of records and of their mirror images."""
        mirrored = [
            self.encoder.embed([_mirrored(record.open()) for record in part]).astype(np.float16)
            for part in shards_of(records)
        ]
        return self._search(self.store.vectors(records), np.concatenate(mirrored))

    def _search(self, plain: NDArray, mirrored: NDArray) -> _Candidates:
        both = nearest(
            np.concatenate([plain, mirrored]), self.store.blocks(self.training), CANDIDATES
        )
        n = len(plain)
        return _Candidates(
            np.maximum(both.similarity[:n, 0], both.similarity[n:, 0]),
            np.concatenate([both.position[:n], both.position[n:]], axis=1),
            np.concatenate([both.similarity[:n], both.similarity[n:]], axis=1),
        )

    def _verify(
        self,
        openers: Sequence,
        candidates: _Candidates,
        rows: slice,
        progress: Progress,
        groups: NDArray[np.int64] | None,
        own: NDArray[np.int64] | None,
    ) -> Matches:
        similarity = candidates.similarity[rows].copy()
        record = np.full(len(openers), -1, np.int64)
        distance = np.full(len(openers), np.inf)
        registration = np.full(len(openers), "none", dtype="<U24")
        for i, opened in enumerate(openers):
            index, alike = candidates.position[rows][i], candidates.each[rows][i]
            allowed = index >= 0
            if own is not None and groups is not None:
                allowed &= groups[index] != own[i]
                similarity[i] = alike[allowed].max(initial=-1.0)
            chosen = list(dict.fromkeys(index[allowed].tolist()))
            if chosen:
                found = best_match(Prepared.of(opened()), [self._candidate(j) for j in chosen])
                record[i], distance[i] = chosen[found.candidate], found.distance
                registration[i] = found.registration
            progress.advance(1)
        self.n_verified += len(openers)
        return Matches(similarity, record, distance, registration)

    def _candidate(self, position: int) -> Prepared:
        """A training picture, ready to be compared; those used last stay in memory."""
        if position in self._prepared:
            self._prepared.move_to_end(position)
            return self._prepared[position]
        prepared = Prepared.of(self.training[position].open())
        self._prepared[position] = prepared
        if len(self._prepared) > MOST_PREPARED:
            self._prepared.popitem(last=False)
        return prepared

    def _key(self, groups: NDArray[np.int64] | None, own: NDArray[np.int64] | None) -> str:
        """What a match depends on besides the picture and the encoder."""
        digest = hashlib.sha256(f"{VERSION} {CANDIDATES}".encode())
        for record in self.training:
            digest.update(bytes.fromhex(record.pixels))
        for array in (groups, own):
            digest.update(b"" if array is None else array.tobytes())
        return digest.hexdigest()[:32]


class _Candidates(NamedTuple):
    similarity: NDArray[np.float32]
    """(n,) largest."""
    position: NDArray[np.int64]
    """(n, 2 k) positions, of the picture and then of its mirror image; -1 for none."""
    each: NDArray[np.float32]
    """(n, 2 k) their similarities."""


def _mirrored(picture: Image.Image) -> Image.Image:
    return picture.transpose(_MIRROR)


def _joined(parts: Sequence[Matches]) -> Matches:
    if not parts:
        return Matches(
            np.empty(0, np.float32), np.empty(0, np.int64), np.empty(0), np.empty(0, "<U24")
        )
    return Matches(*(np.concatenate(columns) for columns in zip(*parts, strict=True)))

"""De-duplication of a training set: of close pictures, and of captions that nearly agree, keep one.

Idea: repetition is the main known driver of verbatim copies, so take it away before training.
Sources: Carlini et al. 2023 (arXiv:2301.13188) for pictures; Lee et al. 2022 (arXiv:2107.06499) for
near-equal texts by MinHash. It is a training-time heuristic: a record that occurs once can still
be memorized. Do it before the data are split into members and nonmembers, never across them.

Chains are not merged: a record goes only if it is close to one that stays, so that no group is
wider than twice the limit. The outcome depends on the content alone, never on the order of the
data, and applied again it drops nothing.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from mitigations.manifest import Guarantee, Manifest

if TYPE_CHECKING:
    from datasketch import MinHash

MANIFEST = Manifest(
    id="MIT001",
    name="deduplicate",
    title="De-duplication",
    guarantee=Guarantee.TRAINING,
    references=("arXiv:2301.13188", "arXiv:2107.06499"),
    limits="A record that occurs once can still be memorized.",
)
SHINGLE = 5
"""Characters of a shingle, after lower-casing and folding of white space."""
PERMUTATIONS = 128
"""Hash functions of MinHash; the standard error of an estimated similarity is about 0.09."""
SLACK = 0.9
"""Share of the limit from which a pair is a candidate, so that few at the limit are overlooked."""


def keep_one(n: int, first: NDArray[np.integer], second: NDArray[np.integer]) -> NDArray[np.bool_]:
    """(n,) which of n items stay: an item goes if it is close to an earlier one that stays.

    first, second: (p,) positions of close pairs, in any order, either way round.
    """
    low, high = np.minimum(first, second), np.maximum(first, second)
    order = np.argsort(high, kind="stable")
    stays = np.ones(n, dtype=bool)
    for a, b in zip(low[order].tolist(), high[order].tolist(), strict=True):
        if a != b and stays[a]:
            stays[b] = False
    return stays


def shingles(text: str) -> frozenset[str]:
    """Runs of SHINGLE characters of a text, lower-cased, white space folded."""
    folded = re.sub(r"\s+", " ", text).strip().lower()
    if len(folded) <= SHINGLE:
        return frozenset((folded,)) if folded else frozenset()
    return frozenset(folded[i : i + SHINGLE] for i in range(len(folded) - SHINGLE + 1))


def jaccard(a: frozenset[str], b: frozenset[str]) -> float:
    """Share of common items in all items of two sets; 0 for two empty ones."""
    return len(a & b) / len(a | b) if a or b else 0.0


def close_captions(
    captions: Sequence[str], above: float, *, seed: int = 1
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Positions of pairs of captions whose shingles have a Jaccard similarity of at least `above`.

    Candidates come from MinHash with locality-sensitive hashing (datasketch), each is then
    measured exactly: nothing is claimed that is not so, a pair near the limit may be overlooked.
    Equal captions are always found; empty ones are close to none.
    """
    from datasketch import MinHashLSH

    sets = [shingles(caption) for caption in captions]
    firsts: dict[frozenset[str], int] = {}
    pairs: list[tuple[int, int]] = []
    index = MinHashLSH(threshold=SLACK * above, num_perm=PERMUTATIONS)
    for i, own in enumerate(sets):
        if not own:
            continue
        if own in firsts:
            pairs.append((firsts[own], i))
            continue
        sketch = _sketch(own, seed)
        for j in index.query(sketch):
            if jaccard(own, sets[j]) >= above:
                pairs.append((j, i))
        firsts[own] = i
        index.insert(i, sketch)
    found = np.array(pairs, dtype=np.int64).reshape(-1, 2)
    return found[:, 0], found[:, 1]


def _sketch(items: frozenset[str], seed: int) -> MinHash:
    from datasketch import MinHash

    sketch = MinHash(num_perm=PERMUTATIONS, seed=seed)
    sketch.update_batch([item.encode() for item in items])
    return sketch

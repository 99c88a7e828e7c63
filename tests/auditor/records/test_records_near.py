"""The search for near-duplicates equals a slow, obvious loop."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from auditor.records import near
from auditor.records.near import near_pairs


def naive_contrast(values):
    return np.sqrt(((values - values.mean(axis=0)) ** 2).mean())


def naive_pairs(queries, keys, rms):
    found = set()
    for i, query in enumerate(queries):
        a = np.frombuffer(query, np.uint8).reshape(-1, 3) / 255
        for j, key in enumerate(keys):
            b = np.frombuffer(key, np.uint8).reshape(-1, 3) / 255
            distance = np.sqrt(((a - b) ** 2).mean())
            contrast = min(naive_contrast(a), naive_contrast(b))
            if distance <= rms * min(1, contrast / 0.1) + 1e-7:
                found.add((i, j))
    return found


def as_set(pairs):
    return set(zip(pairs.queries.tolist(), pairs.keys.tolist(), strict=True))


def thumb(picture):
    return picture.convert("RGB").resize((16, 16), Image.Resampling.BOX).tobytes()


@settings(max_examples=60, deadline=None)
@given(
    st.integers(0, 12),
    st.integers(0, 30),
    st.sampled_from([0.0, 0.01, 0.02, 0.1]),
    st.integers(0, 2**32 - 1),
)
def test_equals_the_naive_twin(n, m, rms, seed):
    rng = np.random.default_rng(seed)
    bases = rng.integers(0, 256, (4, 768)) * rng.choice([0.0, 0.1, 1.0], (4, 1))

    def some(count):
        noise = rng.normal(0, rng.choice([0.0, 2.0, 6.0], (count, 1)), (count, 768))
        return [
            row.tobytes()
            for row in (bases[rng.integers(0, 4, count)] + noise).clip(0, 255).astype(np.uint8)
        ]

    queries, keys = some(n), some(m)
    pairs = near_pairs(queries, keys, rms)
    assert pairs.is_complete
    assert as_set(pairs) == naive_pairs(queries, keys, rms)
    turned = near_pairs(keys, queries, rms)
    assert {(i, j) for j, i in as_set(turned)} == as_set(pairs)


def test_blocks_do_not_matter(digits, monkeypatch):
    thumbs = [thumb(digit) for digit in digits[:300]]
    whole = as_set(near_pairs(thumbs[:100], thumbs, 0.12))
    assert len(whole) > 110
    for name, size in (("_QUERIES", 7), ("_KEYS", 11), ("_CHUNK", 5)):
        monkeypatch.setattr(near, name, size)
    assert as_set(near_pairs(thumbs[:100], thumbs, 0.12)) == whole
    assert whole == naive_pairs(thumbs[:100], thumbs, 0.12)


def test_the_default_tells_digits_apart_and_finds_changed_copies(digits):
    thumbs = [thumb(digit) for digit in digits]
    itself = {(i, i) for i in range(len(thumbs))}
    assert as_set(near_pairs(thumbs, thumbs, 0.02)) == itself
    larger = [digit.resize((32, 32), Image.Resampling.BICUBIC) for digit in digits[:50]]
    changed = [picture.resize((64, 64), Image.Resampling.BICUBIC) for picture in larger]
    pairs = near_pairs([thumb(p) for p in changed], [thumb(p) for p in larger], 0.02)
    assert as_set(pairs) == {(i, i) for i in range(50)}


def test_flat_pictures_are_no_copies_of_each_other():
    flat = [bytes([grey]) * 768 for grey in (250, 251, 252, 252)]
    pairs = near_pairs(flat, flat, 0.02)
    assert as_set(pairs) == {(i, i) for i in range(4)} | {(2, 3), (3, 2)}


def test_cost_is_bounded(digits):
    same = [thumb(digits[0])] * 200
    pairs = near_pairs(same, same, 0.02, max_candidates=1000)
    assert not pairs.is_complete
    assert near_pairs(same, same, 0.02).is_complete


@pytest.mark.parametrize(("queries", "keys"), [([], []), ([b"\0" * 768], []), ([], [b"\0" * 768])])
def test_nothing(queries, keys):
    pairs = near_pairs(queries, keys, 0.02)
    assert len(pairs.queries) == len(pairs.keys) == 0

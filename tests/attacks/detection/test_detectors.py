"""Detectors of memorized prompts: slow twins, invariants of their papers, labels."""

from __future__ import annotations

import re

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.ndimage import sobel

from attacks.detection import Recordings, Setting
from attacks.detection.attention_entropy import entropy
from attacks.detection.attention_entropy_late import late_entropy
from attacks.detection.bright_ending import local_magnitudes, resized
from attacks.detection.denoising_confidence import change
from attacks.detection.edge_consistency import consistency, edge_mask, packed, unpacked
from attacks.detection.registry import DETECTORS, PRIMARY, chosen, detector
from attacks.detection.seed_similarity import DATA_RANGE, mean_similarity, ssim
from attacks.detection.text_magnitude import magnitude, mean_magnitude
from attacks.errors import InternalError, ShapeError, UsageError
from attacks.manifest import DiffusionCapabilities
from attacks.observations.prompts import (
    FirstAttention,
    FirstChange,
    FirstEdges,
    FirstResidual,
    LateAttention,
    LocalMagnitudes,
    TextMagnitudes,
)

SEEDS = st.integers(0, 2**32 - 1)
SETTING = Setting(steps=10, guidance=5.0, seeds=3)


def recordings(rng, p=4, setting=SETTING):
    """Random answers to everything that a detector may ask."""
    s, t, g = setting.seeds, setting.steps, setting.guidance
    bits = packed(rng.random((p * s, 256, 256)) < 0.5).reshape(p, s, -1)
    answers = {
        TextMagnitudes(t, g, end=1): rng.random((p, s, 1)),
        TextMagnitudes(t, g, end=t): rng.random((p, s, t)),
        FirstChange(t, g): rng.random((p, s)),
        FirstEdges(t, g): bits,
        FirstResidual(t): rng.normal(size=(p, s, 2, 9, 8)).astype(np.float16),
        FirstAttention(t): rng.dirichlet(np.ones(7), size=(p, s, 5)),
        LateAttention(t, g, begin=8): rng.dirichlet(np.ones(7), size=(p, s, 2)),
        LocalMagnitudes(t, g): rng.random((p, s, t)),
    }
    return Recordings(answers, rng.integers(1, 7, p))


@given(seed=SEEDS, n=st.integers(1, 4), factor=st.floats(0.1, 10))
def test_magnitude_is_the_norm_of_the_difference(seed, n, factor):
    rng = np.random.default_rng(seed)
    given_text, empty = rng.normal(size=(2, n, 2, 3, 3))
    expected = [np.linalg.norm((a - b).ravel()) for a, b in zip(given_text, empty, strict=True)]
    np.testing.assert_allclose(magnitude(given_text, empty), expected)
    assert magnitude(empty, empty).tolist() == [0] * n
    larger = magnitude(empty + factor * (given_text - empty), empty)
    np.testing.assert_allclose(larger, factor * np.array(expected), rtol=1e-9)


@given(seed=SEEDS, p=st.integers(1, 3), s=st.integers(1, 3), t=st.integers(1, 3))
def test_norms_are_averaged_not_vectors(seed, p, s, t):
    values = np.random.default_rng(seed).random((p, s, t))
    expected = [sum(values[i].ravel()) / (s * t) for i in range(p)]
    np.testing.assert_allclose(mean_magnitude(values), expected)


def test_confidence_is_zero_where_nothing_moved():
    z = np.random.default_rng(0).normal(size=(3, 2, 4, 4))
    assert change(z, z).tolist() == [0, 0, 0]
    np.testing.assert_allclose(change(z, z + 2), [4, 4, 4])


@settings(max_examples=20, deadline=None)
@given(seed=SEEDS, h=st.integers(3, 10), w=st.integers(3, 10))
def test_similarity_equals_an_obvious_loop(seed, h, w):
    rng = np.random.default_rng(seed)
    a, b = rng.normal(size=(2, 2, h, w))
    k = min(7, h, w)
    k -= 1 - k % 2
    c1, c2 = (0.01 * DATA_RANGE) ** 2, (0.03 * DATA_RANGE) ** 2
    found = []
    for channel in range(2):
        for i in range(h - k + 1):
            for j in range(w - k + 1):
                x = a[channel, i : i + k, j : j + k]
                y = b[channel, i : i + k, j : j + k]
                covariance = ((x - x.mean()) * (y - y.mean())).mean()
                top = (2 * x.mean() * y.mean() + c1) * (2 * covariance + c2)
                bottom = (x.mean() ** 2 + y.mean() ** 2 + c1) * (x.var() + y.var() + c2)
                found.append(top / bottom)
    assert ssim(a, b) == pytest.approx(np.mean(found), abs=1e-9)
    assert ssim(a, a) == pytest.approx(1)


def test_similarity_is_over_all_pairs_and_needs_two_seeds():
    maps = np.random.default_rng(1).normal(size=(3, 1, 8, 8))
    pairs = [ssim(maps[i], maps[j]) for i, j in ((0, 1), (0, 2), (1, 2))]
    assert mean_similarity(maps) == pytest.approx(np.mean(pairs))
    with pytest.raises(ShapeError):
        mean_similarity(maps[:1])
    for name in ("seed_similarity", "edge_consistency"):
        with pytest.raises(UsageError, match="--seeds"):
            detector(name).requests(Setting(seeds=1))


def test_edges_are_those_of_a_step_and_none_of_a_plain_picture():
    picture = np.zeros((6, 6, 3))
    picture[:, 3:] = 1
    mask = edge_mask(picture)
    assert mask[:, 2:4].all()
    assert not mask[:, :2].any()
    assert not mask[:, 4:].any()
    assert not edge_mask(np.full((6, 6, 3), 0.7)).any()
    # 4 (smoothing along the edge) x 4 (over channels) x 3 (summed) = 48 times the height of a step
    assert edge_mask(picture * 1.6 / 48).any()
    assert not edge_mask(picture * 1.4 / 48).any()


@given(seed=SEEDS, h=st.integers(1, 6), w=st.integers(1, 6), channels=st.sampled_from([1, 3]))
def test_edges_equal_those_of_scipy(seed, h, w, channels):
    """The author's code filters (h, w, 3) at once, so that channels are smoothed too."""
    picture = np.random.default_rng(seed).random((h, w, channels)) * 0.2
    magnitude = np.hypot(sobel(picture, axis=0), sobel(picture, axis=1)).sum(axis=2)
    clear = np.abs(magnitude - 1.5) > 1e-4
    assert ((magnitude > 1.5) == edge_mask(picture))[clear].all()


@given(seed=SEEDS, s=st.integers(1, 5))
def test_edge_consistency_counts_pixels_of_most_seeds(seed, s):
    masks = np.random.default_rng(seed).random((s, 5, 4)) < 0.5
    expected = np.mean([2 * masks[:, i, j].sum() > s for i in range(5) for j in range(4)])
    assert consistency(masks) == expected
    same = np.repeat(masks[:1], 4, axis=0)
    assert consistency(same) == masks[0].mean()


def test_packed_edges_come_back():
    masks = np.random.default_rng(2).random((2, 256, 256)) < 0.3
    assert np.array_equal(unpacked(packed(masks)), masks)


def test_entropy_of_the_extremes():
    assert entropy(np.full(77, 1 / 77)) == pytest.approx(np.log(77))
    assert entropy(np.eye(77)[3]) == 0
    assert entropy(np.full((2, 3, 4), 0.25)).shape == (2, 3)


@given(seed=SEEDS, t=st.integers(1, 3), k=st.integers(2, 6), end=st.integers(0, 5))
def test_late_entropy_equals_an_obvious_loop(seed, t, k, end):
    attention = np.random.default_rng(seed).dirichlet(np.ones(k), size=t)
    whole = [sum(-a * np.log(a) for a in row) for row in attention]
    padding = [sum(-a * np.log(a) for a in row[end:]) for row in attention]
    expected = np.mean(whole) + np.mean(padding) - padding[0]
    found = late_entropy(attention, (np.arange(k) >= end)[None])
    assert found == pytest.approx(expected)


@given(seed=SEEDS, value=st.floats(0.01, 1))
def test_a_constant_mask_gives_the_plain_magnitude(seed, value):
    rng = np.random.default_rng(seed)
    difference = rng.normal(size=(2, 3, 4, 6, 6))  # n, t, c, h, w
    squares = (difference**2).sum(axis=2)
    plain = np.sqrt((difference**2).sum(axis=(2, 3, 4)))
    np.testing.assert_allclose(local_magnitudes(squares, np.full((2, 6, 6), value)), plain)
    mask = rng.random((2, 6, 6)) + 0.1
    masked = np.sqrt(((difference * mask[:, None, None]) ** 2).sum(axis=(2, 3, 4)))
    expected = masked / mask.mean(axis=(1, 2))[:, None]
    np.testing.assert_allclose(local_magnitudes(squares, mask), expected)


def test_a_resized_mask_keeps_its_mean():
    mask = np.random.default_rng(3).random((2, 4, 2))
    larger = resized(mask, 8, 8)
    np.testing.assert_allclose(larger.mean(axis=(1, 2)), mask.mean(axis=(1, 2)))
    assert larger[0, 0, 0] == larger[0, 1, 3] == mask[0, 0, 0]


@pytest.mark.parametrize("name", DETECTORS)
def test_every_detector(name):
    """Label, cost, one score a prompt, and scores that follow their prompts."""
    one = detector(name)
    manifest = one.MANIFEST
    assert manifest.name == name
    assert re.fullmatch(r"DET\d{3}", manifest.id)
    assert all(re.fullmatch(r"arXiv:\d{4}\.\d{4,5}", paper) for paper in manifest.references)
    module = __import__(DETECTORS[name], fromlist=["x"])
    for word in ("higher", "cost:", "invalid when"):
        assert word in module.__doc__.lower(), word
    text = DiffusionCapabilities("diffusion", "X", True, True, 1000, 512)
    plain = DiffusionCapabilities("diffusion", "X", True, False, 1000, 512)
    assert one.applicable(text) is None
    assert "takes none" in one.applicable(plain)
    recorded = recordings(np.random.default_rng(4))
    scores = one.score(recorded, SETTING)
    assert scores.shape == (4,)
    assert np.unique(scores).size > 1
    order = np.array([2, 0, 3, 1])
    mixed = Recordings({r: a[order] for r, a in recorded.answers.items()}, recorded.ends[order])
    np.testing.assert_allclose(one.score(mixed, SETTING), scores[order])
    with pytest.raises(InternalError):
        one.score(Recordings({}, recorded.ends), SETTING)


def test_ids_are_distinct_and_the_primary_is_always_there():
    assert len({detector(name).MANIFEST.id for name in DETECTORS}) == len(DETECTORS)
    assert chosen(None)[0] == PRIMARY
    assert "bright_ending" not in chosen(None)
    assert chosen(["seed_similarity"]) == (PRIMARY, "seed_similarity")
    assert set(chosen(["all"])) == set(DETECTORS)
    with pytest.raises(UsageError, match="did you mean 'bright_ending'"):
        chosen(["bright_endings"])


@pytest.mark.parametrize("wrong", [{"steps": 0}, {"seeds": 0}, {"guidance": 1.0}])
def test_settings_without_meaning_are_refused(wrong):
    with pytest.raises(UsageError):
        Setting(**wrong)

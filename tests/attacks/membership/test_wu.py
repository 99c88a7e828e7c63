"""Attacks on drawn images: averages before the classifier, twins without the target, combination."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
from hypothesis import given

from attacks.membership import (
    _drawn,
    wu_combined,
    wu_faithful,
    wu_quality,
    wu_recon_pixel,
    wu_recon_semantic,
)
from attacks.observations import Calibration, RecordMeaning, RecordQuality, calls_per_record
from tests.attacks.membership.synthetic import (
    LARGE_TEXT,
    SEEDS,
    SIZES,
    SMALL_TEXT,
    calibration,
    observe,
    rows,
)

ATTACKS = [wu_quality, wu_recon_pixel, wu_recon_semantic, wu_faithful, wu_combined]
each = pytest.mark.parametrize("attack", ATTACKS, ids=lambda a: a.MANIFEST.name)


@given(seed=SEEDS, n=SIZES)
def test_features_are_the_means_over_images_of_an_obvious_loop(seed, n):
    config = _drawn.meaning_config(SMALL_TEXT)
    requests = [r for attack in ATTACKS[:4] for r in attack.requests(config)]
    seen = observe(requests, n, np.random.default_rng(seed))
    quality, distance, agreement = (
        seen[request]
        for request in (
            _drawn.quality_request(config),
            _drawn.distance_request(config),
            _drawn.agreement_request(config),
        )
    )
    for i in range(n):
        for j in range(8):
            mean = sum(quality[i, k, j] for k in range(3)) / 3
            assert wu_quality.features(seen, config)[i, j] == pytest.approx(mean)
        for j in range(2):
            mean = sum(distance[i, k, j] for k in range(3)) / 3
            assert wu_recon_pixel.features(seen, config)[i, j] == pytest.approx(mean)
        apart, agrees = (sum(agreement[i, k, j] for k in range(3)) / 3 for j in (0, 2))
        assert wu_recon_semantic.features(seen, config)[i].tolist() == [pytest.approx(apart)]
        assert wu_faithful.features(seen, config)[i].tolist() == [pytest.approx(agrees)]


@each
def test_the_order_of_the_images_of_a_caption_does_not_matter(attack):
    config = attack.default_config(SMALL_TEXT)
    rng = np.random.default_rng(0)
    seen, part = observe(attack.requests(config), 6, rng), calibration(attack.requests(config), rng)
    turned = {r: a[:, ::-1] if a.ndim == 3 else a for r, a in seen.items()}
    np.testing.assert_allclose(
        attack.score(turned, config, part), attack.score(seen, config, part), rtol=1e-9
    )


@each
def test_permuted_captions_destroy_the_signal(attack):
    config = attack.default_config(SMALL_TEXT)
    aucs = []
    for seed in range(8):
        rng = np.random.default_rng(seed)
        is_member = np.arange(60) < 30
        seen = observe(attack.requests(config), 60, rng, is_member)
        part = calibration(attack.requests(config), rng)
        own = attack.score(seen, config, part)
        assert own[is_member].min() > own[~is_member].max()
        order, other = rng.permutation(60), rng.permutation(len(part.is_member))
        swapped = Calibration(rows(part.observations, other), part.is_member)
        scores = attack.score(rows(seen, order), config, swapped)
        aucs.append(np.mean(scores[is_member, None] > scores[None, ~is_member]))
    assert abs(np.mean(aucs) - 0.5) < 3.3 * np.sqrt(61 / (12 * 900) / len(aucs))


@each
def test_the_blind_twin_reads_nothing_that_the_target_answered(attack):
    config = attack.default_config(SMALL_TEXT)
    rng = np.random.default_rng(1)
    held = [r for r in attack.requests(config) if isinstance(r, RecordQuality | RecordMeaning)]
    assert held
    assert calls_per_record(held) == 0
    seen, part = observe(held, 9, rng), calibration(held, rng)
    scores = attack.blind_twin(seen, config, part)  # the rest is not even there
    assert scores.shape == (9,)
    assert np.ptp(scores) > 0


def test_without_an_encoder_the_combination_leaves_meanings_out():
    config = wu_combined.default_config(LARGE_TEXT)
    assert config.parts == ("quality", "pixels")
    assert wu_combined.default_config(SMALL_TEXT).parts == ("quality", "pixels", "meaning", "text")
    only = dataclasses.replace(config, parts=("pixels",))
    rng = np.random.default_rng(2)
    seen, part = (
        observe(wu_combined.requests(only), 5, rng),
        calibration(wu_combined.requests(only), rng),
    )
    alone = wu_recon_pixel.score(seen, _drawn.drawing_config(LARGE_TEXT), part)
    assert np.array_equal(wu_combined.score(seen, only, part), alone)


def test_all_five_share_their_images():
    requests = [r for attack in ATTACKS for r in attack.requests(attack.default_config(SMALL_TEXT))]
    assert calls_per_record(requests) == 3 * 50 * 2

"""SecMI network: standardisation, learning of patterns, purity of the random state."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest

from attacks.errors import UsageError
from attacks.membership import secmi, secmi_nns
from attacks.observations import Calibration, calls_per_record
from tests.attacks.membership.synthetic import PIXEL

CONFIG = secmi_nns.default_config(PIXEL)
(REQUEST,) = secmi_nns.requests(CONFIG)


def patterned(n, rng):
    """Maps of one total error; members have it in a checkerboard, nonmembers in stripes."""
    is_member = np.arange(n) % 2 == 0
    row, column = np.indices((8, 8))
    pattern = np.where(is_member[:, None, None], (row + column) % 2, column % 2)[:, None]
    maps = 0.3 + pattern + rng.normal(0, 0.1, (n, 1, 8, 8))
    return np.abs(maps).astype(np.float16), is_member


def test_learns_where_the_error_is_when_its_sum_says_nothing():
    rng = np.random.default_rng(0)
    fitted, labels = patterned(60, rng)
    maps, is_member = patterned(40, rng)
    scores = secmi_nns.score({REQUEST: maps}, CONFIG, Calibration({REQUEST: fitted}, labels))
    assert scores[is_member].min() > scores[~is_member].max()


def test_shares_all_calls_with_the_statistic():
    statistic = secmi.requests(secmi.default_config(PIXEL))
    assert calls_per_record([REQUEST]) == 12
    assert calls_per_record([REQUEST, *statistic]) == 12


def test_standardises_with_the_calibration_part_alone():
    rng = np.random.default_rng(1)
    fitted, labels = patterned(20, rng)
    maps, _ = patterned(6, rng)
    config = dataclasses.replace(CONFIG, epochs=1)
    part = Calibration({REQUEST: fitted}, labels)
    with_outlier = np.concatenate([maps, np.full((1, 1, 8, 8), 100, dtype=np.float16)])
    alone = secmi_nns.score({REQUEST: maps}, config, part)
    together = secmi_nns.score({REQUEST: with_outlier}, config, part)
    np.testing.assert_allclose(together[:6], alone, rtol=1e-5, atol=1e-6)


def test_channel_statistics_equal_an_obvious_loop():
    maps = np.random.default_rng(2).random((5, 3, 4, 6)).astype(np.float16)
    maps[:, 2] = 0.5
    mean, spread = secmi_nns._channel_statistics(maps)
    for channel in range(3):
        values = [float(v) for v in maps[:, channel].ravel()]
        centre = sum(values) / len(values)
        deviation = (sum((v - centre) ** 2 for v in values) / len(values)) ** 0.5
        assert mean[0, channel, 0, 0] == pytest.approx(centre, rel=1e-6)
        assert spread[0, channel, 0, 0] == pytest.approx(deviation or 1, rel=1e-5)


def test_large_batches_are_scored_in_chunks(monkeypatch):
    rng = np.random.default_rng(3)
    fitted, labels = patterned(20, rng)
    maps, _ = patterned(11, rng)
    config = dataclasses.replace(CONFIG, epochs=1)
    part = Calibration({REQUEST: fitted}, labels)
    whole = secmi_nns.score({REQUEST: maps}, config, part)
    monkeypatch.setattr(secmi_nns, "CHUNK", 4)
    chunked = secmi_nns.score({REQUEST: maps}, config, part)
    np.testing.assert_allclose(chunked, whole, rtol=1e-5, atol=1e-6)


def test_large_maps_are_averaged_down_to_the_same_result():
    rng = np.random.default_rng(5)
    maps, labels = patterned(20, rng)
    fitted = np.tile(maps, (1, 1, 4, 4))
    enlarged = np.kron(fitted, np.ones((1, 1, 2, 2), dtype=np.float16))
    config = dataclasses.replace(CONFIG, epochs=2)
    small = secmi_nns.score({REQUEST: fitted}, config, Calibration({REQUEST: fitted}, labels))
    part = Calibration({REQUEST: enlarged}, labels)
    large = secmi_nns.score({REQUEST: enlarged}, config, part)
    np.testing.assert_allclose(large, small, rtol=1e-4, atol=1e-4)


def test_the_seed_decides_and_the_process_s_random_state_is_left_alone():
    import torch

    rng = np.random.default_rng(4)
    fitted, labels = patterned(20, rng)
    part = Calibration({REQUEST: fitted}, labels)
    config = dataclasses.replace(CONFIG, epochs=1)
    before = torch.get_rng_state()
    first = secmi_nns.score({REQUEST: fitted}, config, part)
    assert torch.equal(torch.get_rng_state(), before)
    torch.rand(3)
    assert np.array_equal(secmi_nns.score({REQUEST: fitted}, config, part), first)
    other = dataclasses.replace(config, seed=1)
    assert not np.array_equal(secmi_nns.score({REQUEST: fitted}, other, part), first)


@pytest.mark.parametrize(
    "options", [{"epochs": 0}, {"t": 95}, {"learning_rate": float("nan")}, {"width": -1}]
)
def test_refuses_a_wrong_configuration(options):
    with pytest.raises(UsageError):
        secmi_nns.SecmiNnsConfig(**options)

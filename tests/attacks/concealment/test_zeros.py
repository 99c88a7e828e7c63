"""Zeros that tell what was pruned, and guesses of what was there."""

from __future__ import annotations

import numpy as np
import pytest

from attacks.concealment.zeros import LayerZeros, disclosed, refilled
from attacks.errors import ShapeError


def test_a_pruned_layer_stands_out_and_others_do_not():
    found = disclosed(
        [
            LayerZeros("pruned", 10_000, 0, 100),
            LayerZeros("as before", 10_000, 3, 3),
            LayerZeros("bias", 64, 64, 64),
            LayerZeros("one more", 10_000, 3, 4),
        ]
    )
    assert [one.is_disclosed for one in found] == [True, False, False, False]
    assert found[0].p_value < 1e-6 < found[3].p_value
    assert disclosed([]) == ()


def test_no_edit_discloses_nothing():
    rng = np.random.default_rng(0)
    counts = rng.binomial(5_000, 0.001, size=50)
    layers = [LayerZeros(str(i), 5_000, int(k), int(k)) for i, k in enumerate(counts)]
    assert not any(one.is_disclosed for one in disclosed(layers))


def test_refilling_finds_the_signs_of_a_layer_of_low_rank():
    rng = np.random.default_rng(1)
    whole = rng.normal(size=(40, 2)) @ rng.normal(size=(2, 60))
    mask = rng.random(whole.shape) < 0.05
    found = refilled(np.where(mask, 0, whole), mask)
    assert np.array_equal(found[~mask], whole[~mask])
    assert np.mean(np.sign(found[mask]) == np.sign(whole[mask])) > 0.9
    assert np.abs(found[mask]) == pytest.approx(np.abs(whole[~mask]).mean())


def test_nothing_masked_stays_and_shapes_must_fit():
    weights = np.ones((3, 2, 2, 2))
    assert np.array_equal(refilled(weights, np.zeros(weights.shape, bool)), weights)
    with pytest.raises(ShapeError, match="does not fit"):
        refilled(weights, np.zeros((3, 2), bool))
    with pytest.raises(ShapeError, match="more zeros than weights"):
        disclosed([LayerZeros("x", 3, 0, 4)])

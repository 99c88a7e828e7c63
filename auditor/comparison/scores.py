"""Membership scores of every model of a comparison: the loss, and the loss less its difficulty.

The signal is phi, the logit-scaled confidence in the label that the pool gives (the wrong one for
canaries), less the median of its class over the ordinary records of the pool, members or not: a
class that a model knows well says nothing about single records.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from attacks import signals
from attacks.membership import _classifier, calibrated_loss
from attacks.observations import Classes, Logits, ShadowConfidence, ShadowKeep
from auditor.comparison.design import Design

LOSS = "loss"
CALIBRATED = "calibrated_loss"
ATTACKS = {
    LOSS: "the confidence in the label (a threshold on the loss), centred by class",
    CALIBRATED: "the same, less the mean over the models of the other trials that never saw the "
    "record",
}
"""Name -> what it is, in words."""


def centred_phi(logits: NDArray[np.floating], design: Design) -> NDArray[np.float64]:
    """(n,) phi of one model on the pool, from (n, k) logits, less the median of its class."""
    classes = design.records.required_classes()
    phi = signals.phi(np.asarray(logits, dtype=np.float64), classes)
    centred = phi.copy()
    for c in np.unique(classes):
        rows = classes == c
        usual = phi[rows & ~design.is_canary]
        centred[rows] -= np.median(usual) if usual.size else 0.0
    return centred


def all_scores(phi: NDArray[np.float64], design: Design) -> dict[str, NDArray[np.float64]]:
    """Attack -> (trials, 2, n) scores of the models of one kind, higher is more likely a member.

    phi: (trials, 2, n) centred. A model is compared with the models of the other trials alone:
    its twin was trained on exactly what it was not, and would give the answer away.
    """
    calibrated = np.empty_like(phi)
    config = calibrated_loss.CalibratedLossConfig(statistic="phi", reference="out")
    for t in range(len(phi)):
        others = np.arange(len(phi)) != t
        shadows = _classifier.Shadows(
            phi[others].reshape(-1, phi.shape[-1]).T[:, :, None],
            design.keep[others].reshape(-1, phi.shape[-1]).T,
        )
        for half in range(phi.shape[1]):
            calibrated[t, half] = calibrate(phi[t, half], shadows, config)
    return {LOSS: phi, CALIBRATED: calibrated}


def calibrate(
    phi: NDArray[np.float64],
    shadows: _classifier.Shadows,
    config: calibrated_loss.CalibratedLossConfig,
) -> NDArray[np.float64]:
    """(n,) scores of `attacks.membership.calibrated_loss` from signals instead of logits."""
    # Two classes with logits (phi, 0) have exactly this phi in the first of them.
    observed = {
        Classes(): np.zeros(len(phi), dtype=np.int64),
        Logits(): np.stack([phi, np.zeros_like(phi)], axis=-1)[:, None, :],
        ShadowConfidence(): shadows.values,
        ShadowKeep(): shadows.keep,
    }
    return calibrated_loss.score(observed, config)

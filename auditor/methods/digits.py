"""Default data of the small picture methods: scikit-learn's digits, one fixed random order."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from auditor.methods.protocol import MethodData, Records

N_POOL = 1200
"""Most records of the pool; the other 597 are the test set."""
SPLIT_SEED = 20240601


def digit_data(n_pool: int = N_POOL) -> MethodData:
    """Real 8x8 digits as (n, 1, 8, 8) float32 in [0, 1]: n_pool in the pool, 597 for tests.

    All 1,797 pictures are distinct, so no copy lies on both sides. The test set is always the
    same.
    """
    from sklearn.datasets import load_digits

    digits = load_digits()
    order = np.random.default_rng(SPLIT_SEED).permutation(len(digits.images))
    features = (digits.images[order, None] / 16).astype(np.float32)
    classes = digits.target[order].astype(np.int64)
    records = Records(features, classes)
    return MethodData(records.take(np.arange(n_pool)), records.take(np.arange(N_POOL, len(order))))


def enlarged(records: Records, side: int) -> Records:
    """The same pictures at side x side pixels, bilinearly."""
    import torch
    from torch.nn import functional

    large = functional.interpolate(
        torch.from_numpy(records.features), size=(side, side), mode="bilinear", align_corners=False
    )
    return Records(_as_float32(large.numpy()), records.classes, records.ids, records.extras)


def _as_float32(array: NDArray) -> NDArray[np.float32]:
    return np.ascontiguousarray(array, dtype=np.float32)

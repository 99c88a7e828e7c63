"""Real photographs: CIFAR-10 as Parquet."""

from __future__ import annotations

from pathlib import Path

import pytest

from auditor.records import load_splits

CIFAR = Path(__file__).resolve().parents[4] / "shared" / "data" / "cifar10"

pytestmark = [
    pytest.mark.shared_data,
    pytest.mark.skipif(not CIFAR.is_dir(), reason=f"no development data at {CIFAR}"),
]


def test_cifar_sample():
    splits = load_splits(
        CIFAR / "train.parquet", CIFAR / "test.parquet", limit=600, calibration_share=0.2, seed=7
    )
    assert len(splits.members) + len(splits.calibration_members) == 600
    assert len(splits.nonmembers) + len(splits.calibration_nonmembers) == 600
    assert splits.n_near_duplicates_across == 0
    assert splits.n_unreadable == 0
    record = splits.members[0]
    assert (record.width, record.height, record.format) == (32, 32, "JPEG")
    assert record.caption is not None
    assert record.caption.startswith("a photo of")
    assert record.open().size == (32, 32)

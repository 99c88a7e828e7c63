"""What goes wrong in the middle of a scan: nothing is lost, nothing is half-written."""

from __future__ import annotations

import errno
import os

import numpy as np
import pandas as pd
import pytest
import torch

from attacks.errors import TargetError, UsageError
from auditor.observe import executor as executor_module
from auditor.progress import Progress
from auditor.scan import ScanOptions, plan_scan, run_scan, scan_model


class InterruptedAfter(Progress):
    """Ctrl-C after some records."""

    def __init__(self, records: int) -> None:
        self.left = records

    def advance(self, n: int) -> None:
        if self.is_observing:
            self.left -= n
            if self.left <= 0:
                raise KeyboardInterrupt

    def stage(self, title: str, total: int, unit: str = "records") -> None:
        self.is_observing = title.startswith("observing")


@pytest.fixture
def options(demo, tmp_path, monkeypatch) -> ScanOptions:
    monkeypatch.setattr(executor_module, "SHARD_RECORDS", 16)
    (tmp_path / "policy.yaml").write_text("positive_control_dose: 1\n")  # spares the training
    return ScanOptions(
        model=str(demo.models["memorized"]),
        members=demo.records.members,
        nonmembers=demo.records.nonmembers,
        out=tmp_path / "out",
        policy=tmp_path / "policy.yaml",
        cache=tmp_path / "cache",
        attacks=("sima", "pia"),
        limit=40,
        device="cpu",
    )


def scores(out):
    return {p.name: p.read_bytes() for p in sorted((out / "scores").iterdir())}


def test_an_interrupted_scan_continues_with_the_same_scores_byte_for_byte(options, tmp_path):
    import dataclasses

    with pytest.raises(KeyboardInterrupt):
        scan_model(options, InterruptedAfter(33))
    assert not options.out.exists()
    continued = scan_model(options)
    assert continued.record.environment.n_calls_cached > 0
    whole = dataclasses.replace(options, out=tmp_path / "whole", cache=tmp_path / "other")
    scan_model(whole)
    assert scores(options.out) == scores(whole.out)


def test_out_of_memory_halves_the_batch_and_goes_on(options, tmp_path):
    import dataclasses

    prepared = plan_scan(options, Progress())

    def limited(module, args):
        if len(args[0]) > 8:
            raise torch.OutOfMemoryError("CUDA out of memory")

    prepared.target.unet.register_forward_pre_hook(limited)
    result = run_scan(prepared, Progress())
    assert result.record.environment.batch_size <= 8
    whole = scan_model(dataclasses.replace(options, out=tmp_path / "o2", cache=tmp_path / "c2"))
    for name in ("sima", "pia"):
        one, two = (
            pd.read_parquet(out / "scores" / f"{name}.parquet").score.to_numpy()
            for out in (options.out, whole.paths["json"].parent)
        )
        spread = np.subtract(*np.percentile(two, [75, 25]))
        assert np.max(np.abs(one - two)) < 1e-4 * spread


def test_out_of_memory_with_one_image_is_an_error(options):
    prepared = plan_scan(options, Progress())

    def never(module, args):
        raise RuntimeError("DefaultCPUAllocator: can't allocate memory")

    prepared.target.unet.register_forward_pre_hook(never)
    with pytest.raises(TargetError, match="out of memory"):
        run_scan(prepared, Progress())


def test_nan_outputs_stop_the_scan(options):
    prepared = plan_scan(options, Progress())
    with torch.no_grad():
        next(iter(prepared.target.unet.parameters())).fill_(float("nan"))
    with pytest.raises(TargetError, match="NaN"):
        run_scan(prepared, Progress())
    assert not options.out.exists()


def test_a_damaged_shard_is_computed_again(options):
    first = scan_model(options)
    before = scores(options.out)
    for path in options.cache.rglob("*.obs"):
        content = bytearray(path.read_bytes())
        content[-1] ^= 0xFF
        path.write_bytes(bytes(content))
    for path in list(options.cache.rglob("*.obs"))[:3]:
        path.write_bytes(b"short")
    again = scan_model(options)
    assert scores(options.out) == before
    assert again.record.environment.n_calls == first.record.environment.n_calls


def test_a_full_disk_is_one_error_and_nothing_is_half_written(options, monkeypatch):
    real = os.replace

    def full(source, goal, **kwargs):
        if str(goal).endswith(".obs"):
            raise OSError(errno.ENOSPC, "No space left on device")
        return real(source, goal, **kwargs)

    monkeypatch.setattr(os, "replace", full)
    with pytest.raises(UsageError, match="No space left"):
        scan_model(options)
    monkeypatch.undo()
    assert not list(options.cache.rglob("*.part"))
    assert not list(options.cache.rglob(".*"))
    scan_model(options)


def test_incompetent_target_is_invalid(options, tmp_path):
    """A U-Net with random weights cannot denoise: nothing may be concluded."""
    prepared = plan_scan(options, Progress())
    prepared.target.unet = prepared.target.reinitialised(7).unet
    result = run_scan(prepared, Progress())
    assert result.record.verdict.outcome.value == "invalid"
    assert "competence" in result.record.verdict.sentence + result.record.rules[0].explanation


def test_a_diverging_copy_is_no_established_control(options, monkeypatch):
    from auditor.targets import finetuning

    monkeypatch.setattr(finetuning, "LEARNING_RATE", 1e12)
    result = scan_model(options)
    positive = next(c for c in result.record.controls if c.name == "positive")
    assert positive.status.value == "not run"
    assert result.record.verdict.outcome.value != "pass"


def test_what_an_earlier_audit_left_is_removed(options):
    import dataclasses

    scan_model(dataclasses.replace(options, reveal=True))
    assert (options.out / "private" / "revealed.html").exists()
    scan_model(dataclasses.replace(options, attacks=("sima",)))
    assert [p.name for p in (options.out / "scores").iterdir()] == ["sima.parquet"]
    assert not (options.out / "private" / "revealed.html").exists()


def test_an_open_private_folder_is_closed_again(options):
    scan_model(options)
    (options.out / "private").chmod(0o755)
    scan_model(options)
    assert (options.out / "private").stat().st_mode & 0o077 == 0

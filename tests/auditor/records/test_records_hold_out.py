"""A hold-out made before training: nothing straddles, and it reads back as made."""

from __future__ import annotations

import json
import os
import stat

import pyarrow.parquet as pq
import pytest

from attacks.errors import DataError
from auditor.records import ReadOptions, load_splits, split_dataset


def test_reads_back_without_copies(tmp_path, digits, write_folder, encode):
    pictures = [*digits[:100], *digits[:10]]
    captions = [f"caption {i}" for i in range(110)]
    data = write_folder(tmp_path / "data", pictures, captions, "jsonl")
    result = split_dataset(data, tmp_path / "out", nonmember_share=0.4, seed=3)
    assert result.n_members + result.n_nonmembers == 110
    assert result.n_groups == 100
    splits = load_splits(result.members, result.nonmembers)
    assert (len(splits.members), len(splits.nonmembers)) == (60, 40)
    assert splits.n_cross_split_dropped == splits.n_near_duplicates_across == 0
    assert sum(k * n for k, n in splits.repeats + splits.nonmember_repeats) == 110
    everything = load_splits(data, write_folder(tmp_path / "x", digits[200:220], ["x"] * 20, "txt"))
    assert {r.pixels for r in splits.members + splits.nonmembers} == {
        r.pixels for r in everything.members
    }
    assert stat.S_IMODE(os.stat(tmp_path / "out").st_mode) == 0o700
    assert all(stat.S_IMODE(f.stat().st_mode) == 0o600 for f in (tmp_path / "out").iterdir())
    facts = json.loads((tmp_path / "out" / "split.json").read_text())
    assert (facts["seed"], facts["n_members"]) == (3, result.n_members)
    with pytest.raises(DataError, match="never overwritten"):
        split_dataset(data, tmp_path / "out")
    assert sorted(p.name for p in tmp_path.iterdir()) == ["data", "out", "x"]


def test_order_and_names_do_not_matter(tmp_path, digits, write_folder):
    a = write_folder(tmp_path / "a", digits[:50])
    b = write_folder(tmp_path / "b", digits[:50][::-1], prefix="z")
    found = []
    for data in (a, b):
        result = split_dataset(data, tmp_path / f"out-{data.name}", seed=1)
        splits = load_splits(result.members, result.nonmembers)
        found.append(([r.id for r in splits.members], [r.id for r in splits.nonmembers]))
    assert found[0] == found[1]
    other = split_dataset(a, tmp_path / "other", seed=2)
    splits = load_splits(other.members, other.nonmembers)
    assert [r.id for r in splits.members] != found[0][0]


def test_subjects_and_near_duplicates_stay_together(tmp_path, digits, write_folder, encode):
    people = [f"person {i // 4}" for i in range(60)]
    data = write_folder(tmp_path / "data", digits[:60], ["x"] * 60, "jsonl", subject=people)
    result = split_dataset(data, tmp_path / "out", seed=5)
    splits = load_splits(result.members, result.nonmembers)
    assert result.n_groups == 15
    assert {r.subject for r in splits.members} | {r.subject for r in splits.nonmembers} == set(
        people
    )
    assert not {r.subject for r in splits.members} & {r.subject for r in splits.nonmembers}
    jpegs = tmp_path / "jpegs"
    jpegs.mkdir()
    for i in range(20):
        for quality in (95, 85, 75):
            encoded = encode(digits[i].resize((64, 64)), "JPEG", quality=quality)
            (jpegs / f"{i}-{quality}.jpg").write_bytes(encoded)
    result = split_dataset(jpegs, tmp_path / "out2", seed=5)
    assert result.n_groups == 20
    splits = load_splits(result.members, result.nonmembers)
    assert splits.n_near_duplicates_across == 0
    assert (len(splits.members), len(splits.nonmembers)) == (30, 30)


def test_parquet_keeps_its_columns(tmp_path, digits, write_parquet):
    shards = tmp_path / "shards"
    for k in range(2):
        part = digits[20 * k : 20 * k + 20]
        write_parquet(shards / f"{k}.parquet", part, ["x"] * 20, label=list(range(20)))
    result = split_dataset(shards, tmp_path / "out", nonmember_share=0.25)
    tables = [pq.read_table(path) for path in (result.members, result.nonmembers)]
    assert [len(table) for table in tables] == [30, 10]
    assert all(table.column_names == ["image", "label", "text"] for table in tables)
    labels = sorted(label for table in tables for label in table["label"].to_pylist())
    assert labels == sorted([*range(20), *range(20)])


def test_shards_with_different_columns(tmp_path, digits, write_parquet):
    write_parquet(tmp_path / "s" / "a.parquet", digits[:20], ["x"] * 20, label=[1] * 20)
    write_parquet(tmp_path / "s" / "b.parquet", digits[20:40], ["x"] * 20)
    with pytest.raises(DataError, match="same columns"):
        split_dataset(tmp_path / "s", tmp_path / "out")
    assert sorted(p.name for p in tmp_path.iterdir()) == ["s"]


def test_refusals(tmp_path, digits, write_folder):
    data = write_folder(tmp_path / "data", digits[:6], ["x"] * 6, "jsonl", subject=["one"] * 6)
    with pytest.raises(DataError, match="1 groups of copies and subjects, too few"):
        split_dataset(data, tmp_path / "out")
    for share in (0, 1, -1):
        with pytest.raises(DataError, match="nonmember_share"):
            split_dataset(data, tmp_path / "out", nonmember_share=share)
    with pytest.raises(DataError, match="split already"):
        split_dataset(data, tmp_path / "out", options=ReadOptions(split_column="subject"))
    (tmp_path / "file").write_text("x")
    with pytest.raises(DataError, match="never overwritten"):
        split_dataset(data, tmp_path / "file")
    assert not (tmp_path / "out").exists()

"""Every format gives the same records, and every fault its own sentence."""

from __future__ import annotations

import json
import os

import pytest

from attacks.errors import DataError
from auditor.records import ReadOptions, load_splits

CAPTIONS = [f"digit number {i}, “drawn”" for i in range(40)]
HOSTILE = [
    "<script>alert(1)</script>",
    "\x1b[31mred\x1b[0m \x07",
    'a "quoted", comma\r\nand a second line',
    "zero\u0000byte",
    "\u202egnp.exe",
    "line\u2028separator",
    "{{ 7 * 7 }} [bold]x[/bold] %s",
]


def content(splits):
    """What must not depend on the format: ids, captions and sizes."""
    return [
        (r.id, r.caption, r.subject, r.multiplicity, r.width, r.height)
        for r in (*splits.members, *splits.nonmembers)
    ]


def test_all_formats_give_the_same_records(tmp_path, digits, write_folder, write_parquet):
    sides = {}
    for name, part, offset in (("m", digits[:20], 0), ("n", digits[20:40], 20)):
        captions = CAPTIONS[offset : offset + 20]
        for style in ("jsonl", "csv", "txt"):
            folder = write_folder(tmp_path / f"{style}-{name}", part, captions, style)
            sides[style, name] = folder
        sides["jsonl file", name] = sides["jsonl", name] / "metadata.jsonl"
        sides["csv file", name] = sides["csv", name] / "metadata.csv"
        sides["parquet", name] = write_parquet(tmp_path / f"{name}.parquet", part, captions)
        raw = write_parquet(
            tmp_path / f"raw-{name}.parquet", part, captions, raw=True, text_column="caption"
        )
        sides["raw", name] = raw
        shards = tmp_path / f"shards-{name}"
        write_parquet(shards / "deep" / "b.parquet", part[:7], captions[:7])
        write_parquet(shards / "a.parquet", part[7:], captions[7:])
        sides["shards", name] = shards
    kinds = sorted({kind for kind, _ in sides})
    results = {kind: load_splits(sides[kind, "m"], sides[kind, "n"]) for kind in kinds}
    reference = content(results["jsonl"])
    assert len(reference) == 40
    assert {caption for _, caption, *_ in reference} == set(CAPTIONS)
    for kind, splits in results.items():
        assert content(splits) == reference, kind
        assert splits.has_captions
    assert results["txt"].caption_source == ".txt files"
    assert results["raw"].caption_source == "column 'caption'"


def test_no_captions(tmp_path, digits, write_folder):
    splits = load_splits(
        write_folder(tmp_path / "m", digits[:5]), write_folder(tmp_path / "n", digits[5:10])
    )
    assert not splits.has_captions
    assert splits.caption_source == "none"
    assert all(record.caption is None for record in splits.members)


@pytest.mark.parametrize("style", ["jsonl", "csv"])
def test_hostile_captions_survive_unchanged(tmp_path, digits, write_folder, style):
    n = len(HOSTILE)
    members = write_folder(tmp_path / "m", digits[:n], HOSTILE, style)
    nonmembers = write_folder(tmp_path / "n", digits[n : 2 * n], HOSTILE, style)
    splits = load_splits(members, nonmembers)
    assert {record.caption for record in splits.members} == set(HOSTILE)


def test_byte_order_mark_windows_lines_and_backslashes(tmp_path, digits, write_folder):
    members = write_folder(tmp_path / "m", digits[:4])
    (members / "sub").mkdir()
    (members / "p0003.png").rename(members / "sub" / "p0003.png")
    names = ["p0000.png", "./p0001.png", "p0002.png", "sub\\p0003.png"]
    text = "file_name,text\r\n" + "".join(f'{name},"é, {name}"\r\n' for name in names)
    (members / "metadata.csv").write_bytes(b"\xef\xbb\xbf" + text.encode())
    nonmembers = write_folder(tmp_path / "n", digits[4:8])
    lines = "".join(
        json.dumps({"file_name": f"p000{i}.png", "text": f"e\u0301 {i}"}) + "\r\n\r\n"
        for i in range(4)
    )
    (nonmembers / "metadata.jsonl").write_bytes(b"\xef\xbb\xbf" + lines.encode())
    splits = load_splits(members, nonmembers)
    assert len(splits.members) == len(splits.nonmembers) == 4
    assert {r.caption for r in splits.nonmembers} == {f"é {i}" for i in range(4)}  # NFC


def test_lone_surrogates_and_blank_captions(tmp_path, digits, write_folder):
    captions = ["\ud800 cut", "\ud83d\ude00", "   ", ""]
    members = write_folder(tmp_path / "m", digits[:4], captions, "jsonl")
    nonmembers = write_folder(tmp_path / "n", digits[4:8], CAPTIONS[:4], "jsonl")
    splits = load_splits(members, nonmembers)
    found = [r.caption for r in splits.members]
    assert set(found) == {"\U0001f600", "\ufffd cut", None}
    assert found.count(None) == 2
    assert any("2 of 4 members have no caption" in note for note in splits.notes)


def test_odd_file_names(tmp_path, digits, write_folder):
    odd = [b"a b.PNG", b"'; rm -rf.png", b"\xff\xfe.png", b"\x1b[31m.png", "日本.JPEG".encode()]
    members = write_folder(tmp_path / "m", [])
    for name, picture in zip(odd, digits, strict=False):
        with open(os.path.join(os.fsencode(members), name), "wb") as stream:
            picture.save(stream, "PNG")
    (members / ".hidden.png").write_bytes(b"junk")
    (members / "Thumbs.db").write_bytes(b"junk")
    (members / "__MACOSX").mkdir()
    (members / "__MACOSX" / "a.png").write_bytes(b"junk")
    splits = load_splits(members, write_folder(tmp_path / "n", digits[10:15]))
    assert len(splits.members) == 5
    assert all(record.open().mode == "RGB" for record in splits.members)


def test_one_data_set_with_a_split_column(tmp_path, digits, write_folder, write_parquet):
    kinds = ["train"] * 10 + ["test"] * 8 + ["val"] * 2
    options = ReadOptions(split_column="part", nonmember_split="test")
    for path in (
        write_folder(tmp_path / "f", digits[:20], CAPTIONS[:20], "jsonl", part=kinds),
        write_parquet(tmp_path / "f.parquet", digits[:20], CAPTIONS[:20], part=kinds),
    ):
        splits = load_splits(path, path, options=options)
        assert (len(splits.members), len(splits.nonmembers)) == (10, 8)
        with pytest.raises(DataError, match="no row whose column 'part' is 'nowhere'"):
            load_splits(
                path, path, options=ReadOptions(split_column="part", member_split="nowhere")
            )
    wrong = ReadOptions(split_column="text")
    with pytest.raises(DataError) as caught:
        load_splits(tmp_path / "f", tmp_path / "f", options=wrong)
    assert "digit number" not in str(caught.value)


def test_named_columns_and_subjects(tmp_path, digits, write_parquet):
    options = ReadOptions(image_column="scan", text_column="report", subject_column="patient")
    sides = [
        write_parquet(
            tmp_path / f"{name}.parquet",
            digits[start : start + 6],
            CAPTIONS[start : start + 6],
            image_column="scan",
            text_column="report",
            patient=[start + i // 2 for i in range(6)],
        )
        for name, start in (("m", 0), ("n", 6))
    ]
    splits = load_splits(*sides, options=options)
    assert splits.has_subjects
    assert {r.subject for r in splits.members} == {"0", "1", "2"}
    with pytest.raises(DataError, match="no column 'reprot'.*did you mean 'report'"):
        load_splits(*sides, options=ReadOptions(image_column="scan", text_column="reprot"))
    with pytest.raises(
        DataError, match="no column of pictures.*image_column; known: scan, patient"
    ):
        load_splits(*sides)


def test_options_for_columns_need_columns(tmp_path, digits, write_folder):
    members = write_folder(tmp_path / "m", digits[:2])
    nonmembers = write_folder(tmp_path / "n", digits[2:4])
    for option in ("text_column", "subject_column", "image_column"):
        with pytest.raises(DataError, match=f"{option} is 'x', but the folder"):
            load_splits(members, nonmembers, options=ReadOptions(**{option: "x"}))


def test_metadata_in_sub_folders(tmp_path, digits, write_folder):
    write_folder(tmp_path / "m" / "a", digits[:3], CAPTIONS[:3], "jsonl")
    write_folder(tmp_path / "m" / "b", digits[3:6], CAPTIONS[3:6], "csv")
    nonmembers = write_folder(tmp_path / "n", digits[6:9], CAPTIONS[6:9], "txt")
    splits = load_splits(tmp_path / "m", nonmembers)
    assert {r.caption for r in splits.members} == set(CAPTIONS[:6])
    digits[20].save(tmp_path / "m" / "alone.png")
    with pytest.raises(DataError, match=r"1 of 7 pictures .* \(first: alone.png\)"):
        load_splits(tmp_path / "m", nonmembers)


def test_row_groups_are_read_again_after_they_left_the_cache(
    tmp_path, digits, write_parquet, monkeypatch
):
    from auditor.records import sources

    monkeypatch.setattr(sources, "GROUP_CACHE_BYTES", 1)
    monkeypatch.setattr(sources, "_GROUPS", sources._RowGroups())
    splits = load_splits(
        write_parquet(tmp_path / "m.parquet", digits[:20], rows_per_group=3),
        write_parquet(tmp_path / "n.parquet", digits[20:30], rows_per_group=3),
    )
    assert len(sources._GROUPS._columns) == 1
    assert {r.open().tobytes() for r in splits.members} == {d.tobytes() for d in digits[:20]}
    (tmp_path / "m.parquet").write_bytes(b"PAR1")
    monkeypatch.setattr(sources, "_GROUPS", sources._RowGroups())
    with pytest.raises(DataError, match="row group . of m.parquet cannot be read"):
        splits.members[0].open()

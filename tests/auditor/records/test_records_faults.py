"""Every fault of a data set has its own sentence, which shows nothing private."""

from __future__ import annotations

import json
import os
import re

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from attacks.errors import DataError
from auditor.records import load_splits

CAPTIONS = [f"digit number {i}" for i in range(6)]


def faults(members):
    """Pairs of how to spoil a folder of 3 pictures with metadata, and what must be said."""
    meta = members / "metadata.jsonl"
    lines = meta.read_text().splitlines()

    def row(**cells):
        meta.write_text("\n".join([lines[0], json.dumps(cells), *lines[2:]]))

    return {
        "absolute": (lambda: row(file_name="/etc/passwd"), "metadata.jsonl line 2 .*outside"),
        "drive": (lambda: row(file_name="C:\\x.png"), "metadata.jsonl line 2 .*outside"),
        "parent": (lambda: row(file_name="../n/p0000.png"), "metadata.jsonl line 2 .*outside"),
        "backslash": (lambda: row(file_name="..\\n\\p0000.png"), "line 2 .*outside"),
        "inner parent": (lambda: row(file_name="a/../p0001.png"), "line 2 .*outside"),
        "no name": (lambda: row(text="private"), "line 2 names no file"),
        "zero byte": (lambda: row(file_name="a\0b.png"), "line 2 names no file"),
        "twice": (lambda: row(file_name="./p0000.png"), "line 2 .*line 1 already names"),
        "missing": (lambda: row(file_name="gone.png"), r"line 2 .*not there \(gone.png\)"),
        "list": (lambda: row(file_name="p0001.png", text=["private"]), "line 2.* holds a list"),
        "not json": (lambda: meta.write_text('{"file_name": "private'), "line 1 is not JSON"),
        "deep": (lambda: meta.write_text("[" * 100_000), "line 1 is not JSON"),
        "not object": (lambda: meta.write_text('["private"]'), "line 1 is not a JSON object"),
        "not utf-8": (lambda: meta.write_text("private", encoding="utf-16"), "not UTF-8"),
        "stray": (lambda: meta.write_text("\n".join(lines[:2])), "1 of 3 pictures .*p0002.png"),
        "both": (lambda: (members / "metadata.csv").write_text("a\n"), "has both metadata"),
        "pipe": (lambda: (meta.unlink(), os.mkfifo(meta)), "not a regular file"),
        "empty": (lambda: meta.write_text("\n"), "have no row"),
    }


FAULTS = """absolute, drive, parent, backslash, inner parent, no name, zero byte, twice, missing,
list, not json, deep, not object, not utf-8, stray, both, pipe, empty"""


@pytest.mark.parametrize("fault", re.split(r",\s", FAULTS))
def test_faults_in_metadata(tmp_path, digits, write_folder, fault):
    members = write_folder(tmp_path / "m", digits[:3], ["private"] * 3, "jsonl")
    nonmembers = write_folder(tmp_path / "n", digits[3:6], ["private"] * 3, "jsonl")
    table = faults(members)
    assert set(table) == set(re.split(r",\s", FAULTS))
    spoil, message = table[fault]
    spoil()
    with pytest.raises(DataError, match=message) as caught:
        load_splits(members, nonmembers)
    assert "private" not in str(caught.value)
    assert caught.value.__cause__ is None
    assert caught.value.__suppress_context__ or caught.value.__context__ is None


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("file_name,text\np0000.png,a,b\n", "row 2 has 3 cells where the header has 2"),
        ("file_name,text,text\np0000.png,a,b\n", "names a column twice"),
        ("file_name;text\np0000.png;a\n", "not separated by commas"),
        ('file_name,text\np0000.png,"private\n', "not valid CSV"),
        ("file_name,text\n" + "p0000.png," + "x" * 200_000 + "\n", "131,072 characters"),
        ("picture,text\np0000.png,private\n", "no column of pictures"),
        ("file_name,text\n", "holds no records"),
        ("", "holds no records"),
    ],
)
def test_faults_in_csv(tmp_path, digits, write_folder, text, message):
    members = write_folder(tmp_path / "m", digits[:1])
    (members / "list.csv").write_text(text)
    nonmembers = write_folder(tmp_path / "n", digits[1:2])
    with pytest.raises(DataError, match=message) as caught:
        load_splits(members / "list.csv", nonmembers)
    assert "private" not in str(caught.value)


def test_links(tmp_path, digits, write_folder):
    members = write_folder(tmp_path / "m", digits[:3], CAPTIONS[:3], "jsonl")
    nonmembers = write_folder(tmp_path / "n", digits[3:6], CAPTIONS[3:6], "jsonl")
    (members / "p0001.png").rename(members / "real.dat")
    (members / "p0001.png").symlink_to("real.dat")
    assert len(load_splits(members, nonmembers).members) == 3
    secret = tmp_path / "secret.png"
    digits[9].save(secret)
    (members / "p0001.png").unlink()
    (members / "p0001.png").symlink_to(secret)
    with pytest.raises(DataError, match="leads out of the folder"):
        load_splits(members, nonmembers)
    with pytest.raises(DataError, match="metadata.jsonl line 2 names a link that leads out"):
        load_splits(members / "metadata.jsonl", nonmembers)
    (members / "p0001.png").unlink()
    (tmp_path / "elsewhere").mkdir()
    digits[9].save(tmp_path / "elsewhere" / "p.png")
    (members / "door").symlink_to(tmp_path / "elsewhere")
    meta = members / "metadata.jsonl"
    meta.write_text(meta.read_text().replace("p0001.png", "door/p.png"))
    with pytest.raises(DataError, match="metadata.jsonl line 2 names a link that leads out"):
        load_splits(members, nonmembers)


def test_links_without_metadata(tmp_path, digits, write_folder):
    members = write_folder(tmp_path / "m", digits[:3])
    nonmembers = write_folder(tmp_path / "n", digits[3:6])
    (tmp_path / "elsewhere").mkdir()
    (members / "door").symlink_to(tmp_path / "elsewhere")
    splits = load_splits(members, nonmembers)
    assert "members: 1 linked folders were not entered" in splits.notes
    (members / "broken.png").symlink_to("gone.png")
    with pytest.raises(DataError, match="1 of 4 rows are unreadable.*broken.png: the file or"):
        load_splits(members, nonmembers)


def test_missing_empty_and_unknown(tmp_path, digits, write_folder, write_parquet):
    good = write_folder(tmp_path / "good", digits[:3])
    (tmp_path / "empty").mkdir()
    (tmp_path / "x.json").write_text("[]")
    (tmp_path / "bad.parquet").write_bytes(b"PAR1 nothing")
    mixed = write_folder(tmp_path / "mixed", digits[:1])
    write_parquet(mixed / "x.parquet", digits[:1])
    pq.write_table(pa.table({"image": ["a.png"]}), tmp_path / "names.parquet")
    pq.write_table(pa.table({"image": [b"x"], "text": [["a"]]}), tmp_path / "lists.parquet")
    pq.write_table(pa.table({"image": [b"x"]}).slice(0, 0), tmp_path / "none.parquet")
    cases = {
        "gone": "does not exist",
        "empty": "holds no records",
        "x.json": "is no data set",
        "bad.parquet": "cannot be read as Parquet",
        "mixed": "both pictures and Parquet",
        "names.parquet": "holds string, not encoded pictures",
        "lists.parquet": "column 'text' holds list",
        "none.parquet": "holds no records",
    }
    for name, message in cases.items():
        with pytest.raises(DataError, match=f"(?s){message}"):
            load_splits(tmp_path / name, good)
        with pytest.raises(DataError, match=f"(?s){message}"):
            load_splits(good, tmp_path / name)


def test_terminal_escapes_are_escaped_in_errors(tmp_path, digits, write_folder):
    members = write_folder(tmp_path / "m", digits[:1])
    (members / "\x1b[2J\u202e.png").write_bytes(b"junk")
    with pytest.raises(DataError) as caught:
        load_splits(members, write_folder(tmp_path / "n", digits[1:3]))
    assert "\\x1b[2J\\u202e.png" in str(caught.value)
    assert str(caught.value).isprintable()

"""Content ids, published ids, the key of a project and its private map."""

from __future__ import annotations

import hashlib
import hmac
import json
import os
import stat
import unicodedata
from concurrent.futures import ThreadPoolExecutor

import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from attacks.errors import DataError
from auditor.records import (
    ProjectKey,
    load_or_create_project_key,
    load_project_key,
    load_splits,
    write_private_map,
)
from auditor.records.identity import content_id, keyed_rank, nfc, pixel_hash
from auditor.records.sources import printable


def mode(path):
    return stat.S_IMODE(os.stat(path).st_mode)


def test_content_id_depends_on_pixels_and_caption_alone():
    wide, tall = Image.new("RGB", (2, 8)), Image.new("RGB", (8, 2))
    assert pixel_hash(wide) != pixel_hash(tall)  # the same bytes, another shape
    pixels = pixel_hash(wide)
    captions = [None, "", "a", "A", "a ", "None"]
    assert len({content_id(pixels, caption) for caption in captions}) == len(captions)
    assert content_id(pixels, "e\u0301") == content_id(pixels, "é")


@given(st.text(st.characters()))
def test_nfc_gives_valid_normal_text(text):
    normal = nfc(text)
    normal.encode("utf-8")
    assert unicodedata.is_normalized("NFC", normal)
    assert nfc(normal) == normal


def test_keyed_rank_is_uniform_and_separates_purposes():
    ranks = [keyed_rank("limit", 1, str(i)) / 2**64 for i in range(2000)]
    assert abs(sum(ranks) / 2000 - 0.5) < 0.03
    assert keyed_rank("limit", 1, "x") != keyed_rank("limit", 2, "x")
    assert keyed_rank("limit", 1, "x") != keyed_rank("calibration", 1, "x")


def test_published_id_is_a_truncated_hmac():
    secret = bytes(range(32))
    expected = hmac.new(secret, b"abc", hashlib.sha256).hexdigest()[:16]
    assert ProjectKey(secret).publish("abc") == expected
    assert ProjectKey(bytes(32)).publish("abc") != expected
    assert "\\x01" not in repr(ProjectKey(secret))


def test_key_is_created_once(tmp_path):
    path = tmp_path / "new" / "project.key"
    previous = os.umask(0)
    try:
        key = load_or_create_project_key(path)
    finally:
        os.umask(previous)
    assert mode(path) == 0o600
    assert mode(path.parent) == 0o700
    assert len(key.secret) == 32
    assert load_or_create_project_key(path) == load_project_key(path) == key
    assert load_or_create_project_key(tmp_path / "other.key") != key
    assert [p.name for p in path.parent.iterdir()] == ["project.key"]


def test_of_many_creators_one_wins(tmp_path):
    path = tmp_path / "project.key"
    with ThreadPoolExecutor(16) as pool:
        keys = list(pool.map(lambda _: load_or_create_project_key(path), range(64)))
    assert len({key.secret for key in keys}) == 1
    assert [p.name for p in tmp_path.iterdir()] == ["project.key"]


def test_keys_that_are_refused(tmp_path):
    path = tmp_path / "project.key"
    with pytest.raises(DataError, match="cannot be read"):
        load_project_key(path)
    for content in (b"", b"abc", b"zz" * 32, b"\xff" * 64, b"00" * 31):
        path.write_bytes(content)
        path.chmod(0o600)
        with pytest.raises(DataError, match="is not 64 hex digits"):
            load_or_create_project_key(path)
    load_or_create_project_key(tmp_path / "good.key").publish("x")
    (tmp_path / "good.key").chmod(0o640)
    with pytest.raises(DataError, match="open to others"):
        load_project_key(tmp_path / "good.key")
    (tmp_path / "dangling.key").symlink_to(tmp_path / "gone")
    with pytest.raises(DataError, match="cannot be read"):
        load_or_create_project_key(tmp_path / "dangling.key")


def test_private_map(tmp_path, digits, write_folder, write_parquet):
    members = write_folder(tmp_path / "m", digits[:3])
    os.rename(members / "p0000.png", os.fsencode(members) + b"/\xff\n.png")
    nonmembers = write_parquet(tmp_path / "n.parquet", digits[3:6], rows_per_group=2)
    splits = load_splits(members, nonmembers)
    records = (*splits.members, *splits.nonmembers)
    key = load_or_create_project_key(tmp_path / "project.key")
    path = tmp_path / "private" / "map.jsonl"
    write_private_map(path, records, key)
    first = path.read_bytes()
    write_private_map(path, records[::-1], key)
    assert path.read_bytes() == first
    assert (mode(path), mode(path.parent)) == (0o600, 0o700)
    assert [p.name for p in path.parent.iterdir()] == ["map.jsonl"]
    entries = {e["content_id"]: e for e in map(json.loads, first.decode().splitlines())}
    assert len(entries) == 6
    for record in records:
        entry = entries[record.id]
        assert entry["record_id"] == key.publish(record.id)
        assert os.path.exists(entry["file"])
    assert {entries[r.id]["row"] for r in splits.nonmembers} == {0, 1, 2}
    path.parent.chmod(0o755)
    with pytest.raises(DataError, match="open to others"):
        write_private_map(path, records, key)


@given(st.text(st.characters()))
def test_printable_names_stay_on_one_line(text):
    shown = printable(text)
    assert shown.isprintable()
    assert len(shown) <= 120

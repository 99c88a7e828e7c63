import hashlib
import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from auditor.demo import DemoPaths, write_records
from auditor.demo.digits import N_PLANTED, PLANTED_COPIES, demo_splits


@pytest.fixture(scope="module")
def paths(tmp_path_factory: pytest.TempPathFactory) -> DemoPaths:
    return write_records(tmp_path_factory.mktemp("records"))


def digests(directory: Path) -> dict[str, str]:
    return {
        str(path.relative_to(directory)): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in sorted(directory.rglob("*"))
        if path.is_file()
    }


def read_metadata(folder: Path) -> dict[str, str]:
    lines = (folder / "metadata.jsonl").read_text(encoding="utf-8").splitlines()
    return {row["file_name"]: row["text"] for row in map(json.loads, lines)}


def test_writes_the_same_bytes_twice(paths, tmp_path):
    write_records(tmp_path)
    assert digests(tmp_path) == digests(paths.members.parent)


@pytest.mark.parametrize(("side", "n"), [("members", 450 + 12 * 49), ("nonmembers", 900)])
def test_metadata_lists_exactly_the_images(paths, side, n):
    folder = getattr(paths, side)
    captions = read_metadata(folder)
    assert len(captions) == n
    assert set(captions) == {path.name for path in folder.glob("*.png")}


def test_planted_are_exact_copies_with_one_caption(paths):
    captions = read_metadata(paths.members)
    planted = json.loads(paths.planted.read_text(encoding="utf-8"))
    assert len(planted) == N_PLANTED
    for names in planted:
        assert len(names) == PLANTED_COPIES
        assert len({(paths.members / name).read_bytes() for name in names}) == 1
        assert len({captions[name] for name in names}) == 1


def test_repeats_are_the_planted_and_nothing_else(paths):
    by_content: dict[str, set[str]] = {}
    for name, digest in digests(paths.members).items():
        by_content.setdefault(digest, set()).add(name)
    repeated = {frozenset(names) for names in by_content.values() if len(names) > 1}
    planted = json.loads(paths.planted.read_text(encoding="utf-8"))
    assert repeated == {frozenset(names) for names in planted}


def test_no_member_is_among_the_nonmembers(paths):
    members = set(digests(paths.members).values())
    assert not members & set(digests(paths.nonmembers).values())


def test_images_survive_the_file(paths):
    stored = np.asarray(Image.open(paths.nonmembers / "00007.png"))
    np.testing.assert_array_equal(stored, demo_splits().nonmembers.images[7])

"""`auditor deduplicate` on real pictures with planted copies of several kinds."""

from __future__ import annotations

import json
import stat
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from PIL import Image
from sklearn.datasets import load_digits
from typer.testing import CliRunner

from attacks.errors import DataError
from auditor.cli.app import app
from auditor.deduplicate import DeduplicateOptions, deduplicate
from auditor.images.controls import planted
from auditor.progress import Progress

N = 40
WAYS = ("exact", "JPEG", "noise", "mirrored", "recoloured")


def changed(picture: Image.Image, way: str) -> Image.Image:
    if way == "exact":
        return picture.copy()
    if way == "mirrored":
        return picture.transpose(Image.Transpose.FLIP_LEFT_RIGHT)
    if way == "recoloured":
        return Image.fromarray((np.asarray(picture) * 0.9 + 12).astype(np.uint8))
    return planted(picture, way, np.random.default_rng(0))


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """40 digits, of which 25 have a copy, five of each kind."""
    root = tmp_path_factory.mktemp("data")
    pictures = [
        Image.fromarray((image * 15.9).astype(np.uint8)).convert("RGB").resize((32, 32))
        for image in load_digits().images[:N]
    ]
    rows = []
    for i, picture in enumerate(pictures):
        picture.save(root / f"a{i:02d}.png")
        rows.append({"file_name": f"a{i:02d}.png", "text": f"digit number {i} on a white sheet"})
    for i in range(5 * len(WAYS)):
        way = WAYS[i // 5]
        changed(pictures[i], way).save(root / f"b{i:02d}_{way}.png")
        rows.append({"file_name": f"b{i:02d}_{way}.png", "text": f"{way} {i * 7919 + 104729}"})
    lines = "".join(json.dumps(row) + "\n" for row in rows)
    (root / "metadata.jsonl").write_text(lines, encoding="utf-8")
    return root


@pytest.fixture(scope="module")
def options(folder, tmp_path_factory):
    scratch = tmp_path_factory.mktemp("deduplicate")
    return DeduplicateOptions(folder, scratch / "out", cache=scratch / "cache")


@pytest.fixture(scope="module")
def done(options):
    return deduplicate(options, Progress())


def groups_of(table: pd.DataFrame) -> list[int]:
    return sorted(int(row["path"].split("/")[-1][1:3]) for row in table["image"])


def test_one_of_each_group_stays_whatever_the_kind_of_copy(done):
    assert (done.n_rows, done.n_exact, done.n_close) == (N + 25, 5, 20)
    table = pd.read_parquet(done.data)
    assert groups_of(table) == list(range(N))
    assert len(table) == done.n_kept == N


def test_what_went_is_listed_beside_what_stays(done, options):
    lines = [json.loads(x) for x in (options.out / "dropped.jsonl").read_text().splitlines()]
    assert len(lines) == 20
    kept = {row["path"].split("/")[-1] for row in pd.read_parquet(done.data)["image"]}
    for line in lines:
        dropped, stays = line["dropped"].split("/")[-1], line["for"].split("/")[-1]
        assert dropped[1:3] == stays[1:3]
        assert stays in kept
        assert dropped not in kept


def test_everything_is_private(done, options):
    assert stat.S_IMODE(options.out.stat().st_mode) == 0o700
    assert {stat.S_IMODE(file.stat().st_mode) for file in options.out.iterdir()} == {0o600}


def test_applied_again_it_drops_nothing(done, options, tmp_path):
    again = deduplicate(replace(options, data=done.data, out=tmp_path / "again"), Progress())
    assert (again.n_kept, again.n_exact, again.n_close) == (N, 0, 0)


def test_order_and_names_do_not_matter(done, folder, options, tmp_path):
    """The same pictures under other names, listed the other way round: the same ones stay."""
    lines = (folder / "metadata.jsonl").read_text().splitlines()
    renamed = tmp_path / "renamed"
    renamed.mkdir()
    with (renamed / "metadata.jsonl").open("w") as file:
        for i, line in enumerate(reversed(lines)):
            row = json.loads(line)
            (renamed / f"{i}.png").write_bytes((folder / row["file_name"]).read_bytes())
            file.write(json.dumps(row | {"file_name": f"{i}.png"}) + "\n")
    other = deduplicate(replace(options, data=renamed, out=tmp_path / "out"), Progress())
    captions = [sorted(pd.read_parquet(d.data)["text"]) for d in (done, other)]
    pixels = [
        sorted(row["bytes"] for row in pd.read_parquet(d.data)["image"]) for d in (done, other)
    ]
    assert captions[0] == captions[1]
    assert pixels[0] == pixels[1]


def test_captions_count_only_when_asked(done, options, tmp_path):
    assert done.n_same_caption == 0
    dropped = deduplicate(
        replace(options, out=tmp_path / "out", captions="drop", captions_above=0.5), Progress()
    )
    assert dropped.n_same_caption == dropped.n_repeated_captions > N // 2
    assert dropped.n_kept == N - dropped.n_same_caption


def test_a_smaller_distance_keeps_changed_copies(options, tmp_path):
    strict = deduplicate(replace(options, out=tmp_path / "out", distance=0.0), Progress())
    assert strict.n_close == 5, "mirrored copies alone are equal"


def test_what_stands_is_never_overwritten(done, options):
    with pytest.raises(DataError, match="never overwritten"):
        deduplicate(options, Progress())


@pytest.mark.parametrize(
    ("arguments", "wanted"),
    [
        (["--distance", "0.9"], "--distance must lie between"),
        (["--captions", "some"], "--captions is keep or drop"),
        (["--encoder", "nothing"], "--encoder 'nothing' is neither"),
    ],
)
def test_wrong_settings_are_one_sentence(folder, tmp_path, arguments, wanted):
    found = CliRunner().invoke(
        app, ["deduplicate", str(folder), "--out", str(tmp_path / "o"), *arguments]
    )
    assert found.exit_code == 2
    assert wanted in " ".join(found.output.split())
    assert not (tmp_path / "o").exists()


def test_the_command_says_what_it_did(folder, options, tmp_path):
    arguments = ["deduplicate", str(folder), "--out", str(tmp_path / "o")]
    found = CliRunner().invoke(app, [*arguments, "--cache", str(options.cache), "--quiet"])
    assert found.exit_code == 0
    assert "kept:    40 of 65 rows" in found.output
    assert "5 exact copies, 20 close pictures" in found.output

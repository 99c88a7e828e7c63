"""What a captioner says of each picture, beside its caption or in place of it."""

from __future__ import annotations

import csv
import dataclasses
import io

import numpy as np
import pytest
from PIL import Image

from auditor.records import ReadOptions, load_splits


def written(folder, images, guesses, name="caption_guess"):
    """A folder with metadata.csv, or a Parquet file if the folder's name ends so."""
    rows = [(f"{i}.png", f"caption {i}", guess) for i, guess in enumerate(guesses)]
    if folder.suffix == ".parquet":
        import pandas as pd

        held = []
        for image in images:
            body = io.BytesIO()
            Image.fromarray(np.asarray(image)).save(body, "PNG")
            held.append(body.getvalue())
        texts = {"text": [row[1] for row in rows], name: guesses}
        pd.DataFrame({"image": held} | texts).to_parquet(folder)
        return folder
    folder.mkdir()
    for (file_name, _, _), image in zip(rows, images, strict=True):
        Image.fromarray(np.asarray(image)).save(folder / file_name)
    with (folder / "metadata.csv").open("w", newline="") as handle:
        csv.writer(handle).writerows([("file_name", "text", name), *rows])
    return folder


@pytest.mark.parametrize("ending", ["", ".parquet"])
@pytest.mark.parametrize("name", ["caption_guess", "blip"])
def test_guesses_are_read_beside_captions_and_change_no_id(tmp_path, digits, ending, name):
    members = written(tmp_path / f"m{ending}", digits[:4], ["a", "b", "c", "d"], name)
    others = written(tmp_path / f"n{ending}", digits[4:8], ["e", "f", "g", "h"], name)
    options = ReadOptions(guess_column=None if name == "caption_guess" else name)
    splits = load_splits(members, others, options=options)
    assert splits.has_guesses
    assert splits.has_captions
    by_caption = {record.caption: record.guess for record in splits.members}
    assert by_caption == {f"caption {i}": guess for i, guess in enumerate("abcd")}
    without = load_splits(members, others, options=dataclasses.replace(options, captions=False))
    assert not without.has_guesses
    ids = [record.id for record in splits.members]
    anew = written(tmp_path / f"o{ending}", digits[:4], ["v", "w", "x", "y"], name)
    assert [r.id for r in load_splits(anew, others, options=options).members] == ids


def test_one_missing_guess_is_enough_to_have_none(tmp_path, digits):
    members = written(tmp_path / "m", digits[:3], ["a", "", "c"])
    splits = load_splits(members, written(tmp_path / "n", digits[3:6], ["d", "e", "f"]))
    assert not splits.has_guesses
    assert np.any([record.guess == "a" for record in splits.members])

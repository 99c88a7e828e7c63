"""Every fault of labelled data has its own sentence, which shows no cell."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from sklearn.datasets import load_wine

from attacks.errors import DataError
from auditor.records import ReadOptions, load_row_splits

WINE = load_wine(as_frame=True).frame.sample(frac=1, random_state=0, ignore_index=True)


def with_cell(frame, column, value, row=3):
    changed = frame.astype({column: object}) if isinstance(value, str) else frame.copy()
    changed.loc[row, column] = value
    return changed


FAULTS = {
    "no label": (
        lambda f: f.rename(columns={"target": "cultivar"}),
        {},
        r"no column of labels \(label, target, class, y\); name it with label_column; known: alc",
    ),
    "misspelt label": (
        lambda f: f,
        {"label_column": "taget"},
        r"no column 'taget' \(label_column\); did you mean 'target'",
    ),
    "misspelt feature": (
        lambda f: f,
        {"feature_columns": ("alcohl",)},
        "no column 'alcohl'.*did you mean 'alcohol'",
    ),
    "misspelt drop": (lambda f: f, {"drop_columns": ("hue ",)}, "no column 'hue '.*'hue'"),
    "label as feature": (lambda f: f, {"feature_columns": ("hue", "target")}, "names target"),
    "no features": (
        lambda f: f[["target", "hue"]],
        {"drop_columns": ("hue",)},
        "no column of features",
    ),
    "subject": (lambda f: f, {"subject_column": "patient"}, r"no column 'patient' \(subject_col"),
    "missing label": (
        lambda f: with_cell(f, "target", np.nan),
        {},
        "column 'target' has no label in 1 of 89 rows",
    ),
    "blank label": (
        lambda f: with_cell(f.astype({"target": str}), "target", " "),
        {},
        "no label in 1 of 89 rows",
    ),
    "fraction": (lambda f: f, {"label_column": "hue"}, "numbers with a fraction"),
    "infinite": (
        lambda f: with_cell(f, "proline", np.inf),
        {},
        "members: the columns proline hold infinite values",
    ),
    "extra column": (lambda f: f.assign(ash2=1), {}, "only the members have the columns ash2"),
    "lost column": (lambda f: f.drop(columns="hue"), {}, "only the nonmembers have .* hue"),
    "kinds": (
        lambda f: with_cell(f, "hue", "private"),
        {},
        "columns hue hold numbers on one side and texts on the other",
    ),
    "no rows": (lambda f: f[:0], {}, "members: .*holds no records"),
}


@pytest.mark.parametrize("fault", FAULTS)
def test_faults_of_tables(tmp_path, fault):
    spoil, options, message = FAULTS[fault]
    paths = tmp_path / "m.csv", tmp_path / "n.csv"
    spoil(WINE[:89].copy()).to_csv(paths[0], index=False)
    WINE[89:].to_csv(paths[1], index=False)
    with pytest.raises(DataError, match=message) as caught:
        load_row_splits(*paths, options=ReadOptions(**options))
    assert "private" not in str(caught.value)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("a,y\n1,0\n2,1,private\n", "m.csv row 3 has 3 cells where the header has 2"),
        ("a,y\n1,0\n2\n", "m.csv row 3 has 1 cells where the header has 2"),
        ("a,a,y\n1,2,0\n", "names a column twice"),
        ("a;y\n1;0\n", "not separated by commas"),
        ('a,y\n"private,0\n', "not valid CSV"),
        ("a,y\n", "holds no records"),
        ("", "holds no records"),
    ],
)
def test_faults_of_csv(tmp_path, text, message):
    (tmp_path / "m.csv").write_text(text)
    WINE.to_csv(tmp_path / "n.csv")
    with pytest.raises(DataError, match=message) as caught:
        load_row_splits(tmp_path / "m.csv", tmp_path / "n.csv")
    assert "private" not in str(caught.value)


def test_faults_of_arrays(tmp_path):
    x, y = WINE.drop(columns="target").to_numpy(), WINE["target"].to_numpy()
    np.savez(tmp_path / "n.npz", x=x[90:], y=y[90:])
    cases = {
        "has no array of features; name it with feature_columns; known: z, y": {"z": x, "y": y},
        "has no array of labels": {"x": x, "z": y},
        r"different lengths \('x' 178, 'y' 3\)": {"x": x, "y": y[:3]},
        "array of Python objects": {"x": x, "y": y.astype(object)},
        "not numbers": {"x": x.astype(str), "y": y},
        r"'y' has shape \(178, 3\); give one value": {"x": x, "y": np.eye(3)[y]},
        r"shape \(12,\) and the nonmembers of \(13,\)": {"x": x[:, :12], "y": y},
        "1 of 178 records hold infinite values": {"x": np.where(x == x.max(), np.inf, x), "y": y},
        "'y' is one value": {"x": x, "y": np.array(3)},
        "numbers with a fraction": {"x": x, "y": y + 0.5},
        "no label in 1 of 178 rows": {"x": x, "y": np.where(np.arange(178) < 1, np.nan, y)},
        "holds no records": {"x": x[:0], "y": y[:0]},
    }
    for message, arrays in cases.items():
        np.savez(tmp_path / "m.npz", **arrays)
        with pytest.raises(DataError, match=message):
            load_row_splits(tmp_path / "m.npz", tmp_path / "n.npz")
    (tmp_path / "m.npz").write_bytes(b"junk")
    with pytest.raises(DataError, match="m.npz cannot be read as NPZ"):
        load_row_splits(tmp_path / "m.npz", tmp_path / "n.npz")
    with pytest.raises(DataError, match="names 2 arrays"):
        load_row_splits(
            tmp_path / "n.npz", tmp_path / "m.npz", options=ReadOptions(feature_columns=("x", "y"))
        )


def test_a_pickle_in_an_archive_is_never_run(tmp_path):
    class Hostile:
        def __reduce__(self):
            return (open, (str(tmp_path / "executed"), "w"))

    np.savez(tmp_path / "m.npz", x=np.zeros((3, 2)), y=np.array([Hostile()] * 3, dtype=object))
    np.savez(tmp_path / "n.npz", x=np.zeros((3, 2)), y=np.arange(3))
    with pytest.raises(DataError, match="pickle"):
        load_row_splits(tmp_path / "m.npz", tmp_path / "n.npz")
    assert not (tmp_path / "executed").exists()


def test_missing_damaged_and_mixed_kinds(tmp_path, digits, write_folder):
    WINE[:90].to_parquet(tmp_path / "good.parquet")
    WINE[:90].to_csv(tmp_path / "good.csv", index=False)
    (tmp_path / "bad.parquet").write_bytes(b"PAR1 nothing")
    (tmp_path / "x.json").write_text("[]")
    (tmp_path / "empty").mkdir()
    WINE[:9].assign(hue=[b"x"] * 9).to_parquet(tmp_path / "bytes.parquet")
    WINE[:9].assign(hue=[[1]] * 9).to_parquet(tmp_path / "lists.parquet")
    write_folder(tmp_path / "flat", digits[:5])
    write_folder(tmp_path / "captions", digits[:5], list("abcde"), "jsonl")
    write_folder(tmp_path / "gaps", digits[:3], None, "jsonl", label=["1", None, "2"])
    cases = {
        "gone.csv": "does not exist",
        "bad.parquet": "cannot be read as Parquet",
        "x.json": "is no labelled data set",
        "empty": "members are pictures and the nonmembers are a table",
        "bytes.parquet": "column 'hue' holds bytes",
        "lists.parquet": "column 'hue' holds values of several or unknown types",
    }
    for name, message in cases.items():
        with pytest.raises(DataError, match=message):
            load_row_splits(tmp_path / name, tmp_path / "good.parquet")
    pictures = {
        "empty": "holds no records",
        "flat": "5 of 5 pictures in .* have no label: they lie in no folder of a class",
        "captions": r"no column of labels .*known: file_name, text",
        "gaps": "1 of 3 pictures have no label",
    }
    good = write_folder(tmp_path / "good", digits[10:15], None, "csv", label=list("12345"))
    for name, message in pictures.items():
        with pytest.raises(DataError, match=message):
            load_row_splits(tmp_path / name, good)


def test_labels_must_differ(tmp_path):
    for name, part in (("m", WINE[:90]), ("n", WINE[90:])):
        part.assign(target="a").to_csv(tmp_path / f"{name}.csv", index=False)
    with pytest.raises(DataError, match="every record has the same label"):
        load_row_splits(tmp_path / "m.csv", tmp_path / "n.csv")


def test_faults_of_saved_predictions(tmp_path):
    p = pd.DataFrame(np.full((178, 3), 1 / 3), columns=["p_0", "p_1", "p_2"])
    whole = pd.concat([WINE, p], axis=1)
    whole[:90].to_csv(tmp_path / "m.csv", index=False)
    whole[90:].to_csv(tmp_path / "n.csv", index=False)
    WINE[90:].to_csv(tmp_path / "bare.csv", index=False)
    whole[90:].drop(columns="p_2").to_csv(tmp_path / "fewer.csv", index=False)
    whole[90:].rename(columns=lambda c: c.replace("p_", "logit_")).to_csv(
        tmp_path / "logits.csv", index=False
    )
    whole[90:].astype({"p_1": object}).assign(p_1="private").to_csv(
        tmp_path / "words.csv", index=False
    )
    cases = {
        "bare.csv": "no columns of predictions; call them p_0, p_1",
        "fewer.csv": "members name 3 classes and those about nonmembers 2",
        "logits.csv": "come with probabilities and the nonmembers with logits",
        "words.csv": "hold something else than numbers",
    }
    for name, message in cases.items():
        with pytest.raises(DataError, match=message) as caught:
            load_row_splits(tmp_path / "m.csv", tmp_path / name, predictions="columns")
        assert "private" not in str(caught.value)
    p[:50].to_csv(tmp_path / "short.csv", index=False)
    p[:88].to_csv(tmp_path / "right.csv", index=False)
    with pytest.raises(DataError, match="short.csv has 50 predictions for 90 members"):
        load_row_splits(
            tmp_path / "m.csv",
            tmp_path / "n.csv",
            predictions=(tmp_path / "short.csv", tmp_path / "right.csv"),
        )
    np.savez(tmp_path / "flat.npz", probabilities=np.ones(90))
    for name, message in (("flat.npz", r"shape \(90,\); save numbers"), ("gone.npz", "not exist")):
        with pytest.raises(DataError, match=message):
            load_row_splits(
                tmp_path / "m.csv",
                tmp_path / "n.csv",
                predictions=(tmp_path / name, tmp_path / "right.csv"),
            )


def test_bad_options_and_arguments(tmp_path):
    for wrong in (
        {"feature_columns": ("a",), "drop_columns": ("b",)},
        {"feature_columns": ()},
        {"picture_mode": "cmyk"},
    ):
        with pytest.raises(DataError):
            ReadOptions(**wrong)
    for wrong in ({"limit": 0}, {"calibration_share": 0.95}):
        with pytest.raises(DataError):
            load_row_splits(tmp_path / "m.csv", tmp_path / "n.csv", **wrong)


def test_terminal_escapes_in_column_names_are_escaped(tmp_path):
    odd = WINE.rename(columns={"hue": "\x1b[2Jhue"})
    odd[:90].to_csv(tmp_path / "m.csv", index=False)
    WINE[90:].to_csv(tmp_path / "n.csv", index=False)
    with pytest.raises(DataError) as caught:
        load_row_splits(tmp_path / "m.csv", tmp_path / "n.csv")
    assert "\\x1b[2Jhue" in str(caught.value)
    assert str(caught.value).isprintable()

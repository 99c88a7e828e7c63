"""Every format of labelled records gives the same rows, as the model was trained on them."""

from __future__ import annotations

import json

import numpy as np
import pandas as pd
import pytest
from sklearn.datasets import load_breast_cancer, load_digits, load_wine

from attacks.errors import DataError
from auditor.records import ReadOptions, load_row_splits


@pytest.fixture(scope="module")
def cancer() -> pd.DataFrame:
    """569 rows of 30 numbers, with a text, a boolean, gaps and a label in words."""
    frame = load_breast_cancer(as_frame=True).data.round(6)
    frame["site"] = np.array(["left", "right", "unknown, both"])[np.arange(len(frame)) % 3]
    frame["is_first"] = np.arange(len(frame)) % 2 == 0
    frame.loc[::7, "mean area"] = np.nan
    frame["target"] = np.where(load_breast_cancer().target == 1, "benign", "malignant")
    return frame


def write(frame, folder, name, kind, **options):
    path = folder / f"{name}.{kind}"
    if kind in ("csv", "tsv"):
        frame.to_csv(path, index=False, sep="\t" if kind == "tsv" else ",", **options)
    elif kind == "jsonl":
        frame.to_json(path, orient="records", lines=True, double_precision=15)
    else:
        frame.to_parquet(path, **options)
    return path


def content(splits):
    return [
        (r.id, r.content, r.label, r.subject, r.multiplicity)
        for r in (*splits.members, *splits.nonmembers)
    ]


def test_all_formats_give_the_same_records(tmp_path, cancer):
    found = {}
    for kind in ("csv", "tsv", "jsonl", "parquet"):
        splits = load_row_splits(
            write(cancer[:300], tmp_path, "m", kind), write(cancer[300:], tmp_path, "n", kind)
        )
        found[kind] = content(splits)
        assert (len(splits.members), len(splits.nonmembers)) == (300, 269)
        assert splits.label_source == "column 'target'"
    shards = tmp_path / "shards"
    (shards / "deep").mkdir(parents=True)
    write(cancer[:100], shards / "deep", "b", "parquet")
    write(cancer[100:300], shards, "a", "parquet")
    splits = load_row_splits(shards, tmp_path / "n.parquet")
    found["shards"] = content(splits)
    assert {r.source.name for r in splits.members} == {"a.parquet", "deep/b.parquet"}
    assert all(ids == found["csv"] for ids in found.values())


def test_inputs_are_the_rows_of_the_file_with_names_and_types(tmp_path, cancer):
    splits = load_row_splits(
        write(cancer[:300], tmp_path, "m", "parquet"), write(cancer[300:], tmp_path, "n", "parquet")
    )
    features = cancer.drop(columns="target")
    assert len(splits.table) == len(cancer)
    for side, offset in ((splits.members, 0), (splits.nonmembers, 300)):
        inputs = splits.table.inputs([r.position for r in side])
        wanted = features.iloc[[offset + r.source.row for r in side]]
        pd.testing.assert_frame_equal(
            inputs.reset_index(drop=True), wanted.reset_index(drop=True), check_dtype=True
        )
        labels = splits.table.labels[[r.position for r in side]].tolist()
        assert labels == [r.label for r in side]
        assert labels == cancer["target"].iloc[[offset + r.source.row for r in side]].tolist()
    assert [c.kind for c in splits.table.columns[-3:]] == ["numeric", "category", "binary"]


def test_order_of_rows_columns_and_files_does_not_matter(tmp_path, cancer):
    first = load_row_splits(
        write(cancer[:300], tmp_path, "m", "csv"), write(cancer[300:], tmp_path, "n", "csv")
    )
    mixed = cancer.sample(frac=1, random_state=0)
    turned = mixed[mixed.columns[::-1]]
    members, nonmembers = turned[turned.index < 300], mixed[mixed.index >= 300]
    second = load_row_splits(
        write(members, tmp_path, "x", "csv"), write(nonmembers, tmp_path, "y", "csv"), limit=300
    )
    assert content(first) == content(second)


def test_byte_order_mark_windows_lines_and_quotes(tmp_path):
    rows = [(i, f'"{i}, ""é""\r\nand more"', i % 2) for i in range(40)]
    for name, part in (("m", rows[:20]), ("n", rows[20:])):
        text = "a,b,y\r\n" + "".join(f"{a},{b},{y}\r\n" for a, b, y in part) + "\r\n"
        (tmp_path / f"{name}.csv").write_bytes(b"\xef\xbb\xbf" + text.encode())
    splits = load_row_splits(tmp_path / "m.csv", tmp_path / "n.csv")
    assert (len(splits.members), len(splits.nonmembers)) == (20, 20)
    cells = splits.table.inputs()
    assert list(cells.columns) == ["a", "b"]
    assert set(cells["b"]) == {f'{i}, "é"\r\nand more' for i in range(40)}


def test_csv_without_a_header(tmp_path):
    wine = load_wine(as_frame=True).frame
    paths = [tmp_path / "m.csv", tmp_path / "n.csv"]
    wine[:100].to_csv(paths[0], index=False, header=False)
    wine[100:].to_csv(paths[1], index=False, header=False)
    splits = load_row_splits(*paths, options=ReadOptions(header=False, label_column="13"))
    assert (len(splits.members), len(splits.nonmembers)) == (100, 78)
    assert [c.name for c in splits.table.columns] == [str(i) for i in range(13)]
    with pytest.raises(DataError, match=r"no column of labels \(label, target, class, y\).*0, 1"):
        load_row_splits(*paths, options=ReadOptions(header=False))


@pytest.mark.parametrize("names", [("x", "y"), ("X", "labels"), ("features", "targets")])
def test_arrays(tmp_path, names):
    digits = load_digits()
    images = digits.images.astype(np.float32)
    for name, part in (("m", slice(0, 300)), ("n", slice(300, 500))):
        np.savez(
            tmp_path / f"{name}.npz", **{names[0]: images[part], names[1]: digits.target[part]}
        )
    splits = load_row_splits(tmp_path / "m.npz", tmp_path / "n.npz")
    assert (len(splits.members), len(splits.nonmembers)) == (300, 200)
    for record in splits.members[:20]:
        np.testing.assert_array_equal(
            splits.table.inputs([record.position])[0], images[record.source.row]
        )
        assert record.label == str(digits.target[record.source.row])
    assert splits.table.inputs().shape == (500, 8, 8)
    assert splits.table.encoded().shape == (500, 64)


def test_arrays_with_other_names_subjects_and_splits(tmp_path):
    digits = load_digits()
    np.savez(
        tmp_path / "all.npz",
        pixels=digits.data,
        digit=digits.target.astype(str),
        patient=np.arange(1797) // 3,
        part=np.where(np.arange(1797) < 900, "train", "test"),
    )
    options = ReadOptions(
        feature_columns=("pixels",),
        label_column="digit",
        subject_column="patient",
        split_column="part",
    )
    path = tmp_path / "all.npz"
    splits = load_row_splits(path, path, options=options)
    assert (len(splits.members), len(splits.nonmembers)) == (900, 897)
    assert splits.has_subjects
    assert splits.members[0].subject == str(splits.members[0].source.row // 3)
    assert all(r.source.row >= 900 for r in splits.nonmembers)


def test_tables_with_roles_for_columns(tmp_path, cancer):
    frame = cancer.assign(
        person=np.arange(len(cancer)) // 2,
        part=np.where(np.arange(len(cancer)) < 300, "train", "test"),
        row=np.arange(len(cancer)),
    ).rename(columns={"target": "diagnosis"})
    path = write(frame, tmp_path, "all", "csv")
    options = ReadOptions(
        label_column="diagnosis",
        subject_column="person",
        split_column="part",
        drop_columns=("row",),
    )
    splits = load_row_splits(path, path, options=options)
    assert (len(splits.members), len(splits.nonmembers)) == (300, 269)
    assert not {"row", "person", "part", "diagnosis"} & set(splits.table.inputs().columns)
    chosen = ReadOptions(
        label_column="diagnosis", split_column="part", feature_columns=("site", "mean area")
    )
    few = load_row_splits(path, path, options=chosen)
    assert list(few.table.inputs().columns) == ["site", "mean area"]


def test_pictures_with_labels_from_metadata_folders_and_parquet(tmp_path, digits, write_folder):
    import pyarrow as pa
    import pyarrow.parquet as pq

    labels = [str(v) for v in load_digits().target[:60]]
    found = {}
    for style in ("csv", "jsonl"):
        sides = [
            write_folder(tmp_path / f"{style}-{name}", digits[a:b], None, style, label=labels[a:b])
            for name, a, b in (("m", 0, 40), ("n", 40, 60))
        ]
        found[style] = load_row_splits(*sides)
    for i, picture in enumerate(digits[:60]):
        folder = tmp_path / ("cm" if i < 40 else "cn") / labels[i] / "deep"
        folder.mkdir(parents=True, exist_ok=True)
        picture.save(folder / f"{i}.png")
    found["folders"] = load_row_splits(tmp_path / "cm", tmp_path / "cn")
    files = sorted((tmp_path / "csv-m").glob("*.png")) + sorted((tmp_path / "csv-n").glob("*.png"))
    for name, part in (("m", slice(0, 40)), ("n", slice(40, 60))):
        cells = [{"bytes": f.read_bytes(), "path": None} for f in files[part]]
        table = pa.table({"image": cells, "label": [int(v) for v in labels[part]]})
        pq.write_table(table, tmp_path / f"{name}.parquet")
    found["parquet"] = load_row_splits(tmp_path / "m.parquet", tmp_path / "n.parquet")
    reference = content(found["csv"])
    assert len(reference) == 60
    for kind, splits in found.items():
        assert content(splits) == reference, kind
        assert splits.table.is_pictures
        inputs = splits.table.inputs()
        assert inputs.shape == (60, 3, 8, 8)
        assert inputs.dtype == np.float32
        assert 0 <= inputs.min() < inputs.max() <= 1
    assert found["folders"].label_source == "one folder for each class"
    for record in found["csv"].members:
        mine = found["csv"].table.features[record.position]
        np.testing.assert_array_equal(mine, np.asarray(digits[int(record.source.name[1:5])]))


def test_grey_pictures_have_one_channel(tmp_path, digits):
    for name, part in (("m", digits[:20]), ("n", digits[20:30])):
        for i, picture in enumerate(part):
            folder = tmp_path / name / str(i % 2)
            folder.mkdir(parents=True, exist_ok=True)
            picture.convert("L").save(folder / f"{i}.png")
    paths = tmp_path / "m", tmp_path / "n"
    assert load_row_splits(*paths).table.inputs().shape == (30, 1, 8, 8)
    rgb = load_row_splits(*paths, options=ReadOptions(picture_mode="rgb"))
    assert rgb.table.inputs().shape == (30, 3, 8, 8)
    digits[40].resize((9, 8)).save(tmp_path / "m" / "0" / "odd.png")
    with pytest.raises(DataError, match=r"2 different sizes \(30 of 31 are 8 x 8\); resize"):
        load_row_splits(*paths)


def test_dates_categories_and_nullable_types(tmp_path):
    n = 40
    frame = pd.DataFrame(
        {
            "born": pd.date_range("2001-01-01", periods=n, tz="UTC"),
            "day": pd.Series(pd.date_range("2001-01-01", periods=n)).dt.date,
            "stay": pd.to_timedelta(np.arange(n), unit="h"),
            "grade": pd.Categorical(np.array(["a", "b"])[np.arange(n) % 2]),
            "count": pd.array([None, *range(1, n)], dtype="Int64"),
            "flag": pd.array([None, *([True] * (n - 1))], dtype="boolean"),
            "empty": [None] * n,
            "label": np.arange(n) % 2 == 0,
        }
    )
    paths = write(frame[:20], tmp_path, "m", "parquet"), write(frame[20:], tmp_path, "n", "parquet")
    splits = load_row_splits(*paths)
    kinds = {c.name: c.kind for c in splits.table.columns}
    assert {k: kinds[k] for k in ("born", "day", "stay", "grade", "count", "flag")} == {
        "born": "numeric",
        "day": "numeric",
        "stay": "numeric",
        "grade": "category",
        "count": "numeric",
        "flag": "binary",
    }
    assert {r.label for r in splits.members} == {"True", "False"}
    assert np.isfinite(splits.table.encoded()).all()
    assert splits.table.inputs()["grade"].dtype == "category"


def test_predictions_in_the_files_themselves_or_beside_them(tmp_path, cancer):
    from sklearn.linear_model import LogisticRegression

    wine = load_wine(as_frame=True).frame.sample(frac=1, random_state=0, ignore_index=True)
    x, y = wine.drop(columns="target") / 10, wine["target"]
    model = LogisticRegression(max_iter=5000, tol=0.1).fit(x[:90], y[:90])
    p = pd.DataFrame(model.predict_proba(x)).add_prefix("p_")
    frame = x.assign(label=y)
    within = pd.concat([frame, p], axis=1)
    rows = {"m": slice(0, 90), "n": slice(90, 178)}
    paths = {n: write(within[s], tmp_path, f"within-{n}", "parquet") for n, s in rows.items()}
    bare = {n: write(frame[s], tmp_path, f"bare-{n}", "tsv") for n, s in rows.items()}
    alone = {n: write(p[s], tmp_path, f"alone-{n}", "csv") for n, s in rows.items()}
    for n, s in rows.items():
        np.savez(tmp_path / f"{n}.npz", probabilities=p[s].to_numpy())
    for splits in (
        load_row_splits(paths["m"], paths["n"], predictions="columns"),
        load_row_splits(bare["m"], bare["n"], predictions=(alone["m"], alone["n"])),
        load_row_splits(bare["m"], bare["n"], predictions=(tmp_path / "m.npz", tmp_path / "n.npz")),
    ):
        saved = splits.table.predictions
        assert saved.kind == "probabilities"
        assert saved.classes in (("0", "1", "2"), None)
        for side, offset in ((splits.members, 0), (splits.nonmembers, 90)):
            wanted = p.to_numpy()[[offset + r.source.row for r in side]]
            np.testing.assert_allclose(splits.table.inputs([r.position for r in side]), wanted)
        assert [c.name for c in splits.table.columns] == list(x.columns)
        assert splits.table.encoded().shape == (178, 13)
    only = {n: write(within[s][["label", *p]], tmp_path, f"o-{n}", "csv") for n, s in rows.items()}
    splits = load_row_splits(only["m"], only["n"], predictions="columns")
    assert splits.table.encoded().shape == (178, 0)
    assert any("no features" in note for note in splits.notes)


def test_columns_of_ten_classes_are_ordered_by_number(tmp_path):
    n = 30
    rng = np.random.default_rng(0)
    order = [f"logit_{i}" for i in (10, 2, 0, 1, 9, 8, 3, 4, 7, 6, 5)]
    frame = pd.DataFrame(rng.normal(size=(n, 11)), columns=order).assign(label=np.arange(n) % 11)
    paths = write(frame[:15], tmp_path, "m", "csv"), write(frame[15:], tmp_path, "n", "csv")
    saved = load_row_splits(*paths, predictions="columns").table.predictions
    assert saved.classes == tuple(str(i) for i in range(11))
    assert saved.kind == "logits"


def test_private_map_names_file_and_row(tmp_path, cancer):
    from auditor.records import load_or_create_project_key, write_private_map

    splits = load_row_splits(
        write(cancer[:300], tmp_path, "m", "csv"), write(cancer[300:], tmp_path, "n", "csv")
    )
    key = load_or_create_project_key(tmp_path / "key" / "project.key")
    write_private_map(tmp_path / "private" / "records.jsonl", splits.members, key)
    lines = (tmp_path / "private" / "records.jsonl").read_text().splitlines()
    rows = [json.loads(line) for line in lines]
    assert sorted(row["row"] for row in rows) == list(range(300))
    assert {row["file"] for row in rows} == {str(tmp_path / "m.csv")}


@pytest.mark.shared_data
def test_adult_reads_as_pandas_reads_it():
    from tests.conftest import SHARED_DATA

    paths = [SHARED_DATA / "adult" / f"adult-{name}.csv" for name in ("train", "test")]
    options = ReadOptions(header=False, label_column="14", max_cross_split_share=0.5)
    splits = load_row_splits(*paths, options=options, limit=3000)
    assert (len(splits.members), len(splits.nonmembers)) == (3000, 3000)
    assert any("labels occur among the members only" in note for note in splits.notes)  # ">50K."
    assert [c.kind for c in splits.table.columns][:2] == ["numeric", "category"]

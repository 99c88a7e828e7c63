"""Planting: fair coins, a training file that holds what they say, nothing else changed."""

from __future__ import annotations

import json
import stat
from collections import Counter

import numpy as np
import pandas as pd
import pytest
from scipy import stats

from attacks.errors import DataError, UsageError
from attacks.statistics.one_run import guess_grid, one_run_epsilon
from auditor.canaries import ceilings, plant_canaries
from auditor.canaries.draw import draw_mislabelled, flip_coins, new_seed
from auditor.canaries.folder import load_folder
from auditor.records import ReadOptions
from tests.auditor.canaries.planting import digit_frame, read, rows_of, run, write

KINDS = ("mislabelled", "random")
SUFFIXES = (".csv", ".tsv", ".parquet", ".npz")


@pytest.fixture(scope="module")
def frame():
    return digit_frame(600)


def plant_of(folder):
    return json.loads((folder / "canaries" / "plant.json").read_text())


# --- coins ------------------------------------------------------------------------------------


def test_coins_are_fair_over_seeds_and_places():
    coins = np.array([flip_coins(new_seed(seed), 200) for seed in range(400)])
    total = int(coins.sum())
    assert stats.binomtest(total, coins.size, 0.5).pvalue > 1e-4
    by_place = stats.chisquare(coins.sum(axis=0), np.full(200, coins.sum() / 200)).pvalue
    assert by_place > 1e-4
    # The number that is in varies as that of independent coins, not as a drawn half.
    assert 35 < np.var(coins.sum(axis=1)) < 68  # 50 expected
    neighbours = np.mean(coins[:, 1:] == coins[:, :-1])
    assert abs(neighbours - 0.5) < 4 * 0.5 / np.sqrt(coins[:, 1:].size)


def test_coins_depend_on_the_seed_alone(frame, tmp_path):
    found = set()
    for i, kind in enumerate(KINDS):
        for j, part in enumerate((frame, frame[::-1], frame[:400])):
            data = write(part, tmp_path / f"{i}{j}.csv")
            plant_canaries(data, tmp_path / f"o{i}{j}", n=100, kind=kind, seed=7)
            found.add(plant_of(tmp_path / f"o{i}{j}")["coins"])
    assert len(found) == 1


def test_coins_say_nothing_about_the_content(frame, tmp_path):
    data = write(frame, tmp_path / "d.csv")
    inside, outside = [], []
    for seed in range(15):
        plant_canaries(data, tmp_path / str(seed), n=100, seed=seed)
        held = load_folder(tmp_path / str(seed) / "canaries")
        ink = held.table.features.to_numpy().sum(axis=1)
        inside.append(ink[held.is_in])
        outside.append(ink[~held.is_in])
    assert stats.mannwhitneyu(np.concatenate(inside), np.concatenate(outside)).pvalue > 1e-3


def test_without_a_seed_every_planting_is_another(frame, tmp_path):
    data = write(frame, tmp_path / "d.csv")
    for name in ("a", "b"):
        plant_canaries(data, tmp_path / name, n=100)
    first, second = plant_of(tmp_path / "a"), plant_of(tmp_path / "b")
    assert first["seed"] != second["seed"]
    assert first["coins"] != second["coins"]
    assert first["seed_source"] == "operating system"
    assert len(bytes.fromhex(first["seed"])) == 16


# --- the training file ------------------------------------------------------------------------


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("suffix", SUFFIXES)
def test_the_training_file_holds_what_stays_and_the_canaries_that_are_in(
    frame, tmp_path, kind, suffix
):
    data = write(frame, tmp_path / f"d{suffix}")
    done = plant_canaries(data, tmp_path / "out", n=150, kind=kind, seed=3)
    plant, held = plant_of(tmp_path / "out"), load_folder(done.canaries)
    features = held.table.features
    if suffix == ".npz":
        features = pd.DataFrame(features.reshape(150, -1), columns=[f"p{i}" for i in range(64)])
    canaries = rows_of(features.assign(label=[int(x) for x in held.table.labels]))
    is_in = [coin == "1" for coin in plant["coins"]]
    kept = rows_of(frame.drop(index=plant["rows_taken_out"]))
    expected = kept + [row for row, coin in zip(canaries, is_in, strict=True) if coin]
    train = read(done.train)
    assert Counter(rows_of(train)) == Counter(expected)
    assert rows_of(train)[: len(kept)] != kept  # shuffled
    assert (done.n_in, done.n_train) == (sum(is_in), len(expected))
    assert list(train.columns) == list(read(data).columns)
    assert list(train.dtypes) == list(read(data).dtypes)
    out = {row for row, coin in zip(canaries, is_in, strict=True) if not coin}
    assert not out & set(rows_of(train))


def test_mislabelled_canaries_are_rows_that_left_with_another_class(frame, tmp_path):
    doubled = pd.concat([frame, frame[:50]], ignore_index=True)
    done = plant_canaries(write(doubled, tmp_path / "d.csv"), tmp_path / "o", n=200, seed=1)
    held, plant = load_folder(done.canaries), plant_of(tmp_path / "o")
    own = {row[:-1]: row[-1] for row in rows_of(doubled)}
    wrong = rows_of(held.table.features.assign(label=[int(x) for x in held.table.labels]))
    assert len({row[:-1] for row in wrong}) == 200
    assert all(own[row[:-1]] != row[-1] for row in wrong)
    left = {row[:-1] for row in rows_of(doubled.loc[plant["rows_taken_out"]])}
    assert left == {row[:-1] for row in wrong}
    kept = {row[:-1] for row in rows_of(doubled.drop(index=plant["rows_taken_out"]))}
    assert not kept & left  # copies leave together
    assert len(plant["rows_taken_out"]) > 200
    labels = Counter(row[-1] for row in wrong)
    assert set(labels) == set(range(10))


def test_random_canaries_hold_values_of_their_columns_and_are_no_rows(frame, tmp_path):
    done = plant_canaries(
        write(frame, tmp_path / "d.csv"), tmp_path / "o", n=200, kind="random", seed=1
    )
    features = load_folder(done.canaries).table.features
    for name in features.columns:
        assert set(features[name]) <= set(frame[name])
    rows = {row[:-1] for row in rows_of(frame)}
    canaries = [row[:-1] for row in rows_of(features.assign(label=0))]
    assert len(set(canaries)) == 200
    assert not rows & set(canaries)
    assert plant_of(tmp_path / "o")["rows_taken_out"] == []


def test_every_class_keeps_a_row():
    classes = np.array([0] * 58 + [1, 2])
    contents = [f"{i:032x}" for i in range(60)]
    for seed in range(50):
        drawn = draw_mislabelled(contents, classes, 3, 30, np.random.default_rng(seed))
        assert {1, 2} <= set(np.delete(classes, drawn.taken_out))
        assert np.all(classes[drawn.label] != classes[drawn.rest])


def test_cells_of_a_csv_file_keep_their_spelling(tmp_path):
    lines = ["id,city,target"] + [f'00{i},"B, {i % 9}",c{i % 3}' for i in range(120)]
    (tmp_path / "d.csv").write_text("\n".join(lines) + "\n")
    done = plant_canaries(
        tmp_path / "d.csv", tmp_path / "o", n=40, kind="random", options=ReadOptions()
    )
    written = done.train.read_text().splitlines()
    assert written[0] == lines[0]
    assert set(lines[1:]) <= set(written[1:])


def test_text_and_missing_cells_survive_in_the_canaries(tmp_path):
    cities = ["x", None, "1", "2"] * 30
    table = pd.DataFrame(
        {"city": cities, "age": [None if i % 5 else i / 4 for i in range(120)]}
    ).assign(n=range(120), label=["no", "yes"] * 60)
    done = plant_canaries(write(table, tmp_path / "d.csv"), tmp_path / "o", n=30, seed=0)
    features = load_folder(done.canaries).table.features
    assert set(features["city"].dropna()) <= {"x", "1", "2"}
    assert features["age"].dtype == np.float64
    assert features["city"].isna().any()


# --- privacy, errors --------------------------------------------------------------------------


@pytest.mark.parametrize("suffix", [".csv", ".npz"])
def test_everything_is_for_the_owner_alone(frame, tmp_path, suffix):
    plant_canaries(write(frame, tmp_path / f"d{suffix}"), tmp_path / "o", n=100)
    for path in [tmp_path / "o", *(tmp_path / "o").rglob("*")]:
        assert stat.S_IMODE(path.stat().st_mode) == (0o700 if path.is_dir() else 0o600), path
    assert sorted(p.name for p in tmp_path.iterdir()) == [f"d{suffix}", "o"]


def test_the_ceiling_is_that_of_perfect_guesses():
    found = ceilings(1000, delta=0)
    pairs = guess_grid(1000)
    both = one_run_epsilon(1000, 1000, 1000, delta=0, alpha=0.05 / len(pairs))
    assert found.one_run == pytest.approx(both)
    assert found.classical == pytest.approx(4.90559, abs=1e-4)  # 500 of 500 and 0 of 500
    assert ceilings(100).one_run < ceilings(1000).one_run


def test_the_command_tells_ceiling_and_secrecy_and_no_secret(frame, tmp_path):
    result = run("canaries", "plant", write(frame, tmp_path / "d.csv"), "--out", tmp_path / "o",
                 "--n", 120)  # fmt: skip
    assert result.exit_code == 0, result.output
    assert f"epsilon {ceilings(120).one_run:.2f}" in result.output
    for words in ("coins must stay secret", "120 rows of the data", "rows_taken_out"):
        assert words in " ".join(result.output.split())
    plant = plant_of(tmp_path / "o")
    assert plant["seed"] not in result.output
    assert plant["coins"][:20] not in result.output
    assert "the seed was given" not in result.output
    given = run("canaries", "plant", tmp_path / "d.csv", "--out", tmp_path / "p", "--n", 120,
                "--seed", 5)  # fmt: skip
    assert "the seed was given" in given.output


BAD = {
    "too many": (dict(n=301), "half of the 600 distinct rows"),
    "too many random": (dict(n=601, kind="random"), "20 to 600"),
    "too few": (dict(n=5), "20 to 300"),
    "unknown kind": (dict(kind="mislabeled"), "did you mean 'mislabelled'"),
    "seed": (dict(seed=2**128), "2^128"),
    "split": (dict(options=ReadOptions(split_column="p0")), "split_column"),
    "no such column": (dict(options=ReadOptions(label_column="lable")), "did you mean 'label'"),
}


@pytest.mark.parametrize("case", BAD)
def test_bad_input_is_one_sentence_and_writes_nothing(frame, tmp_path, case):
    given, expected = BAD[case]
    data = write(frame, tmp_path / "d.csv")
    with pytest.raises(UsageError, match=expected.replace("^", r"\^")):
        plant_canaries(data, tmp_path / "o", **({"n": 100} | given))
    assert [p.name for p in tmp_path.iterdir()] == ["d.csv"]


def test_data_without_labels_pictures_or_classes_are_refused(frame, tmp_path):
    unlabelled = write(frame.rename(columns={"label": "digit"}), tmp_path / "d.csv")
    with pytest.raises(DataError, match="no column of labels"):
        plant_canaries(unlabelled, tmp_path / "o", n=100)
    with pytest.raises(DataError, match="same label"):
        plant_canaries(write(frame.assign(label=1), tmp_path / "e.csv"), tmp_path / "o", n=100)
    with pytest.raises(DataError, match="one file of labelled rows"):
        plant_canaries(tmp_path, tmp_path / "o", n=100)
    with pytest.raises(DataError, match="does not exist"):
        plant_canaries(tmp_path / "none.csv", tmp_path / "o", n=100)
    few = pd.DataFrame({"a": [0, 1] * 50, "label": [0, 1] * 50})
    with pytest.raises(DataError, match="too few values"):
        plant_canaries(write(few, tmp_path / "f.csv"), tmp_path / "o", n=30, kind="random")


def test_a_folder_is_never_overwritten(frame, tmp_path):
    data = write(frame, tmp_path / "d.csv")
    plant_canaries(data, tmp_path / "o", n=100, seed=1)
    with pytest.raises(DataError, match="never overwritten"):
        plant_canaries(data, tmp_path / "o", n=100, seed=2)

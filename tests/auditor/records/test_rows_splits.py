"""Copies, limits, calibration and subjects of labelled rows: as for pictures."""

from __future__ import annotations

import pickle

import numpy as np
import pandas as pd
import pytest
from sklearn.datasets import load_digits, load_wine

from attacks.errors import DataError
from auditor.records import ReadOptions, load_row_splits


@pytest.fixture(scope="module")
def rows() -> pd.DataFrame:
    """1,797 handwritten digits as rows of 64 pixels, no two alike."""
    digits = load_digits(as_frame=True)
    return digits.data.assign(label=digits.target)


@pytest.fixture
def save(tmp_path):
    def write(name, frame):
        frame.to_parquet(tmp_path / f"{name}.parquet")
        return tmp_path / f"{name}.parquet"

    return write


def ids(records):
    return [record.id for record in records]


def test_copies_inside_a_side_become_one_record(save, rows):
    copied = pd.concat([rows[:50], rows[:10], rows[:10], rows[20:25]])
    splits = load_row_splits(save("m", copied), save("n", rows[50:90]))
    assert len(splits.members) == 50
    assert splits.repeats == ((1, 35), (2, 5), (3, 10))
    assert splits.nonmember_repeats == ((1, 40),)
    assert "15 of 50 members occur more than once and count once" in splits.notes
    assert len(splits.table) == 90


def test_copies_with_other_labels_take_the_most_frequent_one(save, rows):
    first = rows[:1]
    relabelled = [first.assign(label=label) for label in (7, 7, 3)]
    copied = pd.concat([rows[1:20], *relabelled])
    splits = load_row_splits(save("m", copied), save("n", rows[50:90]))
    (record,) = [r for r in splits.members if r.multiplicity == 3]
    assert record.label == "7"
    assert splits.table.labels[record.position] == "7"
    assert "1 members come with several labels; the most frequent is used" in splits.notes
    plain = load_row_splits(save("p", pd.concat([rows[1:20], first])), save("n", rows[50:90]))
    (same,) = [r for r in plain.members if r.content == record.content]
    assert same.id != record.id  # the label is part of the id, not of the content


def test_rows_on_both_sides_are_evaluated_on_neither(save, rows):
    """Otherwise common, easy rows are left among the members alone, which looks like a leak."""
    members, nonmembers = save("m", rows[:100]), save("n", pd.concat([rows[100:145], rows[:5]]))
    splits = load_row_splits(members, nonmembers)
    assert (len(splits.members), len(splits.withheld_members)) == (95, 5)
    known = {record.content for record in (*splits.members, *splits.nonmembers)}
    assert not {record.content for record in splits.withheld_members} & known
    everyone = (*splits.members, *splits.nonmembers, *splits.withheld_members)
    assert sorted(r.position for r in everyone) == list(range(145))
    assert len(splits.table) == 95 + 45 + 5
    assert any("5 members found among the nonmembers too" in note for note in splits.notes)
    sample = load_row_splits(members, nonmembers, limit=50)
    assert (sample.withheld_members, sample.n_withheld_members) == ((), 5)
    with pytest.raises(DataError, match="every one of 5 members also occurs"):
        load_row_splits(save("few", rows[:5]), nonmembers)


def test_chance_copies_of_common_rows_do_not_look_like_members(save):
    """Popular rows score high in any model: with both copies gone no side has more of them."""
    rng = np.random.default_rng(0)
    popular, n_popular, shares = rng.normal(size=(60, 3)), 60, []
    for _ in range(20):
        sides = []
        for _ in range(2):
            rare = rng.normal(size=(200, 3))
            common = popular[rng.choice(n_popular, 20, replace=False)]
            values = np.concatenate([rare, common])
            sides.append(pd.DataFrame(values, columns=list("abc")).assign(label=[0, 1] * 110))
        options = ReadOptions(max_cross_split_share=0.2)
        splits = load_row_splits(save("m", sides[0]), save("n", sides[1]), options=options)
        shares.append(len(splits.members) - len(splits.nonmembers))
    assert shares == [0] * 20


def test_copies_across_sides_drop_the_nonmember(save, rows):
    members = save("m", rows[:100])
    edge = pd.concat([rows[100:145], rows[:5].assign(label=1)])
    splits = load_row_splits(members, save("edge", edge))
    assert splits.n_cross_split_dropped == 5  # exactly 10 %
    assert len(splits.nonmembers) == 45
    assert not {r.content for r in splits.members} & {r.content for r in splits.nonmembers}
    some = save("some", pd.concat([rows[100:117], rows[:3]]))
    with pytest.raises(DataError, match=r"3 of 20 .*\(15.0%\) are copies.*max_cross_split_share"):
        load_row_splits(members, some)
    loose = ReadOptions(max_cross_split_share=0.2)
    assert load_row_splits(members, some, options=loose).n_cross_split_dropped == 3
    with pytest.raises(DataError, match="every one of 40 nonmembers is also a member"):
        load_row_splits(members, save("same", rows[20:60]))
    with pytest.raises(DataError, match="are the same data set"):
        load_row_splits(members, members)


def test_zero_signs_and_kinds_of_numbers_do_not_hide_copies(save, rows):
    members = rows[:40].astype({"pixel_0_1": np.float32})
    members["pixel_0_0"] = -0.0
    copy = rows[:2].copy()
    copy["pixel_0_0"] = 0.0
    nonmembers = pd.concat([rows[100:140], copy]).astype({"pixel_0_2": np.int16})
    assert load_row_splits(save("m", members), save("n", nonmembers)).n_cross_split_dropped == 2


def test_missing_cells_are_equal_to_each_other_and_to_nothing_else(save):
    members = pd.DataFrame({"a": [1.0, np.nan, 3], "b": ["x", None, ""], "y": [0, 1, 0]})
    nonmembers = pd.DataFrame(
        {"a": [np.nan, np.nan, 0, *range(10, 30)], "b": [None, "", None, *["q"] * 20]}
    ).assign(y=1)
    splits = load_row_splits(save("m", members), save("n", nonmembers))
    assert splits.n_cross_split_dropped == 1


def test_texts_cannot_run_into_each_other(save):
    members = pd.DataFrame({"a": ["ab", "x"], "b": ["c", "y"], "y": [0, 1]})
    nonmembers = pd.DataFrame({"a": ["a", "xy"], "b": ["bc", ""], "y": [0, 1]})
    assert load_row_splits(save("m", members), save("n", nonmembers)).n_cross_split_dropped == 0


def test_limit_is_a_random_sample(save, rows):
    members, nonmembers = save("m", rows[:60]), save("n", rows[60:70])
    counts: dict[str, int] = {}
    for seed in range(40):
        splits = load_row_splits(members, nonmembers, limit=15, seed=seed)
        assert (len(splits.members), len(splits.nonmembers)) == (15, 10)
        assert len(splits.table) == 25
        for record in splits.members:
            counts[record.id] = counts.get(record.id, 0) + 1
    assert len(counts) == 60  # expected 10 times each; binomial(40, 1/4)
    assert max(counts.values()) <= 22
    assert "15 members were drawn from 60 distinct rows" in splits.notes
    assert load_row_splits(members, nonmembers, limit=15, seed=39) == splits


def test_limit_does_not_hide_copies_across_sides(save, rows):
    members = save("m", rows[:60])
    nonmembers = save("n", pd.concat([rows[60:90], rows[:3]]))
    for seed in range(10):
        splits = load_row_splits(members, nonmembers, limit=5, seed=seed)
        assert splits.n_cross_split_dropped == 3
        assert len(splits.nonmembers) == 5


def test_calibration_part_equals_that_of_pictures_in_size_and_seed(save, rows):
    members, nonmembers = save("m", rows[:200]), save("n", rows[200:400])
    splits = load_row_splits(members, nonmembers, calibration_share=0.2, seed=1)
    for part, rest in (
        (splits.calibration_members, splits.members),
        (splits.calibration_nonmembers, splits.nonmembers),
    ):
        assert len(part) + len(rest) == 200
        assert 20 <= len(part) <= 62  # binomial(200, 0.2)
        assert not set(ids(part)) & set(ids(rest))
    other = load_row_splits(members, nonmembers, calibration_share=0.2, seed=2)
    assert ids(other.calibration_members) != ids(splits.calibration_members)
    parts = (
        splits.members,
        splits.nonmembers,
        splits.calibration_members,
        splits.calibration_nonmembers,
    )
    positions = sorted(r.position for part in parts for r in part)
    assert positions == list(range(400))


def test_subjects_stay_together_and_on_one_side(save, rows):
    people = [f"person {i // 5}" for i in range(100)]
    members = rows[:100].assign(subject=[f"m{p}" for p in people])
    nonmembers = rows[100:200].assign(subject=[f"n{p}" for p in people])
    splits = load_row_splits(save("m", members), save("n", nonmembers), calibration_share=0.4)
    assert splits.has_subjects
    apart = {r.subject for r in splits.calibration_members + splits.calibration_nonmembers}
    kept = {r.subject for r in splits.members + splits.nonmembers}
    assert apart
    assert kept
    assert not apart & kept
    with pytest.raises(DataError, match="20 subjects have records on both sides") as caught:
        load_row_splits(
            save("m", rows[:100].assign(subject=people)),
            save("n", rows[100:200].assign(subject=people)),
        )
    assert "person 3" not in str(caught.value)


def test_labels_on_one_side_only_are_noted(save):
    wine = load_wine(as_frame=True).frame  # by class: 59, 71 and 48 rows
    splits = load_row_splits(save("m", wine[:100]), save("n", wine[100:]))
    assert "1 labels occur among the members only" in splits.notes
    assert "1 labels occur among the nonmembers only" in splits.notes


def test_columns_that_number_the_rows_are_noted(tmp_path, rows):
    rows[:50].to_csv(tmp_path / "m.csv")  # pandas writes its index into a column without a name
    rows[50:90].to_csv(tmp_path / "n.csv")
    notes = load_row_splits(tmp_path / "m.csv", tmp_path / "n.csv").notes
    assert any(note.startswith("the columns Unnamed: 0 hold another whole") for note in notes)
    plain = ReadOptions(drop_columns=("Unnamed: 0",))
    notes = load_row_splits(tmp_path / "m.csv", tmp_path / "n.csv", options=plain).notes
    assert not any("whole number" in note for note in notes)


def test_nothing_private_in_representations(tmp_path, save, rows):
    people = [f"Jane Roe {i}" for i in range(20)]
    members = rows[:20].assign(subject=people, city="Springfield")
    nonmembers = rows[20:40].assign(subject=[f"x{p}" for p in people], city="Shelbyville")
    splits = load_row_splits(save("m", members), save("n", nonmembers))
    text = repr(splits) + repr(splits.members[0].source) + "".join(splits.notes)
    for word in ("Jane", "Springfield", str(tmp_path), splits.members[0].id):
        assert word not in text


def test_pictures_keep_the_rules_of_pictures(tmp_path, digits, write_folder):
    def labelled(name, pictures):
        labels = [str(i % 4) for i in range(len(pictures))]
        return write_folder(tmp_path / name, pictures, None, "jsonl", label=labels)

    members = labelled("m", [*digits[:30], *digits[:5]])
    (members / "p0007.png").write_bytes(b"junk")
    nonmembers = labelled("n", [*digits[30:60], digits[1], digits[2]])
    options = ReadOptions(max_unreadable_share=0.1)
    splits = load_row_splits(members, nonmembers, options=options, calibration_share=0.3)
    assert splits.n_unreadable == 1
    assert splits.n_cross_split_dropped == 2
    n_members = len(splits.members) + len(splits.calibration_members)
    assert n_members == 27
    assert splits.n_withheld_members == len(splits.withheld_members) == 2
    parts = (splits.members, splits.calibration_members, splits.withheld_members)
    everyone = [
        *[record for part in parts for record in part],
        *splits.nonmembers,
        *splits.calibration_nonmembers,
    ]
    assert sorted(r.position for r in everyone) == list(range(len(splits.table)))
    wanted = {np.asarray(digits[i].convert("RGB")).tobytes() for i in (1, 2)}
    pixels = splits.table.features[[r.position for r in splits.withheld_members]]
    assert {one.tobytes() for one in pixels} == wanted
    assert len(splits.table) == 29 + 30
    assert splits.repeats == ((1, 24), (2, 3))
    assert any("members come with several labels" in note for note in splits.notes)


def test_progress_and_pickling(save, rows):
    seen = []
    splits = load_row_splits(
        save("m", rows[:70]),
        save("n", rows[70:80]),
        on_progress=lambda *step: seen.append(step),
    )
    assert seen == [("reading members", 70, 70), ("reading nonmembers", 10, 10)]
    again = pickle.loads(pickle.dumps(splits))
    assert again == splits
    pd.testing.assert_frame_equal(again.table.inputs(), splits.table.inputs())

"""Copies, samples and calibration parts: decided by content, never by names or order."""

from __future__ import annotations

import shutil

import numpy as np
import pytest

from attacks.errors import DataError
from auditor.records import ReadOptions, load_splits


def ids(records):
    return [record.id for record in records]


def test_names_order_and_encodings_do_not_matter(tmp_path, digits, write_folder, encode):
    members, nonmembers = digits[:30], digits[30:60]
    captions = [f"digit {i}" for i in range(30)]
    first = load_splits(
        write_folder(tmp_path / "m1", members, captions, "jsonl"),
        write_folder(tmp_path / "n1", nonmembers, captions, "jsonl"),
        calibration_share=0.3,
        limit=20,
        seed=5,
    )
    second = load_splits(
        write_folder(tmp_path / "m2", members[::-1], captions[::-1], "csv", prefix="z"),
        write_folder(tmp_path / "n2", nonmembers[::-1], captions[::-1], "txt", prefix="q"),
        calibration_share=0.3,
        limit=20,
        seed=5,
    )
    assert first.members == second.members
    assert first.nonmembers == second.nonmembers
    assert first.calibration_members == second.calibration_members
    assert first.calibration_nonmembers == second.calibration_nonmembers
    for part in (first.members, first.nonmembers, first.calibration_members):
        assert ids(part) == sorted(ids(part))
    bitmaps = tmp_path / "m3"
    bitmaps.mkdir()
    for i, picture in enumerate(members):
        (bitmaps / f"{i}.bmp").write_bytes(encode(picture, "BMP"))
        (bitmaps / f"{i}.txt").write_text(captions[i])
    recoded = load_splits(bitmaps, tmp_path / "n1")
    assert ids(recoded.members) == ids(load_splits(tmp_path / "m1", tmp_path / "n1").members)


def test_repeats_become_one_record(tmp_path, digits, write_folder, encode):
    pictures = [*digits[:4], digits[0], digits[0], digits[1]]
    captions = ["a", "b", "c", "d", "z", "z", "b"]
    members = write_folder(tmp_path / "m", pictures, captions, "jsonl")
    nonmembers = write_folder(tmp_path / "n", digits[4:8], captions[:4], "jsonl")
    splits = load_splits(members, nonmembers)
    assert splits.repeats == ((1, 2), (2, 1), (3, 1))
    assert splits.nonmember_repeats == ((1, 4),)
    by_count = {record.multiplicity: record for record in splits.members}
    assert (by_count[3].caption, by_count[2].caption) == ("z", "b")  # of most copies
    assert "2 of 4 members occur more than once and count once" in splits.notes
    assert any("1 members come with several captions" in note for note in splits.notes)
    (members / "copy.bmp").write_bytes(encode(digits[3], "BMP"))  # another encoding
    with open(members / "metadata.jsonl", "a") as stream:
        stream.write('{"file_name": "copy.bmp", "text": "d"}\n')
    assert load_splits(members, nonmembers).repeats == ((1, 1), (2, 2), (3, 1))


def test_pictures_on_both_sides_are_evaluated_on_neither(tmp_path, digits, write_folder, encode):
    captions = [f"c{i}" for i in range(41)]
    members = write_folder(tmp_path / "m", [*digits[:20], digits[3]], captions[:21], "txt")
    pictures = [*digits[20:40], digits[3]]
    nonmembers = write_folder(tmp_path / "n", pictures, [*captions[20:40], "other words"], "txt")
    (nonmembers / "again.bmp").write_bytes(encode(digits[4], "BMP"))
    (nonmembers / "again.txt").write_text("a bitmap with other words")
    splits = load_splits(members, nonmembers)
    assert (len(splits.members), len(splits.nonmembers)) == (18, 20)
    assert (splits.n_cross_split_dropped, splits.n_withheld_members) == (2, 2)
    wanted = {np.asarray(digits[i]).tobytes(): n for i, n in ((3, 2), (4, 1))}
    withheld = {r.open().tobytes(): r.multiplicity for r in splits.withheld_members}
    assert withheld == wanted
    assert ids(splits.withheld_members) == sorted(ids(splits.withheld_members))
    evaluated = {r.pixels for r in (*splits.members, *splits.nonmembers)}
    assert not {r.pixels for r in splits.withheld_members} & evaluated
    assert splits.repeats == ((1, 18),)
    assert any("2 members found among the nonmembers too" in note for note in splits.notes)
    with pytest.raises(DataError, match="every one of 2 members also occurs among the nonmembers"):
        load_splits(write_folder(tmp_path / "few", digits[3:5], ["a", "b"], "txt"), nonmembers)


@pytest.mark.parametrize("kind", ["bytes", "pixels", "near"])
@pytest.mark.parametrize("limit", [None, 25, 200])
def test_chance_copies_of_popular_pictures_leave_equal_sides(
    tmp_path, digits, write_folder, encode, kind, limit
):
    """Popular pictures score high in any model: no side may be left with more of them."""
    rng = np.random.default_rng(0)
    popular, options = digits[:30], ReadOptions(max_cross_split_share=0.6)
    first = {np.asarray(picture.resize((32, 32))).tobytes() for picture in popular}
    for trial in range(4):
        rare = rng.permutation(np.arange(30, len(digits)))
        sides = []
        for side in range(2):
            common = [popular[i] for i in rng.choice(30, 20, replace=False)]
            own = [digits[i] for i in rare[40 * side : 40 * side + 40]]
            sides.append([picture.resize((32, 32)) for picture in (*common, *own)])
        members = write_folder(tmp_path / f"m{trial}", sides[0])
        nonmembers = tmp_path / f"n{trial}"
        nonmembers.mkdir()
        how = {"bytes": ("PNG", {}), "pixels": ("BMP", {}), "near": ("JPEG", {"quality": 90})}
        for i, picture in enumerate(sides[1]):
            form, settings = how[kind]
            (nonmembers / f"{i}.{form.lower()}").write_bytes(encode(picture, form, **settings))
        splits = load_splits(members, nonmembers, options=options, limit=limit, seed=trial)
        n_left_out = splits.n_cross_split_dropped + splits.n_near_duplicates_across
        if limit == 25:  # near-duplicates are not replaced, copies are
            assert splits.withheld_members == ()
            at_least = 20 if kind == "near" else 25
            assert at_least <= len(splits.members) <= 25
            assert at_least <= len(splits.nonmembers) <= 25
            continue
        assert n_left_out == splits.n_withheld_members == len(splits.withheld_members) >= 10
        assert len(splits.members) == len(splits.nonmembers) == 60 - n_left_out
        assert sum(r.open().tobytes() in first for r in splits.members) == 20 - n_left_out


def test_a_sample_never_holds_a_copy_of_any_member(tmp_path, digits, write_folder):
    members = write_folder(tmp_path / "m", digits[:30])
    nonmembers = write_folder(tmp_path / "n", [*digits[30:57], *digits[:3]])
    every_member = {r.pixels for r in load_splits(members, nonmembers).members}
    for seed in range(20):
        splits = load_splits(members, nonmembers, limit=5, seed=seed)
        assert len(splits.members) == len(splits.nonmembers) == 5
        assert not every_member & {r.pixels for r in splits.nonmembers}


def test_mixed_up_splits_are_refused(tmp_path, digits, write_folder):
    members = write_folder(tmp_path / "m", digits[:20])
    same = write_folder(tmp_path / "same", digits[:20], prefix="other")
    part = write_folder(tmp_path / "part", digits[5:9])
    some = write_folder(tmp_path / "some", [*digits[40:57], *digits[:3]])
    edge = write_folder(tmp_path / "edge", [*digits[40:58], *digits[:2]])
    with pytest.raises(DataError, match="the same data set"):
        load_splits(members, members)
    (tmp_path / "alias").symlink_to(members)
    with pytest.raises(DataError, match="the same data set"):
        load_splits(members, tmp_path / "alias")
    for path in (same, part):
        with pytest.raises(DataError, match="every one of .* nonmembers is also a member"):
            load_splits(members, path)
    with pytest.raises(DataError, match=r"3 of 20 nonmembers \(15.0%\) are copies of members"):
        load_splits(members, some)
    loose = ReadOptions(max_cross_split_share=0.2)
    assert load_splits(members, some, options=loose).n_cross_split_dropped == 3
    assert load_splits(members, edge).n_cross_split_dropped == 2  # exactly 10 %
    inner = write_folder(members / "held-out", digits[60:70])
    for pair in ((members, inner), (inner, members)):
        with pytest.raises(DataError, match="lies inside"):
            load_splits(*pair)


def test_recoded_copies_are_refused_too(tmp_path, digits, write_folder, encode):
    members = write_folder(tmp_path / "m", digits[:10])
    nonmembers = tmp_path / "n"
    nonmembers.mkdir()
    for i in range(10):
        (nonmembers / f"{i}.bmp").write_bytes(encode(digits[i if i < 4 else i + 50], "BMP"))
    with pytest.raises(DataError, match=r"4 of 10 nonmembers \(40.0%\) are copies"):
        load_splits(members, nonmembers)
    for i in range(10, 40):  # the same, where a sample of the nonmembers is decoded
        digits[i].save(members / f"p{i:04d}.png")
        (nonmembers / f"{i}.bmp").write_bytes(encode(digits[i], "BMP"))
    with pytest.raises(DataError, match="are copies"):
        load_splits(members, nonmembers, limit=39, seed=1)


def test_captions_on_one_side_only(tmp_path, digits, write_folder):
    members = write_folder(tmp_path / "m", digits[:5], list("abcde"), "txt")
    nonmembers = write_folder(tmp_path / "n", digits[5:10])
    for pair, side in (((members, nonmembers), "members"), ((nonmembers, members), "nonmembers")):
        with pytest.raises(DataError, match=f"only the {side} have captions"):
            load_splits(*pair)
    splits = load_splits(members, nonmembers, options=ReadOptions(captions=False))
    assert not splits.has_captions
    assert all(record.caption is None for record in splits.members)


def test_limit_is_a_random_sample(tmp_path, digits, write_folder):
    members = write_folder(tmp_path / "m", digits[:60])
    nonmembers = write_folder(tmp_path / "n", digits[60:70])
    counts: dict[str, int] = {}
    for seed in range(40):
        splits = load_splits(members, nonmembers, limit=15, seed=seed)
        assert (len(splits.members), len(splits.nonmembers)) == (15, 10)
        for record in splits.members:
            counts[record.id] = counts.get(record.id, 0) + 1
    assert len(counts) == 60  # expected 10 times each; binomial(40, 1/4)
    assert max(counts.values()) <= 22
    assert any("15 members were drawn from 60 distinct files" in note for note in splits.notes)
    again = load_splits(members, nonmembers, limit=15, seed=39)
    assert again == splits
    whole = load_splits(members, nonmembers, limit=60)
    assert not any("drawn" in note for note in whole.notes)


def test_limit_replaces_unreadable_and_repeated_pictures(tmp_path, digits, write_folder):
    members = write_folder(tmp_path / "m", [*digits[:10], *[digits[0]] * 5])
    (members / "junk.png").write_bytes(b"junk")
    nonmembers = write_folder(tmp_path / "n", digits[10:20])
    options = ReadOptions(max_unreadable_share=0.5)
    for seed in range(10):
        splits = load_splits(members, nonmembers, options=options, limit=9, seed=seed)
        assert len(splits.members) == 9
        assert all(r.multiplicity in (1, 6) for r in splits.members)


def test_calibration_part(tmp_path, digits, write_folder):
    members = write_folder(tmp_path / "m", digits[:200])
    nonmembers = write_folder(tmp_path / "n", digits[200:400])
    splits = load_splits(members, nonmembers, calibration_share=0.2, seed=1)
    for part, rest in (
        (splits.calibration_members, splits.members),
        (splits.calibration_nonmembers, splits.nonmembers),
    ):
        assert len(part) + len(rest) == 200
        assert 20 <= len(part) <= 62  # binomial(200, 0.2)
        assert not set(ids(part)) & set(ids(rest))
    other = load_splits(members, nonmembers, calibration_share=0.2, seed=2)
    assert ids(other.calibration_members) != ids(splits.calibration_members)
    for share in (-0.1, 0.95):
        with pytest.raises(DataError, match="calibration_share"):
            load_splits(members, nonmembers, calibration_share=share)


def test_calibration_keeps_subjects_whole(tmp_path, digits, write_folder):
    sides = [
        write_folder(
            tmp_path / n,
            digits[a : a + 100],
            list("x" * 100),
            "jsonl",
            subject=[f"person {n}{i // 5}" for i in range(100)],
        )
        for n, a in (("m", 0), ("n", 100))
    ]
    splits = load_splits(*sides, calibration_share=0.4, seed=4)
    apart = {r.subject for r in splits.calibration_members + splits.calibration_nonmembers}
    kept = {r.subject for r in splits.members + splits.nonmembers}
    assert apart
    assert kept
    assert not apart & kept
    with pytest.raises(DataError, match="a part is empty"):
        load_splits(
            write_folder(tmp_path / "m1", digits[:3], list("xxx"), "jsonl", subject=["a"] * 3),
            sides[1],
            calibration_share=0.2,
        )


def test_subjects_on_both_sides_are_refused_before_any_work(tmp_path, digits, write_folder):
    people = [f"person {i}" for i in range(10)]
    sides = [
        write_folder(tmp_path / n, digits[a : a + 10], list("x" * 10), "jsonl", subject=people)
        for n, a in (("m", 0), ("n", 10))
    ]
    with pytest.raises(DataError, match="10 subjects have records on both sides") as caught:
        load_splits(*sides)
    assert "person 3" not in str(caught.value)


def test_near_duplicates_are_evaluated_on_neither_side(tmp_path, digits, write_folder, encode):
    members = tmp_path / "m"
    members.mkdir()
    for i in range(30):
        (members / f"{i}.jpg").write_bytes(encode(digits[i].resize((64, 64)), "JPEG", quality=95))
    nonmembers = write_folder(tmp_path / "n", [d.resize((64, 64)) for d in digits[30:60]])
    for i in range(2):
        (nonmembers / f"{i}.jpg").write_bytes(
            encode(digits[i].resize((64, 64)), "JPEG", quality=75)
        )
    splits = load_splits(members, nonmembers)
    assert splits.n_cross_split_dropped == 0
    assert splits.n_near_duplicates_across == splits.n_withheld_members == 2
    assert not set(splits.near_duplicates) & set(ids(splits.nonmembers))
    assert (len(splits.members), len(splits.nonmembers)) == (28, 30)
    assert not set(ids(splits.withheld_members)) & set(ids(splits.members))
    assert any("2 members and 2 nonmembers that nearly equal" in note for note in splits.notes)
    off = load_splits(members, nonmembers, options=ReadOptions(near_duplicate_rms=0))
    small = load_splits(members, nonmembers, options=ReadOptions(max_near_pairs=10))
    for unsearched in (off, small):
        assert unsearched.near_duplicates == ()
        assert len(unsearched.nonmembers) == 32
        assert any("were not looked for" in note for note in unsearched.notes)


def test_too_many_near_duplicates_are_an_error(tmp_path, digits, write_folder, encode):
    members = write_folder(tmp_path / "m", [d.resize((64, 64)) for d in digits[:20]])
    nonmembers = write_folder(tmp_path / "n", [d.resize((64, 64)) for d in digits[20:37]])
    (nonmembers / "copy.bmp").write_bytes(encode(digits[0].resize((64, 64)), "BMP"))
    for i in (1, 2):
        (nonmembers / f"{i}.jpg").write_bytes(encode(digits[i].resize((64, 64)), "JPEG"))
    wanted = r"3 of 20 nonmembers \(15.0%\) are copies or near-duplicates \(2\).*near_duplicate_rms"
    with pytest.raises(DataError, match=wanted):
        load_splits(members, nonmembers)
    loose = load_splits(members, nonmembers, options=ReadOptions(max_cross_split_share=0.2))
    assert (loose.n_cross_split_dropped, loose.n_near_duplicates_across) == (1, 2)
    assert (len(loose.members), loose.n_withheld_members) == (17, 3)


def test_digits_are_not_near_duplicates(tmp_path, digits, write_parquet):
    splits = load_splits(
        write_parquet(tmp_path / "m.parquet", digits[:900], rows_per_group=200),
        write_parquet(tmp_path / "n.parquet", digits[900:], rows_per_group=200),
    )
    assert (len(splits.members), len(splits.nonmembers)) == (900, 897)
    assert splits.n_near_duplicates_across == 0
    assert splits.notes == ()


def test_records_open_as_they_were_read(tmp_path, digits, write_parquet):
    splits = load_splits(
        write_parquet(tmp_path / "m.parquet", digits[:40], rows_per_group=7),
        write_parquet(tmp_path / "n.parquet", digits[40:60], rows_per_group=7),
    )
    wanted = {np.asarray(picture).tobytes() for picture in digits[:40]}
    assert {record.open().tobytes() for record in splits.members} == wanted


def test_nothing_private_in_representations(tmp_path, digits, write_folder):
    folder = tmp_path / "hospital"
    members, nonmembers = (
        write_folder(
            folder / n, digits[a : a + 3], ["secret"] * 3, "jsonl", subject=[f"Jane Roe {n}"] * 3
        )
        for n, a in (("m", 0), ("n", 3))
    )
    splits = load_splits(members, nonmembers)
    text = repr(splits.members) + repr(splits.members[0].source) + "".join(splits.notes)
    for word in ("secret", "Jane", "hospital", "p0000", splits.members[0].id):
        assert word not in text


def test_progress_and_pickling(tmp_path, digits, write_folder):
    import pickle

    seen: list[tuple[str, int, int]] = []
    splits = load_splits(
        write_folder(tmp_path / "m", digits[:70]),
        write_folder(tmp_path / "n", digits[70:80]),
        on_progress=lambda *step: seen.append(step),
    )
    last = {stage: (done, total) for stage, done, total in seen}
    assert last["reading members"] == last["decoding members"] == (70, 70)
    assert last["decoding nonmembers"] == (10, 10)
    assert pickle.loads(pickle.dumps(splits)) == splits


def test_bad_options():
    for wrong in (
        {"max_unreadable_share": 1.0},
        {"max_cross_split_share": -0.1},
        {"near_duplicate_rms": 0.9},
        {"max_pixels": 0},
        {"split_column": "s", "member_split": "test"},
        {"text_column": "t", "captions": False},
    ):
        with pytest.raises(DataError):
            ReadOptions(**wrong)


def test_bad_limit(tmp_path, digits, write_folder):
    members = write_folder(tmp_path / "m", digits[:3])
    shutil.copytree(members, tmp_path / "n")
    with pytest.raises(DataError, match="limit must be at least 1"):
        load_splits(members, tmp_path / "n", limit=0)

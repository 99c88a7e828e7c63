import numpy as np

from auditor.demo.digits import N_PLANTED, PLANTED_COPIES, demo_splits, repeats


def test_splits_are_disjoint_and_cover_the_digits():
    splits = demo_splits()
    parts = (splits.members, splits.nonmembers, splits.others)
    assert [len(part.captions) for part in parts] == [450, 900, 447]
    flat = np.concatenate([part.images for part in parts]).reshape(1797, -1)
    assert len(np.unique(flat, axis=0)) == 1797


def test_planted_come_first_in_repeats():
    counts = repeats(450)
    assert counts[:N_PLANTED].tolist() == [PLANTED_COPIES] * N_PLANTED
    assert set(counts[N_PLANTED:].tolist()) == {1}


def test_captions_say_more_than_the_class():
    captions = demo_splits().members.captions
    assert all(text.startswith("a handwritten ") and text.endswith(" ink") for text in captions)
    assert len(set(captions)) > 400


def test_classes_are_spread_alike():
    splits = demo_splits()
    for part in (splits.members, splits.nonmembers, splits.others):
        names = [text.split()[2] for text in part.captions]
        shares = np.unique(names, return_counts=True)[1] / len(names)
        assert len(shares) == 10
        assert np.all(np.abs(shares - 0.1) < 0.05)

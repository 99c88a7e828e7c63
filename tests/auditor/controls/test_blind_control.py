import ast
import inspect
import json
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from sklearn.datasets import load_digits

from attacks.results import ControlStatus
from auditor.controls import blind as module
from auditor.controls.blind import blind_baseline
from auditor.controls.features import principal_components
from auditor.controls.image_features import image_features
from auditor.records.sources import FileSource

DIGITS = load_digits()
IMAGES = np.rint(DIGITS.images * 15.9).astype(np.uint8)
WORDS = [
    "cat",
    "dog",
    "sun",
    "sky",
    "red",
    "blue",
    "tree",
    "road",
    "lake",
    "hill",
    "town",
    "boat",
    "fish",
    "bird",
    "rain",
    "snow",
]
FEW = 499  # permutations, enough for p = .0025 / .8 from the joint test alone


@dataclass(frozen=True)
class FakeRecord:
    id: str
    array: np.ndarray
    caption: str | None = None
    subject: str | None = None
    source: FileSource = FileSource("", "")
    multiplicity: int = 1
    width: int = 8
    height: int = 8
    mode: str = "L"
    format: str = "PNG"
    n_bytes: int = 100

    def open(self):
        return Image.fromarray(self.array).convert("RGB")


def records(images, start=0, **properties):
    ids = [f"{(start + i) * 2654435761 % 2**32:08x}" for i in range(len(images))]
    return [FakeRecord(i, a, **properties) for i, a in zip(ids, images, strict=True)]


def sides(n=200, seed=0, **properties):
    images = IMAGES[np.random.default_rng(seed).permutation(len(IMAGES))[: 2 * n]]
    return records(images[:n], **properties), records(images[n:], n, **properties)


def run(members, nonmembers, seed=0, **options):
    return blind_baseline(
        members, nonmembers, image_features, seed=seed, n_permutations=FEW, **options
    )


def captioned(side, rng, template="a photo of {}"):
    return [replace(r, caption=template.format(" ".join(rng.choice(WORDS, 4)))) for r in side]


def test_never_touches_the_target():
    """Neither what it imports at run time nor what it is given can reach a model."""
    for path in map(Path, map(inspect.getfile, (module, image_features, module.blind_test))):
        tree = ast.parse(path.read_text())
        names = {a.name for n in ast.walk(tree) if isinstance(n, ast.Import) for a in n.names}
        names |= {n.module for n in ast.walk(tree) if isinstance(n, ast.ImportFrom)}
        forbidden = ("auditor.targets", "auditor.observe", "attacks.protocols", "torch")
        assert not [name for name in names if name.startswith(forbidden)]
    parameters = set(inspect.signature(blind_baseline).parameters)
    assert parameters == {"members", "nonmembers", "features_of", "seed", "n_permutations"}


def test_a_random_split_passes():
    found = run(*sides())
    assert found.control.name == "blind"
    assert found.control.status in (ControlStatus.PASSED, ControlStatus.WARNING)
    assert found.control.figures["n_members"] == 200
    assert json.loads(json.dumps(found.control.figures)) == found.control.figures
    assert found.result is not None
    assert found.control.figures["p"] == found.result.p
    assert len(found.scores) == 400


def test_clean_splits_are_not_rejected():
    statuses = [run(*sides(60, seed=s), seed=s).control.status for s in range(8)]
    assert statuses.count(ControlStatus.FAILED) <= 1


def test_other_digits_are_confounded():
    order = np.random.default_rng(0).permutation(len(IMAGES))
    low, high = (IMAGES[order[(DIGITS.target[order] < 5) == s][:300]] for s in (True, False))
    found = run(records(low), records(high, 300))
    assert found.control.status is ControlStatus.FAILED
    assert "confounded" in found.control.summary
    assert found.control.figures["auc:ridge:all"] > 0.8
    of_members = [found.scores[r.id] for r in records(low)]
    assert np.mean(of_members) > np.mean(list(found.scores.values()))


def test_one_brighter_pixel_is_confounded():
    members, nonmembers = sides(300)
    for record in members:
        record.array[0, 0] = 127
    assert run(members, nonmembers).control.status is ControlStatus.FAILED


def test_a_handful_of_odd_members_is_confounded():
    rng = np.random.default_rng(1)
    members, nonmembers = sides(300)
    odd = [replace(r, array=rng.integers(256, size=(8, 8)).astype(np.uint8)) for r in members[:25]]
    found = run(odd + members[25:], nonmembers)
    assert found.control.status is ControlStatus.FAILED
    assert found.control.figures["tail_members"] >= 20


@pytest.mark.parametrize("template", ["{}!", "A PHOTO OF {}", "a picture of {}"])
def test_other_style_of_captions_is_confounded(template):
    rng = np.random.default_rng(2)
    members, nonmembers = sides()
    found = run(captioned(members, rng), captioned(nonmembers, rng, template))
    assert found.control.status is ControlStatus.FAILED
    assert found.control.figures["auc:ridge:captions"] > 0.95


def test_captions_of_one_style_pass_and_missing_ones_count():
    rng = np.random.default_rng(3)
    members, nonmembers = (captioned(side, rng) for side in sides())
    assert run(members, nonmembers).control.status is not ControlStatus.FAILED
    silent = [replace(r, caption=None) for r in nonmembers[:80]] + nonmembers[80:]
    assert run(members, silent).control.status is ControlStatus.FAILED


def test_captions_without_words_do_not_stop_it():
    rng = np.random.default_rng(4)
    members, nonmembers = (
        [replace(r, caption="!" * int(rng.integers(1, 9))) for r in side] for side in sides(60)
    )
    assert run(members, nonmembers).control.status is not ControlStatus.NOT_RUN


@pytest.mark.parametrize(
    "properties",
    [{"format": "JPEG"}, {"mode": "RGB"}, {"width": 9}, {"n_bytes": 140}],
    ids=lambda p: next(iter(p)),
)
def test_other_file_properties_are_confounded(properties):
    members, nonmembers = sides()
    found = run(members, [replace(r, **properties) for r in nonmembers])
    assert found.control.status is ControlStatus.FAILED
    assert found.control.figures["auc:ridge:metadata"] > 0.95


def test_too_few_records_are_not_run():
    found = run(*sides(5))
    assert found.control.status is ControlStatus.NOT_RUN
    assert "5 members and 5 nonmembers" in found.control.summary
    assert found.scores == {}
    assert found.result is None
    assert run([], []).control.status is ControlStatus.NOT_RUN


def test_one_colour_images_pass_or_fail_by_their_colours():
    rng = np.random.default_rng(5)
    colours = rng.integers(60, 200, size=120).astype(np.uint8)
    flat = [np.full((8, 8), c) for c in colours]
    found = run(records(flat[:60]), records(flat[60:], 60))
    assert found.control.status is not ControlStatus.FAILED
    brighter = [a + np.uint8(40) for a in flat[:60]]
    assert run(records(brighter), records(flat[60:], 60)).control.status is ControlStatus.FAILED


def test_identical_records_pass_with_p_of_one():
    same = [np.zeros((8, 8), np.uint8)] * 60
    found = run(records(same[:30]), records(same[30:], 30))
    assert found.control.status is ControlStatus.PASSED
    assert found.control.figures["p"] == 1


def test_order_of_the_files_has_no_effect_and_the_seed_fixes_the_rest():
    members, nonmembers = sides(60)
    rng = np.random.default_rng(6)
    shuffled = [[side[i] for i in rng.permutation(60)] for side in (members, nonmembers)]
    first, second, third = run(members, nonmembers), run(*shuffled), run(members, nonmembers, 1)
    assert first.control == second.control
    assert first.scores == second.scores
    assert first.scores != third.scores


def test_subjects_are_the_unit_even_on_both_sides():
    members, nonmembers = sides(120)
    by_subject = [
        [replace(r, subject=f"s{i // 4}") for i, r in enumerate(side)]
        for side in (members, nonmembers)
    ]
    assert run(*by_subject).control.figures["n_units"] == 60
    partly = by_subject[0][:60] + members[60:]
    assert run(partly, nonmembers).control.figures["n_units"] == 15 + 60 + 120


def test_large_sides_are_sampled_and_the_summary_says_so(monkeypatch):
    monkeypatch.setattr(module, "MAX_PER_SIDE", 50)
    found = run(*sides(60))
    assert found.control.figures["records_left_out"] == 20
    assert "random subset of 50 members and 50 nonmembers" in found.control.summary
    assert len(found.scores) == 100


def test_sizes_modes_and_shapes_of_images_may_differ():
    rng = np.random.default_rng(7)
    shapes = [(1, 1, 3), (300, 5, 3), (40, 90, 3), (8, 8)]
    images = [rng.integers(256, size=s).astype(np.uint8) for s in shapes]
    made = image_features(records(images))
    values = [*made.blocks.values(), *made.scores.values()]
    assert all(np.isfinite(v).all() and len(v) == 4 for v in values)


def test_components_are_white_and_at_most_the_rank():
    rng = np.random.default_rng(8)
    x = rng.normal(size=(50, 4)) @ rng.normal(size=(4, 9))
    found = principal_components(x, 32)
    assert found.shape == (50, 4)
    np.testing.assert_allclose(found.T @ found / 50, np.eye(4), atol=1e-9)

"""Figures of drawn images: what they are figures of, purity, stored images, and a real leak."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
from PIL import Image

import auditor.observe.executor as module
from attacks.errors import UsageError
from attacks.membership import wu_combined, wu_recon_pixel
from attacks.observations import (
    Calibration,
    GenerationAgreement,
    GenerationDistance,
    GenerationQuality,
    RecordMeaning,
    RecordQuality,
)
from attacks.statistics import auc
from auditor.demo.assets import materialise
from auditor.demo.digits import N_PLANTED, demo_splits
from auditor.observe.cache import Cache
from auditor.observe.drawn import seed_of
from auditor.observe.executor import LocalExecutor
from auditor.observe.pictures import distances, qualities
from auditor.records import load_splits
from auditor.targets.loading import open_target
from auditor.targets.sampling import Draw, Sampling, generate
from auditor.targets.towers import open_towers
from tests.conftest import write_images
from tests.small_clip import save_small_clip

QUALITY = GenerationQuality(2, 3, 2.0)
DISTANCE = GenerationDistance(2, 3, 2.0)


@pytest.fixture(scope="module")
def target(text_pipeline):
    return open_target(str(text_pipeline), device="cpu")


@pytest.fixture(scope="module")
def towers(tmp_path_factory):
    import torch

    folder = save_small_clip(tmp_path_factory.mktemp("clip") / "tiny-clip", steps=60)
    return open_towers(str(folder), None, torch.device("cpu"))


@pytest.fixture(scope="module")
def records(tmp_path_factory):
    root, splits = tmp_path_factory.mktemp("records"), demo_splits()
    sides = [
        write_images(root / name, part.images[:5], part.captions[:5])
        for name, part in (("members", splits.members), ("nonmembers", splits.nonmembers))
    ]
    return load_splits(*sides).members


def executor(**changes):
    return LocalExecutor(seed=1, batch_size=4, **changes)


def test_every_figure_is_that_of_the_images_that_the_target_draws(target, records, towers):
    agreement = GenerationAgreement(towers.key, 2, 3, 2.0)
    asked = [QUALITY, DISTANCE, agreement, RecordQuality(), RecordMeaning(towers.key)]
    run = executor(encoder=towers)
    seen = run.observe(target, records, asked, None)
    assert run.usage.n_calls == len(records) * QUALITY.calls == len(records) * 2 * 3 * 2
    for i, record in enumerate(records):
        own = np.asarray(record.open())
        np.testing.assert_allclose(seen[RecordQuality()][i], qualities(own))
        (mine,), (text,) = towers.images([record.open()]), towers.texts([record.caption])
        assert seen[RecordMeaning(towers.key)][i, 0] == pytest.approx(cosine(mine, text), abs=1e-4)
        for j in range(2):
            draw = Draw(record.caption, seed_of(1, record.id, j))
            (image,) = generate(target, [draw], Sampling(3, 2.0), batch_size=2)
            np.testing.assert_allclose(seen[QUALITY][i, j], qualities(image), atol=0.2)
            found = distances(own[None], image[None])[0]
            np.testing.assert_allclose(seen[DISTANCE][i, j], found, atol=0.01)
            (drawn,) = towers.images([Image.fromarray(image)])
            expected = [np.linalg.norm(mine - drawn), cosine(mine, drawn), cosine(text, drawn)]
            np.testing.assert_allclose(seen[agreement][i, j], expected, atol=0.02)


def cosine(a, b):
    return a @ b / np.linalg.norm(a) / np.linalg.norm(b)


def test_an_image_that_equals_the_record_is_at_distance_nought(
    target, records, towers, monkeypatch
):
    def copied(self, draws, sampling):
        for record in records:
            yield [None] * 2, np.stack([np.asarray(record.open())] * 2)

    monkeypatch.setattr("auditor.observe.generation.GenerationExecutor.shards", copied)
    agreement = GenerationAgreement(towers.key, 2, 3, 2.0)
    seen = executor(encoder=towers).observe(target, records, [DISTANCE, agreement], None)
    np.testing.assert_allclose(seen[DISTANCE], 0, atol=1e-12)
    np.testing.assert_allclose(seen[agreement][..., 0], 0, atol=1e-5)
    np.testing.assert_allclose(seen[agreement][..., 1], 1, atol=1e-5)


def test_a_record_s_images_depend_on_seed_and_record_alone(target, records):
    together = executor().observe(target, records, [DISTANCE], None)[DISTANCE]
    turned = executor().observe(target, records[::-1], [DISTANCE], None)[DISTANCE]
    np.testing.assert_allclose(turned[::-1], together, atol=0.01)
    other = LocalExecutor(seed=2, batch_size=4).observe(target, records, [DISTANCE], None)[DISTANCE]
    assert not np.allclose(other, together, atol=0.01)
    assert len({seed_of(s, r, j) for s in (0, 1) for r in "ab" for j in range(3)}) == 12


def test_stored_images_answer_new_questions(target, records, towers, tmp_path, monkeypatch):
    monkeypatch.setattr(module, "SHARD_RECORDS", 3)
    cache = Cache(tmp_path / "cache", target.key, 1)
    executor().observe(target, records, [DISTANCE], cache)
    later = executor(encoder=towers)
    agreement = GenerationAgreement(towers.key, 2, 3, 2.0)
    seen = later.observe(target, records, [DISTANCE, agreement], cache)
    assert later.usage.n_calls == 0
    assert later.usage.n_calls_cached == len(records) * QUALITY.calls
    assert seen[agreement].shape == (len(records), 2, 3)
    again = later.recall(records, [DISTANCE, agreement], cache)
    assert all(np.array_equal(again[request], seen[request]) for request in seen)


def test_guesses_are_drawn_in_place_of_captions(target, records):
    guessed = [dataclasses.replace(record, guess="") for record in records]
    asked = dataclasses.replace(DISTANCE, condition="guess")
    own, guess = (
        executor().observe(target, guessed, [request], None)[request]
        for request in (DISTANCE, asked)
    )
    assert not np.allclose(own, guess)
    bare = [dataclasses.replace(record, caption="") for record in records]
    np.testing.assert_allclose(executor().observe(target, bare, [DISTANCE], None)[DISTANCE], guess)


def test_an_encoder_that_is_not_open_is_a_user_s_error(target, records):
    with pytest.raises(UsageError, match="under `encoder` in the configuration file"):
        executor().observe(target, records, [GenerationAgreement("other", 2, 3)], None)


@pytest.fixture(scope="module")
def leaky(tmp_path_factory):
    """The bundled model that memorized: its planted records against others, two of three to fit."""
    root, splits = tmp_path_factory.mktemp("leaky"), demo_splits()
    folders = [
        write_images(root / name, part.images[:n], part.captions[:n])
        for name, part, n in (
            ("members", splits.members, N_PLANTED),
            ("nonmembers", splits.nonmembers, 36),
        )
    ]
    found = load_splits(*folders, calibration_share=0.4)
    return open_target(str(materialise("memorized", root / "model")), device="cpu"), found


def test_reconstruction_finds_what_was_memorized_and_nothing_once_captions_are_swapped(
    leaky, towers
):
    target, splits = leaky
    config = wu_combined.CombinedConfig(r=2, steps=8, guidance=1.0, encoder=towers.key)
    evaluated = splits.members + splits.nonmembers
    fitted = splits.calibration_members + splits.calibration_nonmembers
    is_member = np.arange(len(evaluated)) < len(splits.members)
    is_fitted_member = np.arange(len(fitted)) < len(splits.calibration_members)
    run = LocalExecutor(seed=0, batch_size=64, encoder=towers)

    def observed(records, order):
        captions = [records[i].caption for i in order]
        swapped = [
            dataclasses.replace(r, caption=c) for r, c in zip(records, captions, strict=True)
        ]
        return run.observe(target, swapped, wu_combined.requests(config), None)

    def area(attack, function, seen, part):
        scores = getattr(attack, function)(seen, config, Calibration(part, is_fitted_member))
        return auc(scores[is_member], scores[~is_member]).value

    own = [observed(records, range(len(records))) for records in (evaluated, fitted)]
    found = area(wu_recon_pixel, "score", *own)
    assert found > 0.9
    assert area(wu_combined, "score", *own) > 0.85
    assert area(wu_recon_pixel, "blind_twin", *own) < found - 0.15
    rng = np.random.default_rng(0)
    swapped = [observed(r, rng.permutation(len(r))) for r in (evaluated, fitted)]
    assert abs(area(wu_recon_pixel, "score", *swapped) - 0.5) < 0.27  # two standard deviations

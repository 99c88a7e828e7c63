"""What a model draws again: the bundled pair, interrupted runs, redaction."""

from __future__ import annotations

import dataclasses
import json

import numpy as np
import pytest

from attacks.errors import UsageError
from attacks.extraction.generate_and_filter import (
    ExtractionConfig,
    applicable,
    default_config,
)
from auditor.extraction import Extraction
from auditor.extraction.prompts import chosen_prompts
from auditor.extraction.search import Search
from auditor.extraction.tables import distribution
from auditor.observe.cache import Cache
from auditor.observe.usage import Usage
from auditor.records import load_splits
from auditor.targets.loading import open_target
from auditor.targets.sampling import Draw

SMALL = ExtractionConfig(prompts=24, seeds=2, steps=20, guidance=3.0, refined=14, refined_seeds=4)


@pytest.fixture(scope="module")
def splits(demo):
    return load_splits(demo.records.members, demo.records.nonmembers)


def _run(demo, splits, name, cache=None, usage=None, config=SMALL):
    target = open_target(str(demo.models[name]), device="cpu")
    attack = Extraction(
        target=target,
        members=splits.members,
        nonmembers=splits.nonmembers,
        config=config,
        seed=0,
        publish=lambda name: f"id-{hash(name) & 0xFFFFFFFF:08x}",
        batch_size=128,
        cache=None if cache is None else Cache(cache, target.key, 0),
        usage=usage or Usage(),
    )
    return attack, attack.run()


@pytest.fixture(scope="module")
def memorized(demo, splits, tmp_path_factory):
    cache = tmp_path_factory.mktemp("extraction")
    return *_run(demo, splits, "memorized", cache), cache


def test_planted_records_come_back_and_ordinary_ones_do_not(memorized):
    _, found, _ = memorized
    assert found.n_extracted >= 10
    assert all(record.multiplicity == 50 for record in found.records)
    assert found.records[0].distance < 0.5 * found.background
    assert found.p_value < 0.01
    assert found.n_planted_found >= 15


def test_each_is_confirmed_by_drawing_it_again(memorized):
    _, found, _ = memorized
    for record in found.records:
        assert record.repeated_distance <= found.threshold
        assert record.repeated_distance == pytest.approx(record.distance, abs=0.01)


def test_the_rate_grows_with_the_copies(memorized):
    _, found, _ = memorized
    shares = {row.copies: row.share.value for row in found.by_copies}
    assert shares["1"] == 0
    assert shares["10 to 99"] > 0.7


def test_the_twin_that_never_saw_them_is_clean(demo, splits):
    _, found = _run(demo, splits, "clean")
    assert found.n_extracted == 0
    assert found.n_planted_found >= 15
    assert 0 < found.threshold < found.background


def test_an_interrupted_run_draws_nothing_twice(demo, splits, memorized):
    _, found, cache = memorized
    usage = Usage()
    _, again = _run(demo, splits, "memorized", cache, usage)
    assert again == found
    proofs = found.n_extracted * SMALL.calls_per_image
    triaged = len({r.caption for r in splits.members}) * 3
    assert usage.n_calls <= proofs + triaged
    assert usage.n_calls_cached >= 0.8 * SMALL.calls_per_image * found.n_images


@pytest.mark.slow
def test_a_nonmember_that_came_back_leaves_nothing_to_claim(demo, splits):
    swapped = dataclasses.replace(splits, members=splits.nonmembers, nonmembers=splits.members)
    _, found = _run(demo, swapped, "memorized")
    assert found.n_extracted == 0  # the copied records set the threshold below everything else


def test_both_sides_are_chosen_alike(splits):
    scores = {r.caption: float(i) for i, r in enumerate((*splits.members, *splits.nonmembers))}
    chosen = chosen_prompts(splits.nonmembers, scores, 10, 0)
    assert chosen == sorted({r.caption for r in splits.nonmembers}, key=lambda c: -scores[c])[:10]
    repeated = {r.caption for r in splits.members if r.multiplicity > 1}
    assert set(chosen_prompts(splits.members, scores, 24, 0)[:12]) == repeated


def test_the_search_keeps_the_nearest_image_of_every_record():
    rng = np.random.default_rng(0)
    records = rng.integers(0, 256, (5, 8, 8, 1), dtype=np.uint8)
    search = Search(records)
    search.add([Draw("far", 0)], 255 - records[:1])
    search.add([Draw("copy", 3), Draw("other", 4)], np.stack([records[2], 255 - records[0]]))
    assert search.draw[2] == Draw("copy", 3)
    assert search.distance[2] < 1e-6
    assert search.n_images_of(2, 0.01) == 1


def test_a_scan_reports_what_came_back_without_showing_it(scan_demo, tmp_path):
    config = tmp_path / "auditor.yaml"
    plain = {k: v for k, v in dataclasses.asdict(SMALL).items() if k != "guidance"}
    config.write_text(json.dumps({"attack_options": {"extraction": plain}}))
    scanned = scan_demo("memorized", attacks=("extraction",), config=config, reveal=True)
    record = scanned.result.record
    rule = next(rule for rule in record.rules if rule.rule == "extracted")
    assert rule.outcome.value == "fail"
    assert record.verdict.exit_code == 1
    assert "again" in record.verdict.sentence
    assert next(c for c in record.coverage if c.id == "regurgitation").status == "tested"
    private = scanned.out / "private" / "extracted.html"
    assert private.stat().st_mode & 0o777 == 0o600
    page = (scanned.out / "report.html").read_text()
    assert "data:image" not in page
    captions = {r.caption for r in scanned.result.records}
    for path in scanned.out.rglob("*"):
        if path.is_file() and "private" not in path.parts:
            body = path.read_bytes()
            assert not any(caption.encode() in body for caption in captions)
            assert b"PNG\r\n" not in body


def test_the_curve_shows_every_copy():
    copies, rest = np.linspace(0.01, 0.03, 12), np.linspace(0.1, 0.6, 438)
    points = distribution(np.concatenate([copies, rest]), np.linspace(0.09, 0.6, 450))
    below = [p for p in points if p.distance < 0.05]
    assert [p.distance for p in below] == pytest.approx(copies)
    assert below[-1].members == pytest.approx(12 / 450)
    assert below[-1].nonmembers == 0
    assert (points[-1].members, points[-1].nonmembers) == (1, 1)
    assert len(points) <= 100
    assert distribution(copies, np.array([])) == ()


def test_what_it_needs(pixel_pipeline, text_pipeline):
    text = open_target(str(text_pipeline), device="cpu").capabilities
    assert applicable(text) is None
    assert "captions" in applicable(dataclasses.replace(text, has_captions=False))
    plain = default_config(open_target(str(pixel_pipeline), device="cpu").capabilities)
    assert plain.guidance == 1
    with pytest.raises(UsageError):
        ExtractionConfig(guidance=0.5)
    with pytest.raises(UsageError):
        ExtractionConfig(prompts=0)

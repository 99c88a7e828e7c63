"""MemControl from records to weights: measures, parts, search, refits, masks from files."""

from __future__ import annotations

import dataclasses
import json

import numpy as np
import pytest
import torch

from attacks.errors import DataError, UsageError
from mitigations import memcontrol
from mitigations.material import Examples, Material
from mitigations.memcontrol.config import MemControlConfig, default_config
from mitigations.memcontrol.families import Tuned
from mitigations.memcontrol.masks import Mask, mask_json, read_mask
from mitigations.memcontrol.measures import Probe, losses, magnitudes, measures_of
from mitigations.memcontrol.parts import divided
from mitigations.memcontrol.trial import Candidate, Job
from tests.mitigations.training.conftest import same, state

PROBE = Probe((100, 500), 2, seed=0, batch_size=16)


@pytest.fixture(scope="module")
def config(target):
    return dataclasses.replace(
        default_config(target.capabilities),
        trials=3, steps=6, refits=2, noises=1, train_batch=8, images=16, image_steps=2,
    )  # fmt: skip


@pytest.fixture(scope="module")
def found(target, members, nonmembers, config, tmp_path_factory):
    """A small search: its change, its folder, what was told."""
    told = []
    folder = tmp_path_factory.mktemp("studies")
    material = Material(
        target=target, members=members, nonmembers=nonmembers, folder=folder,
        on_progress=lambda *what: told.append(what),
    )  # fmt: skip
    before = state(target.unet)
    change = memcontrol.apply(material, config)
    assert same(before, state(target.unet))
    return change, material, told


def test_measures_repeat_themselves_and_do_not_depend_on_the_batch(target, members):
    for figure in (magnitudes, losses):
        one = figure(target, members, PROBE)
        assert one.tolist() == figure(target, members, PROBE).tolist()
        assert np.allclose(one, figure(target, members, PROBE._replace(batch_size=5)), rtol=1e-4)
        other = figure(target, members, PROBE._replace(seed=1))
        assert not np.allclose(one, other, rtol=1e-4)


def test_magnitude_and_loss_equal_a_loop(target, members):
    row, t = 3, 100
    noise = np.random.default_rng([0, t, 0]).standard_normal(
        tuple(members.inputs.shape), dtype=np.float32
    )[row]
    abar = target.alphas_cumprod[t]
    noised = abar**0.5 * members.inputs[row] + (1 - abar) ** 0.5 * torch.from_numpy(noise)
    at = torch.tensor([t])
    own = target.predict(noised[None].float(), at, target.embed([members.captions[row]]))
    empty = target.predict(noised[None].float(), at, target.embed([""]))
    probe = Probe((t,), 1, 0, 8)
    magnitude = float((own - empty).square().sum().sqrt())
    assert magnitudes(target, members, probe)[row] == pytest.approx(magnitude, rel=1e-4)
    loss = float((own[0] - torch.from_numpy(noise)).square().mean())
    assert losses(target, members, probe)[row] == pytest.approx(loss, rel=1e-4)


def test_an_untrained_model_shows_no_gap(target, members, nonmembers):
    """Members are nonmembers to it."""
    own, other = losses(target, members, PROBE), losses(target, nonmembers, PROBE)
    spread = np.hypot(own.std() / len(own) ** 0.5, other.std() / len(other) ** 0.5)
    assert abs(own.mean() - other.mean()) < 4 * spread


def test_search_and_report_share_no_record(members, nonmembers):
    parts = divided(members, nonmembers, seed=0)
    assert parts.is_repeated
    assert parts.trained is members
    for kind in ("memorized", "held_out"):
        sides = [getattr(side, kind) for side in (parts.search, parts.report)]
        rows = [{x.numpy().tobytes() for x in side.inputs} for side in sides]
        assert not rows[0] & rows[1]
        assert abs(len(sides[0]) - len(sides[1])) <= 1
    assert set(parts.search.memorized.repeats) == {8}
    plain = dataclasses.replace(members, repeats=(1,) * len(members))
    assert not divided(plain, nonmembers, seed=0).is_repeated
    few = Examples(members.inputs[:3], members.captions[:3], (1,) * 3)
    with pytest.raises(DataError, match="needs 4 members"):
        divided(few, nonmembers, seed=0)


@pytest.mark.parametrize("memorization", ["gap", "magnitude", "magnitude_high", "copies"])
@pytest.mark.parametrize("quality", ["loss", "kid", "fid"])
def test_every_pair_of_objectives_gives_figures(
    target, members, nonmembers, config, memorization, quality
):
    chosen = dataclasses.replace(config, memorization=memorization, quality=quality, steps=2)
    parts = divided(members, nonmembers, seed=0)
    job = Job(target, parts, chosen, measures_of(target, parts, chosen, 32), 0, 32)
    outcome = job.run(Candidate((1, 0, 0, 1), 1e-3))
    assert outcome.is_finite
    assert outcome.trainable > 0
    assert (outcome.slack > 0) == (quality == "kid")
    assert outcome[:4] == job.run(Candidate((1, 0, 0, 1), 1e-3))[:4]


def test_masks_differ_by_more_than_the_seed_and_zeros_are_the_base(
    target, members, nonmembers, config
):
    parts = divided(members, nonmembers, seed=0)
    job = Job(target, parts, config, measures_of(target, parts, config, 32), 0, 32)
    figures = {
        bits: job.run(Candidate(bits, 5e-3)).memorization
        for bits in ((0, 0, 0, 0), (1, 0, 0, 0), (0, 0, 1, 0), (1, 1, 1, 1))
    }
    assert len(set(figures.values())) == 4
    base = job.measures.memorization(target, parts.search, 0).value
    assert figures[0, 0, 0, 0] == base


def test_the_change_is_what_the_mask_allows(target, found):
    change, _, told = found
    record = json.loads(change.files["memcontrol.json"])
    chosen = [b for b, bit in zip(record["blocks"], record["chosen"], strict=True) if bit == "1"]
    assert all(any(name.startswith(f"{block}.") for block in chosen) for name in change.weights)
    assert bool(change.weights) == bool(chosen)
    assert len(record["trials"]) == len(record["control"]) == 3
    assert change.facts["trainable"] == next(
        row["trainable"] for row in record["trials"] if row["bits"] == record["chosen"]
    )
    front = [row for row in record["trials"] if row["is_on_front"]]
    assert front
    assert any(row["bits"] == record["chosen"] for row in record["trials"])
    assert any("front of" in title for title, _, _ in told)
    assert any("is private" in note for note in change.notes)


def test_refits_have_their_controls(found):
    record = json.loads(found[0].files["memcontrol.json"])
    rows = {row["name"]: row for row in record["refits"]}
    assert {"chosen", "plain", "none", "full"} <= set(rows)
    assert rows["none"]["trainable"] == 0
    assert rows["none"]["share"] == 0
    assert rows["full"]["share"] == 1
    assert set(rows["plain"]["bits"]) == {"1"}
    assert rows["plain"]["relief"]["gap"]["value"] == 0
    for row in rows.values():
        assert set(row["memorization"]) == {"gap", "magnitude"}
        assert row["memorization"]["gap"]["low"] < row["memorization"]["gap"]["high"]
    if "random" in rows:
        assert rows["random"]["bits"].count("1") == rows["chosen"]["bits"].count("1")
        assert rows["random"]["bits"] != rows["chosen"]["bits"]
    assert record["seed"] not in record["seeds"]


def test_the_page_holds_the_pick_and_every_control(found):
    page = found[0].files["memcontrol.md"].decode()
    record = json.loads(found[0].files["memcontrol.json"])
    assert f"`{record['chosen']}`" in page
    for row in record["refits"]:
        assert f"| {row['name']} |" in page
    for row in record["trials"]:
        assert (f"| {row['bits']} | {row['learning_rate']:.3g} |" in page) >= row["is_on_front"]
    assert all(f"`{name}`" in page for name in record["blocks"])


def test_the_same_search_continues_from_its_folder(found, config, monkeypatch):
    """Nothing is trained again but the weights that are given back."""
    change, material, _ = found
    monkeypatch.setattr(Job, "run", None)
    monkeypatch.setattr(Job, "refit", None)
    again = memcontrol.apply(material, config)
    assert again.files == change.files
    assert all(torch.equal(again.weights[k], v) for k, v in change.weights.items())


def test_a_mask_from_a_file_is_refitted_without_a_search(found, config, members, tmp_path):
    change, material, _ = found
    path = tmp_path / "mask.json"
    path.write_bytes(change.files["mask.json"])
    moved = dataclasses.replace(
        material, folder=None, members=dataclasses.replace(members, repeats=(5,) * len(members))
    )
    found_again = memcontrol.apply(moved, dataclasses.replace(config, mask=str(path), refits=1))
    record = json.loads(found_again.files["memcontrol.json"])
    assert record["sampler"] == "given"
    assert record["trials"] == []
    assert record["chosen"] == change.facts["mask"]
    assert record["learning_rate"] == change.facts["learning_rate"]


@pytest.mark.slow
def test_trials_run_in_parallel_processes(target, members, nonmembers, config):
    from mitigations.memcontrol.workers import evaluator

    parts = divided(members, nonmembers, seed=0)
    short = dataclasses.replace(config, steps=2)
    job = Job(target, parts, short, measures_of(target, parts, short, 32), 0, 32)
    asked = [Candidate((1, 0, 0, 0), 1e-3), Candidate((0, 1, 0, 0), 1e-3)]
    with evaluator(job, 2) as evaluate:
        outcomes = list(evaluate(asked))
    for candidate, outcome in zip(asked, outcomes, strict=True):
        alone = job.run(candidate)
        assert outcome.memorization == pytest.approx(alone.memorization, rel=1e-3, abs=1e-5)
        assert outcome.trainable == alone.trainable


@pytest.mark.parametrize("n", [1, 4, 13, 16])
def test_masks_of_any_length_are_kept_with_their_learning_rate(tmp_path, n):
    bits = tuple(int(b) for b in np.random.default_rng(n).integers(0, 2, n))
    mask = Mask(Tuned("difffit", bits, True, 7), 3.3e-4, tuple(f"block.{i}" for i in range(n)))
    path = tmp_path / "mask.json"
    path.write_bytes(mask_json(mask))
    assert read_mask(path) == mask


@pytest.mark.parametrize("text", ["", "[]", "{}", '{"schema": "auditor-mask/1", "bits": "2"}'])
def test_other_files_are_no_masks(tmp_path, text):
    path = tmp_path / "mask.json"
    path.write_text(text)
    with pytest.raises(UsageError, match="is no mask"):
        read_mask(path)
    with pytest.raises(UsageError, match="cannot be read"):
        read_mask(tmp_path / "absent.json")


@pytest.mark.parametrize(
    "changes",
    [
        {"trials": 0}, {"images": 3}, {"rate_low": 1.0}, {"tolerance": -1.0}, {"timesteps": ()},
        {"workers": 0}, {"full_rate": 0.0}, {"timesteps": (-1,)},
    ],
)  # fmt: skip
def test_impossible_settings_are_refused(changes):
    with pytest.raises(UsageError):
        MemControlConfig(**changes)

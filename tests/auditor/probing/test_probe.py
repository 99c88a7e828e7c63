"""A probe of the bundled models, from prompts to files."""

from __future__ import annotations

import hashlib
import json

import jsonschema
import numpy as np
import pytest
from typer.testing import CliRunner

from attacks.errors import DataError, TargetError, UsageError
from attacks.probing.overlap import iou_matrix
from auditor.cli import app
from auditor.demo.digits import N_PLANTED, demo_splits
from auditor.observe.feed_forward import feed_forward_layers
from auditor.probing.outputs import load_masks
from auditor.probing.probe import ProbeOptions, plan_probe, probe_model
from auditor.progress import Progress
from auditor.prompts.reading import Prompt
from auditor.targets.loading import open_target
from reports import probe_json, probe_markdown
from reports.html import probe_page
from reports.probe_record import ProbeRecord

runner = CliRunner()
SMALL = {"steps": 4, "first_steps": 2, "sparsity": 0.02, "device": "cpu", "guidance": 3.0}


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    root = tmp_path_factory.mktemp("probe")
    splits = demo_splits()
    planted = splits.members.captions[:N_PLANTED]
    ordinary = [c for c in dict.fromkeys(splits.nonmembers.captions) if c not in planted][:14]
    (root / "memorized.txt").write_text("\n".join(planted) + "\n")
    (root / "ordinary.txt").write_text("\n".join(ordinary) + "\n")
    rows = [("prompt", "label"), *((c.replace(",", ""), "suspect") for c in planted[:4])]
    rows += [(c.replace(",", ""), "reference") for c in ordinary[:4]]
    (root / "labelled.csv").write_text("\n".join(",".join(row) for row in rows) + "\n")
    return root


@pytest.fixture(scope="module")
def options(demo, folder):
    def make(out, **changes):
        given = {
            "model": str(demo.models["memorized"]),
            "prompts": folder / "memorized.txt",
            "ordinary": folder / "ordinary.txt",
            "out": folder / out,
            **SMALL,
        }
        return ProbeOptions(**(given | changes))

    return make


@pytest.fixture(scope="module")
def probed(options):
    return probe_model(options("out"))


def test_the_record_holds_every_figure_and_its_control(probed):
    record = probed.record
    assert record.prompts.memorized_sets == record.prompts.ordinary_sets == (3, 3, 3, 3)
    assert record.prompts.reference_kind == "empty prompt"
    assert record.test.smallest_p == pytest.approx(1 / 70)
    for value in (record.overlap, record.pruned_overlap):
        assert value.memorized > 5 * value.random
        assert value.ordinary > 5 * value.random, "ordinary prompts overlap too: the control"
    assert all(len(layer.step_density) == 4 for layer in record.layers)
    assert max(max(layer.step_density) for layer in record.layers) <= 0.02
    assert record.shares.of_model < record.shares.of_layers
    assert record.shares.consensus_of_layers <= record.shares.union_of_layers
    matrix = np.array(record.matrix)
    np.testing.assert_allclose(matrix, matrix.T)
    assert len(matrix) == len(record.set_names) == 8


def test_the_masks_fit_the_model_and_the_record(probed, demo):
    masks = load_masks(probed.paths["masks"])
    layers = feed_forward_layers(open_target(str(demo.models["memorized"]), device="cpu").unet)
    assert masks.layers == tuple(layers)
    for name, marked in masks.whole().items():
        assert marked.shape == tuple(layers[name].weight.shape)
    assert masks.share_of_layers() == pytest.approx(probed.record.shares.of_layers)
    joined = [
        iou_matrix([one[name].unpack() for one in (*masks.memorized, *masks.ordinary)])
        for name in masks.layers
    ]
    mean = np.mean(joined, axis=0)
    assert mean[np.triu_indices(4, 1)[0], np.triu_indices(4, 1)[1]].mean() == pytest.approx(
        probed.record.pruned_overlap.memorized
    )
    facts = json.loads(probed.paths["facts"].read_text())
    assert facts == json.loads(json.dumps(masks.facts()))
    assert facts["provenance"]["sparsity"] == 0.02


def test_files_are_hashed_valid_and_free_of_prompts(probed, folder):
    out = folder / "out"
    for line in (out / "SHA256SUMS").read_text().splitlines():
        digest, name = line.split("  ")
        assert hashlib.sha256((out / name).read_bytes()).hexdigest() == digest
    tree = json.loads(probed.paths["json"].read_text())
    jsonschema.validate(tree, json.loads(probe_json.schema_text()))
    assert probe_json.SCHEMA_FILE.read_text() == probe_json.schema_text()
    assert ProbeRecord.model_validate(tree) == probed.record
    for path in probed.paths.values():
        content = path.read_bytes()
        assert b"handwritten" not in content
        assert Prompt(demo_splits().members.captions[0], 1).id.encode() not in content
    page = probed.paths["html"].read_text()
    assert len(page) < 2 * 2**20
    assert page.count('class="figures twin"') == 3
    assert "Localised is not erased" in page
    assert "Localised is not erased" in probed.paths["md"].read_text()


def test_hostile_names_are_escaped(probed):
    evil = "<script>alert(1)</script>\u202e"
    target = probed.record.target.model_copy(update={"name": evil})
    record = probed.record.model_copy(update={"target": target, "command": evil})
    page = probe_page.render(record)
    assert "<script>alert" not in page
    assert "\u202e" not in page + probe_markdown.render(record)


def test_the_same_seed_gives_the_same_masks_and_batches_do_not_matter(probed, options):
    again = probe_model(options("again"))
    assert again.record.files == probed.record.files
    other = probe_model(options("batches", batch_size=3))
    np.testing.assert_allclose(other.record.matrix, probed.record.matrix, atol=0.02)


def test_memorized_prompts_as_their_own_reference_mark_nothing(options, folder):
    record = probe_model(
        options("same", reference=folder / "memorized.txt", sets=1, ordinary=None)
    ).record
    assert record.shares.n_marked == 0
    assert record.prompts.reference_kind == "given"
    assert record.finding.outcome == "not run"
    assert record.test is None


def test_labels_name_the_ordinary_prompts_and_without_any_the_control_is_not_run(options, folder):
    planned = plan_probe(options("x", prompts=folder / "labelled.csv", ordinary=None), Progress())
    assert planned.ordinary_kind == "labelled"
    assert [len(one) for one in planned.ordinary] == [1, 1, 1, 1]
    record = probe_model(options("alone", ordinary=None, limit=4, sets=2)).record
    assert record.finding.outcome == "not run"
    assert "--ordinary" in record.finding.untested
    assert record.overlap.ordinary is None
    assert record.shares.minus_ordinary_of_layers is None


@pytest.mark.parametrize(
    ("changes", "error", "says"),
    [
        ({"sets": 9}, UsageError, "--sets"),
        ({"limit": 2}, DataError, "smaller --sets"),
        ({"sparsity": 2.0}, UsageError, "share"),
        ({"steps": 2000}, TargetError, "timesteps"),
        ({"cfg_half": "left"}, UsageError, "both or cond"),
    ],
)
def test_what_cannot_be_probed_is_refused_in_words(options, changes, error, says):
    with pytest.raises(error, match=says):
        plan_probe(options("refused", **changes), Progress())


def test_a_model_without_text_is_refused(options, pixel_pipeline):
    with pytest.raises(TargetError, match="takes none"):
        plan_probe(options("refused", model=str(pixel_pipeline)), Progress())


def test_the_verb(folder, demo):
    words = ["probe", str(demo.models["memorized"]), "--prompts", str(folder / "memorized.txt")]
    words += ["--ordinary", str(folder / "ordinary.txt"), "--out", str(folder / "cli")]
    words += ["--steps", "2", "--device", "cpu", "--sets", "2", "--limit", "4"]
    planned = runner.invoke(app, [*words, "--dry-run", "--json"])
    assert planned.exit_code == 0
    assert json.loads(planned.stdout)["n_calls"] == (4 + 4 + 1) * 4
    assert not (folder / "cli").exists()
    done = runner.invoke(app, [*words, "--quiet"])
    assert done.exit_code == 0
    assert "TOO FEW" in done.stdout.upper()
    wrong = runner.invoke(app, [*words, "--sets", "8"])
    assert wrong.exit_code == 2
    assert "wanda" in runner.invoke(app, ["list"]).stdout
    assert "auditor probe" in runner.invoke(app, ["explain", "PRB001"]).stdout

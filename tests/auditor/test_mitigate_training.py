"""`auditor mitigate` with the mitigations that fine-tune: from folders to a pipeline."""

from __future__ import annotations

import json

import pytest
from PIL import Image
from typer.testing import CliRunner

from auditor.cli.app import app
from auditor.demo.digits import demo_splits

SMALL = (
    "trials=2", "steps=2", "refits=1", "noises=1", "train_batch=4", "image_steps=1",
)  # fmt: skip


@pytest.fixture(scope="module")
def folders(tmp_path_factory):
    """Twelve members, four of them three times, and ten nonmembers."""
    root = tmp_path_factory.mktemp("records")
    splits = demo_splits()
    for name, split, repeats in (
        ("members", splits.members, [3] * 4 + [1] * 8),
        ("nonmembers", splits.nonmembers, [1] * 10),
    ):
        (root / name).mkdir()
        rows = [row for row, n in enumerate(repeats) for _ in range(n)]
        lines = []
        for i, row in enumerate(rows):
            Image.fromarray(split.images[row]).save(root / name / f"{i}.png")
            lines.append(json.dumps({"file_name": f"{i}.png", "text": split.captions[row]}))
        (root / name / "metadata.jsonl").write_text("\n".join(lines) + "\n")
    return root


def run(demo, folders, tmp_path, name, options, *more, nonmembers=True):
    out = tmp_path / name
    arguments = ["mitigate", name, str(demo.models["clean"]), "--out", str(out)]
    arguments += ["--members", str(folders / "members"), "--device", "cpu"]
    arguments += ["--nonmembers", str(folders / "nonmembers")] if nonmembers else []
    arguments += ["--cache", str(tmp_path / "cache")]
    for option in options:
        arguments += ["--option", option]
    return CliRunner().invoke(app, [*arguments, *more]), out


def test_a_search_leaves_a_pipeline_a_mask_and_a_page(demo, folders, tmp_path):
    found, out = run(demo, folders, tmp_path, "memcontrol", SMALL)
    assert found.exit_code == 0, found.output
    assert {"memcontrol.json", "memcontrol.md", "mask.json"} <= {p.name for p in out.iterdir()}
    record = json.loads((out / "memcontrol.json").read_text())
    assert record["schema"] == "auditor-memcontrol/1"
    assert record["n_trained"] == 12
    assert record["is_repeated"]
    mitigation = json.loads((out / "mitigation.json").read_text())
    assert mitigation["facts"]["mask"] == record["chosen"]
    assert (tmp_path / "cache" / "mitigate" / "studies.db").is_file()
    assert (tmp_path / "cache" / "mitigate").stat().st_mode & 0o077 == 0


@pytest.mark.parametrize(
    ("name", "options", "nonmembers"),
    [
        ("early_stopping", ("steps=2", "every=1", "batch_size=4"), True),
        ("caption_randomisation", ("steps=2", "batch_size=4"), False),
        ("norm_filter", ("steps=2", "batch_size=4", "calibration=10"), False),
    ],
)
def test_each_of_them_leaves_a_changed_model(demo, folders, tmp_path, name, options, nonmembers):
    found, out = run(demo, folders, tmp_path, name, options, nonmembers=nonmembers)
    assert found.exit_code == 0, found.output
    record = json.loads((out / "mitigation.json").read_text())
    assert record["name"] == name
    assert record["given"]["members"] == 12
    assert any((out / "unet").glob("*.safetensors"))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (("trials=0",), "trials must be at least 1"),
        (("family=lora2",), "family"),
        (("mask=absent.json",), "cannot be read"),
    ],
)
def test_bad_settings_are_one_sentence_and_leave_nothing(demo, folders, tmp_path, options, message):
    found, out = run(demo, folders, tmp_path, "memcontrol", options)
    assert found.exit_code == 2
    assert message in found.output
    assert not out.exists()

"""Quality beside leakage: images that two models draw from the same captions and seeds."""

from __future__ import annotations

import dataclasses

import pytest
import torch
from typer.testing import CliRunner

from attacks.errors import DataError, UsageError
from auditor.cli import app
from auditor.compare import compare_audits
from auditor.compare.quality import QualityOptions, measure_quality
from auditor.progress import Progress
from auditor.targets.loading import open_target
from reports import compare_markdown
from reports.html import compare_page
from tests.small_clip import save_small_clip


@pytest.fixture(scope="module")
def options(demo, tmp_path_factory) -> QualityOptions:
    return QualityOptions(
        before=str(demo.models["memorized"]),
        after=str(demo.models["memorized"]),
        real=demo.records.nonmembers,
        images=40,
        steps=4,
        device="cpu",
        cache=tmp_path_factory.mktemp("quality"),
    )


@pytest.fixture(scope="module")
def noisy(demo, tmp_path_factory) -> str:
    """The bundled model with noise on its weights: it draws worse images."""
    target = open_target(str(demo.models["memorized"]), device="cpu")
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for weight in target.unet.parameters():
            weight += (
                0.3 * weight.std(correction=0) * torch.randn(weight.shape, generator=generator)
            )
    folder = tmp_path_factory.mktemp("noisy") / "model"
    target.text_pipeline.save_pretrained(folder)
    return str(folder)


def by_metric(quality):
    return {row.metric: row for row in quality.rows}


def test_a_model_beside_itself_changes_nothing(options):
    rows = by_metric(measure_quality(options, Progress()))
    assert set(rows) == {"KID", "FID"}
    kid = rows["KID"].difference
    assert (kid.value, kid.low, kid.high) == (0, 0, 0)
    assert rows["FID"].difference.value == 0
    assert all(row.change == "undecided" for row in rows.values())


def test_a_damaged_model_is_shown_worse_and_its_repair_better(options, noisy, tmp_path):
    worse = measure_quality(dataclasses.replace(options, after=noisy), Progress())
    better = measure_quality(dataclasses.replace(options, before=noisy), Progress())
    one, other = by_metric(worse)["KID"], by_metric(better)["KID"]
    assert (one.change, other.change) == ("worse", "better")
    assert one.difference.value == pytest.approx(-other.difference.value)
    assert by_metric(worse)["FID"].difference.value > 0
    assert by_metric(worse)["FID"].difference.low is None


def test_agreement_with_captions_is_measured_if_an_encoder_is_named(options, noisy, tmp_path):
    clip = save_small_clip(tmp_path / "clip")
    config = tmp_path / "config.yaml"
    config.write_text(f"encoder:\n  name: {clip}\n")
    quality = measure_quality(dataclasses.replace(options, after=noisy, config=config), Progress())
    row = by_metric(quality)["Agreement with the caption"]
    assert -100 <= row.before.value <= 100
    assert row.difference.value == pytest.approx(row.after.value - row.before.value)
    assert row.difference.low <= row.difference.value <= row.difference.high


def test_it_stands_in_every_report_and_does_not_enter_the_answer(
    options, noisy, memorized_scan, clean_scan
):
    alone = compare_audits(memorized_scan.out, clean_scan.out)
    done = compare_audits(
        memorized_scan.out, clean_scan.out, quality=dataclasses.replace(options, after=noisy)
    )
    assert done.record.conclusion == alone.record.conclusion
    assert done.record.quality.n_images == 40
    for page in (compare_markdown.render(done.record), compare_page.render(done.record)):
        assert "Quality of generated images" in page
        assert "KID" in page
        assert "Biased upwards" in page
    assert "Quality of generated images" not in compare_page.render(alone.record)


def test_what_cannot_be_compared_is_refused(options, demo, tmp_path):
    with pytest.raises(UsageError, match="at least 32 images"):
        measure_quality(dataclasses.replace(options, images=8), Progress())
    few = tmp_path / "few"
    few.mkdir()
    for path in sorted(demo.records.nonmembers.glob("*.png"))[:40]:
        (few / path.name).write_bytes(path.read_bytes())
    with pytest.raises(DataError, match="leave 20 to compare with"):
        measure_quality(dataclasses.replace(options, real=few), Progress())


def test_half_of_the_options_is_an_error(memorized_scan, clean_scan, demo):
    words = ["compare", str(memorized_scan.out), str(clean_scan.out)]
    found = CliRunner().invoke(app, [*words, "--before-model", str(demo.models["clean"])])
    assert found.exit_code == 2
    assert "give all or none" in " ".join(found.output.split())

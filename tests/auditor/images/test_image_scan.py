"""A scan of images on digits with planted copies: found, verified, redacted, resumable."""

from __future__ import annotations

import hashlib
import json
import stat
import xml.etree.ElementTree as ET
from dataclasses import replace

import jsonschema
import numpy as np
import pyarrow.parquet as pq
import pytest
from PIL import Image
from typer.testing import CliRunner

from attacks.errors import DataError
from attacks.results import ControlStatus, Outcome
from auditor.cli import app
from auditor.demo.digits import demo_splits
from auditor.images.controls import negative_control, planted
from auditor.images.measure import copy_limit, fit_part
from auditor.images.scan import ImageScanOptions, scan_images
from auditor.matching import CONVENTION, Matcher, PixelEncoder
from auditor.policy import Rules
from auditor.progress import Progress
from reports.images_json import SCHEMA_FILE, schema_text
from reports.images_record import ImagesRecord
from tests.conftest import write_images

runner = CliRunner()
N_TRAIN, N_FRESH, N_HELD_OUT, N_VERBATIM, N_NOISY = 150, 90, 80, 4, 4
WORDS = ("okapi-ward", "zebra quagga", "secret-scan")
POLICY = "rules:\n  extracted:\n    share: 0.05\n  replication:\n    limit: 0.08\n"


@pytest.fixture(scope="module", autouse=True)
def few_controls():
    """Fewer planted copies and fewer own neighbours than a user's scan has, for speed."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("auditor.images.controls.N_PLANTED", 15)
        patch.setattr("auditor.images.measure.N_OWN_NEIGHBOURS", 40)
        yield


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Data sets as a user has them: the training set holds copies, with captions and names."""
    root = tmp_path_factory.mktemp("pictures")
    splits, rng = demo_splits(), np.random.default_rng(0)
    train = [*splits.members.images[:N_TRAIN]]
    captions = [f"{WORDS[1]} {i}" for i in range(N_TRAIN)]
    train += [train[1]] * 11
    captions += [captions[1]] * 11
    write_images(root / WORDS[2] / WORDS[0], train, captions)
    fresh = [*splits.nonmembers.images[:N_FRESH]]
    verbatim = train[:N_VERBATIM]
    noisy = [
        np.asarray(planted(Image.fromarray(image), "noise", rng))
        for image in train[N_VERBATIM : N_VERBATIM + N_NOISY]
    ]
    write_images(root / "leaky", [*fresh, *verbatim, *noisy])
    write_images(root / "clean", fresh)
    held_out = splits.nonmembers.images[N_FRESH : N_FRESH + N_HELD_OUT]
    write_images(root / "heldout", [*held_out, train[7]])
    (root / "policy.yaml").write_text(POLICY)
    return root


def options_for(folder, out, generated="leaky", **changes) -> ImageScanOptions:
    options = ImageScanOptions(
        generated=folder / generated,
        against=folder / WORDS[2] / WORDS[0],
        background=folder / "heldout",
        out=out,
        policy=folder / "policy.yaml",
        cache=folder / "cache",
        device="cpu",
    )
    return replace(options, **changes)


@pytest.fixture(scope="module")
def leaky(folder, tmp_path_factory):
    return scan_images(options_for(folder, tmp_path_factory.mktemp("leaky") / "out", reveal=True))


@pytest.fixture(scope="module")
def clean(folder, tmp_path_factory):
    return scan_images(options_for(folder, tmp_path_factory.mktemp("clean") / "out", "clean"))


def number_of(record) -> int:
    """Which file of its folder a record was read from."""
    return int(record.source.name.removesuffix(".png"))


def test_every_planted_copy_is_found_and_no_ordinary_picture_is_claimed(leaky):
    claimed = {
        number_of(record)
        for record, is_copy in zip(leaky.sets.generated, leaky.figures.is_copy, strict=True)
        if is_copy
    }
    assert claimed == set(range(N_FRESH, N_FRESH + N_VERBATIM + N_NOISY))
    for i in np.flatnonzero(leaky.figures.is_copy):
        training = leaky.sets.training[leaky.figures.matches.record[i]]
        assert number_of(training) % N_TRAIN in (
            number_of(leaky.sets.generated[i]) - N_FRESH,
            *([1] if training.multiplicity > 1 else []),
        )
    record = leaky.record
    assert record.verdict.outcome is Outcome.FAIL
    assert record.verdict.exit_code == 1
    rule = record.rules[0]
    assert (rule.rule, rule.outcome, rule.value) == ("extracted", Outcome.FAIL, 8)
    assert record.finding.n_copies == record.finding.n_copied_records == 8
    assert record.finding.copy_share.low > 0


def test_extraction_is_reported_by_copies(leaky):
    rates = {one.copies: one for one in leaky.record.finding.by_copies}
    assert (rates["1"].n_records, rates["1"].n_copied) == (N_TRAIN - 1, 7)
    assert (rates["10 to 99"].n_records, rates["10 to 99"].n_copied) == (1, 1)
    assert rates["1"].share.low < 7 / (N_TRAIN - 1) < rates["1"].share.high
    assert leaky.record.sets.n_training_rows == N_TRAIN + 11
    assert leaky.record.sets.n_repeated == 1


def test_the_clean_twin_passes_with_an_upper_bound(clean):
    record = clean.record
    assert record.finding.n_copies == 0
    assert record.finding.copy_share.low == 0
    assert record.finding.copy_share.high == pytest.approx(1 - 0.025 ** (1 / N_FRESH))
    assert record.verdict.outcome is Outcome.PASS
    assert [c.status for c in record.controls] == [ControlStatus.PASSED] * 2
    replication = record.finding.replication
    assert replication.p_value > 0.01
    assert replication.n_background + replication.n_fit == N_HELD_OUT
    assert "No embedding model was given" in record.matching.limits


def test_held_out_copies_of_training_records_are_left_out(clean):
    assert clean.record.sets.n_background_dropped == 1
    assert clean.record.sets.n_background == N_HELD_OUT
    assert any("left out" in note for note in clean.record.sets.notes)


def test_thresholds_and_figures_use_different_held_out_pictures(clean):
    is_fit = fit_part(clean.sets, 0)
    assert is_fit.sum() == N_HELD_OUT // 2 == clean.record.sets.n_background_fit
    assert clean.figures.background_claimed.size == (~is_fit).sum()
    assert (fit_part(clean.sets, 0) == is_fit).all()


def test_the_limit_never_exceeds_the_policy_and_half_the_nearest():
    rules = Rules()
    far, near = np.full(50, 0.6), np.full(50, 0.1)
    assert copy_limit(rules, far, "x").value == 0.15
    assert copy_limit(rules, near, "x").value == pytest.approx(0.05)
    assert copy_limit(rules, np.full(3, np.inf), "x").value == 0.15


def test_without_background_nothing_passes(folder, tmp_path):
    result = scan_images(options_for(folder, tmp_path / "out", "clean", background=None))
    assert result.record.verdict.outcome is Outcome.INCONCLUSIVE
    assert result.record.finding.replication is None
    assert all("--background" in rule.needed for rule in result.record.rules)
    assert "training records among themselves" in result.record.finding.limit_source
    leaky = scan_images(options_for(folder, tmp_path / "out2", background=None))
    assert leaky.record.verdict.outcome is Outcome.FAIL
    assert leaky.record.finding.n_copied_records == 8


def test_a_matcher_that_finds_nothing_cannot_pass(folder, tmp_path, monkeypatch):
    """Stub the matches: no copy is found, so that the planted ones are missed too."""
    real = Matcher._verify

    def blind(self, *args):
        found = real(self, *args)
        return found._replace(distance=np.full_like(found.distance, 0.9))

    monkeypatch.setattr(Matcher, "_verify", blind)
    result = scan_images(options_for(folder, tmp_path / "out", cache=tmp_path / "c", limit=45))
    assert result.record.controls[0].status is ControlStatus.FAILED
    assert result.record.finding.n_copies == 0
    assert result.record.verdict.outcome is Outcome.INCONCLUSIVE
    assert "encoder" in result.record.rules[0].needed


def test_a_matcher_that_claims_everything_is_invalid(folder, tmp_path, monkeypatch):
    def near(self, *args):
        found = real(self, *args)
        return found._replace(distance=np.zeros_like(found.distance))

    real = Matcher._verify
    monkeypatch.setattr(Matcher, "_verify", near)
    result = scan_images(options_for(folder, tmp_path / "out", cache=tmp_path / "c", limit=45))
    assert result.record.controls[1].status is ControlStatus.FAILED
    assert result.record.verdict.outcome is Outcome.INVALID


def test_negative_control_allows_for_an_overlooked_copy():
    claimed = np.zeros(400, bool)
    assert negative_control(claimed).status is ControlStatus.PASSED
    claimed[0] = True
    assert negative_control(claimed).status is ControlStatus.WARNING
    claimed[:20] = True
    assert negative_control(claimed).status is ControlStatus.FAILED
    assert negative_control(None).status is ControlStatus.NOT_RUN


class Interrupted(Progress):
    """Presses Ctrl-C in the middle of a stage."""

    def __init__(self, title: str, after: int) -> None:
        self._title, self._left, self._current = title, after, ""

    def stage(self, title: str, total: int, unit: str = "records") -> None:
        self._current = title

    def advance(self, n: int) -> None:
        if self._title in self._current:
            self._left -= n
            if self._left < 0:
                raise KeyboardInterrupt


def test_an_interrupted_scan_continues_and_ends_the_same(folder, tmp_path, monkeypatch):
    monkeypatch.setattr("auditor.matching.store.SHARD", 16)
    own = options_for(folder, tmp_path / "out", cache=tmp_path / "cache", limit=45)
    n = N_TRAIN + 45 + 45
    with pytest.raises(KeyboardInterrupt):
        scan_images(own, Interrupted("embedding the training set", 70))
    embedded = []
    real = PixelEncoder.embed
    monkeypatch.setattr(
        PixelEncoder, "embed", lambda self, p: embedded.append(len(p)) or real(self, p)
    )
    with pytest.raises(KeyboardInterrupt):
        scan_images(own, Interrupted("matching generated pictures", 30))
    n_stored = 80  # five shards before the first interruption; 45 are the mirror images
    assert sum(embedded) <= n - n_stored + 45
    resumed = scan_images(own)
    assert resumed.record.matching.n_embedded == 0
    assert n - 1 <= resumed.record.matching.n_reused <= n  # one held-out picture may be a copy
    whole = scan_images(replace(own, fresh=True, out=tmp_path / "other"))
    assert whole.record.matching.n_reused == 0
    assert (resumed.figures.matches.distance == whole.figures.matches.distance).all()
    assert (resumed.figures.matches.record == whole.figures.matches.record).all()
    assert resumed.record.rules == whole.record.rules


def public_files(result):
    return [path for path in result.paths["json"].parent.iterdir() if path.is_file()]


def test_no_pixel_name_or_caption_leaves_the_private_folder(leaky, folder):
    out = leaky.paths["json"].parent
    everything = (*leaky.sets.training, *leaky.sets.generated, *leaky.sets.background)
    secrets = [*WORDS, "leaky", "0001.png", str(folder)]
    secrets += [record.id for record in everything] + [record.pixels for record in everything]
    for path in public_files(leaky):
        body = path.read_bytes()
        assert [word for word in secrets if word.encode() in body] == [], path.name
        for magic in (b"\x89PNG", b"\xff\xd8\xff", b"iVBORw0KGgo", b"/9j/", b"data:image"):
            assert magic not in body, (path.name, magic)
        for record in leaky.sets.training[:20]:
            assert np.asarray(record.open())[10].tobytes() not in body
    assert {path.name for path in public_files(leaky)} == {
        "images.json", "images.html", "images.md", "junit.xml", "matches.parquet", "SHA256SUMS",
    }  # fmt: skip
    assert stat.S_IMODE((out / "private").stat().st_mode) == 0o700
    for path in (out / "private").iterdir():
        assert stat.S_IMODE(path.stat().st_mode) == 0o600


def test_private_maps_tell_a_copy_from_its_original(leaky):
    private = leaky.paths["json"].parent / "private"
    files = {
        name: {
            json.loads(line)["record_id"]: json.loads(line)["file"]
            for line in (private / f"{name}.jsonl").read_text().splitlines()
        }
        for name in ("training", "generated", "heldout")
    }
    assert {len(files[name]) for name in files} == {N_TRAIN, N_FRESH + 8, N_HELD_OUT}
    for one in leaky.record.finding.pairs:
        assert WORDS[0] in files["training"][one.training_id]
        assert "leaky" in files["generated"][one.generated_id]


def test_reveal_shows_pairs_in_a_private_file_only(leaky, clean):
    page = (leaky.paths["json"].parent / "private" / "revealed.html").read_text()
    assert page.count("data:image/png;base64,") == 2 * len(leaky.record.finding.pairs)
    assert not (clean.paths["json"].parent / "private" / "revealed.html").exists()


def test_matches_have_every_generated_picture_with_the_convention(leaky):
    table = pq.read_table(leaky.paths["matches"]).to_pandas()
    assert list(table.columns) == [
        "generated_id", "training_id", "similarity", "distance", "convention", "registration",
        "multiplicity", "is_copy",
    ]  # fmt: skip
    assert len(table) == N_FRESH + N_VERBATIM + N_NOISY
    assert set(table["convention"]) == {CONVENTION}
    assert table["is_copy"].sum() == 8
    assert table.loc[table["is_copy"], "distance"].max() <= leaky.record.finding.limit
    assert not set(table["generated_id"]) & {record.id for record in leaky.sets.generated}
    assert sorted(table.loc[table["is_copy"], "multiplicity"]) == [1] * 7 + [12]


def test_record_schema_hashes_and_reports(leaky):
    tree = json.loads(leaky.paths["json"].read_text())
    assert SCHEMA_FILE.read_text(encoding="utf-8") == schema_text()
    jsonschema.validate(tree, json.loads(schema_text()))
    assert ImagesRecord.model_validate(tree) == leaky.record
    out = leaky.paths["json"].parent
    sums = dict(
        reversed(line.split("  ")) for line in (out / "SHA256SUMS").read_text().splitlines()
    )
    assert set(sums) == {path.name for path in public_files(leaky)} - {"SHA256SUMS"}
    for name, digest in sums.items():
        assert hashlib.sha256((out / name).read_bytes()).hexdigest() == digest
    cases = ET.parse(leaky.paths["junit"]).getroot().findall(".//testcase")
    assert [case.get("name") for case in cases] == ["extracted", "replication"]
    assert cases[0].find("failure") is not None
    page = leaky.paths["html"].read_text(encoding="utf-8")
    assert page.count("<h1") == 1
    assert "src=" not in page.split("<script>")[0]
    assert "http:" not in page.split("<script>")[0].replace("http://www.w3.org", "")
    assert len(page.encode()) < 2_000_000
    for chart in ("similarity", "by-copies"):
        assert f'data-twin="{chart}"' in page
    assert leaky.record.verdict.sentence in page
    assert "No embedding model was given" in leaky.paths["md"].read_text()
    for one in leaky.record.finding.pairs:
        assert one.training_id in page


def test_two_scans_give_the_same_record_but_for_the_time(folder, tmp_path, clean):
    again = scan_images(options_for(folder, tmp_path / "out", "clean"))
    left_out = {"environment", "matching", "files", "finding", "sets"}
    one, other = (r.record.model_dump(exclude=left_out) for r in (clean, again))
    assert one == other
    assert again.record.finding.by_copies == clean.record.finding.by_copies


def run(*words):
    return runner.invoke(app, ["scan", "images", *(str(word) for word in words)])


def test_command_line_end_to_end(folder, tmp_path):
    common = ["--against", folder / WORDS[2] / WORDS[0], "--background", folder / "heldout"]
    common += ["--cache", folder / "cache", "--device", "cpu", "--out", tmp_path / "out"]
    common += ["--policy", folder / "policy.yaml"]
    shown = run(folder / "leaky", *common)
    assert shown.exit_code == 1, shown.output
    assert "FAIL" in shown.output
    assert "00090.png  of" in shown.output
    assert run(folder / "leaky", *common, "--exit-zero", "--quiet").exit_code == 0
    quiet = run(folder / "clean", *common, "--quiet")
    assert quiet.exit_code == 0
    assert quiet.output.count("\n") == 1
    tree = json.loads(run(folder / "clean", *common, "--json").stdout)
    assert tree["schema"] == "auditor-images/1"
    limited = json.loads(run(folder / "clean", *common, "--json", "--limit", 50).stdout)
    assert limited["sets"]["n_generated"] == limited["sets"]["n_background"] + 1 == 50
    planned = run(folder / "clean", *common, "--dry-run")
    assert planned.exit_code == 0
    assert "59 pictures" in planned.output
    assert json.loads(run(folder / "clean", *common, "--dry-run", "--json").stdout)["n_training"]


def test_bad_inputs_exit_2_with_one_sentence(folder, tmp_path):
    train = folder / WORDS[2] / WORDS[0]
    write_images(tmp_path / "few", demo_splits().others.images[:12])
    write_images(tmp_path / "copies", [*demo_splits().members.images[:30]])
    good = {"--against": train, "--background": folder / "heldout", "--out": tmp_path / "out"}
    cases = [
        (folder / "nowhere", {}, "does not exist"),
        (train, {}, "same data set"),
        (folder / "leaky", {"--background": folder / "leaky"}, "same data set"),
        (folder / "leaky", {"--against": folder / WORDS[2], "--background": train}, "inside"),
        (folder / "leaky", {"--background": tmp_path / "few"}, "too few"),
        (folder / "leaky", {"--background": tmp_path / "copies"}, "not trained on"),
        (folder / "leaky", {"--encoder": "sscd"}, "check the path"),
        (folder / "leaky", {"--out": folder / "policy.yaml"}, "is a file"),
    ]
    for generated, changes, message in cases:
        words = good | changes
        result = run(generated, *(word for pair in words.items() for word in pair))
        assert result.exit_code == 2, (changes, result.output)
        assert message in " ".join(result.output.split()), (changes, result.output)
        assert "Traceback" not in result.output


def test_an_input_error_comes_before_any_file(folder, tmp_path):
    with pytest.raises(DataError):
        scan_images(options_for(folder, tmp_path / "out", generated="nowhere"))
    assert not (tmp_path / "out").exists()

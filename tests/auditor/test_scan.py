"""The whole flow on the bundled models: verdicts, files, privacy, cost."""

from __future__ import annotations

import hashlib
import json
import stat

import numpy as np
import pandas as pd
import pytest

from attacks.results import ControlStatus, Outcome
from auditor.progress import Progress
from auditor.scan import scan_model
from reports.json_file import read


def control(scanned, name):
    return next(c for c in scanned.result.record.controls if c.name == name)


def test_the_model_that_memorized_fails_and_planted_records_are_named(memorized_scan, demo):
    record = memorized_scan.result.record
    assert record.verdict.outcome is Outcome.FAIL
    assert record.verdict.exit_code == 1
    named = {
        top.record_id: top.multiplicity
        for finding in record.findings
        for top in finding.top_members
        if top.is_named
    }
    n_planted = len(json.loads(demo.records.planted.read_text()))
    planted = [copies for copies in named.values() if copies > 1]
    assert len(planted) >= 2 * n_planted / 3


def test_the_twin_that_never_saw_the_members_does_not_fail(clean_scan):
    record = clean_scan.result.record
    assert record.verdict.outcome in (Outcome.PASS, Outcome.INCONCLUSIVE)
    assert not any(top.is_named for finding in record.findings for top in finding.top_members)


@pytest.mark.parametrize(
    "name", ["competence", "negative", "random weights", "blind", "direction", "caption match"]
)
def test_controls_hold_on_both(memorized_scan, clean_scan, name):
    for scanned in (memorized_scan, clean_scan):
        found = control(scanned, name)
        assert found.status in (ControlStatus.PASSED, ControlStatus.WARNING), found.summary


def test_the_captions_of_the_demo_fit_their_pictures(memorized_scan, clean_scan):
    for scanned in (memorized_scan, clean_scan):
        found = control(scanned, "caption match")
        assert found.status is ControlStatus.PASSED
        assert max(found.figures["p_value_members"], found.figures["p_value_nonmembers"]) < 1e-6


def test_planted_records_are_found_in_the_clean_copy(clean_scan):
    assert control(clean_scan, "positive").status is not ControlStatus.NOT_RUN


def test_calls_counted_at_the_unet_are_the_planned_ones(memorized_scan):
    record = memorized_scan.result.record
    assert record.environment.calls_per_record == 24
    probes = 8 * 18  # loss of the injected records before fine-tuning
    n_records = record.data.n_members + record.data.n_nonmembers
    captions = 2 * 64 * 4  # both sides under captions of others, at four timesteps
    assert memorized_scan.unet_rows == 24 * n_records + captions + probes
    assert sum(f.cost.calls_alone for f in record.findings) == 10 + 2 + 2 + 1 + 12


def test_every_file_is_there_and_its_hash_is_right(memorized_scan):
    out = memorized_scan.out
    lines = (out / "SHA256SUMS").read_text().splitlines()
    listed = dict(reversed(line.split("  ")) for line in lines)
    names = {"audit.json", "report.html", "report.md", "junit.xml", "auditor.sarif"}
    assert names <= set(listed)
    assert {f"scores/{name}.parquet" for name in ("loss", "pia", "pian", "sima", "secmi")} <= set(
        listed
    )
    for path, digest in listed.items():
        assert hashlib.sha256((out / path).read_bytes()).hexdigest() == digest
    assert read(out / "audit.json") == memorized_scan.result.record


def test_scores_are_what_the_findings_say(memorized_scan):
    from sklearn.metrics import roc_auc_score

    for finding in memorized_scan.result.record.findings:
        table = pd.read_parquet(memorized_scan.out / finding.scores)
        assert list(table.columns) == ["record_id", "member", "score"]
        assert table.member.sum() == finding.n_members
        assert roc_auc_score(table.member, table.score) == pytest.approx(finding.auc.value)


def test_nothing_private_leaves_the_private_folder(memorized_scan, demo):
    """No caption, no file name, no content id, no path in any file that is passed on."""
    captions = {
        json.loads(line)["text"]
        for folder in (demo.records.members, demo.records.nonmembers)
        for line in (folder / "metadata.jsonl").read_text().splitlines()
    }
    rare = sorted(captions, key=len)[-50:]
    secrets = [r.id for r in memorized_scan.result.records] + rare
    secrets += [str(demo.records.members), str(memorized_scan.out)]
    secrets += [path.name for path in demo.records.members.glob("*.png")]
    for path in memorized_scan.out.rglob("*"):
        if path.is_file() and path.parent.name != "private":
            content = path.read_bytes()
            leaked = [s for s in secrets if s.encode() in content]
            assert not leaked, (path.name, leaked[:3])


def test_private_files_are_private(memorized_scan):
    private = memorized_scan.out / "private"
    assert stat.S_IMODE(private.stat().st_mode) == 0o700
    assert stat.S_IMODE((private / "records.jsonl").stat().st_mode) == 0o600
    key = memorized_scan.out.parent / ".auditor" / "project.key"
    assert stat.S_IMODE(key.stat().st_mode) == 0o600
    cache = memorized_scan.options.cache
    assert stat.S_IMODE(cache.stat().st_mode) == 0o700
    assert not (private / "revealed.html").exists()


def test_a_second_run_comes_from_the_cache_with_the_same_bytes(scan_demo, memorized_scan):
    before = {p.name: p.read_bytes() for p in (memorized_scan.out / "scores").iterdir()}
    again = scan_demo("memorized", reveal=True)
    assert again.unet_rows == 0
    assert again.result.record.environment.n_calls == 0
    assert {p.name: p.read_bytes() for p in (again.out / "scores").iterdir()} == before
    assert again.result.record.verdict == memorized_scan.result.record.verdict
    revealed = again.out / "private" / "revealed.html"
    assert stat.S_IMODE(revealed.stat().st_mode) == 0o600
    assert b"data:image/png" in revealed.read_bytes()


def test_loss_curve_separates_less_at_the_noisy_end(memorized_scan):
    curve = memorized_scan.result.record.loss_curve
    assert [point.t for point in curve] == list(range(0, 1000, 100))
    assert all(point.members.low < point.members.value < point.members.high for point in curve)


def test_splits_from_two_sources_are_invalid(demo, tmp_path, digits):
    """Members are digits, nonmembers their negatives: any attack would separate them."""
    from tests.conftest import write_images

    upright = [np.kron(d, np.ones((4, 4), np.uint8)) for d in digits[:60]]
    negative = [255 - np.kron(d, np.ones((4, 4), np.uint8)) for d in digits[60:160]]
    from auditor.scan import ScanOptions

    result = scan_model(
        ScanOptions(
            model=str(demo.models["clean"]),
            members=write_images(tmp_path / "m", upright, ["a digit"] * 60),
            nonmembers=write_images(tmp_path / "n", negative, ["a digit"] * 100),
            out=tmp_path / "out",
            attacks=("sima",),
            device="cpu",
        )
    )
    assert result.record.verdict.outcome is Outcome.INVALID
    assert result.record.verdict.exit_code == 3


def test_reference_gives_calibrated_findings_and_a_negative_control(demo, tmp_path):
    from auditor.scan import ScanOptions

    result = scan_model(
        ScanOptions(
            model=str(demo.models["memorized"]),
            members=demo.records.members,
            nonmembers=demo.records.nonmembers,
            out=tmp_path / "out",
            attacks=("secmi",),
            reference=str(demo.models["clean"]),
            limit=150,
            device="cpu",
        )
    )
    names = [finding.attack for finding in result.record.findings]
    assert names == ["secmi", "secmi-vs-reference"]
    reference = next(c for c in result.record.controls if c.name == "reference")
    assert reference.status is ControlStatus.PASSED


HOSTILE = (
    "<script>alert('x')</script> </title>",
    "\x1b[2J\x1b[31mred\x07 \u202egnirts",
    "{{ 7 * 7 }} ${jndi} ]]> | `code`",
    "",
)


def odd_pictures(folder, digits, start):
    """One-pixel, 16-bit, CMYK, palette and transparent pictures among ordinary ones."""
    from PIL import Image

    folder.mkdir()
    rows = []
    for i in range(30):
        grey = Image.fromarray(digits[start + i])
        kinds = {
            0: (Image.new("RGB", (1, 1), (i, start % 256, 7)), "png"),
            1: (Image.fromarray(digits[start + i].astype(np.uint16) * 257), "png"),
            2: (grey.convert("CMYK"), "jpg"),
            3: (grey.convert("P"), "png"),
            4: (grey.convert("RGBA"), "webp"),
        }
        picture, suffix = kinds.get(i, (grey, "png"))
        picture.save(folder / f"scan-roe-{i}.{suffix}")
        text = HOSTILE[i % len(HOSTILE)] + f" {i}"
        rows.append(json.dumps({"file_name": f"scan-roe-{i}.{suffix}", "text": text}))
    (folder / "metadata.jsonl").write_text("\n".join(rows) + "\n")
    return folder


def test_odd_pictures_and_hostile_captions_pass_through_unseen(demo, tmp_path, digits):
    from auditor.scan import ScanOptions

    folders = odd_pictures(tmp_path / "m", digits, 0), odd_pictures(tmp_path / "n", digits, 40)
    for folder in folders:  # each with a file that cannot be read
        (folder / "roe_jane_0000.png").write_bytes(b"junk")
        with open(folder / "metadata.jsonl", "a", encoding="utf-8") as stream:
            stream.write(json.dumps({"file_name": "roe_jane_0000.png", "text": "a"}) + "\n")
    config = tmp_path / "auditor.yaml"
    config.write_text("records: {max_unreadable_share: 0.2}")
    notes: list[str] = []
    progress = Progress()
    progress.note = notes.append  # type: ignore[method-assign]
    result = scan_model(
        ScanOptions(
            model=str(demo.models["clean"]),
            members=folders[0],
            nonmembers=folders[1],
            out=tmp_path / "out",
            config=config,
            attacks=("sima",),
            device="cpu",
        ),
        progress,
    )
    assert result.record.data.n_members == 30
    assert result.record.data.n_unreadable == 2
    names = {path.name for folder in folders for path in folder.rglob("*")} - {"metadata.jsonl"}
    outputs = [p for p in (tmp_path / "out").rglob("*") if p.is_file()]
    public = [p for p in outputs if p.parent.name != "private"]
    assert {".json", ".html", ".md", ".xml", ".sarif", ".parquet"} <= {p.suffix for p in public}
    for path in public:
        leaked = [name for name in names if name.encode() in path.read_bytes()]
        assert not leaked, (path.name, leaked[:3])
    assert not any(name in "".join(notes) for name in names)
    # the owner's map is where they are
    assert any(n.encode() in p.read_bytes() for n in names for p in outputs if p not in public)
    for path in result.paths.values():
        content = path.read_bytes()
        for text in (b"alert('x')", b"\x1b[2J", b"{{ 7 * 7 }}", b"gnirts"):
            assert text not in content


def test_a_scan_opens_no_socket(demo, tmp_path, monkeypatch):
    import socket

    from auditor.scan import ScanOptions

    def refuse(*args, **kwargs):
        raise AssertionError("a scan tried to open a connection")

    monkeypatch.setattr(socket.socket, "connect", refuse)
    monkeypatch.setattr(socket, "getaddrinfo", refuse)
    monkeypatch.delenv("HF_HUB_OFFLINE")
    scan_model(
        ScanOptions(
            model=str(demo.models["clean"]),
            members=demo.records.members,
            nonmembers=demo.records.nonmembers,
            out=tmp_path / "out",
            attacks=("sima",),
            limit=30,
            device="cpu",
        )
    )


def test_a_reference_of_another_kind_is_refused_before_any_work(demo, tmp_path):
    from attacks.errors import TargetError
    from auditor.scan import ScanOptions
    from tests.conftest import save_pixel_pipeline

    other = save_pixel_pipeline(tmp_path / "pixel")
    options = ScanOptions(
        model=str(demo.models["clean"]),
        members=demo.records.members,
        nonmembers=demo.records.nonmembers,
        out=tmp_path / "out",
        reference=str(other),
        device="cpu",
    )
    with pytest.raises(TargetError, match="cannot be paired"):
        scan_model(options)


def subjects_folder(folder, digits, first, per_subject, n_subjects):
    from PIL import Image

    folder.mkdir()
    rows = []
    for i in range(per_subject * n_subjects):
        Image.fromarray(digits[first + i]).save(folder / f"{i}.png")
        subject = f"{folder.name} person {i // per_subject}"
        rows.append(json.dumps({"file_name": f"{i}.png", "text": "a digit", "subject": subject}))
    (folder / "metadata.jsonl").write_text("\n".join(rows))
    return folder


@pytest.mark.parametrize(("copies", "valid"), [((2, 2), True), ((8, 2), False)])
def test_subjects_are_the_unit_and_unequal_numbers_of_records_are_no_leak(
    demo, tmp_path, digits, copies, valid
):
    """The maximum over more records is larger: that must not look like a leak."""
    from auditor.scan import ScanOptions

    (tmp_path / "policy.yaml").write_text("positive_control_dose: 1\n")
    record = scan_model(
        ScanOptions(
            model=str(demo.models["clean"]),
            members=subjects_folder(tmp_path / "m", digits, 0, copies[0], 40),
            nonmembers=subjects_folder(tmp_path / "n", digits, 700, copies[1], 40),
            out=tmp_path / "out",
            policy=tmp_path / "policy.yaml",
            attacks=("sima",),
            device="cpu",
        )
    ).record
    assert record.data.unit == "subject"
    assert record.findings[0].n_members == 40
    blind = next(c for c in record.controls if c.name == "blind")
    assert (blind.status is not ControlStatus.FAILED) == valid
    assert record.verdict.outcome is not Outcome.FAIL


def test_a_dry_run_counts_subjects_where_they_are_the_unit(demo, tmp_path, digits):
    from auditor.outlook import look_ahead
    from auditor.progress import Progress
    from auditor.scan import ScanOptions, plan_scan

    outlook = look_ahead(
        plan_scan(
            ScanOptions(
                model=str(demo.models["clean"]),
                members=subjects_folder(tmp_path / "m", digits, 0, 4, 10),
                nonmembers=subjects_folder(tmp_path / "n", digits, 700, 4, 12),
                out=tmp_path / "out",
                attacks=("sima",),
                batch_size=4,
                device="cpu",
            ),
            Progress(),
        )
    )
    assert (outlook.unit, outlook.n_members, outlook.n_nonmembers) == ("subject", 10, 12)
    assert "of 10 " in outlook.reachable[0]
    assert outlook.n_calls >= 40 + 48


@pytest.mark.parametrize("captions", [lambda n: None, lambda n: ["a digit", *[""] * (n - 1)]])
def test_a_text_model_without_captions_cannot_pass(demo, tmp_path, digits, captions):
    from auditor.scan import ScanOptions
    from tests.conftest import write_images

    record = scan_model(
        ScanOptions(
            model=str(demo.models["clean"]),
            members=write_images(tmp_path / "m", digits[:40], captions(40)),
            nonmembers=write_images(tmp_path / "n", digits[40:120], captions(80)),
            out=tmp_path / "out",
            attacks=("loss",),
            device="cpu",
        )
    ).record
    assert any(c.name == "captions" for c in record.controls)
    assert record.verdict.outcome is not Outcome.PASS
    assert len(record.loss_curve) == 10

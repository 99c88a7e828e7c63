"""Captions that belong to their records, shuffled ones, and a model that ignores them."""

from __future__ import annotations

import json
import shutil
from dataclasses import dataclass

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from attacks.observations import NoiseError
from attacks.results import ControlStatus, Outcome
from auditor.controls.captions import (
    CaptionErrors,
    caption_calls,
    judge_captions,
    with_others_caption,
)


@dataclass(frozen=True)
class Captioned:
    """What the derangement looks at."""

    id: str
    caption: str


@given(st.lists(st.sampled_from("aaabcdefgh"), max_size=40))
def test_nobody_gets_a_caption_equal_to_the_own_and_all_are_used_as_often(letters):
    records = [Captioned(f"r{i:02d}", letter) for i, letter in enumerate(letters)]
    pairs = with_others_caption(records)
    assert all(own.id == other.id and own.caption != other.caption for own, other in pairs)
    assert sorted(a.caption for a, _ in pairs) == sorted(b.caption for _, b in pairs)
    commonest = max((letters.count(x) for x in letters), default=0)
    assert len(pairs) == min(len(letters), 2 * (len(letters) - commonest))
    assert with_others_caption(records[::-1]) == pairs


def errors(gain, change, n=64, seed=0):
    """Errors of which other captions are larger by a factor e^gain, with a spread e^change."""
    rng = np.random.default_rng(seed)
    own = np.exp(rng.normal(-2, 0.5, (n, 4)))
    return CaptionErrors(own, own * np.exp(gain + change * rng.normal(size=(n, 4))))


def test_the_right_caption_has_to_lower_the_error_on_both_sides():
    right, shuffled = errors(0.3, 0.2), errors(0.0, 0.2)
    assert judge_captions({"members": right, "nonmembers": right}).status is ControlStatus.PASSED
    for sides in (
        {"members": shuffled, "nonmembers": right},
        {"members": right, "nonmembers": shuffled},
        {"members": errors(-0.3, 0.2), "nonmembers": right},
    ):
        found = judge_captions(sides)
        assert found.status is ControlStatus.FAILED
        assert "nothing may pass" in found.summary
    assert judge_captions({"members": right}).figures["gain_members"] == pytest.approx(
        1 - np.exp(-0.3), abs=0.03
    )


def test_a_model_that_ignores_text_is_only_warned_about():
    deaf = errors(0.0, 1e-6)
    assert judge_captions({"members": deaf}).status is ControlStatus.WARNING
    exact = CaptionErrors(deaf.own, deaf.own.copy())
    assert judge_captions({"members": exact}).status is ControlStatus.WARNING
    assert judge_captions({}).status is ControlStatus.NOT_RUN


def test_shuffled_captions_are_called_right_in_about_one_per_cent():
    called = [
        judge_captions({"members": errors(0.0, 0.2, seed=seed)}).status is ControlStatus.PASSED
        for seed in range(300)
    ]
    assert sum(called) <= 9


def test_calls_are_those_that_the_plan_does_not_make_anyway():
    from tests.attacks.membership.synthetic import PIXEL, SMALL_TEXT

    curve = [NoiseError(t=t) for t in range(0, 1000, 100)]
    assert caption_calls(curve, SMALL_TEXT) == 2 * 64 * 4
    assert caption_calls([], SMALL_TEXT) == 2 * 64 * 8
    assert caption_calls(curve, PIXEL) == 0


def shuffled(folder, out):
    """The same pictures, every caption on others; repeats of a picture stay repeats."""
    shutil.copytree(folder, out)
    rows = [json.loads(line) for line in (out / "metadata.jsonl").read_text().splitlines()]
    texts = sorted({row["text"] for row in rows})
    instead = dict(zip(texts, np.random.default_rng(0).permutation(texts), strict=True))
    lines = [json.dumps(row | {"text": instead[row["text"]]}) for row in rows]
    (out / "metadata.jsonl").write_text("\n".join(lines))
    return out


def test_shuffled_captions_of_members_block_a_pass(demo, tmp_path):
    from auditor.scan import ScanOptions, scan_model

    (tmp_path / "policy.yaml").write_text("positive_control_dose: 1\n")  # spares the training
    record = scan_model(
        ScanOptions(
            model=str(demo.models["clean"]),
            members=shuffled(demo.records.members, tmp_path / "members"),
            nonmembers=demo.records.nonmembers,
            out=tmp_path / "out",
            policy=tmp_path / "policy.yaml",
            attacks=("sima",),
            limit=100,
            device="cpu",
        )
    ).record
    found = next(c for c in record.controls if c.name == "caption match")
    assert found.status is ControlStatus.FAILED
    assert found.figures["p_value_members"] > 0.01
    assert found.figures["p_value_nonmembers"] < 0.01
    assert record.verdict.outcome is not Outcome.PASS
    needed = [rule.needed or "" for rule in record.rules]
    assert any("captions that belong to their records" in text for text in needed)

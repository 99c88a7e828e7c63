"""Realistic records for the tests of the renderers; figures are invented but consistent in kind."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import numpy as np

from attacks.results import (
    ControlResult,
    ControlStatus,
    CurvePoint,
    Estimate,
    MembershipFinding,
    Outcome,
    PlannedAttack,
    RuleResult,
)
from reports.crosswalk import coverage_classes
from reports.record import (
    AuditRecord,
    Coverage,
    Data,
    DiffusionDetails,
    Environment,
    Manifest,
    Policy,
    Target,
    Tool,
    Verdict,
)
from tests.reports.sample_findings import ATTACKS, N_MEMBERS, N_NONMEMBERS, finding, sha

HOSTILE = (
    "<script>alert(1)</script></title></style>--><!-- ]]> | ` ``` **b** [x](javascript:alert(1)) "
    "\x1b[31mred\x1b]8;;http://evil.example\x07 \u202egnp.exe\u202c \u200b\x00\x07 \ud800 @octocat #1 "
    "https://evil.example/x www.evil.example {{7*7}} {% raw %} &lt; \" ' onload=alert(1) "
    "<img src=x onerror=alert(1)> Z\u0351\u0352\u0353\u0354\u0355\u0356\u0357 " + "A" * 5000
)


def controls(*, blind: ControlStatus = ControlStatus.PASSED) -> tuple[ControlResult, ...]:
    ran = ControlStatus.PASSED
    return (
        ControlResult(
            "competence",
            ran,
            "On nonmembers the target's loss is 0.031, a re-initialised copy's 1.02.",
            {"target_loss": 0.0312, "reinitialised_loss": 1.02, "trivial_loss": 0.998},
        ),
        ControlResult(
            "positive",
            ControlStatus.WARNING,
            "18 nonmembers were injected into a copy; 4 of 5 attacks caught at least 14 of them.",
            {"injected": 18, "loss": 16, "pia": 16, "pian": None, "secmi": 4, "sima": 64},
        ),
        ControlResult(
            "negative",
            ran,
            "One half of the nonmembers against the other: nothing stands out (p = 0.62).",
            {"p_value": 0.62, "permutations": 999},
        ),
        ControlResult(
            "blind",
            blind,
            "A classifier that never sees the model reaches AUC 0.612 (p = 0.001)."
            if blind is ControlStatus.FAILED
            else "A classifier that never sees the model tells nothing apart (AUC 0.507, p = 0.48).",
            {"auc": 0.612 if blind is ControlStatus.FAILED else 0.507, "p_value": 0.48},
        ),
        ControlResult("direction", ran, "No attack is reversed.", {}),
        ControlResult(
            "reference", ControlStatus.NOT_RUN, "No reference model was given (--reference).", {}
        ),
    )


def rules(outcome: Outcome, findings: tuple[MembershipFinding, ...] = ()) -> tuple[RuleResult, ...]:
    by_name = {one.attack: one for one in findings}
    auc = by_name["secmi"].auc.value or 0.0 if "secmi" in by_name else 0.517
    tpr = by_name["loss"].tpr_at_fpr["0.01"].value if "loss" in by_name else 0.038
    leaks = outcome is Outcome.FAIL
    value, low, high = (12 / 600, 7 / 600, None) if leaks else (None, None, 0.0262)
    if outcome is Outcome.INCONCLUSIVE:
        high = 0.0412
    says = {
        Outcome.PASS: "At most 2.6 % of members can be picked out at a false-alarm rate of 0.1 %.",
        Outcome.FAIL: "12 members score above every nonmember; chance gives 0 or 1. At least 7 of "
        "600 leak at joint confidence 99 %.",
        Outcome.INCONCLUSIVE: "The upper bound, 4.1 %, is above the limit of 3 %, and nothing was "
        "shown to leak.",
        Outcome.INVALID: "The two groups differ even without the model, so no attack can be read.",
    }
    secondary = Outcome.INVALID if outcome is Outcome.INVALID else Outcome.PASS
    return (
        RuleResult(
            rule="identified",
            metric="members that can be picked out at 0.1 % false alarms",
            outcome=outcome,
            value=value,
            low=low,
            high=high,
            limit=0.0 if leaks else 0.03,
            attack="loss",
            explanation=says[outcome],
            p_value=0.0001 if leaks else 0.37,
            needed="about 1,900 nonmembers and 900 members"
            if outcome is Outcome.INCONCLUSIVE
            else None,
            unit="share",
            extrapolation="at most 1,040 of 40,000 training records" if not leaks else None,
        ),
        RuleResult(
            rule="auc",
            metric="area under the ROC curve: a leak of the mass of records",
            outcome=secondary,
            value=auc,
            low=auc - 0.028,
            high=auc + 0.028,
            limit=0.6,
            attack="secmi",
            explanation="Over all records the attack is close to guessing.",
        ),
        RuleResult(
            rule="tpr@1%",
            metric="members above 1 % of nonmembers",
            outcome=None,
            value=tpr,
            low=0.009,
            high=0.0521,
            limit=None,
            attack="loss",
            explanation="Reported only; the policy sets no limit.",
            unit="share",
        ),
    )


SENTENCES = {
    Outcome.PASS: (
        "PASS: no leak was found, and this sample would have shown one above the limit.",
        "At most 2.62 % of members can be picked out at 0.1 % false alarms (limit 3 %).",
    ),
    Outcome.FAIL: (
        "FAIL: at least 7 of the 600 evaluated training records can be told from records that the "
        "model never saw.",
        "Members that leak: at least 7 of 600 (99 % confidence); loss shows it most clearly.",
    ),
    Outcome.INCONCLUSIVE: (
        "INCONCLUSIVE: nothing was shown to leak, but the sample is too small to say that nothing "
        "does.",
        "At most 4.12 % of members can be picked out at 0.1 % false alarms (limit 3 %).",
    ),
    Outcome.INVALID: (
        "INVALID: this measurement cannot be trusted. blind control: A classifier that never sees "
        "the model reaches AUC 0.612 (p = 0.001).",
        "A classifier that never saw the model tells them apart with AUC 0.612 (p = 0.001).",
    ),
}


def curve(*, leaks: bool) -> tuple[CurvePoint, ...]:
    points = []
    for t in (1, 10, 25, 50, 100, 200, 300, 400, 500, 600, 700, 800, 900, 990):
        loss = 0.9 * np.exp(-t / 120) + 0.012
        members = loss * (0.93 if leaks else 0.995)
        points.append(
            CurvePoint(
                t,
                Estimate(members, members * 0.97, members * 1.03),
                Estimate(loss, loss * 0.98, loss * 1.02),
            )
        )
    return tuple(points)


def environment() -> Environment:
    return Environment(
        started=datetime(2026, 10, 12, 9, 30, 4, tzinfo=UTC),
        finished=datetime(2026, 10, 12, 9, 41, 27, tzinfo=UTC),
        device="NVIDIA H200 (cuda:0)",
        precision="fp16",
        batch_size=128,
        versions={"auditor": "0.1.0", "torch": "2.9.0", "diffusers": "0.36.0", "python": "3.11.7"},
        seconds={"records": 3.4, "observe": 412.0, "controls": 260.1, "evaluate": 7.9},
        peak_memory_mb=9120.0,
        calls_per_record=24,
        n_calls=52_344,
        n_calls_cached=12_000,
        images_per_second=104.9,
    )


def coverage() -> tuple[Coverage, ...]:
    tested = tuple(row[0] for row in ATTACKS)
    return tuple(
        Coverage(
            id=one.id,
            name=one.name,
            status="tested" if one.id == "membership-inference" else "not tested",
            reason="five published attacks"
            if one.id == "membership-inference"
            else "no attack of this class is part of this scan",
            results=tested if one.id == "membership-inference" else (),
        )
        for one in coverage_classes()
    )


def sample(outcome: Outcome = Outcome.FAIL, *, n_attacks: int = 5) -> AuditRecord:
    """A record with the given verdict."""
    leaks = outcome is Outcome.FAIL
    sentence, headline = SENTENCES[outcome]
    rows = (ATTACKS * 5)[:n_attacks]
    findings = tuple(
        finding(row, leaked=12 if leaks and i < 4 else 0, seed=i) for i, row in enumerate(rows)
    )
    return AuditRecord(
        tool=Tool(version="0.1.0", commit="7d54c44"),
        command="auditor scan model flowers-ddpm --members train --nonmembers heldout --seed 7",
        seed=7,
        policy=Policy(
            name="default",
            sha256=sha("policy"),
            rules={
                "identified": {"fpr": 0.001, "limit": 0.03},
                "auc": {"upper": 0.6, "lower": 0.4},
                "tpr@1%": {"limit": None},
            },
            alpha_fail=0.01,
            alpha_pass=0.05,
            release_context="public_api",
        ),
        verdict=Verdict(
            outcome=outcome,
            sentence=sentence,
            headline=headline,
            untested="Five of the six attack classes that EDPB Opinion 28/2024 names were not "
            "tested, among them regurgitation and reconstruction.",
            exit_code={"pass": 0, "fail": 1}.get(outcome.value, 3),
        ),
        target=Target(
            name="flowers-ddpm",
            architecture="DDPMPipeline (UNet2DModel)",
            family="diffusion",
            n_parameters=35_746_307,
            weights_sha256={"unet/diffusion_pytorch_model.safetensors": sha("unet")},
            diffusion=DiffusionDetails(
                prediction_type="epsilon",
                n_timesteps=1000,
                resolution=32,
                is_latent=False,
                is_text_conditional=False,
            ),
        ),
        data=Data(
            n_members=N_MEMBERS,
            n_nonmembers=N_NONMEMBERS,
            n_calibration=0,
            members_sha256=sha("members"),
            nonmembers_sha256=sha("nonmembers"),
            repeats={"1": 577, "2": 11, "8": 12},
            n_repeated_members=23,
            n_cross_split_dropped=4,
            n_withheld_members=6,
            n_near_duplicates_across=2,
            n_train=40_000,
            notes=("not evaluated: 4 members found among the nonmembers too",),
        ),
        environment=environment(),
        controls=controls(
            blind=ControlStatus.FAILED if outcome is Outcome.INVALID else ControlStatus.PASSED
        ),
        findings=findings,
        inapplicable=(PlannedAttack("clid", "the target takes no captions"),),
        loss_curve=curve(leaks=leaks),
        rules=rules(outcome, findings),
        coverage=coverage(),
        manifest=Manifest(
            inputs={"members": sha("members"), "nonmembers": sha("nonmembers")},
            files={f"scores/{row[0]}.parquet": sha(row[0]) for row in ATTACKS},
        ),
    )


def poison(value: Any, key: str = "") -> Any:
    """Every free string of a dumped record replaced by the hostile one, keys of maps included."""
    fixed = {"schema", "outcome", "status", "release_context", "unit", "kind", "id"}
    if isinstance(value, str):
        return value if key in fixed or key in {"started", "finished"} else HOSTILE
    if isinstance(value, list):
        return [poison(one, key) for one in value]
    if isinstance(value, dict):
        if key in {"figures", "versions", "seconds", "weights_sha256", "inputs", "files"}:
            return {HOSTILE[:300] + name: poison(one) for name, one in value.items()}
        if key == "repeats":
            return {HOSTILE[:300] + name: one for name, one in value.items()}
        return {name: poison(one, name) for name, one in value.items()}
    return value


def hostile(outcome: Outcome = Outcome.FAIL) -> AuditRecord:
    """A record whose every text field attacks the reader."""
    dumped = sample(outcome).model_dump(mode="json", by_alias=True)
    dumped["target"] |= {"adapter": "x", "reference": "x"}
    dumped["environment"] |= {"tester": "x"}
    return AuditRecord.model_validate(poison(dumped))

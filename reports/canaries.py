"""The record of a one-run audit, `canaries.json` (schema `auditor-canaries/1`), and its page.

Nothing in it tells which canary was in, what a canary holds, or what the secret seed was.
"""

from __future__ import annotations

import json
import math
from datetime import datetime
from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field

from attacks.errors import UsageError
from reports.files import write_atomic
from reports.record import Tool
from reports.text import clean

SCHEMA: Literal["auditor-canaries/1"] = "auditor-canaries/1"
SCHEMA_FILE = Path(__file__).parent / "schema" / "canaries.schema.json"

FACTS = {
    "epsilon": "epsilon",
    "delta": "delta",
    "variant": "variant (pure, approximate, zCDP, RDP, GDP)",
    "unit": "unit of privacy (record or user)",
    "neighbouring": "neighbouring data sets (add-remove or replace)",
    "accountant": "accountant",
    "sampling": "sampling really used (Poisson, shuffled ...)",
    "releases": "number of releases, hyper-parameter search included",
    "trust_model": "trust model",
    "arithmetic": "floating-point and random-number mode",
}
"""What a claim has to state to be evaluable (NIST SP 800-226), by field of `ClaimStated`."""


class _Model(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)


class ClaimStated(_Model):
    """What was claimed about the training; None is what nobody said."""

    epsilon: float | None
    delta: float | None
    variant: str | None
    unit: str | None
    neighbouring: str | None
    accountant: str | None
    sampling: str | None
    releases: int | None
    trust_model: str | None
    arithmetic: str | None
    missing: tuple[str, ...]
    """Fields that the statement lacks: with any, the claim is not evaluable by SP 800-226."""


class CanaryVerdict(_Model):
    """The answer in one sentence."""

    outcome: Literal["contradicted", "not_contradicted", "not_evaluable", "reported"]
    sentence: str
    notes: tuple[str, ...]
    """What limits the answer."""
    exit_code: int
    """0 not contradicted or reported, 1 contradicted, 3 not evaluable."""


class OneRunFigures(_Model):
    """The bound that a verdict rests on."""

    method: str
    lower: float
    """Lower bound of epsilon, in nats."""
    ceiling: float
    """Largest bound that so many canaries allow."""
    n_guesses: int
    n_correct: int
    k_plus: int
    """Highest scores that were called "in"."""
    k_minus: int
    """Lowest scores that were called "out"."""
    n_pairs: int
    """Pairs of numbers of guesses that share alpha."""
    p_value: float
    """P-value of "epsilon is 0 at this delta"."""
    assumption: str


class GaussianFigures(_Model):
    """The bound under an assumed Gaussian curve; no verdict rests on it."""

    method: str
    mu_lower: float
    mu_ceiling: float
    lower: float | None
    """Epsilon of `mu_lower`; None with a reason."""
    ceiling: float | None
    reason: str | None
    n_guesses: int
    n_correct: int
    assumption: str


class CanaryTarget(_Model):
    """The model that was asked."""

    name: str
    architecture: str
    gives: str
    """logits, probabilities or labels."""
    sha256: dict[str, str]


class CanarySet(_Model):
    """What was planted."""

    kind: Literal["mislabelled", "random"]
    n: int
    n_in: int
    """Canaries that the coins put into the training data."""
    n_rows_taken_out: int
    seed_source: Literal["operating system", "given"]
    data_sha256: str
    train_sha256: str
    """Hash of the file that the model has to be trained on."""
    commitment: str
    """Hash that was printed at planting."""


class CanaryRecord(_Model):
    """A one-run audit."""

    schema_: Literal["auditor-canaries/1"] = Field(SCHEMA, alias="schema")
    tool: Tool
    created: datetime
    seconds: float
    verdict: CanaryVerdict
    claim: ClaimStated | None
    delta: float
    """Delta of both bounds."""
    alpha: float
    """Error probability of each bound."""
    one_run: OneRunFigures
    gaussian: GaussianFigures
    target: CanaryTarget
    canaries: CanarySet


def render_json(record: CanaryRecord) -> str:
    """The canonical text: keys sorted, ASCII only, no NaN."""
    tree = record.model_dump(mode="json", by_alias=True)
    return json.dumps(tree, sort_keys=True, indent=1, allow_nan=False) + "\n"


EXIT_CODES = {"contradicted": 1, "not_contradicted": 0, "not_evaluable": 3, "reported": 0}
"""Exit code of each outcome."""


def read(path: Path) -> CanaryRecord:
    """The record in a file.

    Raises pydantic's ValidationError, OSError, or UsageError if the record contradicts itself.
    """
    record = CanaryRecord.model_validate_json(path.read_text(encoding="utf-8"))
    verdict, claim = record.verdict, record.claim
    epsilon = None if claim is None else claim.epsilon
    is_above = epsilon is not None and record.one_run.lower > epsilon
    wrong = {
        "its exit code is not that of its outcome": verdict.exit_code
        != EXIT_CODES[verdict.outcome],
        "a claim is reported on as if there were none, or the reverse": (claim is None)
        != (verdict.outcome == "reported"),
        "its bound and its claim do not give its outcome": verdict.outcome
        in ("contradicted", "not_contradicted")
        and is_above != (verdict.outcome == "contradicted"),
    }
    for what, is_wrong in wrong.items():
        if is_wrong:
            raise UsageError(
                f"{path.name} contradicts itself: {what}; it was edited or damaged, restore it or "
                "score again"
            )
    return record


def schema_text() -> str:
    """The text of the published JSON Schema."""
    tree: dict[str, Any] = {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "$id": f"urn:auditor:schema:{SCHEMA}",
        **CanaryRecord.model_json_schema(by_alias=True),
    }
    return json.dumps(tree, indent=1, sort_keys=True) + "\n"


def bound(value: float | None) -> str:
    """An epsilon with three decimals, rounded down, so that no bound looks larger than it is."""
    return "-" if value is None else f"{math.floor(value * 1000) / 1000:.3f}"


def not_stated(missing: tuple[str, ...]) -> str:
    """The facts that a claim lacks, in words."""
    return ", ".join(FACTS[name] for name in missing)


def render_markdown(record: CanaryRecord) -> str:
    """The page `canaries.md`."""
    verdict, one, gauss = record.verdict, record.one_run, record.gaussian
    lines = [
        "# One-run audit of differential privacy",
        "",
        f"**{_cell(verdict.outcome.replace('_', ' '))}**: {_cell(verdict.sentence)}",
        "",
        *(f"- {_cell(note)}" for note in verdict.notes),
        "",
        f"## Lower bounds of epsilon at delta {record.delta:g}, "
        f"confidence {100 * (1 - record.alpha):g} %",
        "",
        "| bound | epsilon at least | ceiling | guesses | correct |",
        "|---|---|---|---|---|",
        f"| one run | {bound(one.lower)} | {bound(one.ceiling)} | {one.n_guesses:,} "
        f"| {one.n_correct:,} |",
        f"| one run, Gaussian curve assumed | {bound(gauss.lower)} | {bound(gauss.ceiling)} "
        f"| {gauss.n_guesses:,} | {gauss.n_correct:,} |",
        "",
        f"One run: {_cell(one.method)}. Holds if {_cell(one.assumption)}.",
        "",
        f"Gaussian curve: {_cell(gauss.method)}. Holds if {_cell(gauss.assumption)}."
        + (f" {_cell(gauss.reason)}." if gauss.reason else ""),
        "",
        *_claim_lines(record.claim),
        "## What was audited",
        "",
        f"- Model `{_cell(record.target.name)}` ({_cell(record.target.architecture)}, gives "
        f"{_cell(record.target.gives)})",
        f"- {record.canaries.n:,} canaries ({record.canaries.kind}), {record.canaries.n_in:,} in; "
        f"{record.canaries.n_rows_taken_out:,} rows taken out; seed: {record.canaries.seed_source}",
        f"- Training file SHA-256 `{record.canaries.train_sha256}`",
        f"- Commitment of the planting `{record.canaries.commitment}`",
    ]
    return "\n".join(lines) + "\n"


def _claim_lines(claim: ClaimStated | None) -> list[str]:
    if claim is None:
        return []
    lines = ["## The claim", "", "| fact | stated |", "|---|---|"]
    for name, words in FACTS.items():
        value = getattr(claim, name)
        shown = "**not stated**" if value is None else _cell(value)
        lines.append(f"| {words} | {shown} |")
    if claim.missing:
        lines += [
            "",
            f"Claim not evaluable by NIST SP 800-226 as stated: {not_stated(claim.missing)} missing.",
        ]
    return [*lines, ""]


def _cell(value: object) -> str:
    """Text that can neither end a table cell nor start markup."""
    text = clean(value, 600)
    for character in "\\`*_[]<>|#":
        text = text.replace(character, f"\\{character}")
    return text


if __name__ == "__main__":
    write_atomic(SCHEMA_FILE, schema_text())

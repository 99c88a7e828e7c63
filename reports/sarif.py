"""SARIF 2.1.0 for code-scanning dashboards: one result for each rule that did not pass.

Never one result for each record: dashboards reject large files, and a record is private.

    fail            level error
    inconclusive    level warning
    invalid         level warning
    pass, reported  no result; the outcome is among the run's properties

SARIF has a kind `open` for the undecided, but it must have the level `none`, which dashboards
hide; an undecided gate would look like a pass. Alerts are matched over runs by rule and target
name (`primaryLocationLineHash`, stable over retraining) and by rule and weights
(`ruleAndTarget/v1`).
"""

from __future__ import annotations

import hashlib
import json
from datetime import UTC, datetime
from typing import Any

from attacks.results import Outcome, RuleResult
from reports import crosswalk, text, wording
from reports.markdown import escape
from reports.record import AuditRecord

SCHEMA = (
    "https://docs.oasis-open.org/sarif/sarif/v2.1.0/errata01/os/schemas/sarif-schema-2.1.0.json"
)
LEVELS = {Outcome.FAIL: "error", Outcome.INCONCLUSIVE: "warning", Outcome.INVALID: "warning"}
SEVERITY = {"extracted": "9.0", "identified": "8.0", "auc": "7.0"}
DEFAULT_SEVERITY = "6.0"
KIND = "membership"
EXTRACTED = "extracted"
"""The rule about records that a model draws again, which is no inference."""
EXTRACTION_ID = "EXT001"
TAXONOMIES = {"atlas": "MITRE ATLAS", "cwe": "CWE"}

_SHORT = {
    "identified": "Single training records can be identified",
    "auc": "Members score above nonmembers over all records",
    "extracted": "The model draws training records again",
}
_FIX = (
    "Look at the records that the report names and at their copies; remove repeats, train less on "
    "them, or train with differential privacy; then audit again with the same records and seed."
)
_EXTRACTION_HELP = (
    "The model was prompted, and what it drew was compared with the records. A result means that "
    "images were copies of training records, nearer than anything lies to a record that the model "
    "never saw, and were so again when they were drawn a second time."
)


def render(record: AuditRecord) -> str:
    """The SARIF log as text."""
    log = {"$schema": SCHEMA, "version": "2.1.0", "runs": [_run(record)]}
    return json.dumps(log, indent=1, allow_nan=False) + "\n"


def _run(record: AuditRecord) -> dict[str, Any]:
    ids = list(dict.fromkeys(_rule_id(rule) for rule in record.rules))
    results = [
        _result(record, rule, ids.index(_rule_id(rule)))
        for rule in record.rules
        if rule.outcome in LEVELS
    ]
    if record.verdict.outcome in LEVELS and not results:
        ids.append("MIA/verdict")
        results.append(_verdict_result(record, len(ids) - 1))
    return {
        "tool": {"driver": _driver(record, ids)},
        "automationDetails": {"id": f"auditor/{_name(record)}/"},
        "invocations": [_invocation(record)],
        "taxonomies": [_taxonomy(key) for key in TAXONOMIES],
        "results": results,
        "properties": {
            "verdict": record.verdict.outcome.value,
            "untested": text.clean(record.verdict.untested, 600),
            "rules": {
                text.clean(rule.rule, 100): rule.outcome.value if rule.outcome else "reported"
                for rule in record.rules
            },
            "notice": wording.NOT_ADVICE,
        },
    }


def _driver(record: AuditRecord, ids: list[str]) -> dict[str, Any]:
    by_id = {_rule_id(rule): rule for rule in record.rules}
    return {
        "name": text.clean(record.tool.name, 60),
        "version": text.clean(record.tool.version, 40),
        "supportedTaxonomies": [{"name": name} for name in TAXONOMIES.values()],
        "rules": [_descriptor(one, by_id.get(one)) for one in ids],
    }


def _descriptor(rule_id: str, rule: RuleResult | None) -> dict[str, Any]:
    is_drawn = rule_id == EXTRACTION_ID
    name = EXTRACTED if is_drawn else rule_id.partition("/")[2]
    metric = text.clean(rule.metric, 300) if rule else "the verdict of the audit"
    guide = " ".join(f"{head} {body}" for head, body in wording.READING[:4])
    guide = _EXTRACTION_HELP if is_drawn else guide
    subject = "Extraction by generation" if is_drawn else "Membership inference"
    help_text = f"Limits {metric}. {_FIX} {guide} {wording.NOT_ADVICE}"
    return {
        "id": rule_id,
        "name": "".join(word.capitalize() for word in name.replace("@", " at ").split()),
        "shortDescription": {"text": _SHORT.get(name, f"Membership inference: {metric}")},
        "fullDescription": {
            "text": f"{subject}, measured on {metric}. A rule passes only if the upper "
            "bound of the leak is below its limit."
        },
        "help": {"text": help_text, "markdown": escape(help_text)},
        "defaultConfiguration": {"level": "error"},
        "relationships": [
            {"target": _taxon(key), "kinds": ["relevant"]} for key in _taxonomies(rule_id)
        ],
        "properties": {
            "tags": ["security", "privacy", "external/cwe/cwe-359"],
            "precision": "high",
            "security-severity": SEVERITY.get(name, DEFAULT_SEVERITY),
        },
    }  # fmt: skip


def _result(record: AuditRecord, rule: RuleResult, index: int) -> dict[str, Any]:
    assert rule.outcome is not None
    word = wording.OUTCOMES[rule.outcome]
    numbers = (
        f"Observed {text.figure(rule.value, rule.unit)}, "
        f"interval {text.interval(rule.low, rule.high, rule.unit)}, "
        f"limit {text.figure(rule.limit, rule.unit)}."
    )
    needed = f" Would be decided by {text.clean(rule.needed, 300)}." if rule.needed else ""
    message = f"{word}: {text.clean(rule.explanation, 800)} {numbers}{needed}"
    properties = {"outcome": rule.outcome.value}
    if rule.attack:
        properties["attack"] = text.clean(rule.attack, 80)
    return _entry(record, _rule_id(rule), index, rule.outcome, message, properties)


def _verdict_result(record: AuditRecord, index: int) -> dict[str, Any]:
    verdict = record.verdict
    message = f"{wording.OUTCOMES[verdict.outcome]}: {text.clean(verdict.sentence, 600)}"
    properties = {"outcome": verdict.outcome.value}
    return _entry(record, "MIA/verdict", index, verdict.outcome, message, properties)


def _entry(
    record: AuditRecord,
    rule_id: str,
    index: int,
    outcome: Outcome,
    message: str,
    properties: dict[str, str],
) -> dict[str, Any]:
    weights = json.dumps(sorted(record.target.weights_sha256.items()))
    return {
        "ruleId": rule_id,
        "ruleIndex": index,
        "level": LEVELS[outcome],
        "message": {"text": _literal(message)},
        "locations": [
            {
                "physicalLocation": {
                    "artifactLocation": {"uri": "audit.json"},
                    "region": {"startLine": 1},
                },
                "logicalLocations": [{"name": _name(record), "kind": "resource"}],
            }
        ],
        "partialFingerprints": {
            "primaryLocationLineHash": _hash(rule_id, record.target.name),
            "ruleAndTarget/v1": _hash(rule_id, weights),
        },
        "taxa": [_taxon(key) for key in _taxonomies(rule_id)],
        "properties": properties,
    }


def _invocation(record: AuditRecord) -> dict[str, Any]:
    return {
        "commandLine": text.clean(record.command, 1000),
        "executionSuccessful": True,
        "exitCode": record.verdict.exit_code,
        "startTimeUtc": _utc(record.environment.started),
        "endTimeUtc": _utc(record.environment.finished),
    }


def _utc(moment: datetime) -> str:
    return moment.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def _taxonomies(rule_id: str) -> list[str]:
    """ATLAS names the inference of membership; for drawing records again only the CWE is cited."""
    return ["cwe"] if rule_id == EXTRACTION_ID else list(TAXONOMIES)


def _taxonomy(key: str) -> dict[str, Any]:
    row = _citation(key)
    return {
        "name": TAXONOMIES[key],
        "version": row.version,
        "organization": "MITRE",
        "taxa": [{"id": _taxon_id(row), "shortDescription": {"text": row.says}}],
    }


def _taxon(key: str) -> dict[str, Any]:
    return {"id": _taxon_id(_citation(key)), "toolComponent": {"name": TAXONOMIES[key]}}


def _taxon_id(row: crosswalk.Citation) -> str:
    return row.id.removeprefix("CWE-")


def _citation(key: str) -> crosswalk.Citation:
    return next(row for row in crosswalk.citations(KIND) if row.framework == key)


def _rule_id(rule: RuleResult) -> str:
    if rule.rule == EXTRACTED:
        return EXTRACTION_ID
    return f"{crosswalk.kinds()[KIND]}/{text.clean(rule.rule, 100)}"


def _name(record: AuditRecord) -> str:
    return text.clean(record.target.name, 120)


def _hash(*parts: str) -> str:
    joined = "\n".join(parts).encode("utf-8", "backslashreplace")
    return hashlib.sha256(joined).hexdigest()


def _literal(message: str) -> str:
    """SARIF messages give braces and brackets a meaning; here they have none."""
    escaped = message.replace("\\", "\\\\").replace("[", "\\[").replace("]", "\\]")
    return escaped.replace("{", "{{").replace("}", "}}")

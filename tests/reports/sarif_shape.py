"""The part of the SARIF 2.1.0 JSON Schema that auditor uses, stated anew from the standard.

Closed objects: a property that the standard does not define is an error here as it is there. The
properties of the standard that auditor never writes are left out, so this is stricter.
"""

from __future__ import annotations

from typing import Any

TEXT = {"type": "string"}
LEVEL = {"enum": ["none", "note", "warning", "error"]}
TIME = {"type": "string", "pattern": r"^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?Z$"}


def ref(name: str) -> dict[str, str]:
    return {"$ref": f"#/$defs/{name}"}


def many(name: str, *, unique: bool = True) -> dict[str, Any]:
    return {"type": "array", "uniqueItems": unique, "items": ref(name)}


def closed(*required: str, **properties: Any) -> dict[str, Any]:
    return {
        "type": "object",
        "additionalProperties": False,
        "required": list(required),
        "properties": {name.rstrip("_"): shape for name, shape in properties.items()},
    }


BAG = {
    "type": "object",
    "properties": {"tags": {"type": "array", "uniqueItems": True, "items": TEXT}},
}
STRINGS = {"type": "object", "additionalProperties": TEXT}
DEFINITIONS = {
    "run": closed(
        "tool",
        tool=ref("tool"),
        invocations=many("invocation", unique=False),
        results=many("result", unique=False),
        automationDetails=closed(id=TEXT),
        taxonomies=many("component"),
        properties=BAG,
    ),
    "tool": closed("driver", driver=ref("component")),
    "component": closed(
        "name",
        name=TEXT,
        organization=TEXT,
        version=TEXT,
        rules=many("descriptor"),
        taxa=many("descriptor"),
        supportedTaxonomies=many("componentReference"),
    ),
    "componentReference": closed(name=TEXT, index={"type": "integer", "minimum": -1}),
    "descriptor": closed(
        "id",
        id=TEXT,
        name=TEXT,
        shortDescription=ref("multiformat"),
        fullDescription=ref("multiformat"),
        help=ref("multiformat"),
        defaultConfiguration=closed(level=LEVEL),
        relationships=many("relationship"),
        properties=BAG,
    ),
    "multiformat": closed("text", text=TEXT, markdown=TEXT),
    "relationship": closed(
        "target",
        target=ref("reference"),
        kinds={"type": "array", "uniqueItems": True, "items": TEXT},
    ),
    "reference": closed("id", id=TEXT, toolComponent=ref("componentReference")),
    "invocation": closed(
        "executionSuccessful",
        commandLine=TEXT,
        executionSuccessful={"type": "boolean"},
        exitCode={"type": "integer"},
        startTimeUtc=TIME,
        endTimeUtc=TIME,
    ),
    "result": closed(
        "message",
        ruleId=TEXT,
        ruleIndex={"type": "integer", "minimum": -1},
        kind={"enum": ["notApplicable", "pass", "fail", "review", "open", "informational"]},
        level=LEVEL,
        message=closed("text", text=TEXT),
        locations=many("location", unique=False),
        partialFingerprints=STRINGS,
        taxa=many("reference"),
        properties=BAG,
    ),
    "location": closed(
        physicalLocation=closed(
            "artifactLocation",
            artifactLocation=closed(uri=TEXT),
            region=closed("startLine", startLine={"type": "integer", "minimum": 1}),
        ),
        logicalLocations=many("logicalLocation"),
    ),
    "logicalLocation": closed(name=TEXT, kind=TEXT),
}
SHAPE: dict[str, Any] = {
    "$schema": "https://json-schema.org/draft/2020-12/schema",
    **closed("version", "runs", version={"const": "2.1.0"}, runs=many("run", unique=False)),
    "$defs": DEFINITIONS,
}
SHAPE["properties"]["$schema"] = TEXT

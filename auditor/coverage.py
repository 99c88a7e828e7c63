"""Which attack classes an audit covered: the list of EDPB Opinion 28/2024, paragraph 55."""

from __future__ import annotations

from collections.abc import Sequence

from attacks.extraction.generation import GenerationFinding
from attacks.results import AttributeFinding, MembershipFinding
from reports.crosswalk import coverage_classes
from reports.record import Coverage


def coverage(
    findings: Sequence[MembershipFinding],
    attributes: Sequence[AttributeFinding] = (),
    extraction: GenerationFinding | None = None,
) -> tuple[Coverage, ...]:
    """One row a class, in the order of the opinion; a row without a result is never `tested`."""
    names = {
        "membership-inference": tuple(finding.attack for finding in findings),
        "attribute-inference": tuple(dict.fromkeys(found.attack for found in attributes)),
        "regurgitation": () if extraction is None else (extraction.attack,),
    }
    rows = []
    for known in coverage_classes():
        tested = names.get(known.id, ())
        count = f"{len(tested)} attack{'s' if len(tested) != 1 else ''} gave a result"
        rows.append(
            Coverage(
                id=known.id,
                name=known.name,
                status="tested" if tested else "not tested",
                reason=count if tested else "no attack of this class was run",
                results=tested,
            )
        )
    return tuple(rows)

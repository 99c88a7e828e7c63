"""Tables, attacks and controls for the tests of evaluation and judgement."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from attacks.manifest import Access, Manifest
from attacks.results import ControlResult, ControlStatus, Cost
from auditor.evaluate import AttackEntry, Evaluation, RecordTable, evaluate
from auditor.policy import Policy

CONTROLS = ("competence", "positive", "negative", "blind")


def record_table(n_members: int, n_nonmembers: int, **columns: Any) -> RecordTable:
    """Members first; ids r0, r1, ..."""
    n = n_members + n_nonmembers
    return RecordTable(
        record_ids=tuple(f"r{i}" for i in range(n)),
        is_member=np.arange(n) < n_members,
        multiplicity=np.arange(n) % 3 + 1,
        colours=tuple(f"#0000{i % 100:02d}" for i in range(n)),
        sizes=("8 x 8",) * n,
        **columns,
    )


def entry(
    dose: int | None = 16, access: Access = Access.GREY_BOX, variant: str = ""
) -> AttackEntry:
    """An attack whose positive control was caught at a dose."""
    manifest = Manifest("MIA001", "loss", "Loss threshold", "decides", access, (), ())
    return AttackEntry(manifest, Cost(2, 1), dose, variant)


def controls(**statuses: ControlStatus | None) -> list[ControlResult]:
    """All controls passed, except those given (None leaves one out)."""
    status = {name: statuses.get(name, ControlStatus.PASSED) for name in CONTROLS}
    return [ControlResult(n, s, f"The {n} says so.") for n, s in status.items() if s is not None]


def evaluated(
    scores: NDArray,
    n_members: int,
    policy: Policy | None = None,
    *,
    entries: Mapping[str, AttackEntry] | None = None,
    permutations: int = 499,
    **columns: Any,
) -> Evaluation:
    """Evaluate (k, n) scores, members first, as attacks a0, a1, ..."""
    names = [f"a{i}" for i in range(len(scores))]
    records = record_table(n_members, scores.shape[1] - n_members, **columns)
    attacks = entries or {name: entry() for name in names}
    return evaluate(
        dict(zip(names, scores, strict=True)),
        records,
        attacks,
        policy or Policy(),
        seed=1,
        permutations=permutations,
    )

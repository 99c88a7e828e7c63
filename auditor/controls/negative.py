"""The negative control: where nothing can have leaked, no attack may separate anything."""

from __future__ import annotations

import hashlib

import numpy as np
from numpy.typing import NDArray

from attacks.results import ControlResult, ControlStatus
from attacks.statistics.identified import max_per_subject
from attacks.statistics.permutation import joint_auc_test
from attacks.wording import p_equals
from auditor.scoring import Scores

ALPHA = 0.01


def separates(
    name: str,
    what: str,
    scores: Scores,
    is_member: NDArray[np.bool_],
    seed: int,
    subjects: NDArray | None = None,
) -> ControlResult:
    """Joint permutation test, at 1 % over all attacks, that scores ignore the labels.

    scores: attack -> (n,); is_member: (n,) the labels that should not matter; what: the
    comparison in words; subjects: (n,) who each record is about, if that is the unit. Failed means
    that something else than memory separates the records.
    """
    if subjects is not None and scores:
        reduced = {k: max_per_subject(v, is_member, subjects) for k, v in scores.items()}
        is_member = next(iter(reduced.values())).is_member
        scores = {k: units.scores for k, units in reduced.items()}
    if not scores or is_member.all() or not is_member.any():
        return ControlResult(name, ControlStatus.NOT_RUN, f"{what}: nothing to compare")
    rng = np.random.default_rng([seed, 2])
    p_value = joint_auc_test(list(scores.values()), is_member, rng=rng).p_value
    failed = p_value <= ALPHA
    verdict = "separated them, which no leak explains" if failed else "told nothing apart"
    summary = (
        f"{what} ({int(is_member.sum())} against {int((~is_member).sum())}): "
        f"the attacks {verdict} (joint permutation, {p_equals(p_value)})."
    )
    figures: dict[str, float | int | str | bool | None] = {
        "p_value": p_value,
        "n_first": int(is_member.sum()),
        "n_second": int((~is_member).sum()),
    }
    return ControlResult(
        name, ControlStatus.FAILED if failed else ControlStatus.PASSED, summary, figures
    )


def random_half(names: list[str], seed: int) -> NDArray[np.bool_]:
    """(n,) one random half of the units, by a keyed hash of their names; equal names stay together."""
    record_ids = sorted(set(names))
    ranks = [
        hashlib.blake2b(f"{seed}|half|{i}".encode(), digest_size=8).digest() for i in record_ids
    ]
    order = np.argsort(np.array(ranks))
    half = np.zeros(len(record_ids), dtype=bool)
    half[order[: len(record_ids) // 2]] = True
    chosen = {name for name, is_chosen in zip(record_ids, half, strict=True) if is_chosen}
    return np.array([name in chosen for name in names])

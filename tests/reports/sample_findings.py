"""Findings of the sample records: drawn scores, real ROC curves, invented bounds."""

from __future__ import annotations

import hashlib
from typing import Any

import numpy as np
from scipy.stats import beta, norm

from attacks.results import (
    Cost,
    Estimate,
    Identified,
    MembershipFinding,
    NamedRecord,
    RocPoint,
    ScoreShare,
    TprAtFpr,
)

N_MEMBERS, N_NONMEMBERS = 600, 1200
ATTACKS = (
    ("loss", "MIA001", "Denoising loss at fixed timesteps", 10, 2),
    ("pia", "MIA004", "Proximal initialisation (PIA)", 2, 1),
    ("pian", "MIA005", "Proximal initialisation, normalised (PIAN)", 2, 0),
    ("secmi", "MIA003", "Step-wise error comparison (SecMI)", 12, 10),
    ("sima", "MIA006", "Score at the clean input (SimA)", 1, 1),
)


def sha(text: str) -> str:
    return hashlib.sha256(text.encode("utf-8", "replace")).hexdigest()


def roc(members: np.ndarray, nonmembers: np.ndarray, points: int = 400) -> tuple[RocPoint, ...]:
    thresholds = np.sort(np.concatenate([members, nonmembers]))[::-1]
    picks = np.unique(np.geomspace(1, len(thresholds), points).astype(int)) - 1
    made = []
    for threshold in thresholds[picks]:
        k = int((members >= threshold).sum())
        low = beta.ppf(0.025, k, len(members) - k + 1) if k else 0.0
        high = beta.ppf(0.975, k + 1, len(members) - k) if k < len(members) else 1.0
        made.append(
            RocPoint(
                fpr=float((nonmembers >= threshold).mean()),
                tpr=k / len(members),
                tpr_low=float(low),
                tpr_high=float(high),
            )
        )
    return tuple(made)


def distribution(members: np.ndarray, nonmembers: np.ndarray) -> tuple[ScoreShare, ...]:
    scores = np.linspace(members.max(), nonmembers.min(), 60).tolist()
    return tuple(
        ScoreShare(s, float((members >= s).mean()), float((nonmembers >= s).mean())) for s in scores
    )


def named(scores: np.ndarray, *, is_member: bool, count: int, n_named: int) -> tuple[Any, ...]:
    order = np.argsort(-scores)[:count]
    return tuple(
        NamedRecord(
            record_id=sha(f"{is_member}{i}")[:16],
            is_member=is_member,
            score=float(scores[i]),
            rank=rank + (1 if is_member else 14),
            multiplicity=1 + 7 * (rank % 4 == 0),
            is_named=rank < n_named,
            comparable=None if rank == 5 else rank != 3,
            colour=f"#{sha(str(i))[:6]}",
            size="32 x 32",
        )
        for rank, i in enumerate(order)
    )


def finding(row: tuple[str, str, str, int, int], *, leaked: int, seed: int) -> MembershipFinding:
    name, rule_id, title, alone, marginal = row
    rng = np.random.default_rng(seed)
    members, nonmembers = rng.normal(size=N_MEMBERS), rng.normal(size=N_NONMEMBERS)
    members[:leaked] += 6
    auc = float(norm.cdf((members.mean() - nonmembers.mean()) / 2**0.5))
    above = {str(r): int((members > np.sort(nonmembers)[-r]).sum()) for r in (1, 3, 10)}
    return MembershipFinding(
        attack=name,
        rule_id=rule_id,
        title=title,
        access="grey-box",
        n_members=N_MEMBERS,
        n_nonmembers=N_NONMEMBERS,
        auc=Estimate(auc, auc - 0.028, auc + 0.028),
        tpr_at_fpr={
            "0.001": TprAtFpr(
                None, None, 0.0119 + leaked / 500, reason="needs 3,688 nonmembers, 1,200 given"
            ),
            "0.01": TprAtFpr(0.018 + leaked / 600, 0.009, 0.026 + leaked / 500, fpr=0.00917),
            "0.05": TprAtFpr(0.059 + leaked / 600, 0.041, 0.074 + leaked / 500, fpr=0.05),
        },
        identified=Identified(above, 3.2e-6 if leaked else 0.41, max(0, leaked - 5)),
        detectable=Estimate(0.0117, 0.0083, 0.015),
        cost=Cost(alone, marginal),
        roc=roc(members, nonmembers),
        distribution=distribution(members, nonmembers),
        top_members=named(members, is_member=True, count=20 if leaked else 10, n_named=leaked),
        top_nonmembers=named(nonmembers, is_member=False, count=20, n_named=0),
        positive_control_dose=16,
        supports_pass=name != "pian",
        scores=f"scores/{name}.parquet",
        warnings=("missed its positive control: cannot support a pass",) if name == "pian" else (),
        knowledge="the record, its caption, and noise predictions at chosen timesteps",
    )

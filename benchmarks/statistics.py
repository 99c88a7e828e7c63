"""Seconds of the arithmetic between scores and verdict, on one machine.

    python benchmarks/statistics.py

1. A million scores (500,000 members, 500,000 nonmembers, one attack): finding, rules, verdict.
2. The joint permutation test at 5,000 + 5,000 records with 8 attacks and 9,999 permutations,
   alone and as a ratio to sorting those scores 9,999 times, which a naive version would do.
"""

from __future__ import annotations

import os
import platform
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np

from attacks.manifest import Access, Manifest
from attacks.results import ControlResult, ControlStatus, Cost
from attacks.statistics.permutation import PERMUTATIONS, joint_identified_test
from auditor.evaluate import AttackEntry, RecordTable, evaluate
from auditor.judge import judge
from auditor.policy import Policy


def best_seconds(work: Callable[[], object], repeats: int = 3) -> float:
    """Shortest wall time of several runs."""
    taken = []
    for _ in range(repeats):
        start = time.perf_counter()
        work()
        taken.append(time.perf_counter() - start)
    return min(taken)


def machine() -> str:
    """Processor, cores and library versions."""
    info = Path("/proc/cpuinfo")
    names = info.read_text().splitlines() if info.exists() else []
    model = next((n.split(":")[1].strip() for n in names if n.startswith("model name")), "")
    load = os.getloadavg()[0] if hasattr(os, "getloadavg") else float("nan")
    return (
        f"{model or platform.processor()}, {os.cpu_count()} cores, load {load:.1f}, "
        f"Python {platform.python_version()}, NumPy {np.__version__}"
    )


def judge_a_million(rng: np.random.Generator, n_a_side: int) -> Callable[[], object]:
    n = 2 * n_a_side
    records = RecordTable(
        record_ids=tuple(map(str, range(n))),
        is_member=np.arange(n) < n_a_side,
        multiplicity=np.ones(n, dtype=np.int64),
        colours=("#808080",) * n,
        sizes=("32 x 32",) * n,
    )
    manifest = Manifest("MIA001", "loss", "Loss", "decides", Access.GREY_BOX, (), ())
    attacks = {"loss": AttackEntry(manifest, Cost(1, 1), 16)}
    scores = {"loss": rng.normal(size=n)}
    names = ("competence", "positive", "negative", "blind")
    controls = [ControlResult(name, ControlStatus.PASSED, "ran") for name in names]
    policy = Policy()
    return lambda: judge(evaluate(scores, records, attacks, policy, seed=0), controls, policy)


def permute(rng: np.random.Generator, n_a_side: int, n_attacks: int) -> Callable[[], object]:
    scores = list(rng.normal(size=(n_attacks, 2 * n_a_side)))
    members = np.arange(2 * n_a_side) < n_a_side
    return lambda: joint_identified_test(scores, members, rng=rng)


def main() -> None:
    rng = np.random.default_rng(0)
    print(machine())
    seconds = best_seconds(judge_a_million(rng, 500_000))
    print(f"1,000,000 scores, one attack, to the verdict: {seconds:.2f} s")
    seconds = best_seconds(permute(rng, 5_000, 8))
    matrix = rng.normal(size=(8, 10_000))
    naive = best_seconds(lambda: np.sort(matrix, axis=1)) * PERMUTATIONS
    print(
        f"joint permutation test, 5,000 + 5,000 records, 8 attacks, {PERMUTATIONS:,} permutations: "
        f"{seconds:.2f} s ({naive / seconds:,.0f} times less than sorting every permutation)"
    )


if __name__ == "__main__":
    main()

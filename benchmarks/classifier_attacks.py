"""Ratios of the arithmetic of LiRA and RMIA to their obvious versions, measured in one run.

    python benchmarks/classifier_attacks.py

1. LiRA (online) over 2,000 records and 128 shadow models: arrays, against a loop over records
   with scipy's densities.
2. RMIA's comparison of 10,000 records with a population of 10,000: sort and binary search,
   against the table of all pairs.

The two versions of each must agree before their times are printed.
"""

from __future__ import annotations

import os
import platform
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from scipy.stats import norm

from attacks.membership import _population, lira
from attacks.observations import Classes, Logits, Observations, ShadowConfidence, ShadowKeep

CONFIG = lira.LiraConfig(variance="per_record")


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


def made_up(rng: np.random.Generator, n: int, m: int) -> Observations:
    """A model with two classes and its shadow models, in pairs of complements."""
    first = rng.random((n, m // 2)) < 0.5
    keep = np.stack([first, ~first], axis=2).reshape(n, m)
    target = rng.normal(size=(n, 1))
    return {
        Classes(): np.zeros(n, dtype=np.int64),
        Logits(): np.stack([target, np.zeros((n, 1))], axis=-1),
        ShadowConfidence(): rng.normal(size=(n, m, 1)) + keep[:, :, None],
        ShadowKeep(): keep,
    }


def lira_by_record(observations: Observations) -> NDArray[np.float64]:
    """The same scores, one record after another."""
    phi = observations[Logits()][:, 0, 0]
    shadows, keep = observations[ShadowConfidence()][:, :, 0], observations[ShadowKeep()]
    scores = np.zeros(len(phi))
    for i in range(len(phi)):
        inside, outside = shadows[i][keep[i]], shadows[i][~keep[i]]
        scores[i] = norm.logpdf(phi[i], inside.mean(), inside.std()) - norm.logpdf(
            phi[i], outside.mean(), outside.std()
        )
    return scores


def table_of_pairs(
    log_ratios: NDArray[np.float64], population: NDArray[np.float64], gap: float
) -> NDArray[np.float64]:
    """The share of the population that each record exceeds, from all pairs."""
    return (log_ratios[:, None] - gap >= population[None, :]).mean(axis=1)


def main() -> None:
    rng = np.random.default_rng(0)
    print(machine())

    observations = made_up(rng, 2_000, 128)
    np.testing.assert_allclose(
        lira.score(observations, CONFIG), lira_by_record(observations), rtol=1e-8, atol=1e-10
    )
    arrays = best_seconds(lambda: lira.score(observations, CONFIG))
    loop = best_seconds(lambda: lira_by_record(observations))
    print(
        f"LiRA, 2,000 records x 128 models: {arrays * 1e3:.1f} ms, "
        f"{loop / arrays:,.0f} times less than a loop over records"
    )

    log_ratios, population = rng.normal(size=10_000), rng.normal(size=10_000)
    gap = float(np.log(2))
    np.testing.assert_array_equal(
        _population.share_below(log_ratios, population, gap=gap),
        table_of_pairs(log_ratios, population, gap),
    )
    sort = best_seconds(lambda: _population.share_below(log_ratios, population, gap=gap))
    table = best_seconds(lambda: table_of_pairs(log_ratios, population, gap))
    print(
        f"RMIA, 10,000 records against 10,000: {sort * 1e3:.2f} ms, "
        f"{table / sort:,.0f} times less than the table of all pairs "
        f"({8 * log_ratios.size * population.size / 1e9:.1f} GB)"
    )


if __name__ == "__main__":
    main()

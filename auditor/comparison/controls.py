"""Controls of a comparison.

Both kinds of models must have learned, permuted labels must give nothing, and planted canaries
must be found.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from attacks.results import ControlResult, ControlStatus
from attacks.statistics.means import t_interval
from attacks.statistics.permutation import joint_auc_test
from attacks.wording import p_equals
from auditor.comparison.design import HALVES
from auditor.comparison.leak import KINDS, Measured, Scored, canary_pairs
from reports import method_record as schema

ALPHA = 0.01
"""Error of each control."""


def permuted_labels(one: Scored, seed: int) -> ControlResult:
    """No attack on any model may find members among labels that were drawn afresh.

    Attacks and both kinds of models share the labels of one half and are tested jointly; the
    smallest p over halves is corrected by their number.
    """
    rng = np.random.default_rng([seed, 13])
    ordinary = ~one.design.is_canary
    p_values = []
    for trial in range(len(one.design.keep)):
        for half in range(HALVES):
            labels = rng.permutation(one.design.keep[trial, half][ordinary])
            rows = [
                values[trial, half][ordinary]
                for kind in KINDS
                for values in one.scores[kind].values()
            ]
            p_values.append(joint_auc_test(rows, labels, rng=rng, permutations=1_999).p_value)
    p_value = min(1.0, len(p_values) * min(p_values))
    failed = p_value <= ALPHA
    found = "told it apart, which no leak explains" if failed else "told nothing apart"
    return ControlResult(
        "negative",
        ControlStatus.FAILED if failed else ControlStatus.PASSED,
        f"Membership drawn afresh at random: the attacks {found} "
        f"(joint permutation, {p_equals(p_value)} over {len(p_values)} halves).",
        {"p_value": p_value, "n_halves": len(p_values)},
    )


def competence(measured: Mapping[schema.Kind, Measured]) -> ControlResult:
    """The method's models must have learned as much as the baseline's, within their interval.

    A warning otherwise: a model that learned less may leak less for that reason alone, and a
    training that failed on halves of the pool says nothing about the method.
    """
    accuracy = {kind: m.correct.mean(axis=(1, 2)) for kind, m in measured.items()}
    gap = t_interval(accuracy["method"] - accuracy["baseline"])
    ours, theirs = (float(accuracy[kind].mean()) for kind in KINDS)
    is_worse = gap.high is not None and gap.high < 0
    summary = (
        f"Test accuracy {100 * ours:.1f} % with the mechanism and {100 * theirs:.1f} % without, "
        "trained on halves of the pool"
    )
    worse = "; the method learned less here, so that its leak cannot be compared fairly."
    return ControlResult(
        "competence",
        ControlStatus.WARNING if is_worse else ControlStatus.PASSED,
        summary + (worse if is_worse else "."),
        {"accuracy_method": ours, "accuracy_baseline": theirs, "difference_high": gap.high},
    )


def canaries_found(measured: Mapping[schema.Kind, Measured], one: Scored) -> ControlResult:
    """Planted wrong labels must be found in the baseline, by an exact sign test at 1 %.

    Not passing it means that this comparison is not shown to see memory at all: "not established".
    """
    from scipy import stats

    found = canary_pairs(measured["baseline"].phi, one.design)
    p_value = float(stats.binomtest(int(found.sum()), found.size, 0.5, "greater").pvalue)
    passed = p_value <= ALPHA
    summary = (
        f"In {int(found.sum())} of {found.size} pairs the baseline trained on a canary is surer of "
        f"its wrong label than its twin that was not (exact, {p_equals(p_value)} against fair coins)"
    )
    return ControlResult(
        "positive",
        ControlStatus.PASSED if passed else ControlStatus.NOT_RUN,
        summary + ("." if passed else "; control not established: no leak need mean no memory."),
        {"n_found": int(found.sum()), "n_pairs": int(found.size), "p_value": p_value},
    )

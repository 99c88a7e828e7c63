"""The statistics that every attack shares: exact rates, AUC, evidence at the top, power."""

from attacks.statistics.auc import Auc, auc, paired_difference, roc_curve
from attacks.statistics.identified import (
    RANKS,
    SubjectScores,
    TopEvidence,
    max_per_subject,
    named_members,
    tail_probability,
    top_evidence,
)
from attacks.statistics.multiplicity import benjamini_hochberg, holm
from attacks.statistics.permutation import (
    PERMUTATIONS,
    JointTest,
    joint_auc_test,
    joint_identified_test,
)
from attacks.statistics.power import (
    Reachable,
    detectable_share,
    reachable_verdicts,
    smallest_detectable,
)
from attacks.statistics.rates import (
    Interval,
    clopper_pearson,
    lower_limit,
    tpr_at_fpr,
    tpr_fail_p_value,
    tpr_lower_bound,
    tpr_upper_bound,
    upper_limit,
)

__all__ = [
    "PERMUTATIONS",
    "RANKS",
    "Auc",
    "Interval",
    "JointTest",
    "Reachable",
    "SubjectScores",
    "TopEvidence",
    "auc",
    "benjamini_hochberg",
    "clopper_pearson",
    "detectable_share",
    "holm",
    "joint_auc_test",
    "joint_identified_test",
    "lower_limit",
    "max_per_subject",
    "named_members",
    "paired_difference",
    "reachable_verdicts",
    "roc_curve",
    "smallest_detectable",
    "tail_probability",
    "top_evidence",
    "tpr_at_fpr",
    "tpr_fail_p_value",
    "tpr_lower_bound",
    "tpr_upper_bound",
    "upper_limit",
]

"""Memorization of single records: estimates from shadow models, an oracle, its cost, its proxies.

Everything here is arithmetic on arrays; the models are trained elsewhere, and the same shadow
models that serve membership attacks serve these estimates.
"""

from attacks.memorization.checks import SelfCheck, SplitHalf, self_check, split_half
from attacks.memorization.groups import GroupShare, memorized_by_group
from attacks.memorization.influence import (
    HIGH_INFLUENCE,
    InfluencePairs,
    influence_matrix,
    influence_pairs,
)
from attacks.memorization.long_tail import (
    LongTail,
    SimulatedErrors,
    describe_tail,
    draw_prior,
    expected_mass,
    expected_points,
    normalised,
    simulate_errors,
    tail_coefficients,
    tau_1_floor,
    uniform,
    zipf,
)
from attacks.memorization.nearest_neighbour import (
    NearestNeighbourMemorization,
    leave_one_out_memorization,
    nearest_neighbour_memorization,
)
from attacks.memorization.proxies import (
    CScore,
    Curvature,
    EffectSize,
    ForgettingEvents,
    c_score,
    el2n,
    forgetting_events,
    input_loss_curvature,
    lira_effect_size,
)
from attacks.memorization.subpopulations import Subpopulations, subpopulations
from attacks.memorization.subsampled import (
    MEMORIZED,
    Memorization,
    MemorizedRecords,
    memorization,
    memorized_records,
    rms_error_bound,
)
from attacks.memorization.suppression import (
    GroupCost,
    SuppressionCost,
    dp_memorization_limit,
    observed_coefficients,
    suppression_cost,
)
from attacks.memorization.validation import ProxyReport, validate_proxy

__all__ = [
    "HIGH_INFLUENCE",
    "MEMORIZED",
    "CScore",
    "Curvature",
    "EffectSize",
    "ForgettingEvents",
    "GroupCost",
    "GroupShare",
    "InfluencePairs",
    "LongTail",
    "Memorization",
    "MemorizedRecords",
    "NearestNeighbourMemorization",
    "ProxyReport",
    "SelfCheck",
    "SimulatedErrors",
    "SplitHalf",
    "Subpopulations",
    "SuppressionCost",
    "c_score",
    "describe_tail",
    "dp_memorization_limit",
    "draw_prior",
    "el2n",
    "expected_mass",
    "expected_points",
    "forgetting_events",
    "influence_matrix",
    "influence_pairs",
    "input_loss_curvature",
    "leave_one_out_memorization",
    "lira_effect_size",
    "memorization",
    "memorized_by_group",
    "memorized_records",
    "nearest_neighbour_memorization",
    "normalised",
    "observed_coefficients",
    "rms_error_bound",
    "self_check",
    "simulate_errors",
    "split_half",
    "subpopulations",
    "suppression_cost",
    "tail_coefficients",
    "tau_1_floor",
    "uniform",
    "validate_proxy",
    "zipf",
]

"""Extraction: distances between pictures, cliques of generations, replication of a training set.

Everything here is arithmetic on arrays; pictures are read, embedded and generated elsewhere.
"""

from attacks.extraction.cliques import (
    Clique,
    components,
    find_cliques,
    maximum_clique,
    near_identical,
)
from attacks.extraction.distances import (
    Distances,
    calibrated,
    masked_mse,
    rms,
    sum_of_squares_256,
    template_mask,
    tile_rms,
    tiled_convention,
    tiled_rms,
    tiled_rms_matrix,
    unit_pixels,
    webster_label,
)
from attacks.extraction.rates import rates_by_copies
from attacks.extraction.replication import (
    Threshold,
    excess_limits,
    excess_p_value,
    replication,
    similarity_threshold,
    summarise,
)
from attacks.extraction.results import (
    CopiedPair,
    CopyRate,
    ExtractionFinding,
    Replication,
    SimilaritySummary,
)

__all__ = [
    "Clique",
    "CopiedPair",
    "CopyRate",
    "Distances",
    "ExtractionFinding",
    "Replication",
    "SimilaritySummary",
    "Threshold",
    "calibrated",
    "components",
    "excess_limits",
    "excess_p_value",
    "find_cliques",
    "masked_mse",
    "maximum_clique",
    "near_identical",
    "rates_by_copies",
    "replication",
    "rms",
    "similarity_threshold",
    "sum_of_squares_256",
    "summarise",
    "template_mask",
    "tile_rms",
    "tiled_convention",
    "tiled_rms",
    "tiled_rms_matrix",
    "unit_pixels",
    "webster_label",
]

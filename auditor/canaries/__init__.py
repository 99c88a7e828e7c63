"""The one-run audit of differential privacy: plant canaries, train once, score them.

    plant.py  canaries, coins, and the data to train on; before training
    score.py  what the model says about the canaries, and the bound of epsilon; after training
    claim.py  what was claimed, what the statement lacks, and whether the bound contradicts it

Source: Steinke, Nasr and Jagielski, arXiv 2305.08846; `attacks.statistics.one_run`.
"""

from auditor.canaries.claim import Claim, load_claim
from auditor.canaries.plant import Ceilings, Planting, ceilings, plant_canaries
from auditor.canaries.score import CanaryAudit, score_canaries

__all__ = [
    "CanaryAudit",
    "Ceilings",
    "Claim",
    "Planting",
    "ceilings",
    "load_claim",
    "plant_canaries",
    "score_canaries",
]

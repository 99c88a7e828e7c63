"""Published memory methods as audit targets: each beside the same model without its mechanism."""

from auditor.methods.claims import Check, ClaimResult, judge_claim
from auditor.methods.findings import MethodFinding
from auditor.methods.protocol import Method, MethodData, MethodManifest, Records, Trained
from auditor.methods.registry import method, names

__all__ = [
    "Check",
    "ClaimResult",
    "Method",
    "MethodData",
    "MethodFinding",
    "MethodManifest",
    "Records",
    "Trained",
    "judge_claim",
    "method",
    "names",
]

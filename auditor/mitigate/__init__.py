"""Apply a mitigation to a model and write what came out: the flow of `auditor mitigate`."""

from auditor.mitigate.run import Mitigated, MitigateOptions, mitigate

__all__ = ["Mitigated", "MitigateOptions", "mitigate"]
